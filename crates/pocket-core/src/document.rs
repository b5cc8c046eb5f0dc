//! A document as a reader gets it.

use serde::de::DeserializeOwned;

use crate::stored::StoredDocument;
use crate::{Body, DocumentId, Map, Result, Revision, Timestamp, Value};

/// One version of a document: envelope and body.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Document {
    /// Its id.
    pub id: DocumentId,
    /// Which version this is.
    pub rev: Revision,
    /// Its body; none of a tombstone.
    pub body: Option<Body>,
}

impl Document {
    pub(crate) fn new(id: DocumentId, rev: Revision, body: Option<Body>) -> Self {
        Self { id, rev, body }
    }

    pub(crate) fn of_stored(id: DocumentId, stored: StoredDocument) -> Self {
        Self::new(id, stored.head.rev, stored.body)
    }

    /// When this version was written, by the writer's hybrid clock.
    pub fn updated_at(&self) -> Timestamp {
        self.rev.hlc.time()
    }

    /// Whether it is a tombstone.
    pub fn is_deleted(&self) -> bool {
        self.body.is_none()
    }

    /// The document as a type, with `_id`; none of a tombstone.
    ///
    /// # Errors
    /// `type-mismatch` when it does not fit the type.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        self.body
            .as_ref()
            .map(|body| body.decode_with_id(&self.id))
            .transpose()
    }

    /// The document as a map: `_id` first, then its fields in the order written.
    ///
    /// # Errors
    /// `corrupt` when the stored body cannot be read.
    pub fn to_map(&self) -> Result<Map> {
        let fields = self.body.as_ref().map(Body::to_map).transpose()?;
        Ok(with_id(&self.id, fields.unwrap_or_default()))
    }

    /// As [`to_map`](Self::to_map), with `_rev`, `_updatedAt` and `_deleted` behind.
    ///
    /// # Errors
    /// As [`to_map`](Self::to_map).
    pub fn to_map_with_meta(&self) -> Result<Map> {
        let mut map = self.to_map()?;
        map.insert("_rev", Value::from(self.rev.to_string()));
        map.insert("_updatedAt", Value::Timestamp(self.updated_at()));
        map.insert("_deleted", Value::Bool(self.is_deleted()));
        Ok(map)
    }
}

/// A document as others than the store see it: its fields with `_id` in front.
pub(crate) fn with_id(id: &DocumentId, fields: Map) -> Map {
    let mut document = Map::new();
    document.insert("_id", Value::from(id.as_str()));
    for (name, value) in fields {
        document.insert(name, value);
    }
    document
}
