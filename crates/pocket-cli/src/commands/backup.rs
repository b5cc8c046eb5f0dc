//! `pocket backup`: a whole database in one file, while it is used or not.

use std::io::{self, Read, Seek, Write};

use pocket_core::storage::Storage as _;
use pocket_core::{Env, SystemEnv, Value, codes};

use crate::archive::{self, About, Archive, Damaged, State, Totals};
use crate::args::{BackupArgs, Global};
use crate::failure::{Failure, Result};
use crate::gate::Gate;
use crate::held::{Held, Peer};
use crate::new_file::NewFile;
use crate::open;
use crate::output::{Output, counted, object};

pub(super) async fn run(global: &Global, args: BackupArgs, out: &mut Output) -> Result {
    let directory = open::any_directory(global)?;
    let about = About {
        role: directory.role(),
        storage: directory.storage(),
        made: SystemEnv.now().to_string(),
    };
    let damaged = if args.with_damaged {
        Damaged::Copied
    } else {
        Damaged::Refused
    };
    if let Some(held) = &global.held {
        return pass_on(held, &about, args.direct, damaged, out).await;
    }
    if args.file.as_os_str() == "-" {
        let storage = open::store(directory, global.json).await?;
        let written = archive::write(State::Still(&*storage), &about, io::stdout(), damaged);
        let totals = written.await.map_err(told)?;
        storage.close().await?;
        return copied(totals);
    }
    let target = NewFile::new(args.file)?;
    let file = target.reopen()?;
    if let Some(peer) = Peer::of(directory.path())? {
        let mut words = ["pocket", "--db", ".", "backup", "-", "--direct"]
            .map(Into::into)
            .to_vec();
        words.extend(args.with_damaged.then(|| "--with-damaged".into()));
        let nothing = Box::new(|| Box::new(io::empty()) as Box<dyn Read + Send>);
        match peer.command(words, nothing, Box::new(file)).await {
            // It has told what is damaged. Whether the backup is whole is looked at below.
            Err(failure) if args.with_damaged && failure.is_told() => {}
            ended => ended?,
        }
    } else {
        let storage = open::store(directory, global.json).await?;
        let written = archive::write(State::Still(&*storage), &about, file, damaged);
        written.await.map_err(told)?;
        storage.close().await?;
    }
    let name = target.name();
    // Reads the backup as `restore` would.
    let totals = Archive::check(target.reopen()?, &name)?.totals;
    target.keep()?;
    let summary = object([
        ("backup", Value::from(name.as_str())),
        ("role", Value::from(about.role.name())),
        ("entries", Value::from(totals.entries)),
        ("bytes", Value::from(totals.bytes)),
    ]);
    let text = format!(
        "{name}: {} of a {}, {} bytes",
        counted(totals.entries, "stored value"),
        about.role,
        totals.bytes
    );
    out.either(&summary, text)?;
    out.flush()?;
    copied(totals)
}

/// What to do about a damaged value.
fn told(failure: Failure) -> Failure {
    if failure.code() != codes::CORRUPT {
        return failure;
    }
    failure.and(
        "nothing was backed up. `pocket backup --with-damaged` copies damaged values as they are, and `pocket dump \
         --skip-damaged` writes all documents that can be read",
    )
}

/// How a command ends that copied damaged values as they are.
fn copied(totals: Totals) -> Result {
    if totals.damaged == 0 {
        return Ok(());
    }
    Err(Failure::new(
        codes::CORRUPT,
        format_args!(
            "{} copied as they are; the backup is whole and can be restored. `pocket dump --skip-damaged` writes all \
             documents that can be read",
            counted(totals.damaged, "damaged value")
        ),
    ))
}

/// Sends a backup of what this process holds to the one that asks.
///
/// It runs on the thread of its peer, so files and pipes that are slow hold up nobody else. One that writes into a file beside
/// its target, `direct`, is sent the copy as it is made. Any other reader may take as long as he likes, and no state is kept
/// for him meanwhile: the copy is made beside the store first, which `/tmp` may have no room for.
async fn pass_on(
    held: &Held,
    about: &About,
    direct: bool,
    damaged: Damaged,
    out: &mut Output,
) -> Result {
    let gate = held.content.gate();
    if direct && let Some(snapshot) = gate.snapshot().await? {
        let written = archive::write(State::Taken(&*snapshot), about, out.writer(), damaged);
        let totals = written.await.map_err(told)?;
        out.flush()?;
        return copied(totals);
    }
    let failed = |error: io::Error| Failure::io("cannot copy the database", &error);
    let mut copy = tempfile::tempfile_in(&held.home).map_err(failed)?;
    let totals = take(gate, about, &copy, damaged).await.map_err(told)?;
    copy.rewind().map_err(failed)?;
    let mut part = vec![0; 64 * 1024];
    loop {
        let read = copy.read(&mut part).map_err(failed)?;
        if read == 0 {
            out.flush()?;
            return copied(totals);
        }
        out.bytes(&part[..read])?;
        // A signal of the other process ends it here.
        tokio::task::yield_now().await;
    }
}

