//! A whole query as data.

use serde::{Deserialize, Deserializer, Serialize};

use super::execute::Prepared;
use super::{Cursor, Filter, Order};
use crate::value::decode;
use crate::{Error, Integer, Result, Value, codes};

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
    /// Reads one from MessagePack: a map with the keys of JSON, values as in documents. A field to sort by may also be an
    /// array of its path and its order.
    ///
    /// # Errors
    /// `bad-query`.
    pub fn from_msgpack(bytes: &[u8]) -> Result<Self> {
        let refused = |what: &dyn std::fmt::Display| Error::new(codes::BAD_QUERY, what);
        let read = decode::raw_value(bytes).map_err(|error| refused(&error))?;
        let Value::Map(entries) = read else {
            return Err(refused(&"a query is a map"));
        };
        let mut spec = Self::default();
        for (key, value) in entries.iter() {
            match key {
                "filter" => spec.filter = Filter::parse(value)?,
                "sort" => {
                    let fields = array(value, "sort")?.map(sort_field);
                    spec.sort = fields.collect::<Result<_>>()?;
                }
                "skip" => spec.skip = number(value, "skip")?,
                "limit" => spec.limit = Some(number(value, "limit")?),
                "after" => spec.after = Some(cursor(value, "after")?),
                "before" => spec.before = Some(cursor(value, "before")?),
                "include" => spec.include = texts(value, "include")?,
                "exclude" => spec.exclude = texts(value, "exclude")?,
                other => return Err(refused(&format_args!("a query has no {other:?}"))),
            }
        }
        Ok(spec)
    }

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

fn wrong(key: &str, expected: &str) -> Error {
    Error::new(
        codes::BAD_QUERY,
        format!("`{key}` of a query is {expected}"),
    )
    .at(key)
}

fn array<'a>(value: &'a Value, key: &str) -> Result<impl Iterator<Item = &'a Value>> {
    let values = value.as_array();
    Ok(values.ok_or_else(|| wrong(key, "an array"))?.iter())
}

fn cursor(value: &Value, key: &str) -> Result<Cursor> {
    let read: Result<Cursor> = text(value, key)?.parse();
    read.map_err(|error| error.at(key))
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value.as_str().ok_or_else(|| wrong(key, "text"))
}

fn texts(value: &Value, key: &str) -> Result<Vec<String>> {
    let texts = array(value, key)?.map(|value| text(value, key).map(str::to_owned));
    texts.collect()
}

fn number(value: &Value, key: &str) -> Result<usize> {
    let number = value.as_integer().and_then(Integer::as_u64);
    let number = number.and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| wrong(key, "a whole number from 0 on"))
}

fn sort_field(value: &Value) -> Result<SortField> {
    let (field, order) = match value {
        Value::Map(map) => (map.get("field"), map.get("order")),
        Value::Array(pair) => (pair.first(), pair.get(1)),
        path => (Some(path), None),
    };
    let field = field.and_then(Value::as_str);
    let order = match order.map(Value::as_str) {
        None | Some(Some("asc" | "ascending")) => Some(Order::Ascending),
        Some(Some("desc" | "descending")) => Some(Order::Descending),
        Some(_) => None,
    };
    match (field, order) {
        (Some(field), Some(order)) => Ok(SortField::new(field, order)),
        _ => Err(wrong(
            "sort",
            "made of \"path\" or {\"field\":\"path\",\"order\":\"asc\"|\"desc\"}",
        )),
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
