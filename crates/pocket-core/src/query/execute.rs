//! Runs a prepared query: one scan of the collection, or one look-up by id.
//!
//! Filters, keys and cursors look at the encoded bodies; what is given out is projected last.

use pocket_storage::{Direction, KeyRange, ScanLimit};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::filter::{Node, Test};
use super::path::Place;
use super::sort::{Ranking, Row, Sort, SortKeys, Top};
use super::{Cursor, Filter, Order, Projection, QuerySpec};
use crate::keys::CollectionId;
use crate::value::Encoded;
use crate::{Collection, Document, DocumentId, Result, keys};

/// Documents read from the store at once.
const CHUNK: usize = 512;

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

    /// How many of the order are looked at, those passed over too; none when there is no bound.
    fn reach(&self) -> Option<usize> {
        self.limit.map(|limit| limit.saturating_add(self.skip))
    }

    /// Where the one document is that can match, if the filter names its id.
    pub(crate) fn id(&self) -> Result<Option<&crate::Value>> {
        let conjuncts = self.filter.node()?.conjuncts();
        Ok(conjuncts.iter().find_map(|node| match node {
            Node::Field(condition) if condition.path.is_id() => {
                condition.tests.iter().find_map(|test| match test {
                    Test::Eq(constant) => Some(constant.value()),
                    _ => None,
                })
            }
            _ => None,
        }))
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

    /// The documents that the query gives out, in its order, not yet projected.
    pub(crate) async fn rows<T>(&self, collection: &Collection<T>) -> Result<Vec<Row>>
    where
        T: Serialize + DeserializeOwned,
    {
        if self.limit == Some(0) {
            return Ok(Vec::new());
        }
        let backwards = self.is_backwards();
        let mut rows = if self.is_by_id() {
            let reach = self.reach().unwrap_or(usize::MAX);
            let mut rows = Vec::new();
            self.visit(collection, |keys, document| {
                rows.push(Row {
                    keys: SortKeys::new(keys),
                    document: document.clone(),
                });
                rows.len() < reach
            })
            .await?;
            rows
        } else {
            let ranking = Ranking {
                sort: &self.sort,
                backwards,
            };
            let mut top = Top::new(ranking, self.reach());
            self.visit(collection, |keys, document| {
                top.offer(keys, document);
                true
            })
            .await?;
            top.into_sorted()
        };
        rows.drain(..self.skip.min(rows.len()));
        if backwards {
            rows.reverse();
        }
        Ok(rows)
    }

    /// How many documents it gives out.
    pub(crate) async fn count<T>(&self, collection: &Collection<T>) -> Result<u64>
    where
        T: Serialize + DeserializeOwned,
    {
        let reach = self.reach().unwrap_or(usize::MAX);
        let mut count = 0;
        if self.limit != Some(0) {
            self.visit(collection, |_, _| {
                count += 1;
                count < reach
            })
            .await?;
        }
        Ok(count.saturating_sub(self.skip) as u64)
    }

    /// Shows each document that the query selects to `see`, by id in the direction of the query, until it answers
    /// false.
    async fn visit<T>(
        &self,
        collection: &Collection<T>,
        mut see: impl FnMut(&[Encoded<'_>], &Document) -> bool,
    ) -> Result<()>
    where
        T: Serialize + DeserializeOwned,
    {
        if let Some(id) = self.id()? {
            // What is no id at all matches nothing.
            let found = match id.as_str().filter(|id| DocumentId::new(id).is_ok()) {
                Some(id) => collection.get_document(id).await?,
                None => None,
            };
            if let Some(document) = found
                && let Some(keys) = self.select(&document)?
            {
                see(&keys, &document);
            }
            return Ok(());
        }
        let Some(number) = collection.number() else {
            return Ok(());
        };
        let mut scan = Scan::new(self, number);
        while let Some(documents) = scan.next(collection).await? {
            for document in &documents {
                if let Some(keys) = self.select(document)?
                    && !see(&keys, document)
                {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// A scan of a collection by id, one page after another.
#[derive(Debug)]
pub(super) struct Scan {
    /// What is left; none behind the last page.
    range: Option<KeyRange>,
    direction: Direction,
}

impl Scan {
    /// The scan of a query in its own direction, between its cursors where they are ids.
    pub(super) fn new(query: &Prepared, collection: CollectionId) -> Self {
        let mut range = keys::documents(collection);
        let mut forward = true;
        if query.is_by_id() {
            let rises = query.sort.id_order() == Order::Ascending;
            forward = rises != query.is_backwards();
            for (cursor, is_after) in [(&query.after, true), (&query.before, false)] {
                if let Some(cursor) = cursor {
                    let key = keys::document(collection, &cursor.id);
                    range = if is_after == rises {
                        range.after(key)
                    } else {
                        range.before(key)
                    };
                }
            }
        }
        let direction = if forward {
            Direction::Forward
        } else {
            Direction::Backward
        };
        Self {
            range: (!range.is_empty()).then_some(range),
            direction,
        }
    }

    /// The next documents, tombstones too; none at the end.
    pub(super) async fn next<T>(
        &mut self,
        collection: &Collection<T>,
    ) -> Result<Option<Vec<Document>>>
    where
        T: Serialize + DeserializeOwned,
    {
        let Some(range) = self.range.take() else {
            return Ok(None);
        };
        let limit = ScanLimit::entries(CHUNK);
        let (documents, last) = collection
            .page(range.clone(), self.direction, limit)
            .await?;
        let Some(last) = last else {
            return Ok(None);
        };
        self.range = Some(match self.direction {
            Direction::Forward => range.after(last),
            Direction::Backward => range.before(last),
        });
        Ok(Some(documents))
    }
}
