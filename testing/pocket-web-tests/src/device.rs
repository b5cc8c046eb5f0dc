//! A database in memory with a sync engine, for the scripts of a page.

use std::time::Duration;

use pocket_core::{CollectionConfig, Database, Value};
use pocket_storage_memory::MemoryStorage;
use pocket_sync_client::{SyncConfig, SyncEngine};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

/// What synced devices have.
const COLLECTION: &str = "notes";

/// A device.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Device {
    database: Database,
    engine: SyncEngine,
}

#[wasm_bindgen]
impl Device {
    /// A new one, which syncs with the server of this URL once it was started.
    pub async fn open(url: String, token: Option<String>) -> Result<Device, JsValue> {
        let builder =
            Database::builder("device").collection(CollectionConfig::new(COLLECTION).sync(true));
        let database = builder
            .open(MemoryStorage::new())
            .await
            .map_err(|error| coded(error.code()))?;
        let mut config = SyncConfig::new(url)
            .retry_delay(Duration::from_millis(20))
            .max_retry_attempts(3);
        config.auth_token = token;
        let engine = SyncEngine::new(&database, config);
        Ok(Self { database, engine })
    }

    /// Begins to sync.
    pub async fn start(&self) -> Result<(), JsValue> {
        self.engine
            .start()
            .await
            .map_err(|error| coded(error.code()))
    }

    /// Ceases to sync.
    pub async fn stop(&self) -> Result<(), JsValue> {
        self.engine
            .stop()
            .await
            .map_err(|error| coded(error.code()))
    }

    /// Ceases for good.
    pub async fn destroy(&self) {
        self.engine.destroy().await;
    }

    /// A complete pass.
    pub async fn sync(&self) -> Result<(), JsValue> {
        self.engine
            .force_sync()
            .await
            .map_err(|error| coded(error.code()))
    }

    /// Says who this is from now on.
    pub async fn sign_in(&self, token: String) -> Result<(), JsValue> {
        self.engine
            .set_auth_token(Some(&token))
            .await
            .map_err(|error| coded(error.code()))
    }

    /// The status.
    pub fn status(&self) -> String {
        self.engine.snapshot().status.to_string()
    }

    /// Writes documents with so many bytes of text, in one transaction each.
    pub async fn put(&self, prefix: String, count: u32, bytes: usize) -> Result<(), JsValue> {
        let notes = self.database.collection::<Value>(COLLECTION);
        let notes = notes.map_err(|error| coded(error.code()))?;
        let text = "x".repeat(bytes);
        for number in 0..count {
            let note = format!(r#"{{"_id":"{prefix}{number}","text":"{text}"}}"#);
            let note = Value::from_json_str(&note).map_err(|error| coded(error.code()))?;
            notes
                .upsert(&note)
                .await
                .map_err(|error| coded(error.code()))?;
        }
        Ok(())
    }

    /// How many documents there are whose ids begin so.
    pub async fn count(&self, prefix: String) -> Result<u32, JsValue> {
        let notes = self.database.collection::<Value>(COLLECTION);
        let found = notes
            .map_err(|error| coded(error.code()))?
            .find()
            .where_field("_id");
        let found = found
            .starts_with(prefix)
            .count()
            .await
            .map_err(|error| coded(error.code()))?;
        Ok(u32::try_from(found).unwrap_or(u32::MAX))
    }
}

/// Opens a device, writes documents, syncs them, and tells how many there are then, of whomever.
#[wasm_bindgen]
pub async fn sync_once(
    url: String,
    token: Option<String>,
    prefix: String,
    count: u32,
    bytes: usize,
) -> Result<u32, JsValue> {
    let device = Device::open(url, token).await?;
    device.put(prefix, count, bytes).await?;
    device.start().await?;
    let synced = device.sync().await;
    let found = device.count(String::new()).await;
    device.destroy().await;
    synced?;
    found
}

/// An error as one of JavaScript, with its code as the message.
fn coded(code: &str) -> JsValue {
    js_sys::Error::new(code).into()
}
