//! Queries: which documents, in which order, how many, and what of them.
//!
//! The language is described in `docs/guide/queries.md`.

mod cursor;
mod execute;
mod filter;
pub(crate) mod path;
mod plan;
mod projection;
mod sort;
mod spec;
mod stream;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use cursor::Cursor;
pub(crate) use execute::{Meetings, Prepared};
pub(crate) use filter::{Constant, Node, Test};
pub use filter::{Element, ElementFilter, Field, Filter, element, field};
use path::Place;
pub use plan::{PlanAccess, PlanOrder, QueryFigures, QueryPlan};
use projection::Projection;
pub use sort::Order;
pub(crate) use sort::{Sort, SortKeys};
pub use spec::{QuerySpec, SortField};

use crate::{Collection, Count, Document, Error, Result, Value, codes};

/// A query on one collection.
///
/// Every condition must hold. Without a sort, documents come by id. What is wrong with it is told by every call that
/// runs it, as `bad-query`, before anything is read.
///
/// ```
/// # use pocket_core::{Collection, Order, Result, Value, field};
/// # async fn example(people: Collection<Value>) -> Result<()> {
/// let page = people
///     .find()
///     .where_field("address.city").eq("Graz")
///     .filter(field("age").gte(18).or(field("guardian").exists()))
///     .sort("age", Order::Descending)
///     .limit(20)
///     .page()
///     .await?;
/// if let Some(end) = page.end {
///     let next = people.find().sort("age", Order::Descending).after(end).limit(20).all().await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use]
pub struct Query<T> {
    pub(crate) collection: Collection<T>,
    spec: QuerySpec,
}

impl<T> Clone for Query<T> {
    fn clone(&self) -> Self {
        Self {
            collection: self.collection.clone(),
            spec: self.spec.clone(),
        }
    }
}

/// A field of a query that waits for an operator.
#[derive(Debug)]
#[must_use]
pub struct Where<T> {
    query: Query<T>,
    path: String,
}

impl<T: Serialize + DeserializeOwned> Where<T> {
    filter::operators!(Query<T>);

    fn test(self, test: impl FnOnce(&str) -> Result<filter::Test>) -> Query<T> {
        let filter = field(self.path).test(test);
        self.query.filter(filter)
    }
}

/// Some documents of a query, with the places of the first and the last of them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page<T> {
    /// The documents in the query's order.
    pub documents: Vec<T>,
    /// Where the first stands; the page before is the query with this as `before`.
    pub start: Option<Cursor>,
    /// Where the last stands; the page behind is the query with this as `after`.
    pub end: Option<Cursor>,
}

impl<T: Serialize + DeserializeOwned> Query<T> {
    pub(crate) fn new(collection: Collection<T>, spec: QuerySpec) -> Self {
        Self { collection, spec }
    }

    /// Begins a condition on the field at a dotted path; the operator follows.
    pub fn where_field(self, path: impl Into<String>) -> Where<T> {
        Where {
            query: self,
            path: path.into(),
        }
    }

