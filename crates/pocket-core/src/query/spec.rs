//! A whole query as data.

use serde::{Deserialize, Deserializer, Serialize};

use super::execute::Prepared;
use super::{Cursor, Filter, Order};
use crate::Result;

/// A query as data, for JSON and other forms of serde.
///
/// Everything may be left out; an unknown key is an error, so that a misspelt `filtre` does not select everything.
///
/// ```
/// use pocket_core::QuerySpec;
///
/// let spec: QuerySpec = serde_json::from_str(
///     r#"{"filter":{"age":{"$gte":18}},"sort":["name",{"field":"age","order":"desc"}],"limit":20}"#,
/// )?;
/// assert_eq!(spec.sort[1].field, "age");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct QuerySpec {
    /// Which documents.
    #[serde(skip_serializing_if = "is_all")]
    pub filter: Filter,
    /// By what they are sorted, the most important first; ids break ties, rising unless `_id` is named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sort: Vec<SortField>,
    /// How many are passed over at the beginning.
    #[serde(skip_serializing_if = "is_zero")]
    pub skip: usize,
    /// How many at the most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Only those behind this place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Cursor>,
    /// Only those before this place; without `after`, the limit takes the last of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Cursor>,
    /// The fields given out, as dotted paths; empty means all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// The fields left out, as dotted paths.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
}

impl QuerySpec {
    /// Whether it can be asked at all, of whatever collection: its filter, its order, its cursors and its fields. Running
    /// it checks the same.
    ///
    /// # Errors
    /// `bad-query`.
    pub fn check(&self) -> Result<()> {
        Prepared::new(self).map(drop)
    }
}

/// A field to sort by. In text it may be its bare path, which rises.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SortField {
    /// Its dotted path.
    pub field: String,
    /// Which end comes first.
    pub order: Order,
}

impl SortField {
    /// A field with its direction.
    pub fn new(field: impl Into<String>, order: Order) -> Self {
        Self {
            field: field.into(),
            order,
        }
    }
}

impl<'de> Deserialize<'de> for SortField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            deny_unknown_fields,
            expecting = "a field to sort by is \"path\" or {\"field\":\"path\",\"order\":\"asc\"|\"desc\"}"
        )]
        enum Read {
            Path(String),
            Field {
                field: String,
                #[serde(default)]
                order: Order,
            },
        }
        Ok(match Read::deserialize(deserializer)? {
            Read::Path(field) => Self::new(field, Order::Ascending),
            Read::Field { field, order } => Self::new(field, order),
        })
    }
}

fn is_all(filter: &Filter) -> bool {
    *filter == Filter::all()
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &usize) -> bool {
    *number == 0
}
