//! Transactions.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::Promise;
use pocket_core::{Collection, Database, DocumentId, Error, Transaction, Value, codes};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::encode;
use crate::error::{Result, Told, thrown};
use crate::promise::{bytes, done, promise};

/// Writes that take effect together. It is used up by its commit.
#[wasm_bindgen]
#[derive(Debug)]
pub struct RawTransaction {
    database: Database,
    /// Never borrowed while something is waited for.
    open: Rc<RefCell<Option<Transaction>>>,
}

#[wasm_bindgen]
impl RawTransaction {
    /// A document as it is stored now; the commit fails if it changed by then.
    #[wasm_bindgen(unchecked_return_type = "Promise<Uint8Array | undefined>")]
    pub fn get(&self, collection: &str, id: String) -> Promise {
        let collection = self.database.collection::<Value>(collection);
        let open = Rc::clone(&self.open);
        promise(async move {
            let collection = collection.told()?;
            let found = collection.get_document(&id).await.told()?;
            let found = found.filter(|document| !document.is_deleted());
            let id = DocumentId::new(&id).told()?;
            let mut open = open.borrow_mut();
            let transaction = open.as_mut().ok_or_else(|| thrown(&used_up()))?;
            transaction.expect(&collection, id, found.as_ref());
            Ok(found.map_or(JsValue::UNDEFINED, |document| {
                bytes(&encode::row(&document))
            }))
        })
    }

    /// Adds an insert and gives the document's id.
    ///
    /// # Errors
    /// Those of the core's `Transaction::insert`, and `closed` after the commit; so do the others.
    pub fn insert(&self, collection: &str, document: &[u8]) -> Result<String> {
        self.with(collection, |transaction, collection| {
            let document = self.database.split(document)?;
            Ok(transaction.insert_body(collection, document)?.to_string())
        })
    }

    /// Adds an upsert and gives the document's id.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn upsert(&self, collection: &str, document: &[u8]) -> Result<String> {
        self.with(collection, |transaction, collection| {
            let document = self.database.split(document)?;
            Ok(transaction.upsert_body(collection, document)?.to_string())
        })
    }

    /// Adds an update.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn update(&self, collection: &str, id: &str, patch: &[u8]) -> Result<()> {
        self.with(collection, |transaction, collection| {
            transaction.update_body(collection, id, self.database.split(patch)?)
        })
    }

    /// Adds a delete.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn delete(&self, collection: &str, id: &str) -> Result<()> {
        self.with(collection, |transaction, collection| {
            transaction.delete(collection, id)
        })
    }

    /// Adds an erase.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    #[wasm_bindgen(js_name = hardDelete)]
    pub fn hard_delete(&self, collection: &str, id: &str) -> Result<()> {
        self.with(collection, |transaction, collection| {
            transaction.hard_delete(collection, id)
        })
    }

    /// Stores all writes, or none.
    #[wasm_bindgen(unchecked_return_type = "Promise<void>")]
    pub fn commit(&self) -> Promise {
        let transaction = self.open.take();
        done(async move { transaction.ok_or_else(used_up)?.commit().await })
    }
}

impl RawTransaction {
    pub(crate) fn new(database: &Database) -> Self {
        Self {
            database: database.clone(),
            open: Rc::new(RefCell::new(Some(database.transaction()))),
        }
    }

    fn with<T>(
        &self,
        collection: &str,
        add: impl FnOnce(&mut Transaction, &Collection<Value>) -> pocket_core::Result<T>,
    ) -> Result<T> {
        let collection = self.database.collection(collection).told()?;
        let mut open = self.open.borrow_mut();
        let transaction = open.as_mut().ok_or_else(|| thrown(&used_up()))?;
        add(transaction, &collection).told()
    }
}

fn used_up() -> Error {
    Error::new(
        codes::CLOSED,
        "the transaction was committed already; begin another one",
    )
}
