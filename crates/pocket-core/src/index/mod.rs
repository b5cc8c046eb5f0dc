//! Indexes: entries in the order of some fields, kept right in the same commit as the documents.
//!
//! For readers: [`Registry::ready_indexes`](crate::registry::Registry::ready_indexes) names the indexes of a
//! collection, [`Index::range`] turns values into a range of keys, [`Index::entry`] a key into its document. What an
//! index holds stands at [`Index`].

mod build;
mod config;
mod entry;
mod interval;
mod key;
mod maintain;
mod open;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
pub(crate) mod tests;
mod unique;

pub(crate) use build::{drop_all, set_expiry};
pub(crate) use config::check_names;
pub use config::{
    IndexConfig, IndexInfo, IndexProgress, IndexState, MAX_INDEX_FIELDS, MAX_INDEXES,
};
pub(crate) use entry::Part;
pub(crate) use interval::Interval;
pub(crate) use maintain::{Maintenance, finish};

use crate::expire::Expiry;
use crate::keys::CollectionId;
use crate::query::path::Path;
use crate::stored::{self, IndexLater, IndexPhase, IndexRow};
use crate::tx::Tx;
use crate::{Error, Filter, Order, Result, Ttl, codes, envelope, keys};

/// The field and the name that hidden indexes are recorded with; neither means anything.
const EXPIRY_FIELD: &str = "_expires";

/// The field of an index of which nothing is known any more.
const LOST_FIELD: &str = "_lost";

/// An index as it is used.
///
/// It holds the live documents of its collection, each with one entry for each combination of its fields' values (see
/// `entry.rs`), but for these:
///
/// - A sparse one has no entry whose values are all null: of a field that is missing, null or an empty array. So it may
///   be used where the filter demands something of one of its fields that null does not fulfil.
/// - A partial one has no document that its filter does not match.
/// - Of a document with too many values nothing is known; see [`Index::overflow`], which every reader reads as well.
///
/// A document may have several entries, and is then found several times. Where no document has, two bounds on a field
/// may be joined: see [`is_multi`](Self::is_multi). Values may be cut, so a reader looks at the document.
///
/// What is known here is as old as the registry it came from: after reading entries, a reader asks
/// [`is_still`](Self::is_still), and begins anew with a fresh registry if it is not.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Index {
    pub(crate) number: u32,
    pub(crate) collection: CollectionId,
    /// With its name written out.
    pub(crate) config: IndexConfig,
    pub(crate) fields: Vec<IndexField>,
    pub(crate) phase: IndexPhase,
    multi: u32,
    /// Of the hidden one that a time to live has: what its one value is. Only sweeps read it.
    pub(crate) expiry: Option<Expiry>,
}

/// A field of an index.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct IndexField {
    pub(crate) path: Path,
    pub(crate) order: Order,
}

impl IndexField {
    pub(crate) fn is_descending(&self) -> bool {
        self.order == Order::Descending
    }
}

impl Index {
    /// A new one, of a configuration that was checked.
    pub(crate) fn new(number: u32, collection: CollectionId, config: IndexConfig) -> Result<Self> {
        let fields = config.fields.iter().map(|(field, order)| {
            Ok(IndexField {
                path: field_path(field)?,
                order: *order,
            })
        });
        Ok(Self {
            number,
            collection,
            fields: fields.collect::<Result<_>>()?,
            config,
            phase: IndexPhase::Building(None),
            multi: 0,
            expiry: None,
        })
    }

    /// A hidden one on the moments at which documents expire.
    pub(crate) fn expiring(number: u32, collection: CollectionId, expiry: Expiry) -> Result<Self> {
        Ok(Self {
            expiry: Some(expiry),
            ..Self::new(
                number,
                collection,
                IndexConfig::new(EXPIRY_FIELD).named(EXPIRY_FIELD),
            )?
        })
    }

    /// The same, to be built from the start under another number.
    pub(crate) fn anew(&self, number: u32) -> Self {
        Self {
            number,
            phase: IndexPhase::Building(None),
            multi: 0,
            ..self.clone()
        }
    }

    /// The one of an entry of the store.
    pub(crate) fn of_entry(key: &[u8], value: &bytes::Bytes) -> Result<Self> {
        let number = keys::index_number(key)
            .ok_or_else(|| stored::damaged("the key of an index is too short"))?;
        Self::of_row(number, stored::decode(&envelope::open(key, value)?)?)
    }

