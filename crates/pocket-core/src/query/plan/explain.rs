//! Plans as they are shown.

use std::fmt;

use pocket_storage::Direction;
use serde::Serialize;

use super::{Access, Plan};
use crate::query::execute::{Figures, Prepared};
use crate::query::{Filter, QuerySpec};

/// How a query is carried out: the very plan it runs by, as [`Query::explain`](crate::Query::explain) tells it.
///
/// As text it is a tree, the last step on top; through serde it is data.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct QueryPlan {
    /// The collection.
    pub collection: String,
    /// Which documents are read.
    pub access: PlanAccess,
    /// What every document that is read is checked by.
    pub filter: Filter,
    /// How they come into the order of the query.
    pub order: PlanOrder,
    /// Documents passed over at the beginning.
    pub skip: usize,
    /// Documents given out at the most.
    pub limit: Option<usize>,
    /// What running it cost; only of [`Query::analyze`](crate::Query::analyze).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub figures: Option<QueryFigures>,
}

/// Which documents a plan reads.
///
/// To know how many documents a range of an index leads to, planning reads its entries: the numbers here are no
/// estimates.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PlanAccess {
    /// Those the filter names by id, by id.
    Ids {
        /// How many.
        ids: usize,
    },
    /// Those of a range of an index, by id.
    Index {
        /// Its name.
        index: String,
        /// What the entries have in common.
        bounds: Filter,
        /// How many entries there are.
        entries: usize,
    },
    /// Those that all of these have, by id.
    Intersection {
        /// What is intersected.
        of: Vec<Self>,
        /// How many are left.
        ids: usize,
    },
    /// Those that one of these has, by id.
    Union {
        /// What is joined.
        of: Vec<Self>,
        /// How many there are.
        ids: usize,
    },
    /// Those of a range of an index, as its entries come, until there are enough.
    IndexOrder {
        /// Its name.
        index: String,
        /// What the entries have in common.
        #[serde(skip_serializing_if = "is_all")]
        bounds: Filter,
        /// Whether it is read from its end.
        backward: bool,
    },
    /// Those whose ids lie in a range, by id.
    IdRange {
        /// Whether it is read from its end.
        backward: bool,
    },
    /// All of the collection, by id.
    FullScan {
        /// Whether it is read from its end.
        backward: bool,
    },
}

/// How the documents of a plan come into the order of the query.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PlanOrder {
    /// They are read in it, so that reading ends with the limit.
    Read,
    /// All are looked at and the first ones kept.
    Top {
        /// The order, like `age desc, _id asc`.
        sort: String,
        /// How many are kept.
        kept: usize,
    },
    /// All are read, then sorted.
    Sort {
        /// The order.
        sort: String,
    },
}

/// What running a query cost. Planning is part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct QueryFigures {
    /// Entries of indexes that were read.
    pub index_entries: u64,
    /// Documents that were looked at; where the collection was scanned, tombstones, too.
    pub documents_read: u64,
    /// Documents that were given out.
    pub documents_returned: u64,
    /// Bytes of entries and documents as the store holds them, with the keys of what was scanned.
    pub bytes_read: u64,
    /// Reads of the store, of which several may be one call to its thread.
    pub store_calls: u64,
}

impl QueryPlan {
    pub(in crate::query) fn of(
        plan: &Plan,
        query: &Prepared,
        collection: &str,
        figures: Option<(Figures, u64)>,
    ) -> Self {
        let sort = query.sort.to_string();
        let order = if plan.is_in_order {
            PlanOrder::Read
        } else if let Some(kept) = query.reach() {
            PlanOrder::Top { sort, kept }
        } else {
            PlanOrder::Sort { sort }
        };
        let figures = figures.map(|(figures, returned)| QueryFigures {
            index_entries: figures.index_entries,
            documents_read: figures.documents,
            documents_returned: returned,
            bytes_read: figures.bytes,
            store_calls: figures.calls,
        });
        Self {
            collection: collection.to_owned(),
            access: plan.access.shown(query),
            filter: query.filter.clone(),
            order,
            skip: query.skip,
            limit: query.limit,
            figures,
        }
    }
}

