//! Changes, mutations, records and outcomes: what client and server tell each other.

use crate::{Body, CollectionName, DocumentId, MutationNumber, Revision, Seq, Timestamp};

/// What a change does to its document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// The document is this, from now on.
    Put(Body),
    /// The document is deleted; a tombstone stays.
    Delete,
    /// The document and its body are erased everywhere. It names no base and is always applied.
    Erase,
}

impl ChangeKind {
    /// The new body, of a put.
    pub fn body(&self) -> Option<&Body> {
        match self {
            Self::Put(body) => Some(body),
            Self::Delete | Self::Erase => None,
        }
    }
}

/// One change of one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The document's collection.
    pub collection: CollectionName,
    /// The document.
    pub id: DocumentId,
    /// The version this change makes.
    pub rev: Revision,
    /// The version it was made on; none matches a missing document and a tombstone alike.
    pub base: Option<Revision>,
    /// What it does.
    pub kind: ChangeKind,
}

/// What a numbered mutation holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MutationContent {
    /// Changes that take effect together or not at all.
    Changes(Vec<Change>),
    /// Nothing any more: the number is used up without effect.
    Withdrawn,
}

/// A mutation with the number it keeps for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutation {
    /// Its number, contiguous per client.
    pub number: MutationNumber,
    /// What it does.
    pub content: MutationContent,
}

impl Mutation {
    /// Its changes; none when withdrawn.
    pub fn changes(&self) -> &[Change] {
        match &self.content {
            MutationContent::Changes(changes) => changes,
            MutationContent::Withdrawn => &[],
        }
    }
}

/// What became of a numbered mutation: recorded once, repeated as often as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All its changes took effect, the first at this place, the others behind it. Withdrawn ones have none.
    Applied {
        /// The place of the first change.
        first: Seq,
    },
    /// Nothing took effect: some bases are no longer current.
    Conflict {
        /// The places of the records that stand in the way; zero where the document is missing.
        seqs: Vec<Seq>,
    },
    /// Nothing took effect, and never will.
    Rejected {
        /// A stable code.
        code: String,
        /// What happened and what to do.
        reason: String,
        /// The server's time, when the code is `clock`.
        server_time: Option<Timestamp>,
    },
}

/// What a server keeps of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordState {
    /// It is this.
    Live(Body),
    /// It was deleted.
    Deleted,
    /// It was erased.
    Erased,
}

impl RecordState {
    /// The body of a live record.
    pub fn body(&self) -> Option<&Body> {
        match self {
            Self::Live(body) => Some(body),
            Self::Deleted | Self::Erased => None,
        }
    }
}

/// The newest version of a document, as a server tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The document's collection.
    pub collection: CollectionName,
    /// The document.
    pub id: DocumentId,
    /// Which version it is.
    pub rev: Revision,
    /// Its place in the feed.
    pub seq: Seq,
    /// What it holds.
    pub state: RecordState,
}

/// How far a client has read a server's feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The opening of the log in which the place was told.
    pub epoch: crate::Epoch,
    /// The last place read.
    pub seq: Seq,
}
