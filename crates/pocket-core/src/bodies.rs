//! Collections and transactions of bodies: for callers that have documents as bytes and no type to read them
//! as, as a binding to another language does.

use futures_util::{FutureExt, stream};
use pocket_storage::MaybeSend;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::stored::{self, StoredDocument};
use crate::write::{Operation, Read, Write, WriteJob};
use crate::{
    Body, Collection, Database, Document, DocumentId, Error, Result, Subscription, Transaction,
    codes, field, keys,
};

/// A document to be written: its body, and its id unless one is to be made.
pub type Unstored = (Option<DocumentId>, Body);

impl Database {
    /// Divides a document of MessagePack bytes into its id, if it has one, and its body, within the limits of this database.
    ///
    /// # Errors
    /// Those of [`Body::split`].
    pub fn split(&self, document: &[u8]) -> Result<Unstored> {
        Body::split(document, &self.core().limits.document)
    }

    /// As [`split`](Self::split) for an array of documents.
    ///
    /// # Errors
    /// Those of [`Body::split_many`].
    pub fn split_many(&self, documents: &[u8]) -> Result<Vec<Unstored>> {
        Body::split_many(documents, &self.core().limits.document)
    }
}

impl<T: Serialize + DeserializeOwned> Collection<T> {
    /// As [`insert_many`](Self::insert_many); gives the documents as they were stored.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub async fn insert_bodies(&self, documents: Vec<Unstored>) -> Result<Vec<Document>> {
        self.write_bodies(documents, Operation::Insert).await
    }

    /// As [`upsert_many`](Self::upsert_many); gives the documents as they were stored.
    ///
    /// # Errors
    /// As [`upsert`](Self::upsert).
    pub async fn upsert_bodies(&self, documents: Vec<Unstored>) -> Result<Vec<Document>> {
        self.write_bodies(documents, Operation::Upsert).await
    }

    async fn write_bodies(
        &self,
        documents: Vec<Unstored>,
        operation: fn(Body) -> Operation,
    ) -> Result<Vec<Document>> {
        let writes = self.body_writes(documents, operation)?;
        self.database().submit(WriteJob::Each(writes)).await
    }

    /// As [`update`](Self::update); gives the document as it was stored.
    ///
    /// # Errors
    /// As [`update`](Self::update), without `type-mismatch`.
    pub async fn update_body(&self, id: &str, patch: Unstored) -> Result<Document> {
        let write = self.update_of(id, patch)?;
        let mut documents = self.database().submit(WriteJob::Each(vec![write])).await?;
        documents
            .pop()
            .ok_or_else(|| stored::damaged("an update gave no document"))
    }

    /// As [`get_many`](Self::get_many), with revisions; tombstones count as missing.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_documents(&self, ids: Vec<DocumentId>) -> Result<Vec<Option<Document>>> {
        let Some(collection) = self.number() else {
            return Ok(ids.iter().map(|_| None).collect());
        };
        let core = self.database().core();
        let sight = core.sight(collection);
        let keys: Vec<_> = ids
            .iter()
            .map(|id| keys::document(collection, id))
            .collect();
        let values = core.storage.get_many(&keys).await?;
        let documents = ids
            .into_iter()
            .zip(keys)
            .zip(values)
            .map(|((id, key), value)| {
                let Some(value) = value else { return Ok(None) };
                let stored = StoredDocument::decode(&core.open(&key, &value)?)?;
                let document = sight.visible(Document::of_stored(id, stored))?;
                Ok(document.filter(|document| !document.is_deleted()))
            });
        documents.collect()
    }

    /// As [`observe_by_id`](Self::observe_by_id), with revisions.
    ///
    /// # Errors
    /// `bad-id`.
    pub fn observe_document(&self, id: &str) -> Result<Subscription<Result<Option<Document>>>>
    where
        T: MaybeSend + 'static,
    {
        let id = DocumentId::new(id)?;
        let live = self.find().filter(field("_id").eq(id.as_str())).live();
        Ok(Subscription::new(stream::unfold(
            live,
            |mut live| async move {
                let mut newest = live.next().await?;
                // An error is told before what comes after it.
                while newest.is_ok()
                    && let Some(Some(newer)) = live.next().now_or_never()
                {
                    newest = newer;
                }
                let document = newest.map(|step| step.result.document(0).cloned());
                Some((document, live))
            },
        )))
    }

    pub(crate) fn write_body(
        &self,
        document: Unstored,
        operation: impl FnOnce(Body) -> Operation,
    ) -> Result<Write> {
        let (id, body) = document;
        let id = match id {
            Some(id) => id,
            None => made(self.database().core().next_ids(1)?.pop())?,
        };
        Ok(self.write_of(id, operation(body)))
    }

    /// A write of each document, with an id made for those that have none.
    pub(crate) fn body_writes(
        &self,
        documents: Vec<Unstored>,
        operation: fn(Body) -> Operation,
    ) -> Result<Vec<Write>> {
        let without_id = documents.iter().filter(|(id, _)| id.is_none()).count();
        let mut ids = match without_id {
            0 => Vec::new(),
            count => self.database().core().next_ids(count)?,
        }
        .into_iter();
        let writes = documents.into_iter().map(|(id, body)| {
            let id = match id {
                Some(id) => id,
                None => made(ids.next())?,
            };
            Ok(self.write_of(id, operation(body)))
        });
        writes.collect()
    }
}

/// As many ids were made as were asked for.
fn made(id: Option<DocumentId>) -> Result<DocumentId> {
    id.ok_or_else(|| Error::new(codes::INTERNAL, "an id that was asked for was not made"))
}

impl Transaction {
    /// Has the commit fail if a document is another version by then than the one that was found (or missing) here.
    ///
    /// It is what [`get`](Self::get) does with what it read; for callers that read by themselves.
    pub fn expect<T>(
        &mut self,
        collection: &Collection<T>,
        id: DocumentId,
        found: Option<&Document>,
    ) where
        T: Serialize + DeserializeOwned,
    {
        let found = found.filter(|document| !document.is_deleted());
        self.reads.push(Read {
            collection: collection.name().clone(),
            id,
            found: found.map(|document| document.rev),
        });
    }

    /// As [`insert`](Self::insert).
    ///
    /// # Errors
    /// What making an id says.
    pub fn insert_body<T>(
        &mut self,
        collection: &Collection<T>,
        document: Unstored,
    ) -> Result<DocumentId>
    where
        T: Serialize + DeserializeOwned,
    {
        Ok(self.add(collection.write_body(document, Operation::Insert)?))
    }

    /// As [`upsert`](Self::upsert).
    ///
    /// # Errors
    /// What making an id says.
    pub fn upsert_body<T>(
        &mut self,
        collection: &Collection<T>,
        document: Unstored,
    ) -> Result<DocumentId>
    where
        T: Serialize + DeserializeOwned,
    {
        Ok(self.add(collection.write_body(document, Operation::Upsert)?))
    }

    /// As [`update`](Self::update).
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn update_body<T>(
        &mut self,
        collection: &Collection<T>,
        id: &str,
        patch: Unstored,
    ) -> Result<()>
    where
        T: Serialize + DeserializeOwned,
    {
        self.add(collection.update_of(id, patch)?);
        Ok(())
    }
}
