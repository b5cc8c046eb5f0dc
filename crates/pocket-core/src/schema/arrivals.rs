//! Documents that do not fit: those that are stored, and those that arrive.

use std::collections::VecDeque;

use futures_util::stream;
use pocket_storage::{Direction, ScanLimit};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Violation, violations};
use crate::keys::{self, CollectionId};
use crate::{
    Body, ChangeItem, Collection, CommitSequence, Document, DocumentId, Error, Result, Revision,
    Subscription, codes,
};

/// Documents read from the store at once.
const CHUNK: usize = 256;

/// A document that breaks the schema of its collection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidDocument {
    /// Its id.
    pub id: DocumentId,
    /// The version that was looked at; its client is who wrote it.
    pub rev: Revision,
    /// Its body.
    pub body: Body,
    /// How it breaks the schema.
    pub violations: Vec<Violation>,
}

/// What a subscriber to invalid arrivals gets.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidArrival {
    /// Sync brought this document. It is stored as it came.
    Document(InvalidDocument),
    /// The subscriber fell behind: documents of the commits from the first to the second were not looked at.
    /// [`Collection::invalid`] finds them.
    Lagged {
        /// The first commit left out.
        from: CommitSequence,
        /// The last commit left out.
        to: CommitSequence,
    },
}

impl<T: Serialize + DeserializeOwned> Collection<T> {
    /// How a document would break the schema if it were inserted now, defaults applied; for forms that tell before
    /// they store. Nothing when it fits, or when there is no schema.
    ///
    /// # Errors
    /// What [`insert`](Self::insert) says of documents that no schema could allow.
    pub fn violations(&self, document: &T) -> Result<Vec<Violation>> {
        let core = self.database().core();
        let (id, body) = Body::from_serialize(document, &core.limits.document)?;
        let Some(schema) = core.schemas.get(self.name()) else {
            return Ok(Vec::new());
        };
        let rule = schema.compiled(self.name().as_str())?;
        // One that has no id yet gets one before it is stored.
        let id = id.map_or_else(|| DocumentId::new("new"), Ok)?;
        let mut map = super::seen(&id, &body)?;
        rule.fill(&mut map);
        Ok(rule.validate(&map))
    }

    /// The stored documents that break the schema, by id: those that came by sync, from a dump or from before the
    /// schema. It reads the whole collection, a page at a time. An error is the last item.
    pub fn invalid(&self) -> Subscription<Result<InvalidDocument>>
    where
        T: 'static,
    {
        let search = Search {
            collection: self.clone(),
            number: self.number(),
            after: None,
            found: VecDeque::new(),
        };
        Subscription::new(stream::unfold(search, |mut search| async move {
            let item = search.next().await.transpose()?;
            Some((item, search))
        }))
    }

    /// The documents that sync brings from now on and that break the schema. They are stored and shown like any other:
    /// another device may run a program that knows more. Nothing waits for the one who listens. It ends when the database is
    /// closed.
    pub fn invalid_arrivals(&self) -> Subscription<InvalidArrival>
    where
        T: 'static,
    {
        let state = (self.clone(), self.changes());
        Subscription::new(stream::unfold(state, |(this, mut changes)| async move {
            loop {
                let arrival = match changes.next().await? {
                    ChangeItem::Lagged { from, to } => Some(InvalidArrival::Lagged { from, to }),
                    ChangeItem::Change(change) if change.is_from_sync => change
                        .document
                        .and_then(|document| this.judged(document).transpose())
                        .and_then(Result::ok)
                        .map(InvalidArrival::Document),
                    ChangeItem::Change(_) => None,
                };
                if let Some(arrival) = arrival {
                    return Some((arrival, (this, changes)));
                }
            }
        }))
    }

    /// The document with what is wrong with it, if anything is.
    fn judged(&self, document: Document) -> Result<Option<InvalidDocument>> {
        let schema = self.database().core().schemas.get(self.name());
        let (Some(schema), Some(body)) = (schema, document.body) else {
            return Ok(None);
        };
        let rule = schema.compiled(self.name().as_str())?;
        let violations = match violations(&*rule, &document.id, &body) {
            Ok(violations) => violations,
            // Whoever reads it is told that it is damaged.
            Err(error) if error.code() == codes::CORRUPT => return Err(error),
            Err(error) => vec![Violation::new("", error)],
        };
        Ok((!violations.is_empty()).then_some(InvalidDocument {
            id: document.id,
            rev: document.rev,
            body,
            violations,
        }))
    }
}

struct Search<T> {
    collection: Collection<T>,
    /// None behind the last page.
    number: Option<CollectionId>,
    after: Option<Vec<u8>>,
    found: VecDeque<InvalidDocument>,
}

impl<T: Serialize + DeserializeOwned> Search<T> {
    async fn next(&mut self) -> Result<Option<InvalidDocument>, Error> {
        while self.found.is_empty() {
            let Some(number) = self.number else {
                return Ok(None);
            };
            // Should this fail, nothing follows.
            self.number = None;
            let limit = ScanLimit::entries(CHUNK);
            let range = keys::documents(number);
            let range = match self.after.take() {
                Some(after) => range.after(after),
                None => range,
            };
            let page = self.collection.page(range, Direction::Forward, limit);
            let (documents, last) = page.await?;
            self.number = last.is_some().then_some(number);
            self.after = last;
            for document in documents {
                self.found.extend(self.collection.judged(document)?);
            }
        }
        Ok(self.found.pop_front())
    }
}
