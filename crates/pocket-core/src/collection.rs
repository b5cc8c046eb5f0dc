//! A collection: documents of one kind, read and written by id.

use std::marker::PhantomData;

use pocket_storage::{Direction, KeyRange, ScanLimit};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bodies::Unstored;
use crate::clear::ClearJob;
use crate::commit::CommitCore;
use crate::keys::CollectionId;
use crate::query::{Filter, Query, QuerySpec};
use crate::stored::StoredDocument;
use crate::write::{Operation, Write, WriteJob};
use crate::{
    Body, ChangeItem, CollectionName, Database, Document, DocumentId, Error, Result, Subscription,
    codes, ids, keys, stored,
};

/// Documents of one collection, read and written as `T`.
///
/// Cloning it is cheap. Every write is stored, with its index entries and its place in the outbox, when the call
/// returns; it does not wait for a server.
#[derive(Debug)]
pub struct Collection<T> {
    database: Database,
    name: CollectionName,
    documents: PhantomData<fn(T) -> T>,
}

impl<T> Clone for Collection<T> {
    fn clone(&self) -> Self {
        Self {
            database: self.database.clone(),
            name: self.name.clone(),
            documents: PhantomData,
        }
    }
}

impl<T: Serialize + DeserializeOwned> Collection<T> {
    pub(crate) fn new(database: Database, name: CollectionName) -> Self {
        Self {
            database,
            name,
            documents: PhantomData,
        }
    }

    /// Its name.
    pub fn name(&self) -> &CollectionName {
        &self.name
    }

    /// The database it belongs to.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Stores a new document and returns its id, which is made when the document has none.
    ///
    /// # Errors
    /// `document-exists`, `validation`, `bad-id`, `document-too-large`, and what the store says.
    pub async fn insert(&self, document: &T) -> Result<DocumentId> {
        let write = self.write(document, Operation::Insert)?;
        let id = write.id.clone();
        self.database.submit(WriteJob::Each(vec![write])).await?;
        Ok(id)
    }

