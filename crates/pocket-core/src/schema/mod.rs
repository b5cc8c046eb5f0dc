//! Schemas: what a collection asks of its documents.
//!
//! Local writes are checked inside their commit, so that what an update makes of a document is what is checked.
//! Documents that come from elsewhere are kept whatever they hold, and told.

mod arrivals;
#[cfg(feature = "schema")]
mod json;

use std::fmt;
use std::sync::{Arc, Mutex};

use pocket_storage::ordered::BTreeMap;
use pocket_storage::{MaybeSend, MaybeSync};

use crate::document::with_id;
use crate::lock::lock;
use crate::{Body, CollectionName, DocumentId, DocumentLimits, Error, Map, Result, Value, codes};

pub use arrivals::{InvalidArrival, InvalidDocument};

/// Failures that the message of one error names.
const NAMED: usize = 8;

/// Characters of one failure in a message.
const FAILURE_CHARS: usize = 200;

/// A rule for documents: JSON Schema with the feature `schema`, or an application's own.
///
/// It is asked inside of commits: the same document must always get the same answer, and soon.
pub trait Validate: fmt::Debug + MaybeSend + MaybeSync + 'static {
    /// Sets what is missing and has a default, before an insert or upsert is checked. `_id` is in the document; what
    /// is done to it or taken away is ignored.
    fn fill(&self, document: &mut Map) {
        let _ = document;
    }

    /// Why the document, with `_id`, breaks the rule; nothing when it does not.
    fn validate(&self, document: &Map) -> Vec<Violation>;
}

/// One way in which a document breaks its schema.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// The place in the document, as a JSON pointer (RFC 6901); empty for the document itself.
    pub path: String,
    /// What is wrong there.
    pub message: String,
}

impl Violation {
    /// A failure at this place.
    pub fn new(path: impl Into<String>, message: impl fmt::Display) -> Self {
        Self {
            path: path.into(),
            message: message.to_string(),
        }
    }
}

/// `place: what is wrong there`.
impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() {
            "the document"
        } else {
            &self.path
        };
        write!(f, "{path}: {}", self.message)
    }
}

/// The schema of a collection. Cloning it is cheap; it is compiled once, when it is made.
///
/// A schema that cannot be compiled is told when a database is opened with it: `config`, with the collection and the
/// place in the schema.
#[derive(Clone, Debug)]
pub struct Schema(Result<Arc<dyn Validate>, Arc<str>>);

impl Schema {
    /// An application's own rule.
    pub fn of(rule: impl Validate) -> Self {
        Self(Ok(Arc::new(rule)))
    }

    /// The rule, or why there is none, for the collection of this name.
    pub(crate) fn compiled(&self, collection: &str) -> Result<Arc<dyn Validate>> {
        self.0.clone().map_err(|fault| {
            Error::new(
                codes::CONFIG,
                format!("the schema of `{collection}` cannot be used: {fault}"),
            )
        })
    }
}

/// Whether both are one schema: clones of each other.
impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Ok(left), Ok(right)) => Arc::ptr_eq(left, right),
            (Err(left), Err(right)) => left == right,
            _ => false,
        }
    }
}

impl Eq for Schema {}

/// The schemas of an open database. They belong to the program, so they are not stored.
#[derive(Debug, Default)]
pub(crate) struct Schemas(Mutex<BTreeMap<CollectionName, Schema>>);

impl Schemas {
    pub(crate) fn get(&self, collection: &CollectionName) -> Option<Schema> {
        self.tables().get(collection).cloned()
    }

    pub(crate) fn set(&self, collection: CollectionName, schema: Option<Schema>) {
        match schema {
            Some(schema) => self.tables().insert(collection, schema),
            None => self.tables().remove(&collection),
        };
    }

    fn tables(&self) -> std::sync::MutexGuard<'_, BTreeMap<CollectionName, Schema>> {
        lock(&self.0)
    }
}

/// A document as its schema sees it: with `_id` in front.
fn seen(id: &DocumentId, body: &Body) -> Result<Map> {
    Ok(with_id(id, body.to_map()?))
}

/// How a body breaks the rule.
pub(crate) fn violations(
    rule: &dyn Validate,
    id: &DocumentId,
    body: &Body,
) -> Result<Vec<Violation>> {
    Ok(rule.validate(&seen(id, body)?))
}

/// The body as it may be stored: with defaults, if it `fills`, and checked. Fields without a default keep their bytes.
pub(crate) fn fitted(
    rule: &dyn Validate,
    collection: &CollectionName,
    id: &DocumentId,
    body: &Body,
    fills: bool,
    limits: &DocumentLimits,
) -> Result<Body> {
    let mut document = seen(id, body)?;
    let mut body = body.clone();
    if fills {
        let before = document.clone();
        rule.fill(&mut document);
        document.insert("_id", Value::from(id.as_str()));
        let same = |name: &str, value: &Value| {
            before.get(name).is_some_and(|before| before.is_same(value))
        };
        let filled: Map = document
            .iter()
            .filter(|(name, value)| !same(name, value))
            .map(|(name, value)| (name, value.clone()))
            .collect();
        if !filled.is_empty() {
            body = body.merge_top_level(&Body::from_map(&filled, limits)?, limits)?;
        }
        // What is checked is what will be stored.
        document = seen(id, &body)?;
    }
    let violations = rule.validate(&document);
    if violations.is_empty() {
        return Ok(body);
    }
    Err(refusal(collection, id, &violations))
}

/// A JSON pointer as a dotted path.
fn dotted(pointer: &str) -> String {
    let inner = pointer.strip_prefix('/').unwrap_or(pointer);
    inner
        .replace('/', ".")
        .replace("~1", "/")
        .replace("~0", "~")
}

fn refusal(collection: &CollectionName, id: &DocumentId, violations: &[Violation]) -> Error {
    let named: Vec<String> = violations
        .iter()
        .take(NAMED)
        .map(|violation| shortened(&violation.to_string()))
        .collect();
    let more = match violations.len() - named.len() {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    Error::validation(format!(
        "document {id:?} does not fit the schema of `{collection}`: {}{more}",
        named.join("; ")
    ))
    .at(&dotted(violations.first().map_or("", |first| &first.path)))
}

fn shortened(text: &str) -> String {
    let mut chars = text.chars();
    let mut short: String = chars.by_ref().take(FAILURE_CHARS).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}
