//! Conflicts as values: what met what, what is to stand, and who says so.

use pocket_storage::{MaybeSend, MaybeSync};

use crate::merge::{self, Prefer};
use crate::{
    Body, CollectionName, ConflictStrategy, Document, DocumentId, DocumentLimits, Map, Result,
    Revision, Timestamp,
};

/// One version of a document in a conflict.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Version {
    /// Which version.
    pub rev: Revision,
    /// Its body; none of a tombstone.
    pub body: Option<Body>,
}

/// A local change and the server's version of the same document.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conflict {
    /// The document's collection.
    pub collection: CollectionName,
    /// The document.
    pub document_id: DocumentId,
    /// What was written here.
    pub local: Version,
    /// What the server has.
    pub remote: Version,
    /// What the local change was made on; none for a create.
    pub base: Option<Version>,
    /// When the two met.
    pub timestamp: Timestamp,
}

impl Conflict {
    /// What was written here, as a document.
    pub fn local_document(&self) -> Document {
        self.document(&self.local)
    }

    /// What the server has, as a document.
    pub fn remote_document(&self) -> Document {
        self.document(&self.remote)
    }

    /// What the local change was made on, as a document; none for a create.
    pub fn base_document(&self) -> Option<Document> {
        self.base.as_ref().map(|base| self.document(base))
    }

    /// The later write: the greater revision, which is the greater client id on a tie of the clocks.
    pub fn later(&self) -> Decision {
        if self.local.rev < self.remote.rev {
            Decision::KeepRemote
        } else {
            Decision::KeepLocal
        }
    }

    fn document(&self, version: &Version) -> Document {
        Document::new(self.document_id.clone(), version.rev, version.body.clone())
    }

    /// Whether `other` is about the same three versions.
    fn is_same(&self, other: &Self) -> bool {
        let base = |conflict: &Self| conflict.base.as_ref().map(|base| base.rev);
        self.collection == other.collection
            && self.document_id == other.document_id
            && self.local.rev == other.local.rev
            && self.remote.rev == other.remote.rev
            && base(self) == base(other)
    }

    /// Merges both sides field by field; where both changed one, or one deleted the document, the later write stands.
    pub(super) fn merged(&self, limits: &DocumentLimits) -> Result<Decision> {
        let (Some(local), Some(remote)) = (&self.local.body, &self.remote.body) else {
            return Ok(self.later());
        };
        let base = self.base.as_ref().and_then(|base| base.body.as_ref());
        let base = base.map_or_else(|| Ok(Map::new()), Body::to_map)?;
        let prefer = match self.later() {
            Decision::KeepRemote => Prefer::Remote,
            _ => Prefer::Local,
        };
        let (local, remote) = (local.to_map()?, remote.to_map()?);
        let merged = merge::three_way(&base, &local, &remote, prefer);
        if merged.is_same(&remote) {
            return Ok(Decision::KeepRemote);
        }
        if merged.is_same(&local) {
            return Ok(Decision::KeepLocal);
        }
        // Both together may be more than a document can hold.
        Ok(Body::from_map(&merged, limits)
            .map_or_else(|_| self.later(), |body| Decision::Write(Some(body))))
    }
}

/// What is to stand.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// The local version: it is sent again, on the server's.
    KeepLocal,
    /// The server's version.
    KeepRemote,
    /// This; none deletes the document.
    Write(Option<Body>),
    /// Both, merged field by field; the later write where both changed the same.
    Merge,
    /// Whatever the application answers: the change waits, and [`Replica::resolve`](super::Replica::resolve) tells of
    /// it.
    Ask,
}

/// Decides conflicts: a pure function, called inside a commit.
pub trait Resolver: MaybeSend + MaybeSync + 'static {
    /// What stands, and the name of the rule that decided. `strategy` is that of the collection, if it has one.
    fn resolve(
        &self,
        conflict: &Conflict,
        strategy: Option<ConflictStrategy>,
    ) -> (Decision, &'static str);
}