    /// Stores new documents, all or none, and returns their ids in order. Each travels as a change of its own.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub async fn insert_many<'a>(
        &self,
        documents: impl IntoIterator<Item = &'a T>,
    ) -> Result<Vec<DocumentId>>
    where
        T: 'a,
    {
        let writes = self.writes(documents, Operation::Insert)?;
        let ids = writes.iter().map(|write| write.id.clone()).collect();
        self.database.submit(WriteJob::Each(writes)).await?;
        Ok(ids)
    }

    /// Stores a document whether or not there is one, and returns its id.
    ///
    /// # Errors
    /// As [`insert`](Self::insert), but for `document-exists`.
    pub async fn upsert(&self, document: &T) -> Result<DocumentId> {
        let write = self.write(document, Operation::Upsert)?;
        let id = write.id.clone();
        self.database.submit(WriteJob::Each(vec![write])).await?;
        Ok(id)
    }

    /// As [`upsert`](Self::upsert) for many documents, all or none.
    ///
    /// # Errors
    /// As [`upsert`](Self::upsert).
    pub async fn upsert_many<'a>(
        &self,
        documents: impl IntoIterator<Item = &'a T>,
    ) -> Result<Vec<DocumentId>>
    where
        T: 'a,
    {
        let writes = self.writes(documents, Operation::Upsert)?;
        let ids = writes.iter().map(|write| write.id.clone()).collect();
        self.database.submit(WriteJob::Each(writes)).await?;
        Ok(ids)
    }

    /// Sets the fields of `patch` in a document and returns it: a shallow merge of the top level. Fields that are
    /// there keep their place, new ones go last.
    ///
    /// # Errors
    /// `document-not-found`, `document-deleted`, `validation` (also for a system field), `document-too-large`, and
    /// what the store says. `type-mismatch` when the document no longer fits `T`: then the update is stored.
    pub async fn update<P: Serialize + ?Sized>(&self, id: &str, patch: &P) -> Result<T> {
        let write = self.update_write(id, patch)?;
        let documents = self.database.submit(WriteJob::Each(vec![write])).await?;
        let updated = documents
            .first()
            .map(Document::decode)
            .transpose()?
            .flatten();
        updated.ok_or_else(|| stored::damaged("an updated document has no body"))
    }

    /// Deletes a document; a synced one leaves a tombstone.
    ///
    /// # Errors
    /// `document-not-found`, `document-deleted`, and what the store says.
    pub async fn delete(&self, id: &str) -> Result<()> {
        self.delete_many([id]).await
    }

    /// Deletes documents, all or none. Each travels as a change of its own.
    ///
    /// # Errors
    /// As [`delete`](Self::delete).
    pub async fn delete_many<'a>(&self, ids: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let writes = ids
            .into_iter()
            .map(|id| Ok(self.write_of(DocumentId::new(id)?, Operation::Delete)));
        self.database
            .submit(WriteJob::Each(writes.collect::<Result<_>>()?))
            .await?;
        Ok(())
    }

    /// Erases a document and its body here at once, and everywhere when it synced.
    ///
    /// # Errors
    /// `document-not-found`, and what the store says.
    pub async fn hard_delete(&self, id: &str) -> Result<()> {
        let write = self.write_of(DocumentId::new(id)?, Operation::HardDelete);
        self.database.submit(WriteJob::Each(vec![write])).await?;
        Ok(())
    }

    /// Deletes all documents, the damaged ones too, and returns how many there were.
    ///
    /// They are gone in one step, which takes memory that grows with their number.
    ///
    /// # Errors
    /// What the store says.
    pub async fn clear(&self) -> Result<u64> {
        let job = ClearJob {
            collection: self.name.clone(),
            forget: false,
        };
        self.database.submit(job).await
    }

    /// A document, or none when it is missing, deleted, or its [time to live](crate::CollectionConfig::ttl) is over.
    ///
    /// # Errors
    /// `bad-id`, `type-mismatch`, `corrupt`, and what the store says.
    pub async fn get(&self, id: &str) -> Result<Option<T>> {
        let document = self.get_document(id).await?;
        document
            .as_ref()
            .map(Document::decode)
            .transpose()
            .map(Option::flatten)
    }

    /// A document with its revision; also the tombstone of a deleted one.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_document(&self, id: &str) -> Result<Option<Document>> {
        let id = DocumentId::new(id)?;
        let Some(collection) = self.number() else {
            return Ok(None);
        };
        read_document(self.database.core(), collection, id).await
    }

    /// Documents in the order of `ids`, with holes where one is missing or deleted; all from one state.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_many<'a>(
        &self,
        ids: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<Option<T>>> {
        let ids: Vec<_> = ids
            .into_iter()
            .map(DocumentId::new)
            .collect::<Result<_>>()?;
        let documents = self.get_documents(ids).await?;
        let documents = documents
            .iter()
            .map(|document| document.as_ref().map_or(Ok(None), Document::decode));
        documents.collect()
    }

    /// All documents, by id. For large collections use [`find`](Self::find) with a limit.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_all(&self) -> Result<Vec<T>> {
        self.find().all().await
    }

    /// Begins a query.
    pub fn find(&self) -> Query<T> {
        self.query(QuerySpec::default())
    }

    /// A query that comes as data, from JSON for example. What is wrong with it is told when it runs.
    pub fn query(&self, spec: QuerySpec) -> Query<T> {
        Query::new(self.clone(), spec)
    }

    /// The first document that a filter lets in, by id. In another order it is the [`first`](Query::first) of a sorted
    /// query.
    ///
    /// # Errors
    /// As [`Query::all`].
    pub async fn find_one(&self, filter: Filter) -> Result<Option<T>> {
        self.find().filter(filter).first().await
    }

    /// How many documents there are. Tombstones never count.
    ///
    /// # Errors
    /// What the store says.
    pub async fn count(&self) -> Result<u64> {
        self.find().count().await
    }

    /// The changes of this collection from now on, in order, each after it is durable, until the database is closed.
    pub fn changes(&self) -> Subscription<ChangeItem> {
        self.database.changes_of(Some(self.name.clone()))
    }

    pub(crate) fn write(
        &self,
        document: &T,
        operation: impl FnOnce(Body) -> Operation,
    ) -> Result<Write> {
        let limits = &self.database.core().limits.document;
        self.write_body(Body::from_serialize(document, limits)?, operation)
    }

    fn writes<'a>(
        &self,
        documents: impl IntoIterator<Item = &'a T>,
        operation: fn(Body) -> Operation,
    ) -> Result<Vec<Write>>
    where
        T: 'a,
    {
        let limits = &self.database.core().limits.document;
        let bodies = documents
            .into_iter()
            .map(|document| Body::from_serialize(document, limits));
        self.body_writes(bodies.collect::<Result<_>>()?, operation)
    }

    pub(crate) fn update_write<P: Serialize + ?Sized>(&self, id: &str, patch: &P) -> Result<Write> {
        let patch = Body::from_serialize(patch, &self.database.core().limits.document)?;
        self.update_of(id, patch)
    }

    pub(crate) fn update_of(&self, id: &str, (named, patch): Unstored) -> Result<Write> {
        let id = DocumentId::new(id)?;
        if named.is_some_and(|named| named != id) {
            return Err(Error::new(
                codes::VALIDATION,
                "an update cannot set `_id`; insert a document of that id",
            )
            .at(crate::value::ID_FIELD));
        }
        Ok(self.write_of(id, Operation::Update(patch)))
    }

    pub(crate) fn write_of(&self, id: DocumentId, operation: Operation) -> Write {
        Write {
            collection: self.name.clone(),
            id,
            operation,
        }
    }

    /// Its number, or none when it was deleted meanwhile: then it is empty.
    pub(crate) fn number(&self) -> Option<CollectionId> {
        self.database
            .core()
            .registry()
            .get(&self.name)
            .map(stored::CollectionRow::id)
    }

    /// The first documents of a range of keys that can be seen, tombstones too, with the key of the last one that was
    /// looked at.
    pub(crate) async fn page(
        &self,
        range: KeyRange,
        direction: Direction,
        limit: ScanLimit,
    ) -> Result<(Vec<Document>, Option<Vec<u8>>)> {
        let storage = &self.database.core().storage;
        let entries = storage.scan(range, limit, direction).await?;
        let last = entries.last().map(|(key, _)| key.clone());
        let collection = last.as_deref().and_then(keys::document_collection);
        let sight = self.database.core().sight(collection.unwrap_or_default());
        let documents = entries.into_iter().map(|(key, value)| {
            let core = self.database.core();
            let stored = StoredDocument::decode(&core.open(&key, &value)?)?;
            let id = keys::document_id(&key)
                .ok_or_else(|| stored::damaged("a document's key is too short"))?;
            sight.visible(Document::of_stored(DocumentId::new(id)?, stored))
        });
        let documents = documents.filter_map(Result::transpose);
        Ok((documents.collect::<Result<_>>()?, last))
    }
}

async fn read_document(
    core: &CommitCore,
    collection: CollectionId,
    id: DocumentId,
) -> Result<Option<Document>> {
    let key = keys::document(collection, &id);
    let Some(value) = core.storage.get(&key).await? else {
        return Ok(None);
    };
    let stored = StoredDocument::decode(&core.open(&key, &value)?)?;
    core.sight(collection)
        .visible(Document::of_stored(id, stored))
}

impl CommitCore {
    /// New ids, in rising order.
    pub(crate) fn next_ids(&self, count: usize) -> Result<Vec<DocumentId>> {
        ids::uuids_v7(&*self.env, &self.last_uuid, count)
    }
}