    /// Requires that a filter holds too.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.spec.filter = std::mem::take(&mut self.spec.filter).and(filter);
        self
    }

    /// Sorts by the field at a dotted path, behind the sorts before. Of an array the least element counts, or the
    /// greatest where the order falls; a missing field counts as null.
    ///
    /// Ties are broken by id, rising. `_id` may be sorted by itself, the other system fields may not.
    pub fn sort(mut self, field: impl Into<String>, order: Order) -> Self {
        self.spec.sort.push(SortField::new(field, order));
        self
    }

    /// Passes over so many documents at the beginning.
    pub fn skip(mut self, skip: usize) -> Self {
        self.spec.skip = skip;
        self
    }

    /// At most so many documents.
    pub fn limit(mut self, limit: usize) -> Self {
        self.spec.limit = Some(limit);
        self
    }

    /// Only documents behind a place in this order.
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.spec.after = Some(cursor);
        self
    }

    /// Only documents before a place in this order.
    ///
    /// Without an [`after`](Self::after), skip and limit count from this end: `before(c).limit(10)` are the ten
    /// documents right before the place, still in the query's order.
    pub fn before(mut self, cursor: Cursor) -> Self {
        self.spec.before = Some(cursor);
        self
    }

    /// Gives out only these fields, besides the `_id`; adds to those included before.
    ///
    /// The type that is read must do with them: fields left out need a default or to be an `Option`.
    pub fn include<F: Into<String>>(mut self, fields: impl IntoIterator<Item = F>) -> Self {
        self.spec.include.extend(fields.into_iter().map(Into::into));
        self
    }

    /// Gives out all but these fields; adds to those excluded before. The `_id` cannot be excluded.
    ///
    /// As for [`include`](Self::include), the type that is read must do without them.
    pub fn exclude<F: Into<String>>(mut self, fields: impl IntoIterator<Item = F>) -> Self {
        self.spec.exclude.extend(fields.into_iter().map(Into::into));
        self
    }

    /// Reads the documents as another type, as fits what is included.
    pub fn read_as<U: Serialize + DeserializeOwned>(self) -> Query<U> {
        let collection = &self.collection;
        let collection = Collection::new(collection.database().clone(), collection.name().clone());
        Query::new(collection, self.spec)
    }

    /// The query as data.
    pub fn spec(&self) -> &QuerySpec {
        &self.spec
    }

    /// The documents, all of one state of the database.
    ///
    /// # Errors
    /// `bad-query`, `type-mismatch`, `corrupt`, and what the store says.
    pub async fn all(&self) -> Result<Vec<T>> {
        decode(&self.documents().await?)
    }

    /// The documents with their revisions.
    ///
    /// # Errors
    /// As [`all`](Self::all).
    pub async fn documents(&self) -> Result<Vec<Document>> {
        let prepared = self.prepared()?;
        let rows = prepared.rows(&self.collection).await?;
        rows.into_iter()
            .map(|row| prepared.project(row.document))
            .collect()
    }

    /// The documents, with the places of the first and the last: how to go on from them or back.
    ///
    /// # Errors
    /// As [`all`](Self::all).
    pub async fn page(&self) -> Result<Page<T>> {
        let page = self.page_of_documents().await?;
        Ok(Page {
            documents: decode(&page.documents)?,
            start: page.start,
            end: page.end,
        })
    }

    /// As [`page`](Self::page), with revisions.
    ///
    /// # Errors
    /// As [`all`](Self::all).
    pub async fn page_of_documents(&self) -> Result<Page<Document>> {
        let prepared = self.prepared()?;
        let rows = prepared.rows(&self.collection).await?;
        let cursor = |row: &sort::Row| {
            Cursor::new(&prepared.sort, row.keys.clone(), row.document.id.clone())
        };
        let (start, end) = (rows.first().map(cursor), rows.last().map(cursor));
        let documents = rows
            .into_iter()
            .map(|row| prepared.project(row.document))
            .collect::<Result<_>>()?;
        Ok(Page {
            documents,
            start,
            end,
        })
    }

    /// The place of a document in this query's order, whether or not the query selects it.
    ///
    /// The document must hold the fields that are sorted by, so take it from a query that includes them.
    ///
    /// # Errors
    /// `bad-query`; `document-deleted` for a tombstone, which has no place; `corrupt`.
    pub fn cursor_of(&self, document: &Document) -> Result<Cursor> {
        let sort = self.prepared()?.sort;
        let Some(body) = &document.body else {
            return Err(Error::new(
                codes::DOCUMENT_DELETED,
                format!(
                    "{:?} is deleted and has no place in an order; take the cursor while it is there",
                    document.id
                ),
            ));
        };
        let keys = sort.keys(Place::document(&document.id, body)?)?;
        Ok(Cursor::new(
            &sort,
            SortKeys::new(&keys),
            document.id.clone(),
        ))
    }

    /// The first document.
    ///
    /// # Errors
    /// As [`all`](Self::all).
    pub async fn first(&self) -> Result<Option<T>> {
        let mut prepared = self.prepared()?;
        if !prepared.is_backwards() {
            prepared.limit = Some(prepared.limit.unwrap_or(1).min(1));
        }
        let rows = prepared.rows(&self.collection).await?;
        match rows.into_iter().next() {
            Some(row) => prepared.project(row.document)?.decode(),
            None => Ok(None),
        }
    }

    /// How many documents the query gives out: those that match, between the cursors, without those passed over, up to
    /// the limit. `.await` counts once, [`live`](Count::live) from now on.
    ///
    /// # Errors
    /// As [`all`](Self::all).
    pub fn count(&self) -> Count {
        Count::new(self.clone().read_as())
    }

    pub(crate) async fn counted(&self) -> Result<u64> {
        self.prepared()?.count(&self.collection).await
    }

    /// How the query is carried out: its plan, without running it. Entries of indexes are read to make it.
    ///
    /// # Errors
    /// `bad-query`, `collection-not-found`, `corrupt`, and what the store says.
    pub async fn explain(&self) -> Result<QueryPlan> {
        self.prepared()?.explain(&self.collection, false).await
    }

    /// As [`explain`](Self::explain), with what it cost to run the query as [`documents`](Self::documents) does.
    ///
    /// # Errors
    /// As [`explain`](Self::explain).
    pub async fn analyze(&self) -> Result<QueryPlan> {
        self.prepared()?.explain(&self.collection, true).await
    }

    fn prepared(&self) -> Result<Prepared> {
        Prepared::new(&self.spec)
    }
}

fn decode<T: DeserializeOwned>(documents: &[Document]) -> Result<Vec<T>> {
    documents
        .iter()
        .filter_map(|document| document.decode().transpose())
        .collect()
}

/// Compiles and runs the examples of the guide.
#[cfg(doctest)]
#[doc = include_str!("../../../../docs/guide/queries.md")]
struct Guide;