    /// The one of an entry of the store whose value is damaged: nobody knows what it was, and its entries are removed.
    pub(crate) fn lost(key: &[u8]) -> Result<Self> {
        let number = keys::index_number(key)
            .ok_or_else(|| stored::damaged("the key of an index is too short"))?;
        Ok(Self {
            phase: IndexPhase::Dropping,
            ..Self::new(
                number,
                CollectionId::default(),
                IndexConfig::new(LOST_FIELD),
            )?
        })
    }

    fn of_row(number: u32, row: IndexRow) -> Result<Self> {
        let order = |falls: bool| {
            if falls {
                Order::Descending
            } else {
                Order::Ascending
            }
        };
        let fields = row.fields.into_iter();
        let config = IndexConfig {
            fields: fields.map(|(field, falls)| (field, order(falls))).collect(),
            unique: row.unique,
            sparse: row.sparse,
            only: row.only.map(|only| read_filter(&only)).transpose()?,
            name: Some(row.name),
        };
        let ttl = row.later.ttl.as_ref().map(Ttl::of_row);
        Ok(Self {
            phase: row.phase,
            multi: row.multi,
            expiry: ttl.map(Expiry::new).transpose()?,
            ..Self::new(number, CollectionId(row.collection), config)?
        })
    }

    fn to_row(&self) -> Result<IndexRow> {
        let fields = self.fields.iter();
        let only = match &self.config.only {
            Some(filter) => Some(filter.to_json_string()?),
            None => None,
        };
        Ok(IndexRow {
            collection: self.collection.0,
            name: self.name().to_owned(),
            fields: fields
                .map(|field| (field.path.as_str().to_owned(), field.is_descending()))
                .collect(),
            unique: self.config.unique,
            sparse: self.config.sparse,
            only,
            phase: self.phase.clone(),
            multi: self.multi,
            later: IndexLater {
                ttl: self.expiry.as_ref().map(|expiry| expiry.ttl().to_row()),
            },
        })
    }

    /// Stores it in place of what there was of its number.
    pub(crate) fn store(self, tx: &mut Tx) -> Result<()> {
        let row = stored::encode(&self.to_row()?);
        tx.put(keys::index(self.number), &[&row]);
        tx.registry_mut().insert_index(self);
        Ok(())
    }

    pub(crate) fn name(&self) -> &str {
        self.config.name.as_deref().unwrap_or_default()
    }

    /// Whether queries may use it.
    pub(crate) fn is_ready(&self) -> bool {
        self.phase == IndexPhase::Ready
    }

    /// Whether nobody but sweeps knows of it.
    pub(crate) fn is_hidden(&self) -> bool {
        self.expiry.is_some()
    }

    /// Whether it is kept up to date.
    pub(crate) fn is_live(&self) -> bool {
        self.phase != IndexPhase::Dropping
    }

    /// Whether some document has or had an array in this field or on the way to it. Otherwise each document has one
    /// value there, which is no array.
    pub(crate) fn is_multi(&self, field: usize) -> bool {
        self.multi >> field & 1 == 1
    }

    /// Whether it is what is recorded: ready, and without arrays where it had none.
    pub(crate) fn is_still(&self, row: &IndexRow) -> bool {
        row.phase == self.phase && row.multi == self.multi
    }

    pub(crate) fn info(&self) -> IndexInfo {
        IndexInfo {
            config: self.config.clone(),
            state: if self.is_ready() {
                IndexState::Ready
            } else {
                IndexState::Building
            },
        }
    }

    /// Its fields, for messages.
    pub(crate) fn field_names(&self) -> String {
        let names = self.fields.iter().map(|field| field.path.as_str());
        names.collect::<Vec<_>>().join(", ")
    }
}

/// The filter of a partial index, as it is stored.
fn read_filter(stored: &str) -> Result<Filter> {
    Filter::from_stored(stored).map_err(|error| {
        Error::new(
            codes::NEWER_FORMAT,
            format!("the filter of an index is not understood: {error}; use a newer program"),
        )
    })
}

/// The path of a field that may be indexed.
fn field_path(field: &str) -> Result<Path> {
    let path = Path::parse(field)?;
    if path.is_id() {
        return Err(Error::new(
            codes::BAD_QUERY,
            "documents lie in the order of their `_id` already, and every index ends with it; leave it out",
        ));
    }
    Ok(path)
}

/// Compiles the examples of the guide.
#[cfg(doctest)]
#[doc = include_str!("../../../../docs/guide/indexes.md")]
struct Guide;
