//! One process per store.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use pocket_storage::{Storage, StorageError};
use pocket_storage_sled::SledStorage;

const CHILD: &str = "POCKET_HOLDER_CHILD";

#[test]
fn a_second_process_is_told_who_holds_the_store() {
    if let Some(path) = std::env::var_os(CHILD) {
        hold(Path::new(&path));
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("store");
    let mut child = Command::new(std::env::current_exe().expect("this binary"))
        .args([
            "--exact",
            "a_second_process_is_told_who_holds_the_store",
            "--nocapture",
        ])
        .env(CHILD, &path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    assert!(lines.any(|line| line.expect("a line") == "holding"));

    match SledStorage::open(&path) {
        Err(StorageError::InUse { path: held, holder }) => {
            assert_eq!(held, path.display().to_string());
            assert_eq!(holder, Some(child.id()));
        }
        other => panic!("{other:?}"),
    }
    drop(child.stdin.take());
    child.wait().expect("the child ends");
    SledStorage::open(&path).expect("the holder has ended");
}

/// Holds the store until the parent closes the pipe.
fn hold(path: &Path) {
    let _store = SledStorage::open(path).expect("opens");
    writeln!(std::io::stdout(), "holding").expect("the parent reads");
    std::io::stdin()
        .read_to_end(&mut Vec::new())
        .expect("until it ends");
}

#[tokio::test]
async fn a_second_handle_of_one_process_is_refused_until_the_first_is_closed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("store");
    let lock = directory.path().join("LOCK");
    let open = || SledStorage::builder().lock_file(&lock).open(&path);
    let first = open().expect("opens");
    let refused = open().expect_err("it is held");
    assert!(
        refused
            .to_string()
            .contains(&std::process::id().to_string()),
        "{refused}"
    );
    first.close().await.expect("closes");
    let second = open().expect("the first is closed, though not dropped");
    drop(second);
    open().expect("the second is dropped");
}
