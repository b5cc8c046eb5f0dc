//! Transactions: writes that take effect together, here and everywhere.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::write::{Operation, Read, Write, WriteJob};
use crate::{Collection, Database, Document, DocumentId, Result};

/// Writes that are collected and then committed as one.
///
/// Nothing is stored before [`commit`](Self::commit); dropping it drops the writes. What was read with
/// [`get`](Self::get) is checked again at the commit, so a read and a write that depends on it are one step. On synced
/// collections a transaction is one mutation: at most 1,000 changes and half a message's bytes.
#[derive(Debug)]
#[must_use = "a transaction does nothing before it is committed"]
pub struct Transaction {
    database: Database,
    writes: Vec<Write>,
    pub(crate) reads: Vec<Read>,
}

impl Transaction {
    pub(crate) fn new(database: Database) -> Self {
        Self {
            database,
            writes: Vec::new(),
            reads: Vec::new(),
        }
    }

    /// Reads a document as it is stored now, without the writes of this transaction, and has the commit fail if it
    /// changed by then.
    ///
    /// # Errors
    /// As [`Collection::get`].
    pub async fn get<T>(&mut self, collection: &Collection<T>, id: &str) -> Result<Option<T>>
    where
        T: Serialize + DeserializeOwned,
    {
        let document = collection
            .get_document(id)
            .await?
            .filter(|document| !document.is_deleted());
        self.expect(collection, DocumentId::new(id)?, document.as_ref());
        document
            .as_ref()
            .map(Document::decode)
            .transpose()
            .map(Option::flatten)
    }

    /// Adds an insert and returns the document's id.
    ///
    /// # Errors
    /// As [`Collection::insert`], but that a document exists is told by the commit.
    pub fn insert<T>(&mut self, collection: &Collection<T>, document: &T) -> Result<DocumentId>
    where
        T: Serialize + DeserializeOwned,
    {
        Ok(self.add(collection.write(document, Operation::Insert)?))
    }

    /// Adds an upsert and returns the document's id.
    ///
    /// # Errors
    /// As [`Collection::upsert`].
    pub fn upsert<T>(&mut self, collection: &Collection<T>, document: &T) -> Result<DocumentId>
    where
        T: Serialize + DeserializeOwned,
    {
        Ok(self.add(collection.write(document, Operation::Upsert)?))
    }

    /// Adds an update.
    ///
    /// # Errors
    /// As [`Collection::update`], but that a document is missing is told by the commit.
    pub fn update<T, P>(&mut self, collection: &Collection<T>, id: &str, patch: &P) -> Result<()>
    where
        T: Serialize + DeserializeOwned,
        P: Serialize + ?Sized,
    {
        self.add(collection.update_write(id, patch)?);
        Ok(())
    }

    /// Adds a delete.
    ///
    /// # Errors
    /// `bad-id`; that a document is missing is told by the commit.
    pub fn delete<T>(&mut self, collection: &Collection<T>, id: &str) -> Result<()>
    where
        T: Serialize + DeserializeOwned,
    {
        self.add(collection.write_of(DocumentId::new(id)?, Operation::Delete));
        Ok(())
    }

    /// Adds an erase.
    ///
    /// # Errors
    /// As [`delete`](Self::delete).
    pub fn hard_delete<T>(&mut self, collection: &Collection<T>, id: &str) -> Result<()>
    where
        T: Serialize + DeserializeOwned,
    {
        self.add(collection.write_of(DocumentId::new(id)?, Operation::HardDelete));
        Ok(())
    }

    pub(crate) fn add(&mut self, write: Write) -> DocumentId {
        let id = write.id.clone();
        self.writes.push(write);
        id
    }

    /// Stores all writes, or none.
    ///
    /// # Errors
    /// `transaction-conflict` when a document read in it changed meanwhile (run it again), `transaction-too-large`,
    /// what each of its writes may answer, and what the store says.
    pub async fn commit(self) -> Result<()> {
        let job = WriteJob::Transaction {
            writes: self.writes,
            reads: self.reads,
        };
        self.database.submit(job).await?;
        Ok(())
    }
}
