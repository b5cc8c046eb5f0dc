//! What an index is made of, as an application says it.

use crate::{Error, Filter, Order, Result, codes};

/// Fields that one index may have.
pub const MAX_INDEX_FIELDS: usize = 8;

/// Indexes that one collection may have.
pub const MAX_INDEXES: usize = 64;

/// Bytes of an index's name at the most.
const MAX_NAME_BYTES: usize = 256;

/// An index of a collection: its fields, and which documents it holds.
///
/// `docs/guide/indexes.md` says what an index holds of which document. Indexes are recorded in the database; one that is
/// no longer configured stays until [`drop_index`](crate::Collection::drop_index).
///
/// ```
/// use pocket_core::{CollectionConfig, IndexConfig, Order};
///
/// let users = CollectionConfig::new("users")
///     .index(IndexConfig::new("email").unique().sparse())
///     .index(IndexConfig::new("address.country").then("born", Order::Descending));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[must_use]
pub struct IndexConfig {
    /// Its fields as dotted paths, the most important first, each with its direction.
    pub fields: Vec<(String, Order)>,
    /// Whether no two documents may have the same values; null is a value too, unless the index is sparse.
    pub unique: bool,
    /// Whether what is null or missing in all of its fields is left out.
    pub sparse: bool,
    /// Only documents that match are in it.
    pub only: Option<Filter>,
    /// Its name, when it is not made of its fields.
    pub name: Option<String>,
}

impl IndexConfig {
    /// An index on one field, named by a dotted path, rising.
    pub fn new(field: impl Into<String>) -> Self {
        Self::ordered(field, Order::Ascending)
    }

    /// As [`new`](Self::new), in this direction.
    pub fn ordered(field: impl Into<String>, order: Order) -> Self {
        Self {
            fields: vec![(field.into(), order)],
            unique: false,
            sparse: false,
            only: None,
            name: None,
        }
    }

    /// Another field behind those before: it orders what is equal in them.
    pub fn then(mut self, field: impl Into<String>, order: Order) -> Self {
        self.fields.push((field.into(), order));
        self
    }

    /// No two documents may have the same values in it.
    ///
    /// A local write that breaks this fails with `index-unique-violation`. What sync brings is stored all the same, and
    /// the journal tells of it. Elements of arrays count one by one, across documents and not within one.
    pub fn unique(mut self) -> Self {
        self.unique = true;
        self
    }

    /// Leaves out what is null or missing in all of its fields.
    pub fn sparse(mut self) -> Self {
        self.sparse = true;
        self
    }

    /// Holds only documents that match, and is unique among them only.
    pub fn only(mut self, filter: Filter) -> Self {
        self.only = Some(filter);
        self
    }

    /// Another name than that of its fields.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Its name: the one it was given, or its fields with `1` for rising and `-1` for falling, like `a.b_1_c_-1`.
    pub fn name(&self) -> String {
        if let Some(name) = &self.name {
            return name.clone();
        }
        let parts = self.fields.iter().map(|(field, order)| {
            let direction = match order {
                Order::Ascending => "1",
                Order::Descending => "-1",
            };
            format!("{field}_{direction}")
        });
        parts.collect::<Vec<_>>().join("_")
    }

    /// The same with its name written out, once it is known to make sense.
    pub(crate) fn checked(self) -> Result<Self> {
        self.checked_with(Filter::from_json_str)
    }

    /// As [`checked`](Self::checked), of one that a version of this library has stored: its filter was accepted then.
    pub(crate) fn checked_as_stored(self) -> Result<Self> {
        self.checked_with(Filter::from_stored)
    }

    fn checked_with(mut self, read: impl Fn(&str) -> Result<Filter>) -> Result<Self> {
        let name = self.name();
        let bad = |what: &dyn std::fmt::Display| {
            Err(Error::new(
                codes::CONFIG,
                format!("index {name:?} cannot be made: {what}"),
            ))
        };
        if self.fields.is_empty() || self.fields.len() > MAX_INDEX_FIELDS {
            return bad(&format_args!(
                "it needs 1 to {MAX_INDEX_FIELDS} fields, not {}",
                self.fields.len()
            ));
        }
        if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
            return bad(&format_args!(
                "a name has 1 to {MAX_NAME_BYTES} bytes and no control characters; give it one with `named`"
            ));
        }
        for (place, (field, _)) in self.fields.iter().enumerate() {
            if let Err(error) = super::field_path(field) {
                return bad(&error);
            }
            if self.fields[..place].iter().any(|(other, _)| other == field) {
                return bad(&format_args!("it names the field {field:?} twice"));
            }
        }
        if let Some(only) = &self.only {
            // As it is stored, so that it is compared with what is.
            match only.to_json_string().and_then(|text| read(&text)) {
                Ok(only) => self.only = Some(only),
                Err(error) => return bad(&error),
            }
        }
        self.name = Some(name);
        Ok(self)
    }
}

/// # Errors
/// `config` when two indexes of one configuration have the same name and are not the same.
pub(crate) fn check_names(indexes: &[IndexConfig]) -> Result<()> {
    for (place, index) in indexes.iter().enumerate() {
        let name = index.name();
        let named = |index: &IndexConfig| index.clone().named(&name);
        let mut before = indexes[..place].iter();
        if before.any(|other| other.name() == name && named(other) != named(index)) {
            return Err(Error::new(
                codes::CONFIG,
                format!("two indexes of the name {name:?} are configured; give one another name"),
            ));
        }
    }
    Ok(())
}

/// Whether an index can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IndexState {
    /// Its documents are still being read; queries do without it. Opening the database, or creating it once more, goes
    /// on where it stopped.
    Building,
    /// It holds all it should.
    Ready,
}

/// An index as it is recorded in the database.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct IndexInfo {
    /// What it is made of, with its name.
    pub config: IndexConfig,
    /// Whether it can be used.
    pub state: IndexState,
}

/// How far the building of an index is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IndexProgress {
    /// The index.
    pub index: String,
    /// Documents read so far, by this building.
    pub done: u64,
    /// Documents there were to read when it began; those written meanwhile may make more of them.
    pub total: u64,
    /// Whether the index is ready.
    pub ready: bool,
}
