//! Runs prepared queries by their plans.
//!
//! Filters, keys and cursors look at the encoded bodies; what is given out is projected last.

mod attempt;
mod meetings;
mod one_state;
mod ordered;
mod read;
mod sieve;
mod source;
#[cfg(not(target_arch = "wasm32"))]
mod visited;

use attempt::{Outcome, Task};
pub(crate) use meetings::Meetings;
pub(super) use one_state::of as collection_of;
pub(super) use read::{Figures, Reader};
use serde::Serialize;
use serde::de::DeserializeOwned;
pub(super) use source::Source;

use super::path::Place;
use super::plan::{self, QueryPlan};
use super::sort::{Row, Sort};
use super::{Cursor, Filter, Projection, QuerySpec};
use crate::registry::not_found;
use crate::value::Encoded;
use crate::{Collection, CommitSequence, Document, DocumentId, Result};

/// A query that was checked, ready to run.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) filter: Filter,
    pub(crate) sort: Sort,
    pub(crate) skip: usize,
    pub(crate) limit: Option<usize>,
    pub(crate) after: Option<Cursor>,
    pub(crate) before: Option<Cursor>,
    pub(crate) projection: Projection,
}

impl Prepared {
    /// Checks a query as a whole.
    ///
    /// # Errors
    /// `bad-query`.
    pub(crate) fn new(spec: &QuerySpec) -> Result<Self> {
        spec.filter.check()?;
        let fields = spec.sort.iter();
        let sort = Sort::new(fields.map(|field| (field.field.as_str(), field.order)))?;
        for cursor in spec.after.iter().chain(&spec.before) {
            cursor.check(&sort)?;
        }
        Ok(Self {
            filter: spec.filter.clone(),
            sort,
            skip: spec.skip,
            limit: spec.limit,
            after: spec.after.clone(),
            before: spec.before.clone(),
            projection: Projection::new(&spec.include, &spec.exclude)?,
        })
    }

    /// Whether it counts from its end: with nothing but an end given, the last documents before it are meant.
    pub(crate) fn is_backwards(&self) -> bool {
        self.before.is_some() && self.after.is_none()
    }

    /// Whether documents come in the order they are stored in, or its reverse.
    pub(crate) fn is_by_id(&self) -> bool {
        self.sort.fields().is_empty()
    }

    /// Whether it may leave out documents that its plan leads to.
    fn leaves_out(&self) -> bool {
        let by_cursor = !self.is_by_id() && (self.after.is_some() || self.before.is_some());
        by_cursor
            || self
                .filter
                .node()
                .is_ok_and(|node| !node.conjuncts().is_empty())
    }

    /// How many of the order are looked at, those passed over too; none when there is no bound.
    pub(super) fn reach(&self) -> Option<usize> {
        self.limit.map(|limit| limit.saturating_add(self.skip))
    }

    /// Whether the ids that it can select lie in a range, by its filter or its cursors.
    pub(super) fn has_id_range(&self) -> bool {
        let by_cursor = self.is_by_id() && (self.after.is_some() || self.before.is_some());
        by_cursor
            || self
                .filter
                .node()
                .is_ok_and(|node| plan::bounds_ids(node.conjuncts()))
    }

    /// What a document is sorted by, if the query selects it.
    pub(crate) fn select<'a>(&self, document: &'a Document) -> Result<Option<Vec<Encoded<'a>>>> {
        let Some(body) = &document.body else {
            return Ok(None);
        };
        if !self.filter.matches(&document.id, body)? {
            return Ok(None);
        }
        let keys = self.sort.keys(Place::document(&document.id, body)?)?;
        let is_within = self.stands(&keys, &document.id);
        Ok(is_within.then_some(keys))
    }

    /// Whether a place lies between the cursors.
    fn stands(&self, keys: &[Encoded<'_>], id: &DocumentId) -> bool {
        let against = |cursor: &Cursor| {
            self.sort
                .compare((keys.iter().copied(), id), (cursor.keys.iter(), &cursor.id))
        };
        self.after
            .as_ref()
            .is_none_or(|after| against(after).is_gt())
            && self
                .before
                .as_ref()
                .is_none_or(|before| against(before).is_lt())
    }

    /// A document as it is given out.
    pub(crate) fn project(&self, mut document: Document) -> Result<Document> {
        document.body = document
            .body
            .map(|body| self.projection.apply(body))
            .transpose()?;
        Ok(document)
    }

    /// The documents that the query gives out, in its order, not yet projected; all of one state of the database.
    pub(crate) async fn rows<T>(&self, collection: &Collection<T>) -> Result<Vec<Row>>
    where
        T: Serialize + DeserializeOwned,
    {
        let outcome = self.run(collection, Task::Rows).await?;
        Ok(outcome.map(|outcome| outcome.rows).unwrap_or_default())
    }

    /// As [`rows`](Self::rows), read while nobody commits through this handle; with the commit whose state it is.
    pub(crate) async fn rows_alone<T>(
        &self,
        collection: &Collection<T>,
    ) -> Result<(Vec<Row>, CommitSequence)>
    where
        T: Serialize + DeserializeOwned,
    {
        let (database, name) = (collection.database(), collection.name());
        let (outcome, at) = one_state::run_alone(self, Task::Rows, database, name).await?;
        Ok((outcome.map(|outcome| outcome.rows).unwrap_or_default(), at))
    }

    /// How many documents it gives out, in one state of the database.
    pub(crate) async fn count<T>(&self, collection: &Collection<T>) -> Result<u64>
    where
        T: Serialize + DeserializeOwned,
    {
        let outcome = self.run(collection, Task::Count).await?;
        Ok(outcome.map_or(0, |outcome| outcome.count))
    }

    /// How it is carried out; run, too, if that is asked for.
    pub(super) async fn explain<T>(
        &self,
        collection: &Collection<T>,
        analyze: bool,
    ) -> Result<QueryPlan>
    where
        T: Serialize + DeserializeOwned,
    {
        let task = if analyze { Task::Analysis } else { Task::Plan };
        let outcome = self.run(collection, task).await?;
        let outcome = outcome.ok_or_else(|| not_found(collection.name()))?;
        let figures = analyze.then_some((outcome.figures, outcome.count));
        Ok(QueryPlan::of(
            &outcome.plan,
            self,
            collection.name().as_str(),
            figures,
        ))
    }

    async fn run<T>(&self, collection: &Collection<T>, task: Task) -> Result<Option<Outcome>>
    where
        T: Serialize + DeserializeOwned,
    {
        let database = collection.database();
        let outcome = one_state::run(self, task, database, collection.name()).await;
        outcome.map_err(|error| database.core().named(error))
    }
}
