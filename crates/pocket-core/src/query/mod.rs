//! Queries: which documents, in which order, how many.

mod filter;
pub(crate) mod path;
mod sort;
mod stream;

use pocket_storage::ScanLimit;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::value::SYSTEM_FIELDS;
use crate::{Collection, Document, DocumentId, Error, Result, Value, codes};
use filter::Filter;
pub use sort::Order;
use sort::{Sort, Top};

/// Documents read from the store at once.
const CHUNK: usize = 512;

/// A query on one collection.
///
/// Every condition must hold. Without a sort, documents come by id.
#[derive(Debug)]
#[must_use]
pub struct Query<T> {
    collection: Collection<T>,
    filter: Filter,
    sort: Sort,
    limit: Option<usize>,
    bad: Option<Error>,
}

impl<T> Clone for Query<T> {
    fn clone(&self) -> Self {
        Self {
            collection: self.collection.clone(),
            filter: self.filter.clone(),
            sort: self.sort.clone(),
            limit: self.limit,
            bad: self.bad.clone(),
        }
    }
}

/// Why a query cannot ask for this field.
fn fault(field: &str) -> Option<Error> {
    let message = if SYSTEM_FIELDS.contains(&field) {
        format!(
            "a query cannot ask for `{field}`; of the system fields it knows `_id`, and deleted documents are never found"
        )
    } else if field.is_empty() || field.contains('.') || field.starts_with('$') {
        format!("a query takes the name of a top-level field, not {field:?}")
    } else {
        return None;
    };
    Some(Error::new(codes::BAD_QUERY, message))
}

impl<T: Serialize + DeserializeOwned> Query<T> {
    pub(crate) fn new(collection: Collection<T>) -> Self {
        Self {
            collection,
            filter: Filter::default(),
            sort: Sort::default(),
            limit: None,
            bad: None,
        }
    }

    /// Requires that a field of the top level equals `value`: the same kind, numbers by value, arrays and maps deeply.
    /// Null also equals a missing field. `_id` may be asked for, the other system fields may not.
    pub fn where_eq(mut self, field: impl Into<String>, value: impl Into<Value>) -> Self {
        let field = field.into();
        match fault(&field) {
            Some(fault) => self.bad = Some(fault),
            None => self.filter.add(field, value.into()),
        }
        self
    }

    /// Sorts by a field of the top level, behind the sorts before; ties are broken by id, rising.
    ///
    /// `_id` may be sorted by, the other system fields may not.
    pub fn sort(mut self, field: impl Into<String>, order: Order) -> Self {
        let field = field.into();
        match fault(&field) {
            Some(fault) => self.bad = Some(fault),
            None => self.sort.add(field, order),
        }
        self
    }

    /// At most so many documents.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The documents.
    ///
    /// # Errors
    /// `bad-query`, `type-mismatch`, `corrupt`, and what the store says.
    pub async fn all(&self) -> Result<Vec<T>> {
        let documents = self.documents().await?;
        documents
            .iter()
            .filter_map(|document| document.decode().transpose())
            .collect()
    }

    /// The documents with their revisions.
    ///
    /// # Errors
    /// As [`all`](Self::all).
    pub async fn documents(&self) -> Result<Vec<Document>> {
        if self.sort.is_by_id() {
            let mut found = Vec::new();
            self.visit(|document| {
                found.push(document);
                Ok(self.limit.is_none_or(|limit| found.len() < limit))
            })
            .await?;
            return Ok(found);
        }
        let mut top = Top::new(&self.sort, self.limit);
        self.visit(|document| top.offer(document).map(|()| true))
            .await?;
        Ok(top.into_sorted())
    }

    /// The first document.
    ///
    /// # Errors
    /// As [`all`](Self::all).
    pub async fn first(&self) -> Result<Option<T>> {
        let found = self
            .clone()
            .limit(self.limit.unwrap_or(1).min(1))
            .all()
            .await?;
        Ok(found.into_iter().next())
    }

    /// How many documents match, up to the limit.
    ///
    /// # Errors
    /// As [`all`](Self::all).
    pub async fn count(&self) -> Result<u64> {
        let limit = self.limit.map_or(u64::MAX, |limit| limit as u64);
        let mut count = 0;
        self.visit(|_| {
            count += 1;
            Ok(count < limit)
        })
        .await?;
        Ok(count.min(limit))
    }

    /// Shows each match to `see`, by id, until it answers false.
    async fn visit(&self, mut see: impl FnMut(Document) -> Result<bool>) -> Result<()> {
        if let Some(bad) = &self.bad {
            return Err(bad.clone());
        }
        if self.limit == Some(0) {
            return Ok(());
        }
        if let Some(id) = self.filter.id() {
            // What is no id at all matches nothing.
            let found = match id.as_str().filter(|id| DocumentId::new(id).is_ok()) {
                Some(id) => self.collection.get_document(id).await?,
                None => None,
            };
            if let Some(document) = found.filter(|document| !document.is_deleted())
                && self.filter.matches(&document)?
            {
                see(document)?;
            }
            return Ok(());
        }
        let Some(number) = self.collection.number() else {
            return Ok(());
        };
        let mut after = None;
        loop {
            let (documents, last) = self
                .collection
                .page(number, after, ScanLimit::entries(CHUNK))
                .await?;
            if last.is_none() {
                return Ok(());
            }
            after = last;
            for document in documents {
                if !document.is_deleted() && self.filter.matches(&document)? && !see(document)? {
                    return Ok(());
                }
            }
        }
    }
}