/// Copies one state of a store that is in use. Whoever writes to it goes on meanwhile, unless its backend cannot show one state
/// for so long: then commits wait until the copy is made.
async fn take(gate: &Gate, about: &About, to: impl Write, damaged: Damaged) -> Result<Totals> {
    if let Some(snapshot) = gate.snapshot().await? {
        return archive::write(State::Taken(&*snapshot), about, to, damaged).await;
    }
    let _shut = gate.shut().await;
    archive::write(State::Still(gate), about, to, damaged).await
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    use pocket_core::storage::{Batch, Direction, Durability, KeyRange, ScanLimit};
    use pocket_storage_memory::MemoryStorage;
    use pocket_storage_redb::RedbStorage;
    use pocket_storage_sled::SledStorage;

    use super::*;
    use crate::args::StorageKind;
    use crate::directory::Role;

    /// Longer than anything here takes.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Two keys that are only ever written together, far from each other.
    async fn pair(gate: &Gate, number: u32) {
        let mut batch = Batch::new();
        for side in [b'a', b'z'] {
            let key = [&[side][..], &number.to_be_bytes()].concat();
            batch.put(key, vec![7; 3_000]);
        }
        gate.commit(batch, Durability::PowerLoss).await.unwrap();
    }

    /// Has another pair written before it takes the next bytes, and does not go on until that is acknowledged.
    struct Busy {
        file: File,
        write: Sender<()>,
        written: Receiver<u32>,
        during: u32,
    }

    impl Write for Busy {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.write.send(()).unwrap();
            let written = self.written.recv_timeout(PATIENCE);
            self.during = written.expect("a write is acknowledged while a backup is made");
            self.file.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.file.flush()
        }
    }

    fn about() -> About {
        About {
            role: Role::Server,
            storage: StorageKind::Redb,
            made: String::new(),
        }
    }

    /// The numbers of the pairs in a backup, which are whole.
    async fn pairs(file: File) -> Vec<u32> {
        let restored = MemoryStorage::new();
        let archive = Archive::check(file, "it").unwrap();
        archive.restore(&restored).await.unwrap();
        let mut sides = Vec::new();
        for side in [b'a', b'z'] {
            let range = KeyRange::prefix([side]);
            let limit = ScanLimit::entries(100_000).bytes(usize::MAX);
            let found = restored.scan(range, limit, Direction::Forward).await;
            let numbers = found
                .unwrap()
                .into_iter()
                .map(|(key, _)| u32::from_be_bytes(key[1..].try_into().unwrap()));
            sides.push(numbers.collect::<Vec<_>>());
        }
        assert_eq!(sides[0], sides[1], "half of a commit is in it");
        sides.remove(0)
    }

    #[tokio::test]
    async fn writes_are_acknowledged_while_a_backup_is_made_and_it_is_one_moment() {
        const BEFORE: u32 = 500;
        let place = tempfile::tempdir().unwrap();
        let storage = RedbStorage::open(place.path().join("it")).unwrap();
        let gate = Gate::new(Arc::new(storage));
        for number in 0..BEFORE {
            pair(&gate, number).await;
        }
        let (write, asked) = channel();
        let (answer, written) = channel();
        let writer = {
            let gate = gate.clone();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread();
                let runtime = { runtime }.build().unwrap();
                for number in BEFORE.. {
                    if asked.recv().is_err() {
                        return;
                    }
                    runtime.block_on(pair(&gate, number));
                    answer.send(number).unwrap();
                }
            })
        };
        let file = tempfile::tempfile().unwrap();
        let mut busy = Busy {
            file: file.try_clone().unwrap(),
            write,
            written,
            during: 0,
        };
        let totals = take(&gate, &about(), &mut busy, Damaged::Copied)
            .await
            .unwrap();
        assert!(busy.during > BEFORE + 5, "it took more than a few turns");
        drop(busy);
        writer.join().unwrap();
        assert_eq!(totals.entries, u64::from(2 * BEFORE));
        assert_eq!(pairs(file).await, (0..BEFORE).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn where_no_state_can_be_kept_commits_wait_and_the_backup_is_one_moment_too() {
        let place = tempfile::tempdir().unwrap();
        let storage = SledStorage::open(place.path().join("it")).unwrap();
        let gate = Gate::new(Arc::new(storage));
        for number in 0..50 {
            pair(&gate, number).await;
        }
        let file = tempfile::tempfile().unwrap();
        let writing = async {
            for number in 50..80 {
                pair(&gate, number).await;
            }
        };
        let to = file.try_clone().unwrap();
        let about = about();
        let (taken, ()) = tokio::join!(take(&gate, &about, to, Damaged::Copied), writing);
        taken.unwrap();
        let found = pairs(file).await;
        assert!(
            found.len() >= 50,
            "{} were acknowledged before",
            found.len()
        );
        let first: Vec<_> = (0..80).take(found.len()).collect();
        assert_eq!(found, first);
    }
}
