//! The database.

use std::sync::Arc;

use futures_util::StreamExt;
use js_sys::Promise;
use pocket_core::Database;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::answers;
use crate::collection::RawCollection;
use crate::error::{Result, Told};
use crate::handle::{self, Call, RawHandle};
use crate::options::{self, DatabaseOptions};
use crate::promise::{answer, bytes, done, number, promise};
use crate::storage::{Kind, RawStorage};
use crate::transaction::RawTransaction;
use crate::{encode, migrations, schema};

/// A database on one store.
#[wasm_bindgen]
#[derive(Debug)]
pub struct RawDatabase {
    database: Database,
    storage: Kind,
    shared_as: Option<String>,
}

/// The version of this module.
#[wasm_bindgen]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

#[wasm_bindgen]
impl RawDatabase {
    /// Opens a database, with options as JSON, migrations as an array, and rules for documents by the names of collections.
    #[wasm_bindgen(unchecked_return_type = "Promise<RawDatabase>")]
    pub fn open(
        options: String,
        storage: &RawStorage,
        migrations: JsValue,
        rules: JsValue,
    ) -> Promise {
        let storage = storage.kind();
        promise(async move {
            let options = DatabaseOptions::read(&options).told()?.rules(&rules)?;
            let name = options.name.clone();
            let names = options.names();
            // Whoever made another one of the same place a moment ago must not find this one's collections in it.
            let builder = Database::builder(name.as_str()).exact_name();
            let builder = options.apply(builder, storage.durability());
            let builder = migrations::add(builder, &migrations, &names)?;
            let (store, shared_as) = storage.open(&name).await.told()?;
            let opened = builder.open_shared(Arc::clone(&store)).await;
            if opened.is_err() {
                // The next attempt must not find it in use; why this one failed is what is told.
                let _ = store.close().await;
            }
            let database = opened.told()?;
            Ok(Self {
                database,
                storage,
                shared_as,
            }
            .into())
        })
    }

    /// Its name.
    #[wasm_bindgen(getter)]
    pub fn name(&self) -> String {
        self.database.name().to_owned()
    }

    /// The name under which others of this site see the same data, if they do.
    #[wasm_bindgen(getter, js_name = sharedAs)]
    pub fn shared_as(&self) -> Option<String> {
        self.shared_as.clone()
    }

    /// Who this database is to a server.
    #[wasm_bindgen(getter, js_name = clientId)]
    pub fn client_id(&self) -> String {
        self.database.client_id().to_string()
    }

    /// The version of the application's schema that is stored.
    #[wasm_bindgen(getter, js_name = schemaVersion)]
    pub fn schema_version(&self) -> u32 {
        self.database.schema_version()
    }

    /// A collection.
    ///
    /// # Errors
    /// `bad-collection-name`, `collection-not-found`.
    pub fn collection(&self, name: &str) -> Result<RawCollection> {
        self.database.collection(name).told().map(RawCollection)
    }

    /// Makes a collection, or sets the settings of one that is there; `rules` has the rule for its documents under its name.
    #[wasm_bindgen(js_name = createCollection, unchecked_return_type = "Promise<void>")]
    pub fn create_collection(&self, config: String, rules: JsValue) -> Promise {
        let database = self.database.clone();
        promise(async move {
            let config = options::read_collection(&config).told()?;
            let config = schema::add(config, &rules)?;
            database.create_collection(config).await.told()?;
            Ok(JsValue::UNDEFINED)
        })
    }

    /// Whether the collection is there.
    #[wasm_bindgen(js_name = hasCollection)]
    pub fn has_collection(&self, name: &str) -> bool {
        self.database.has_collection(name)
    }

    /// The settings of all collections, by name, as JSON.
    #[wasm_bindgen(js_name = listCollections)]
    pub fn list_collections(&self) -> String {
        answers::collections_json(&self.database.list_collections())
    }

    /// Deletes a collection and gives how many documents there were.
    #[wasm_bindgen(js_name = deleteCollection, unchecked_return_type = "Promise<number>")]
    pub fn delete_collection(&self, name: String) -> Promise {
        let database = self.database.clone();
        answer(async move { database.delete_collection(&name).await.map(number) })
    }

    /// Begins a transaction.
    pub fn transaction(&self) -> RawTransaction {
        RawTransaction::new(&self.database)
    }

    /// Has a listener hear of the changes of all collections from now on.
    ///
    /// # Errors
    /// `validation` if it is no function.
    pub fn changes(&self, listener: JsValue) -> Result<RawHandle> {
        let listener = handle::function(listener, "the listener")?;
        let changes = self.database.changes();
        Ok(handle::listen(changes.map(move |change| Call {
            listener: listener.clone(),
            value: bytes(&encode::change(&change)),
        })))
    }

    /// Figures about it, as JSON.
    #[wasm_bindgen(unchecked_return_type = "Promise<string>")]
    pub fn stats(&self) -> Promise {
        let database = self.database.clone();
        answer(async move {
            let stats = database.stats().await?;
            Ok(answers::stats_json(&stats))
        })
    }

    /// Deletes the documents whose time is over and that no server ever heard of; how many there were.
    #[wasm_bindgen(unchecked_return_type = "Promise<number>")]
    pub fn expire(&self) -> Promise {
        let database = self.database.clone();
        answer(async move { database.expire().await.map(number) })
    }

    /// Finishes what is under way and closes the store.
    #[wasm_bindgen(unchecked_return_type = "Promise<void>")]
    pub fn close(&self) -> Promise {
        let database = self.database.clone();
        done(async move { database.close().await })
    }

    /// Has a listener hear what this handle commits, as messages for other handles of the store.
    ///
    /// # Errors
    /// `validation` if it is no function.
    pub fn committed(&self, listener: JsValue) -> Result<RawHandle> {
        let listener = handle::function(listener, "the listener")?;
        let messages = self.database.committed();
        Ok(handle::listen(messages.map(move |message| Call {
            listener: listener.clone(),
            value: bytes(&message),
        })))
    }

    /// Takes a message of another handle of the store.
    #[wasm_bindgen(js_name = committedElsewhere, unchecked_return_type = "Promise<void>")]
    pub fn committed_elsewhere(&self, message: Vec<u8>) -> Promise {
        let database = self.database.clone();
        done(async move { database.committed_elsewhere(&message).await })
    }

    /// Reads again what other handles of the store committed.
    #[wasm_bindgen(js_name = catchUp, unchecked_return_type = "Promise<void>")]
    pub fn catch_up(&self) -> Promise {
        let database = self.database.clone();
        done(async move { database.catch_up().await })
    }

    /// Whether the browser keeps the data of this site: `persistent`, `best-effort` or `unknown`.
    #[wasm_bindgen(unchecked_return_type = "Promise<string>")]
    pub fn persistence(&self) -> Promise {
        let storage = self.storage.clone();
        promise(async move { Ok(storage.persistence("persisted").await.into()) })
    }

    /// Asks the browser to keep the data of this site; what it answered.
    #[wasm_bindgen(js_name = requestPersistence, unchecked_return_type = "Promise<string>")]
    pub fn request_persistence(&self) -> Promise {
        let storage = self.storage.clone();
        promise(async move { Ok(storage.persistence("persist").await.into()) })
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }
}
