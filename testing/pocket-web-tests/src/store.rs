//! A store that a script of a page can drive.

use pocket_storage::{
    Batch, Direction, Durability, KeyRange, Result, ScanLimit, Storage, StorageError,
};
use pocket_storage_indexeddb::IndexedDbStorage;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

/// Entries of a round.
const ENTRIES: u32 = 300;

/// A store in IndexedDB.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Store(IndexedDbStorage);

#[wasm_bindgen]
impl Store {
    /// Opens it.
    pub async fn open(name: String) -> Result<Store, JsValue> {
        told(IndexedDbStorage::open(name).await).map(Self)
    }

    /// Deletes the database.
    pub async fn delete(name: String) -> Result<(), JsValue> {
        told(IndexedDbStorage::delete(name).await)
    }

    /// Adds one to a counter, again and again; how often somebody else came first.
    pub async fn increment(&self, key: String, times: u32) -> Result<u32, JsValue> {
        let mut conflicts = 0;
        let mut done = 0;
        while done < times {
            let found = told(self.0.get(key.as_bytes()).await)?;
            let mut batch = Batch::new();
            let number = match &found {
                Some(found) => String::from_utf8_lossy(found).parse().unwrap_or(0_u32),
                None => 0,
            };
            match found {
                Some(found) => batch.check_equals(key.as_str(), found),
                None => batch.check_absent(key.as_str()),
            };
            // Of its own: so that the tabs split pages under each other.
            batch.put(format!("{key} {number:06}"), vec![b'x'; 900]);
            batch.put(key.as_str(), (number + 1).to_string());
            match self.0.commit(batch, Durability::Relaxed).await {
                Ok(()) => done += 1,
                Err(StorageError::Conflict) => conflicts += 1,
                Err(error) => return told(Err(error)),
            }
        }
        Ok(conflicts)
    }

    /// The text at a key.
    pub async fn text(&self, key: String) -> Result<Option<String>, JsValue> {
        let found = told(self.0.get(key.as_bytes()).await)?;
        Ok(found.map(|found| String::from_utf8_lossy(&found).into_owned()))
    }

    /// How many keys begin with this.
    pub async fn count(&self, prefix: String) -> Result<usize, JsValue> {
        let limit = ScanLimit::entries(usize::MAX).bytes(usize::MAX);
        let range = KeyRange::prefix(prefix);
        let found = self.0.scan(range, limit, Direction::Forward).await;
        Ok(told(found)?.len())
    }

    /// Writes the number of a round to many keys, in one batch.
    pub async fn round(&self, number: u32, bytes: usize, strict: bool) -> Result<(), JsValue> {
        let mut batch = Batch::new();
        for key in 0..ENTRIES {
            let mut value = number.to_be_bytes().to_vec();
            value.resize(bytes.max(4), number as u8);
            batch.put(format!("round {key:06}"), value);
        }
        let durability = if strict {
            Durability::PowerLoss
        } else {
            Durability::ProcessCrash
        };
        told(self.0.commit(batch, durability).await)
    }

    /// The number that all keys of a round have; 0 if there are none.
    pub async fn newest_round(&self) -> Result<u32, JsValue> {
        let limit = ScanLimit::entries(usize::MAX).bytes(usize::MAX);
        let range = KeyRange::prefix("round ");
        let found = told(self.0.scan(range, limit, Direction::Forward).await)?;
        let Some((_, first)) = found.first() else {
            return Ok(0);
        };
        if found.len() != ENTRIES as usize || found.iter().any(|(_, value)| value != first) {
            return Err(js_sys::Error::new("half of a batch").into());
        }
        let number = first[..4].try_into().map(u32::from_be_bytes);
        number.map_err(|_| js_sys::Error::new("a value is no number").into())
    }

    /// Stores large values under keys that begin with a prefix, all in one batch.
    pub async fn fill(&self, prefix: String, count: u32, bytes: usize) -> Result<(), JsValue> {
        let mut batch = Batch::new();
        let mut noise = 1_u64;
        for number in 0..count {
            let value: Vec<u8> = (0..bytes)
                .map(|_| {
                    // A linear congruential generator: what is stored must not compress.
                    noise = noise
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    (noise >> 56) as u8
                })
                .collect();
            batch.put(format!("{prefix}{number:06}"), value);
        }
        told(self.0.commit(batch, Durability::PowerLoss).await)
    }

    /// Why it is closed.
    pub fn closed_by(&self) -> Option<String> {
        self.0.closed_by().map(|by| by.to_string())
    }

    /// What the browser answered about keeping the data.
    pub fn persistence(&self) -> String {
        format!("{:?}", self.0.persistence())
    }

    /// Closes it.
    pub async fn close(&self) -> Result<(), JsValue> {
        told(self.0.close().await)
    }
}

/// An error as one of JavaScript, with the name of its variant first.
pub(crate) fn told<T>(result: Result<T>) -> Result<T, JsValue> {
    result.map_err(|error| js_sys::Error::new(&format!("{error:?}")).into())
}
