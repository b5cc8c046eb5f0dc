//! Stores that were damaged.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use pocket_core::storage::{Batch, Direction, Durability, KeyRange, ScanLimit, Storage};
use pocket_core::{CollectionConfig, Database, Map, Value};
use pocket_storage_memory::MemoryStorage;
use pocket_storage_redb::RedbStorage;

use crate::counting::Counting;
use crate::input::Input;
use crate::now::now;

const DOCUMENTS: u64 = 8;

/// Damage is told, or does no harm: what can be read is what was written.
pub(crate) fn open(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    if input.below(16) == 15 {
        file(&mut input);
    } else {
        entries(&mut input);
    }
}

fn builder() -> pocket_core::DatabaseBuilder {
    // An input does the same in each run, so what is damaged must be the same.
    Database::builder("damaged")
        .env(Counting::default())
        .collection(CollectionConfig::new("docs").sync(true))
        .collection(CollectionConfig::new("mine"))
}

fn document(n: u64) -> Value {
    let mut map = Map::new();
    map.insert("_id", format!("{n}"));
    map.insert("n", n);
    map.insert(
        "text",
        "x".repeat(usize::try_from(n).expect("it is small") * 9),
    );
    Value::Map(map)
}

/// What a database of a few documents is made of.
static WRITTEN: LazyLock<Vec<(Vec<u8>, Vec<u8>)>> = LazyLock::new(|| {
    let written = MemoryStorage::new();
    let database = now(builder().open(written.clone())).expect("memory opens");
    for name in ["docs", "mine"] {
        let collection = database.collection::<Value>(name).expect("it is there");
        for n in 0..DOCUMENTS {
            now(collection.insert(&document(n))).expect("memory takes it");
        }
    }
    let scanned = written.scan(
        KeyRange::all(),
        ScanLimit::entries(10_000),
        Direction::Forward,
    );
    let entries = now(scanned).expect("memory gives it").into_iter();
    entries.map(|(key, value)| (key, value.to_vec())).collect()
});

/// A database's entries, some of them changed, cut, exchanged or gone.
fn entries(input: &mut Input<'_>) {
    let mut entries = WRITTEN.clone();
    for _ in 0..16 {
        if input.is_empty() || entries.is_empty() {
            break;
        }
        damage(&mut entries, input);
    }
    let damaged = MemoryStorage::new();
    let mut batch = Batch::new();
    for (key, value) in entries.into_iter().collect::<BTreeMap<_, _>>() {
        batch.put(key, value);
    }
    now(damaged.commit(batch, Durability::PowerLoss)).expect("memory takes it");
    let Ok(database) = now(builder().open(damaged)) else {
        return;
    };
    for name in ["docs", "mine"] {
        let Ok(collection) = database.collection::<Value>(name) else {
            continue;
        };
        for n in 0..DOCUMENTS {
            if let Ok(Some(read)) = now(collection.get(&format!("{n}"))) {
                assert_eq!(read, document(n), "damage was served");
            }
        }
        let _ = now(collection.get_all());
        let _ = now(collection.count());
        let _ = now(collection.upsert(&document(3)));
        let _ = now(collection.delete("4"));
    }
    let _ = now(database.journal().list(None, 100));
    let _ = now(database.stats());
}

fn damage(entries: &mut Vec<(Vec<u8>, Vec<u8>)>, input: &mut Input<'_>) {
    let place = usize::from(input.byte()) % entries.len();
    match input.below(6) {
        0 => drop(entries.swap_remove(place)),
        1 => {
            // A value under another key.
            let other = usize::from(input.byte()) % entries.len();
            entries[place].1 = entries[other].1.clone();
        }
        2 => {
            let value = &mut entries[place].1;
            let length = usize::from(input.byte()).min(value.len());
            value.truncate(length);
        }
        3 => entries[place].1 = input.bytes().to_vec(),
        4 => {
            let key = input.bytes().to_vec();
            if !key.is_empty() {
                let value = entries[place].1.clone();
                entries.push((key, value));
            }
        }
        _ => {
            let value = &mut entries[place].1;
            if !value.is_empty() {
                let at = usize::from(input.byte()) % value.len();
                value[at] ^= input.byte();
            }
        }
    }
}

/// What is stored under each key of the file.
fn value(n: u8) -> Bytes {
    Bytes::from(vec![n; 300])
}

/// A file of redb that was closed.
static FILE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.redb");
    let storage = RedbStorage::open(&path).expect("a new file");
    for n in 0..20_u8 {
        let mut batch = Batch::new();
        batch.put(vec![n], value(n));
        blocking(storage.commit(batch, Durability::PowerLoss)).expect("it is stored");
    }
    blocking(storage.close()).expect("it closes");
    drop(storage);
    std::fs::read(&path).expect("it is there")
});

/// A file of redb, with bytes changed or its end cut off.
fn file(input: &mut Input<'_>) {
    let mut bytes = FILE.clone();
    for _ in 0..16 {
        if input.is_empty() {
            break;
        }
        // Most of what matters lies in the first pages.
        let span = [512, 8_192, bytes.len().max(1)][usize::from(input.below(3))];
        let at =
            usize::try_from(input.number()).unwrap_or(usize::MAX) % span.min(bytes.len().max(1));
        if input.below(16) == 15 {
            bytes.truncate(at);
        } else if let Some(byte) = bytes.get_mut(at) {
            *byte ^= input.byte();
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.redb");
    std::fs::write(&path, bytes).expect("it is written");
    let Ok(storage) = RedbStorage::open(&path) else {
        return;
    };
    for n in 0..20_u8 {
        if let Ok(Some(read)) = blocking(storage.get(&[n])) {
            assert_eq!(read, value(n), "damage was served");
        }
    }
    let _ = blocking(storage.close());
}

/// Runs a future that another thread completes.
fn blocking<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        if let std::task::Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return done;
        }
        std::thread::park();
    }
}
