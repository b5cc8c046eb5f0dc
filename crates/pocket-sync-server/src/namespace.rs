//! Namespaces: the unit of order.

use std::fmt;
use std::sync::Arc;

/// The longest name of a namespace, in bytes.
pub const MAX_NAMESPACE_BYTES: usize = 128;

/// The name of a namespace: a tenant, a workspace or a user. 1 to 128 bytes of UTF-8 without control characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// Checks `name` and takes it; `None` when it is empty, too long or holds a control character.
    pub fn new(name: &str) -> Option<Self> {
        let fits = !name.is_empty() && name.len() <= MAX_NAMESPACE_BYTES;
        (fits && !name.chars().any(char::is_control)).then(|| Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}
