//! One run of a query by its plan.

use std::sync::Arc;

use bytes::Bytes;

use super::{Figures, Prepared, Reader, Source};
use crate::index::Index;
use crate::keys::CollectionId;
use crate::query::plan::{Access, Plan, Purpose};
use crate::query::sort::{Ranking, Row, SortKeys, Top};
use crate::value::Encoded;
use crate::{Document, Result};

/// Batches of documents after which it is asked whether the state is still the same.
const CHECKED_BATCHES: usize = 8;

/// What is wanted of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Its documents.
    Rows,
    /// Its documents, and figures of how they were found.
    Analysis,
    /// How many there are.
    Count,
    /// Its plan alone.
    Plan,
}

/// What a query gave.
#[derive(Debug)]
pub(super) struct Outcome {
    /// In the query's order.
    pub(super) rows: Vec<Row>,
    pub(super) count: u64,
    pub(super) plan: Plan,
    pub(super) figures: Figures,
}

/// How it is known that all was read of one state.
#[derive(Clone, Debug)]
pub(super) enum Proof {
    /// This is the state row that belongs to the indexes. It is there until the next commit, and never again.
    State(Option<Bytes>),
    /// The reader shows one state; the indexes are of another one, perhaps.
    Indexes,
}

impl Proof {
    async fn holds(&self, plan: &Plan, reader: &mut Reader) -> Result<bool> {
        match self {
            Self::State(seen) => Ok(reader.state().await? == *seen),
            Self::Indexes => reader.are_current(plan.indexes()).await,
        }
    }
}

/// Runs a query. None when what was read may be of several states, or of an index that is no longer what it was.
pub(super) async fn attempt(
    query: &Prepared,
    task: Task,
    collection: CollectionId,
    indexes: &[Arc<Index>],
    proof: &Proof,
    reader: &mut Reader,
) -> Result<Option<Outcome>> {
    let purpose = match task {
        Task::Rows | Task::Analysis | Task::Plan => Purpose::Rows,
        Task::Count => Purpose::Count,
    };
    if task == Task::Analysis {
        reader.count_exactly();
    }
    let plan = Plan::of(query, purpose, collection, indexes, reader).await?;
    let mut found = Collected::new(query, task, &plan);
    if reader.hides() || !found.is_known(&plan) {
        if let Access::Found(known) = &plan.access {
            reader.foresee(known.ids.len()).await;
        }
        let mut source = Source::new(&plan, query, collection, &reader.tuning, purpose);
        let mut batches = 0;
        while found.wants_more()
            && let Some(documents) = source.next(query, reader).await?
        {
            for document in &documents {
                if let Some(keys) = query.select(document)? {
                    found.take(&keys, document);
                    if !found.wants_more() {
                        break;
                    }
                }
            }
            if let Some(last) = found.last_wanted() {
                source.narrow(query, last);
            }
            batches += 1;
            if batches % CHECKED_BATCHES == 0 && !proof.holds(&plan, reader).await? {
                return Ok(None);
            }
        }
    }
    // One call to the store shows one state.
    let is_one_call = reader.figures().calls <= 1 && plan.indexes().is_empty();
    if !is_one_call && !proof.holds(&plan, reader).await? {
        return Ok(None);
    }
    if !plan.indexes().is_empty() {
        reader.explain_missed(collection).await?;
    }
    let (rows, count) = found.finish(query);
    Ok(Some(Outcome {
        rows,
        count,
        plan,
        figures: reader.figures(),
    }))
}

/// What was found so far.
enum Collected<'a> {
    Nothing,
    Count { count: usize, most: usize },
    InOrder { rows: Vec<Row>, most: usize },
    Top(Top<'a>),
}

impl<'a> Collected<'a> {
    fn new(query: &'a Prepared, task: Task, plan: &Plan) -> Self {
        let most = query.reach().unwrap_or(usize::MAX);
        match task {
            Task::Plan => Self::Nothing,
            Task::Count => Self::Count { count: 0, most },
            Task::Rows | Task::Analysis if plan.is_in_order => Self::InOrder {
                rows: Vec::new(),
                most,
            },
            Task::Rows | Task::Analysis => Self::Top(Top::new(
                Ranking {
                    sort: &query.sort,
                    backwards: query.is_backwards(),
                },
                query.reach(),
            )),
        }
    }

    /// Whether no document has to be read.
    fn is_known(&mut self, plan: &Plan) -> bool {
        match (self, &plan.access) {
            (Self::Nothing, _) => true,
            (Self::Count { count, most }, Access::Found(found)) if plan.is_exact => {
                *count = found.ids.len().min(*most);
                true
            }
            _ => false,
        }
    }

    fn wants_more(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Count { count, most } => count < most,
            Self::InOrder { rows, most } => rows.len() < *most,
            Self::Top(_) => true,
        }
    }

    /// The row behind which nothing is needed any more.
    fn last_wanted(&self) -> Option<&Row> {
        match self {
            Self::Top(top) => top.last_wanted(),
            _ => None,
        }
    }

    fn take(&mut self, keys: &[Encoded<'_>], document: &Document) {
        match self {
            Self::Nothing => {}
            Self::Count { count, .. } => *count += 1,
            Self::InOrder { rows, .. } => rows.push(Row {
                keys: SortKeys::new(keys),
                document: document.clone(),
            }),
            Self::Top(top) => top.offer(keys, document),
        }
    }

    fn finish(self, query: &Prepared) -> (Vec<Row>, u64) {
        let mut rows = match self {
            Self::Nothing => Vec::new(),
            Self::Count { count, .. } => {
                return (Vec::new(), count.saturating_sub(query.skip) as u64);
            }
            Self::InOrder { rows, .. } => rows,
            Self::Top(top) => top.into_sorted(),
        };
        rows.drain(..query.skip.min(rows.len()));
        if query.is_backwards() {
            rows.reverse();
        }
        let count = rows.len() as u64;
        (rows, count)
    }
}