/// What the application said to a conflict that waited for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The conflict it was asked about. Once one of its versions is another one, the answer counts for nothing.
    pub conflict: Conflict,
    /// What it said.
    pub ruling: Ruling,
}

/// What an application says to a conflict.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ruling {
    /// This stands.
    Stands {
        /// What.
        decision: Decision,
        /// Why, for the journal.
        because: Option<String>,
    },
    /// It has no answer: the server's version stands, and the journal keeps both.
    Failed {
        /// What went wrong.
        reason: String,
    },
}

/// The rule named in the journal where the application decided.
pub(super) const CUSTOM: &str = "custom";

/// What was answered to `conflict` itself.
pub(super) fn answer_to<'a>(answers: &'a [Answer], conflict: &Conflict) -> Option<&'a Ruling> {
    let answer = answers
        .iter()
        .find(|answer| answer.conflict.is_same(conflict));
    answer.map(|answer| &answer.ruling)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClientId, Hlc, Value};

    fn version(time: i64, json: Option<&str>) -> Version {
        let body = json.map(|json| match Value::from_json_str(json).unwrap() {
            Value::Map(map) => Body::from_map(&map, &DocumentLimits::default()).unwrap(),
            other => panic!("{other:?} is no map"),
        });
        Version {
            rev: Revision::new(
                Hlc::from_time(Timestamp::from_millis(time)),
                ClientId::from_bytes([1; 16]),
            ),
            body,
        }
    }

    fn met(base: Option<&str>, local: Option<&str>, remote: Option<&str>) -> Conflict {
        Conflict {
            collection: CollectionName::new("docs").unwrap(),
            document_id: DocumentId::new("a").unwrap(),
            local: version(2, local),
            remote: version(3, remote),
            base: base.map(|base| version(1, Some(base))),
            timestamp: Timestamp::from_millis(4),
        }
    }

    fn text(decision: &Decision) -> String {
        match decision {
            Decision::Write(Some(body)) => {
                Value::Map(body.to_map().unwrap()).to_json_string().unwrap()
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn fields_changed_by_one_side_each_are_both_kept() {
        let limits = DocumentLimits::default();
        let both = met(
            Some(r#"{"a":1,"b":1}"#),
            Some(r#"{"a":2,"b":1}"#),
            Some(r#"{"a":1,"b":2}"#),
        );
        assert_eq!(text(&both.merged(&limits).unwrap()), r#"{"a":2,"b":2}"#);
        let same_field = met(
            Some(r#"{"a":1}"#),
            Some(r#"{"a":2,"c":1}"#),
            Some(r#"{"a":3}"#),
        );
        assert_eq!(
            text(&same_field.merged(&limits).unwrap()),
            r#"{"a":3,"c":1}"#
        );
    }

    #[test]
    fn a_merge_that_changes_nothing_on_one_side_keeps_that_side() {
        let limits = DocumentLimits::default();
        let nothing_new = met(Some(r#"{"a":1}"#), Some(r#"{"a":2}"#), Some(r#"{"a":3}"#));
        assert_eq!(nothing_new.merged(&limits).unwrap(), Decision::KeepRemote);
        let deleted = met(Some(r#"{"a":1}"#), Some(r#"{"a":2}"#), None);
        assert_eq!(deleted.merged(&limits).unwrap(), Decision::KeepRemote);
    }

    #[test]
    fn a_merge_that_outgrows_a_document_is_decided_by_the_later_write() {
        let limits = DocumentLimits {
            bytes: 24,
            ..DocumentLimits::default()
        };
        let both = met(
            None,
            Some(r#"{"left":"0123456789"}"#),
            Some(r#"{"right":"0123456789"}"#),
        );
        assert_eq!(both.merged(&limits).unwrap(), Decision::KeepRemote);
    }
}
