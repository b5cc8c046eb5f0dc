//! Time to live: when a document's time is over, and who still sees it.
//!
//! Nothing here waits for a moment. Readers leave out what is over by the clock of [`Env`](crate::Env) ([`Sight`]);
//! `sweep.rs` deletes it when somebody drives that, and finds it by a hidden index on the moments.
//! `docs/decisions/0009-time-to-live.md` says why it is so.

mod sweep;

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
pub(crate) use sweep::{deletions, give_up};

use crate::commit::CommitCore;
use crate::keys::CollectionId;
use crate::query::path::{Path, Place};
use crate::registry::Registry;
use crate::stored::{Later, StoredDocument};
use crate::tx::Tx;
use crate::value::View;
use crate::{Body, Collection, Document, DocumentId, Error, Result, Revision, Timestamp, codes};

/// How long the documents of a collection live; see [`CollectionConfig::ttl`](crate::CollectionConfig::ttl).
///
/// Times are counted in milliseconds; parts of one are left out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub struct Ttl {
    /// The field with the time it counts from; none for that of the last write.
    field: Option<String>,
    after_ms: i64,
}

impl Ttl {
    /// So long after a document was last written, here or on another device: counted from its
    /// [`updated_at`](Document::updated_at).
    pub fn after_update(after: Duration) -> Self {
        Self::of(None, after)
    }

    /// At the time that a field holds, named by a dotted path.
    ///
    /// Only timestamps count: a document without one there never expires. Of an array the earliest counts.
    pub fn at_field(field: impl Into<String>) -> Self {
        Self::after_field(field, Duration::ZERO)
    }

    /// So long after the time that a field holds; see [`at_field`](Self::at_field).
    pub fn after_field(field: impl Into<String>, after: Duration) -> Self {
        Self::of(Some(field.into()), after)
    }

    fn of(field: Option<String>, after: Duration) -> Self {
        let after_ms = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
        Self { field, after_ms }
    }

    /// The field with the time it counts from; none when it counts from the last write.
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// How long after that time.
    pub fn after(&self) -> Duration {
        Duration::from_millis(self.after_ms.unsigned_abs())
    }

    pub(crate) fn to_row(&self) -> TtlRow {
        TtlRow {
            field: self.field.clone(),
            after_ms: self.after_ms,
            later: Later,
        }
    }

    pub(crate) fn of_row(row: &TtlRow) -> Self {
        Self {
            field: row.field.clone(),
            after_ms: row.after_ms.max(0),
        }
    }
}

/// A time to live as it is stored, in the row of its collection and in that of its index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TtlRow {
    /// The path of the field it counts from; none for the last write.
    pub(crate) field: Option<String>,
    /// Milliseconds.
    pub(crate) after_ms: i64,
    pub(crate) later: Later,
}

/// A time to live, ready to be asked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Expiry {
    ttl: Ttl,
    path: Option<Path>,
}

impl Expiry {
    /// # Errors
    /// `config` when the field is no path.
    pub(crate) fn new(ttl: Ttl) -> Result<Self> {
        let bad = |error: Error| {
            Error::new(
                codes::CONFIG,
                format!("a time to live cannot count from a field: {error}"),
            )
        };
        let path = ttl.field().map(Path::parse).transpose().map_err(bad)?;
        if path.as_ref().is_some_and(Path::is_id) {
            return Err(Error::new(
                codes::CONFIG,
                "a time to live cannot count from `_id`, which is text; name a field that holds timestamps",
            ));
        }
        Ok(Self { ttl, path })
    }

    pub(crate) fn ttl(&self) -> &Ttl {
        &self.ttl
    }

    /// The moment at which the time of a version is over; none when it never is.
    ///
    /// # Errors
    /// `corrupt` when the body is damaged.
    pub(crate) fn moment(
        &self,
        id: &DocumentId,
        rev: Revision,
        body: &Body,
    ) -> Result<Option<Timestamp>> {
        let mut from = None;
        if let Some(path) = &self.path {
            for value in path.keys(Place::document(id, body)?)? {
                if let View::Timestamp(time) = value.view()? {
                    from = Some(from.map_or(time, |from: Timestamp| from.min(time)));
                }
            }
        } else {
            from = Some(rev.hlc.time());
        }
        let after = self.ttl.after_ms;
        Ok(from.map(|from| Timestamp::from_millis(from.millis().saturating_add(after))))
    }
}

/// What readers see of a collection at one moment: the one place where a stored document becomes a visible one.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    expiry: Option<Arc<Expiry>>,
    now: Timestamp,
}

impl Sight {
    /// All there is.
    pub(crate) fn all() -> Self {
        Self {
            expiry: None,
            now: Timestamp::from_millis(0),
        }
    }

    /// What is not over at this moment.
    ///
    /// # Errors
    /// `config` when the time to live names no field.
    pub(crate) fn new(ttl: Option<&Ttl>, now: Timestamp) -> Result<Self> {
        let expiry = ttl.cloned().map(Expiry::new).transpose()?;
        Ok(Self {
            expiry: expiry.map(Arc::new),
            now,
        })
    }

    /// Whether there may be something that it does not see.
    pub(crate) fn hides(&self) -> bool {
        self.expiry.is_some()
    }

    /// Whether the time of a version is not over.
    ///
    /// # Errors
    /// `corrupt` when the body is damaged.
    pub(crate) fn lives(&self, id: &DocumentId, rev: Revision, body: &Body) -> Result<bool> {
        let Some(expiry) = &self.expiry else {
            return Ok(true);
        };
        let moment = expiry.moment(id, rev, body)?;
        Ok(moment.is_none_or(|moment| self.now < moment))
    }

    /// The document, unless its time is over. Tombstones stay what they are.
    ///
    /// # Errors
    /// As [`lives`](Self::lives).
    pub(crate) fn visible(&self, document: Document) -> Result<Option<Document>> {
        let lives = match &document.body {
            Some(body) => self.lives(&document.id, document.rev, body)?,
            None => true,
        };
        Ok(lives.then_some(document))
    }

    /// Whether a stored document is there and its time is over.
    ///
    /// # Errors
    /// As [`lives`](Self::lives).
    pub(crate) fn is_over(&self, id: &DocumentId, stored: &StoredDocument) -> Result<bool> {
        match &stored.body {
            Some(body) => Ok(!self.lives(id, stored.head.rev, body)?),
            None => Ok(false),
        }
    }
}

impl CommitCore {
    /// What readers see of a collection now.
    pub(crate) fn sight(&self, collection: CollectionId) -> Sight {
        self.sight_in(&self.registry(), collection)
    }

    /// As [`sight`](Self::sight), with the settings that a registry has.
    pub(crate) fn sight_in(&self, registry: &Registry, collection: CollectionId) -> Sight {
        Sight {
            expiry: registry.expiry(collection).cloned(),
            now: self.time(),
        }
    }
}

impl<T: Serialize + DeserializeOwned> Collection<T> {
    /// What readers see of it now.
    pub(crate) fn sight(&self) -> Sight {
        let number = self.number();
        number.map_or_else(Sight::all, |number| self.database().core().sight(number))
    }
}

impl Tx {
    /// As [`CommitCore::sight`], inside of a job.
    pub(crate) fn sight(&self, collection: CollectionId) -> Sight {
        Sight {
            expiry: self.registry().expiry(collection).cloned(),
            now: self.time(),
        }
    }
}

/// Compiles the examples of the guide.
#[cfg(doctest)]
#[doc = include_str!("../../../../docs/guide/time-to-live.md")]
struct Guide;
