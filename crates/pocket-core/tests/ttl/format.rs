//! How a time to live is stored.

use std::fmt::Write as _;

use pocket_core::storage::{Batch, Direction, Durability, KeyRange, ScanLimit};

use super::*;

const FIXTURE: &str = include_str!("../fixtures/expiring-1.txt");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

async fn written() -> String {
    let (storage, clock) = (MemoryStorage::new(), Clock::at(1_000));
    let fields = CollectionConfig::new("fields").ttl(Ttl::after_field("until", MINUTE));
    let writes = CollectionConfig::new("writes").ttl(Ttl::after_update(MINUTE));
    let builder = Database::builder("test")
        .collection(fields)
        .collection(writes);
    let db = builder.env(clock).open(storage.clone()).await.unwrap();
    for name in ["fields", "writes"] {
        let docs = db.collection::<Value>(name).unwrap();
        docs.insert(&until("a", 1_500)).await.unwrap();
        docs.insert(&value(r#"{"_id":"b"}"#)).await.unwrap();
    }
    let limit = ScanLimit::entries(10_000);
    let scan = storage.scan(KeyRange::all(), limit, Direction::Forward);
    let rows = scan.await.unwrap();
    rows.iter().fold(String::new(), |mut text, (key, value)| {
        writeln!(text, "{} {}", hex(key), hex(value)).unwrap();
        text
    })
}

#[tokio::test]
async fn a_time_to_live_is_stored_as_it_was_and_its_fixture_opens() {
    if std::env::var_os("POCKET_BLESS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/expiring-1.txt");
        std::fs::write(path, written().await).unwrap();
        return;
    }
    assert_eq!(written().await, FIXTURE, "the stored format changed");
    let (storage, clock) = (MemoryStorage::new(), Clock::at(1_000));
    let mut batch = Batch::new();
    for line in FIXTURE.lines() {
        let (key, value) = line.split_once(' ').unwrap();
        batch.put(unhex(key), unhex(value));
    }
    storage.commit(batch, Durability::PowerLoss).await.unwrap();
    let tool = Database::builder("test").any_schema_version();
    let db = tool.env(clock.clone()).open(storage).await.unwrap();
    let ttls: Vec<_> = db.list_collections().into_iter().map(|it| it.ttl).collect();
    assert_eq!(
        ttls,
        [
            Some(Ttl::after_field("until", MINUTE)),
            Some(Ttl::after_update(MINUTE))
        ]
    );
    clock.set(1_060);
    assert_eq!(db.expire().await.unwrap(), 2);
    clock.set(1_560);
    assert_eq!(db.expire().await.unwrap(), 1);
    let fields = db.collection::<Value>("fields").unwrap();
    assert_eq!(ids(&fields).await, ["b"]);
}
