//! Where a database lies.

use std::sync::Arc;

use js_sys::{Function, Promise, Reflect};
use pocket_core::Database;
use pocket_core::storage::{Durability, Storage};
use pocket_storage_indexeddb::IndexedDbStorage;
use pocket_storage_memory::MemoryStorage;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use crate::error::{Result, Told};
use crate::options::IndexedDbOptions;

/// What stands before the name of a database in IndexedDB.
const PREFIX: &str = "pocket:";

/// Where a database lies; it is opened with the database.
#[wasm_bindgen]
#[derive(Debug)]
pub struct RawStorage(Kind);

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Memory(MemoryStorage),
    IndexedDb(IndexedDbOptions),
}

#[wasm_bindgen]
impl RawStorage {
    /// An empty store in memory. Databases that are opened on it one after the other find what those before left.
    pub fn memory() -> Self {
        Self(Kind::Memory(MemoryStorage::new()))
    }

    /// IndexedDB, with options as JSON.
    ///
    /// # Errors
    /// `config`.
    #[wasm_bindgen(js_name = indexedDb)]
    pub fn indexed_db(options: &str) -> Result<Self> {
        let options = IndexedDbOptions::read(options).told()?;
        Ok(Self(Kind::IndexedDb(options)))
    }

    pub(crate) fn kind(&self) -> Kind {
        self.0.clone()
    }
}

impl Kind {
    /// Opens the store of a database, and says under which name others of this site see the same. The browser is not asked
    /// to keep the data before somebody wants that.
    pub(crate) async fn open(
        &self,
        database: &str,
    ) -> pocket_core::Result<(Arc<dyn Storage>, Option<String>)> {
        match self {
            Self::Memory(storage) => Ok((Arc::new(storage.clone()), None)),
            Self::IndexedDb(options) => {
                let prefix = options.prefix.as_deref().unwrap_or(PREFIX);
                let storage = find(prefix, database).await?;
                let name = storage.name().to_owned();
                // In a browser nothing is `Send`, and `Arc` is what the contract has.
                #[expect(clippy::arc_with_non_send_sync, reason = "see above")]
                let storage = Arc::new(storage);
                Ok((storage, Some(name)))
            }
        }
    }

    pub(crate) fn durability(&self) -> Option<Durability> {
        match self {
            Self::Memory(_) => None,
            Self::IndexedDb(options) => options.durability,
        }
    }

    /// Asks the browser's storage manager, by one of its functions without arguments, whether it keeps this site's data.
    pub(crate) async fn persistence(&self, question: &str) -> &'static str {
        match self {
            Self::Memory(_) => "unknown",
            Self::IndexedDb(_) => match ask(question).await {
                Ok(answer) if answer.is_truthy() => "persistent",
                Ok(_) => "best-effort",
                Err(_) => "unknown",
            },
        }
    }
}

/// Opens the database of IndexedDB that has this prefix and name.
///
/// It is called by both, one behind the other. Where a database of another prefix is called so already (`a:` and `b:c`, `a:b:`
/// and `c`), which is seen by the name that is stored in it, it gets a name that nothing else has. Two that are made at the
/// same moment may both be given the joined one: the database is opened by its exact name, so whoever it does not become is
/// refused before it has written anything, and opens again.
async fn find(prefix: &str, database: &str) -> pocket_core::Result<IndexedDbStorage> {
    let joined = format!("{prefix}{database}");
    let apart = format!("{prefix}\0{database}");
    let to_be_made = match IndexedDbStorage::open_or_not(joined.clone(), false).await? {
        Some(storage) => {
            // What cannot be read is told of by whoever opens it.
            let stored = Database::name_in(&storage).await.unwrap_or_default();
            if stored.is_none_or(|stored| stored == database) {
                return Ok(storage);
            }
            storage.close().await?;
            apart
        }
        None => match IndexedDbStorage::open_or_not(apart, false).await? {
            Some(storage) => return Ok(storage),
            None => joined,
        },
    };
    Ok(IndexedDbStorage::open_quietly(to_be_made).await?)
}

/// Fails where there is no such manager: outside of browsers, and where the page is not from a secure place.
async fn ask(question: &str) -> Result<JsValue> {
    let navigator = Reflect::get(&js_sys::global(), &"navigator".into())?;
    let manager = Reflect::get(&navigator, &"storage".into())?;
    let function: Function = Reflect::get(&manager, &question.into())?.dyn_into()?;
    let answer: Promise = function.call0(&manager)?.dyn_into()?;
    JsFuture::from(answer).await
}