impl Access {
    fn shown(&self, query: &Prepared) -> PlanAccess {
        match self {
            Self::Found(found) => found.access.clone(),
            Self::Documents(_, direction) => {
                let backward = *direction == Direction::Backward;
                if query.has_id_range() {
                    PlanAccess::IdRange { backward }
                } else {
                    PlanAccess::FullScan { backward }
                }
            }
            Self::Ordered(ordered) => PlanAccess::IndexOrder {
                index: ordered.candidate.index.name().to_owned(),
                bounds: ordered.candidate.bounds(),
                backward: ordered.backward,
            },
        }
    }
}

impl PlanAccess {
    /// The names of the indexes that are read.
    pub fn indexes(&self) -> Vec<&str> {
        match self {
            Self::Index { index, .. } | Self::IndexOrder { index, .. } => vec![index],
            Self::Intersection { of, .. } | Self::Union { of, .. } => {
                of.iter().flat_map(Self::indexes).collect()
            }
            Self::Ids { .. } | Self::IdRange { .. } | Self::FullScan { .. } => Vec::new(),
        }
    }

    /// One line about it, and what stands below.
    fn lines(&self) -> (String, &[Self]) {
        let way = |backward: &bool| if *backward { ", backward" } else { "" };
        match self {
            Self::Ids { ids } => (format!("{ids} by id"), &[]),
            Self::Index {
                index,
                bounds,
                entries,
            } => (
                format!("index {index}: {}, {entries} entries", json(bounds)),
                &[],
            ),
            Self::Intersection { of, ids } => (format!("{ids} in all of"), of),
            Self::Union { of, ids } => (format!("{ids} in any of"), of),
            Self::IndexOrder {
                index,
                bounds,
                backward,
            } => {
                let mut line = format!("index {index} in order{}", way(backward));
                if !is_all(bounds) {
                    line.push_str(": ");
                    line.push_str(&json(bounds));
                }
                (line, &[])
            }
            Self::IdRange { backward } => (format!("range of ids{}", way(backward)), &[]),
            Self::FullScan { backward } => (format!("full scan{}", way(backward)), &[]),
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        let (line, below) = self.lines();
        write!(f, "\n{:1$}└ {line}", "", depth * 2)?;
        below.iter().try_for_each(|below| below.write(f, depth + 1))
    }
}

fn is_all(filter: &Filter) -> bool {
    *filter == QuerySpec::default().filter
}

fn json(filter: &Filter) -> String {
    filter.to_json_string().unwrap_or_default()
}

impl fmt::Display for QueryPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "documents of {}", self.collection)?;
        if self.skip > 0 {
            write!(f, ", without the first {}", self.skip)?;
        }
        if let Some(limit) = self.limit {
            write!(f, ", at most {limit}")?;
        }
        let mut depth = 0;
        let mut step = |f: &mut fmt::Formatter<'_>, line: &str| {
            let written = write!(f, "\n{:1$}└ {line}", "", depth * 2);
            depth += 1;
            written
        };
        match &self.order {
            PlanOrder::Read => {}
            PlanOrder::Top { sort, kept } => step(f, &format!("first {kept} by {sort}"))?,
            PlanOrder::Sort { sort } => step(f, &format!("sorted by {sort}"))?,
        }
        if !is_all(&self.filter) {
            step(f, &format!("that pass {}", json(&self.filter)))?;
        }
        self.access.write(f, depth)?;
        if let Some(figures) = &self.figures {
            write!(
                f,
                "\n{} index entries, {} documents and {} bytes read in {} calls, {} documents given out",
                figures.index_entries,
                figures.documents_read,
                figures.bytes_read,
                figures.store_calls,
                figures.documents_returned
            )?;
        }
        Ok(())
    }
}
