//! A disk that is small enough to be filled.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Where containers have a small file system anyway.
const SHARED_MEMORY: &str = "/dev/shm";

/// More than a test may fill that did not mount it.
const MOST_KIB: u64 = 256 * 1024;

/// A file system that is filled and emptied; what lies on it is gone when this is dropped.
pub struct SmallDisk {
    at: PathBuf,
    kind: Kind,
}

enum Kind {
    /// Mounted for the test, by root or by `sudo`.
    Mounted { sudo: bool },
    /// A directory on a small file system that was there.
    Found(TempDir),
}

impl SmallDisk {
    /// One of `mebibytes`, mounted at `at`; where that is not allowed, the shared memory of a container.
    ///
    /// None, said on stderr, where there is neither. Under `CI` that is a failure: a test that nobody runs shows nothing.
    pub fn mount(at: &Path, mebibytes: usize) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let options = format!("size={mebibytes}m,mode=0777");
        for sudo in [false, true] {
            let mut command = command(sudo, "mount");
            command.args(["-t", "tmpfs", "-o", &options, "pocket-e2e"]);
            let mounted = command.arg(at).output();
            if mounted.is_ok_and(|output| output.status.success()) {
                let kind = Kind::Mounted { sudo };
                return Some(Self {
                    at: at.to_owned(),
                    kind,
                });
            }
        }
        if size_kib(SHARED_MEMORY).is_some_and(|size| size <= MOST_KIB)
            && let Ok(folder) = tempfile::tempdir_in(SHARED_MEMORY)
        {
            return Some(Self {
                at: folder.path().to_owned(),
                kind: Kind::Found(folder),
            });
        }
        let text = "SKIPPED: a full disk needs the right to mount a small one (root, or `sudo -n mount`), or a \
                    /dev/shm of at most 256 MiB";
        assert!(std::env::var_os("CI").is_none(), "{text}");
        eprintln!("{text}");
        None
    }

    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Takes all the room that is left, until [`empty`](Self::empty).
    pub fn fill(&self) {
        let mut file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.filler())
            .unwrap();
        // Ever smaller pieces, until not even a byte is left.
        let mut size = 1 << 20;
        while size > 0 {
            if file.write_all(&vec![0; size]).is_err() {
                size /= 2;
            }
        }
    }

    /// Gives the room back.
    pub fn empty(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let sudo = match &self.kind {
            Kind::Mounted { sudo } => *sudo,
            // The directory removes itself.
            Kind::Found(folder) => return drop(std::fs::remove_file(folder.path().join("filler"))),
        };
        // Lazily: a process that was killed a moment ago may still have files open.
        let unmounted = command(sudo, "umount").arg("-l").arg(&self.at).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} is still mounted", self.at.display());
        }
    }
}

fn command(sudo: bool, name: &str) -> Command {
    if sudo {
        let mut command = Command::new("sudo");
        command.args(["-n", name]);
        return command;
    }
    Command::new(name)
}

/// How large a file system is, as `df` tells it.
fn size_kib(path: &str) -> Option<u64> {
    let output = Command::new("df").args(["-kP", path]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().nth(1)?.split_whitespace().nth(1)?.parse().ok()
}
