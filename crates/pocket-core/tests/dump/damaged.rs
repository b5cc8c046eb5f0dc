//! What can be saved of a database in which a value is damaged.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use pocket_core::dump::{Dump, LoadOptions};
use pocket_core::storage::{
    Batch, Capabilities, Direction, Durability, Entry, KeyRange, ScanLimit, Snapshot, Storage,
    StorageError,
};
use pocket_core::{CollectionConfig, Database, codes};
use pocket_storage_memory::MemoryStorage;

use super::{empty, load, value};

/// Flips a bit in the only value that holds this text.
async fn damage(store: &Arc<dyn Storage>, text: &str) {
    let limit = ScanLimit::entries(10_000);
    let entries = store.scan(KeyRange::all(), limit, Direction::Forward).await;
    let holds = |bytes: &[u8]| {
        bytes
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    let mut found = entries
        .unwrap()
        .into_iter()
        .filter(|(_, value)| holds(value));
    let (key, sealed) = found.next().unwrap();
    assert!(found.next().is_none(), "{text} is in two values");
    let mut bytes = sealed.to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    let mut batch = Batch::new();
    batch.put(key, bytes);
    store.commit(batch, Durability::PowerLoss).await.unwrap();
}

async fn lines(dump: &mut Dump) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(line) = dump.next_line().await.unwrap() {
        lines.push(line);
    }
    lines
}

#[tokio::test]
async fn damaged_documents_end_a_dump_or_are_passed_over_and_counted() {
    let store: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let db = Database::builder("damaged")
        .collection(CollectionConfig::new("notes"))
        .collection(CollectionConfig::new("others"))
        .open_shared(store.clone())
        .await
        .unwrap();
    for (collection, ids) in [
        ("notes", ["a", "b", "c", "d"]),
        ("others", ["e", "f", "g", "h"]),
    ] {
        let documents = db.collection(collection).unwrap();
        for id in ids {
            let json = format!(r#"{{"_id":"{id}","text":"the text of {id}"}}"#);
            documents.insert(&value(&json)).await.unwrap();
        }
    }
    damage(&store, "the text of b").await;
    damage(&store, "the text of h").await;

    let mut dump = db.dump().await.unwrap();
    let error = loop {
        match dump.next_line().await {
            Ok(line) => assert!(line.is_some(), "it ended as if all were well"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), codes::CORRUPT);

    let mut dump = db.dump().await.unwrap().skip_damaged();
    let whole = lines(&mut dump).await;
    let text = whole.join("\n");
    assert_eq!(dump.damaged(), 2);
    assert_eq!(dump.totals().documents, 6);
    for id in ["a", "c", "d", "e", "f", "g"] {
        assert!(text.contains(&format!("the text of {id}")), "{id}");
    }
    // It is a whole dump of what is in it.
    let loaded = load(&empty().await, &whole, LoadOptions::new()).await;
    assert_eq!(loaded.unwrap().0.stored, 6);

    let mut one = db.dump().await.unwrap().skip_damaged().only("others");
    let text = lines(&mut one).await.join("\n");
    assert_eq!((one.damaged(), one.totals().documents), (1, 3));
    assert!(!text.contains("notes") && text.contains("\"others\""));
    let mut none = db.dump().await.unwrap().only("nothing");
    lines(&mut none).await;
    assert_eq!((none.damaged(), none.totals().collections), (0, 0));
}

/// A store whose file is damaged where the documents lie whose ids hold this: a scan that comes there fails.
#[derive(Debug)]
struct Holed {
    inner: MemoryStorage,
    holes: &'static [&'static str],
}

type Answer<T> = Result<T, StorageError>;

#[async_trait]
impl Storage for Holed {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn get(&self, key: &[u8]) -> Answer<Option<Bytes>> {
        self.inner.get(key).await
    }

    async fn get_many(&self, keys: &[Vec<u8>]) -> Answer<Vec<Option<Bytes>>> {
        self.inner.get_many(keys).await
    }

    async fn scan(
        &self,
        range: KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> Answer<Vec<Entry>> {
        let entries = self.inner.scan(range, limit, direction).await?;
        let is_lost = |(key, _): &Entry| {
            let mut holes = self.holes.iter();
            key[0] == b'd' && holes.any(|hole| key.ends_with(hole.as_bytes()))
        };
        if entries.iter().any(is_lost) {
            return Err(StorageError::Corrupt("a page is no page".to_owned()));
        }
        Ok(entries)
    }

    async fn snapshot(&self) -> Answer<Option<Box<dyn Snapshot>>> {
        Ok(None)
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> Answer<()> {
        self.inner.commit(batch, durability).await
    }

    async fn close(&self) -> Answer<()> {
        self.inner.close().await
    }
}

/// Nothing at all was written where a page could not be read.
#[tokio::test]
async fn what_lies_around_a_damaged_part_of_the_file_is_written() {
    // What cannot be read, how much can, and how many parts are passed over.
    let cases: [(&[&str], usize, u64); 5] = [
        (&[], 600, 0),
        (&["0300"], 599, 1),
        (&["0000"], 599, 1),
        (&["0599"], 599, 1),
        // Between two such parts nothing is found.
        (&["0100", "0400"], 299, 1),
    ];
    for (holes, saved, unread) in cases {
        let inner = MemoryStorage::new();
        let store: Arc<dyn Storage> = Arc::new(Holed { inner, holes });
        let db = Database::builder("damaged")
            .collection(CollectionConfig::new("notes"))
            .collection(CollectionConfig::new("others"))
            .open_shared(store)
            .await
            .unwrap();
        let notes = db.collection("notes").unwrap();
        let all: Vec<_> = (0..600)
            .map(|n| value(&format!(r#"{{"_id":"{n:04}"}}"#)))
            .collect();
        notes.insert_many(&all).await.unwrap();
        let others = db.collection("others").unwrap();
        others.insert(&value(r#"{"_id":"x"}"#)).await.unwrap();
        let mut dump = db.dump().await.unwrap();
        if !holes.is_empty() {
            let error = loop {
                match dump.next_line().await {
                    Ok(line) => assert!(line.is_some(), "it ended as if all were well"),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.code(), codes::CORRUPT);
        }
        let mut dump = db.dump().await.unwrap().skip_damaged();
        let whole = lines(&mut dump).await;
        assert_eq!((dump.damaged(), dump.unread()), (0, unread), "{holes:?}");
        assert_eq!(dump.totals().documents, saved as u64 + 1, "{holes:?}");
        let loaded = load(&empty().await, &whole, LoadOptions::new()).await;
        assert_eq!(loaded.unwrap().0.stored, saved as u64 + 1);
    }
}
