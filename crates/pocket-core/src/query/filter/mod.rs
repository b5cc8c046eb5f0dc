//! Filters: which documents a query selects.

mod build;
mod ids;
mod matching;
mod node;
mod parse;
mod write;

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) use build::operators;
pub use build::{Element, ElementFilter, Field, element, field};
pub(crate) use node::{Condition, Constant, ElementTest, Node, Test};
pub(crate) use parse::operator;

use super::path::Place;
use crate::value::RawValue;
use crate::{Body, DocumentId, Error, Result, Value, codes};

/// Which documents a query selects: a checked tree of conditions.
///
/// It is built with [`field`] or read from a raw filter document, and through serde it is that document, both ways.
/// `docs/guide/queries.md` has the table of operators and what they say about missing fields and arrays.
///
/// ```
/// use pocket_core::{Filter, field};
///
/// let built = field("address.city").eq("Graz").and(field("age").gte(18));
/// let read = Filter::from_json_str(r#"{"address.city":"Graz","age":{"$gte":18}}"#)?;
/// assert_eq!(built, read);
/// # Ok::<(), pocket_core::Error>(())
/// ```
///
/// A mistake of a builder is kept in the filter, and every use of it answers `bad-query`;
/// [`check`](Filter::check) tells of it at once.
#[derive(Clone, Debug)]
#[must_use]
pub struct Filter(Result<Node>);

impl Filter {
    /// The filter that every document passes: `{}`.
    pub const fn all() -> Self {
        Self(Ok(Node::All(Vec::new())))
    }

    /// Reads a raw filter document, like `{"age":{"$gte":18}}`.
    ///
    /// # Errors
    /// `bad-query`, which names the operator and the path.
    pub fn parse(document: &Value) -> Result<Self> {
        Ok(Self(Ok(parse::filter(document)?)))
    }

    /// Reads a raw filter document from JSON text; moments and bytes are `{"$date": …}` and `{"$binary": …}`.
    ///
    /// # Errors
    /// `bad-query`, also when the text is no JSON.
    pub fn from_json_str(text: &str) -> Result<Self> {
        let document = Value::raw_from_json_str(text)
            .map_err(|error| Error::new(codes::BAD_QUERY, format!("bad filter: {error}")))?;
        Self::parse(&document)
    }

    /// Reads what an index was stored with: one of an earlier version may compare `_id` with what no id is.
    pub(crate) fn from_stored(text: &str) -> Result<Self> {
        let document = Value::raw_from_json_str(text)
            .map_err(|error| Error::new(codes::BAD_QUERY, format!("bad filter: {error}")))?;
        Ok(Self(Ok(parse::stored(&document)?)))
    }

    /// The raw filter document, from which [`parse`](Self::parse) reads an equal filter.
    ///
    /// # Errors
    /// `bad-query` when a builder was used wrongly.
    pub fn to_value(&self) -> Result<Value> {
        Ok(write::filter(self.node()?))
    }

    /// The raw filter document as JSON text.
    ///
    /// # Errors
    /// As [`to_value`](Self::to_value).
    pub fn to_json_string(&self) -> Result<String> {
        self.to_value()?
            .raw_to_json_string()
            .map_err(|error| Error::new(codes::BAD_QUERY, error))
    }

    /// Whether the filter is well built. One that was read is.
    ///
    /// # Errors
    /// `bad-query`, which names the operator and the path.
    pub fn check(&self) -> Result<()> {
        self.node().and_then(ids::check)
    }

    /// Whether a document passes. It is looked at as it is encoded; nothing is built.
    ///
    /// # Errors
    /// `bad-query` when a builder was used wrongly; `corrupt` when trusted bytes are damaged.
    pub fn matches(&self, id: &DocumentId, body: &Body) -> Result<bool> {
        matching::passes(self.node()?, Place::document(id, body)?)
    }

    /// As [`matches`](Self::matches), of a document that lies in the store.
    pub(crate) fn passes(&self, place: Place<'_>) -> Result<bool> {
        matching::passes(self.node()?, place)
    }

    /// Both hold.
    pub fn and(self, other: Self) -> Self {
        self.join(other, Node::all)
    }

    /// At least one holds.
    pub fn or(self, other: Self) -> Self {
        self.join(other, Node::any)
    }

    /// The contrary.
    #[expect(
        clippy::should_implement_trait,
        reason = "it is the word of the language, beside `and` and `or`"
    )]
    pub fn not(self) -> Self {
        Self(self.0.and_then(|node| Node::not(node).measured()))
    }

    /// The tree, for what plans and matches.
    ///
    /// # Errors
    /// The mistake that a builder remembered.
    pub(crate) fn node(&self) -> Result<&Node> {
        self.0.as_ref().map_err(Clone::clone)
    }

    /// What all of these nodes of one filter say.
    pub(crate) fn of_nodes(nodes: Vec<Node>) -> Self {
        Self(Ok(Node::all(nodes)))
    }

    fn join(self, other: Self, with: impl FnOnce(Vec<Node>) -> Node) -> Self {
        let join = || with(vec![self.0?, other.0?]).measured();
        Self(join())
    }
}

impl Default for Filter {
    fn default() -> Self {
        Self::all()
    }
}

/// Equal when they are the same tree; values compare as in the order of values, so `1` is `1.0`. Two with mistakes
/// are equal when the mistakes read alike.
impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Ok(left), Ok(right)) => left == right,
            (Err(left), Err(right)) => left.to_string() == right.to_string(),
            _ => false,
        }
    }
}

impl Serialize for Filter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let document = self.to_value().map_err(S::Error::custom)?;
        RawValue(&document).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let RawValue(document) = RawValue::<Value>::deserialize(deserializer)?;
        Self::parse(&document).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A database whose partial index has such a filter could not be opened by any version from then on.
    #[test]
    fn a_stored_filter_that_is_no_longer_accepted_is_read_all_the_same() {
        for text in [r#"{"_id":{"$ne":null}}"#, r#"{"_id":{"$gt":5}}"#] {
            assert!(Filter::from_json_str(text).is_err());
            let stored = Filter::from_stored(text).unwrap();
            assert_eq!(stored.to_json_string().unwrap(), text);
        }
    }
}
