//! Plans: which keys a query reads, in which order, and what is left to do afterwards.
//!
//! A plan follows from the query, the collection's ready indexes and what their entries say; the rule stands at
//! [`Plan::of`], the one about indexes at [`found::find`]. Every document that is read is checked by the whole filter,
//! so that a plan decides only how many are read.

mod bounds;
mod candidate;
mod explain;
mod found;
mod ids;
mod implies;

use std::sync::Arc;

use bounds::Terms;
use candidate::Candidate;
pub(super) use candidate::{Ordered, behind, both};
pub use explain::{PlanAccess, PlanOrder, QueryFigures, QueryPlan};
pub(crate) use found::Found;
pub(super) use ids::bounds_ids;
use pocket_storage::{Direction, KeyRange};

use super::execute::{Prepared, Reader};
use crate::Result;
use crate::config::RESIDUAL_FACTOR;
use crate::index::Index;
use crate::keys::CollectionId;
use crate::query::Order;

/// What a plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// All documents at once.
    Rows,
    /// One document after another, with little memory.
    Stream,
    /// How many there are.
    Count,
}

/// How a query is carried out.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) access: Access,
    /// Whether documents come out of it in the order of the query.
    pub(crate) is_in_order: bool,
    /// Whether every document it leads to passes the filter, so that none must be read to be counted.
    pub(crate) is_exact: bool,
}

/// Which documents are read.
#[derive(Clone, Debug)]
pub(crate) enum Access {
    /// These, by id.
    Found(Found),
    /// All in a range of their keys.
    Documents(KeyRange, Direction),
    /// Those of entries of an index, as they come.
    Ordered(Ordered),
}

impl Plan {
    /// The plan of a query.
    ///
    /// 1. With ids named in the filter, these documents are read.
    /// 2. If an index has the order of the query and there is a limit (or the result is streamed), its entries are read
    ///    in that order until the limit is reached: at once if the filter asks for nothing more than the entries tell
    ///    and the limit is at most `sure_reads`; otherwise it is weighed against 3. By id alone, an index has
    ///    that order if the filter pins all of its fields to one value.
    /// 3. Documents are found by their entries in indexes as [`found::find`] says, read by id, and sorted. Against 2, it
    ///    is taken if they are fewer than the limit; or, where the filter asks for more than the entries of 2 tell, fewer
    ///    than [`RESIDUAL_FACTOR`] times the limit.
    /// 4. Otherwise the collection is scanned, by id and between the ids that the filter allows; in the query's order if
    ///    it sorts by id.
    pub(super) async fn of(
        query: &Prepared,
        purpose: Purpose,
        collection: CollectionId,
        indexes: &[Arc<Index>],
        reader: &mut Reader,
    ) -> Result<Self> {
        let conjuncts = query.filter.node()?.conjuncts();
        if query.limit == Some(0) {
            return Ok(Self::of_found(Found::of_ids(Vec::new()), query));
        }
        if let Some(ids) = ids::named(conjuncts) {
            return Ok(Self::of_found(Found::of_ids(ids), query));
        }
        let terms = Terms::of(conjuncts);
        // Without a limit a stream holds what it must sort, unless that is read in order.
        let reach = match purpose {
            Purpose::Rows => query.reach(),
            Purpose::Stream => query.reach().or(Some(reader.tuning.sure_reads)),
            Purpose::Count => None,
        };
        let mut ordered = None;
        if let Some(reach) = reach {
            for index in indexes {
                let Some(next) = Ordered::of(index, query, conjuncts, &terms)? else {
                    continue;
                };
                if has_overflow(&next.candidate, reader).await? {
                    continue;
                }
                let told = terms.are_covered_by(next.candidate.exact_terms());
                let best = ordered
                    .as_ref()
                    .is_none_or(|(best, best_told): &(Ordered, bool)| {
                        (told, next.candidate.width()) > (*best_told, best.candidate.width())
                    });
                if best {
                    ordered = Some((next, told));
                }
            }
            if let Some((ordered, true)) = &ordered
                && reach <= reader.tuning.sure_reads
            {
                return Ok(Self::of_ordered(ordered.clone()));
            }
        }
        let reads = ordered.as_ref().map_or(usize::MAX, |(_, told)| {
            let factor = if *told { 1 } else { RESIDUAL_FACTOR };
            reach.unwrap_or(usize::MAX).saturating_mul(factor)
        });
        let found = found::find(reader, conjuncts, indexes, reads).await?;
        Ok(match (ordered, found) {
            (Some((ordered, _)), found) => match found.filter(|found| found.ids.len() < reads) {
                Some(found) => Self::of_found(found, query),
                None => Self::of_ordered(ordered),
            },
            (None, Some(found)) => Self::of_found(found, query),
            (None, None) => Self::scan(query, collection)?,
        })
    }

    /// The plan that reads no index.
    pub(super) fn scan(query: &Prepared, collection: CollectionId) -> Result<Self> {
        let conjuncts = query.filter.node()?.conjuncts();
        let falls = query.is_by_id()
            && (query.sort.id_order() == Order::Descending) != query.is_backwards();
        let direction = if falls {
            Direction::Backward
        } else {
            Direction::Forward
        };
        Ok(Self {
            access: Access::Documents(ids::range(query, conjuncts, collection), direction),
            is_in_order: query.is_by_id(),
            is_exact: false,
        })
    }

    fn of_found(mut found: Found, query: &Prepared) -> Self {
        let falls = (query.sort.id_order() == Order::Descending) != query.is_backwards();
        if query.is_by_id() && falls {
            found.ids.reverse();
        }
        Self {
            is_in_order: query.is_by_id(),
            is_exact: found.exact && query.after.is_none() && query.before.is_none(),
            access: Access::Found(found),
        }
    }

    fn of_ordered(ordered: Ordered) -> Self {
        Self {
            access: Access::Ordered(ordered),
            is_in_order: true,
            is_exact: false,
        }
    }

    /// The indexes it rests on.
    pub(super) fn indexes(&self) -> &[Arc<Index>] {
        match &self.access {
            Access::Found(found) => &found.indexes,
            Access::Ordered(ordered) => std::slice::from_ref(&ordered.candidate.index),
            Access::Documents(..) => &[],
        }
    }
}

/// Whether there are documents with too many values, whose place in the order is not known.
async fn has_overflow(candidate: &Candidate, reader: &mut Reader) -> Result<bool> {
    if !candidate.may_repeat() {
        return Ok(false);
    }
    let range = candidate.index.overflow();
    let keys = reader.keys(range, 1, Direction::Forward).await?;
    Ok(!keys.is_empty())
}
