//! What the values of a database hold. `docs/storage-layout.md` describes them; fixtures guard them.
//!
//! Each is a MessagePack array whose last element is nil or a map for later fields, inside an envelope.

mod document;
mod target;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub(crate) use self::document::{DocumentHead, DocumentLater, StoredDocument, live_body};
pub use self::target::Binding;
pub(crate) use self::target::{CheckpointRow, Resyncing, TargetRow};
pub(crate) use crate::envelope::{Later, damaged, decode, decode_prefix, encode, seal_row};
use crate::expire::TtlRow;
use crate::keys::CollectionId;
use crate::parting::Parting;
use crate::value::Encoded;
use crate::{
    Body, ChangeKind, ClientId, CommitSequence, ConflictStrategy, Digest, DocumentId, Hlc,
    MutationNumber, Place, Result, Revision, Seq,
};

/// `m:database`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DatabaseHead {
    pub(crate) name: String,
    pub(crate) client: ClientId,
    pub(crate) schema_version: u32,
    pub(crate) later: HeadLater,
}

crate::later_fields! {
    /// Later fields of the head.
    pub(crate) struct HeadLater {
        /// The migration under way to the schema version of the head.
        migration: Option<MigrationRow> = "m",
    }
}

/// How far a migration has come. Documents up to `after` have the new shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MigrationRow {
    /// The version it began at.
    pub(crate) from: u32,
    /// The key of the last document looked at; empty before the first.
    pub(crate) after: serde_bytes::ByteBuf,
    /// Documents looked at, changed and deleted.
    pub(crate) counts: (u64, u64, u64),
    pub(crate) later: Later,
}

/// `m:state`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// The last local commit.
    pub(crate) sequence: CommitSequence,
    /// The hybrid clock, persisted with each revision it gave.
    pub(crate) clock: Hlc,
    /// The server's time less this device's, in milliseconds, when a server last told it.
    pub(crate) offset: i64,
    /// The greatest clock reading among revisions that a server accepted or sent.
    pub(crate) seen: Hlc,
    /// The last place given in an outbox.
    pub(crate) last_place: Place,
    /// The last number given to a collection.
    pub(crate) last_collection: u32,
    /// The last entry of the journal.
    pub(crate) last_journal: u64,
    /// Open entries of the journal.
    pub(crate) open_journal: u64,
    /// Mutations in the outbox.
    pub(crate) pending: u64,
    pub(crate) later: StateLater,
}

crate::later_fields! {
    /// Later fields of the state.
    pub(crate) struct StateLater {
        /// The last number given to an index. A program that knows no indexes drops it, and so tells that it wrote
        /// documents without keeping their entries.
        last_index: u32 = "i",
    }
}

/// `c…`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CollectionRow {
    pub(crate) number: u32,
    pub(crate) sync: bool,
    pub(crate) strategy: Option<ConflictStrategy>,
    /// Deleted by the application; the number stays for what is still in the outbox.
    pub(crate) dropped: bool,
    /// Its documents on the server must be read from the start, since sync was switched on for it.
    pub(crate) joins: bool,
    pub(crate) later: CollectionLater,
}

crate::later_fields! {
    /// Later fields of a collection.
    pub(crate) struct CollectionLater {
        /// The server's versions of its documents that are known here, as far as they are live.
        held: Digest = "g",
        /// How long its documents live.
        ttl: Option<TtlRow> = "t",
        /// The resyncs that were over when it ceased to be read. What a later one did not show of it is here still.
        away: Option<u64> = "a",
        /// What a restored server lost while it was not read.
        parted: Option<Parting> = "f",
        /// What it lost the times before.
        parted_before: Vec<Parting> = "b",
    }
}

impl CollectionRow {
    pub(crate) fn id(&self) -> CollectionId {
        CollectionId(self.number)
    }

    /// What a restored server has lost of it, and no resync has compared yet.
    pub(crate) fn partings(&self) -> Vec<Parting> {
        let earlier = self.later.parted_before.iter();
        earlier.chain(&self.later.parted).copied().collect()
    }

    pub(crate) fn set_partings(&mut self, mut partings: Vec<Parting>) {
        self.later.parted = partings.pop();
        self.later.parted_before = partings;
    }
}

/// `x…`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IndexRow {
    pub(crate) collection: u32,
    pub(crate) name: String,
    /// Dotted paths, and whether they fall.
    pub(crate) fields: Vec<(String, bool)>,
    pub(crate) unique: bool,
    pub(crate) sparse: bool,
    /// The filter of a partial one, as JSON.
    pub(crate) only: Option<String>,
    pub(crate) phase: IndexPhase,
    /// The fields, as bits, that held an array in some document or lay in one.
    pub(crate) multi: u32,
    pub(crate) later: IndexLater,
}

crate::later_fields! {
    /// Later fields of an index.
    pub(crate) struct IndexLater {
        /// It is the hidden one of a collection with this time to live: its one value is the moment at which that of a
        /// document is over.
        ttl: Option<TtlRow> = "t",
    }
}

/// Where an index is in its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum IndexPhase {
    /// Documents up to this key have their entries; every document that is written gets them at once.
    #[serde(rename = "b")]
    Building(Option<serde_bytes::ByteBuf>),
    #[serde(rename = "r")]
    Ready,
    /// It is gone for all readers; its entries are being removed.
    #[serde(rename = "d")]
    Dropping,
}

/// Whether a stored document is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub(crate) enum Presence {
    Live,
    Deleted,
    Erased,
    /// Of a server version only: the server does not show the document any more, whatever it holds.
    Hidden,
}

impl Presence {
    /// What a document is after such a change.
    pub(crate) fn after(kind: &ChangeKind) -> Self {
        match kind {
            ChangeKind::Put(_) => Self::Live,
            ChangeKind::Delete => Self::Deleted,
            ChangeKind::Erase => Self::Erased,
        }
    }

    /// Whether it was there and is there no longer.
    pub(crate) const fn is_deletion(self) -> bool {
        matches!(self, Self::Deleted | Self::Erased)
    }
}

impl From<Presence> for u8 {
    fn from(presence: Presence) -> Self {
        presence as Self
    }
}

impl TryFrom<u8> for Presence {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        match number {
            0 => Ok(Self::Live),
            1 => Ok(Self::Deleted),
            2 => Ok(Self::Erased),
            3 => Ok(Self::Hidden),
            other => Err(format!("{other} is no state of a document")),
        }
    }
}

/// The server's version that a device knows of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServerVersion {
    pub(crate) rev: Revision,
    pub(crate) seq: Seq,
    pub(crate) presence: Presence,
}

impl ServerVersion {
    /// The revision that a digest counts; none of what is not live.
    pub(crate) fn counted(&self) -> Option<Revision> {
        (self.presence == Presence::Live).then_some(self.rev)
    }
}

/// `s…`: a head, then the body: the server's version of a document whose local version differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shadow {
    pub(crate) body: Option<Body>,
}

impl Shadow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = encode(&(self.body.is_some(), Later));
        if let Some(body) = &self.body {
            bytes.extend_from_slice(body.as_bytes());
        }
        bytes
    }

    pub(crate) fn decode(payload: &Bytes) -> Result<Self> {
        let ((live, _), rest) = decode_prefix::<(bool, Later)>(payload)?;
        Ok(Self {
            body: live.then(|| Body::from_trusted(rest)),
        })
    }
}

/// What a stored change does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub(crate) enum StoredKind {
    Put,
    Delete,
    Erase,
}

impl StoredKind {
    /// What the document is after such a change.
    pub(crate) fn presence(self) -> Presence {
        match self {
            Self::Put => Presence::Live,
            Self::Delete => Presence::Deleted,
            Self::Erase => Presence::Erased,
        }
    }
}

impl From<StoredKind> for u8 {
    fn from(kind: StoredKind) -> Self {
        kind as Self
    }
}

impl TryFrom<u8> for StoredKind {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        match number {
            0 => Ok(Self::Put),
            1 => Ok(Self::Delete),
            2 => Ok(Self::Erase),
            other => Err(format!("{other} is no kind of change")),
        }
    }
}

/// One change of a mutation in the outbox or the journal; bodies are values of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChangeRow {
    pub(crate) collection: u32,
    pub(crate) id: DocumentId,
    pub(crate) kind: StoredKind,
    pub(crate) rev: Revision,
    pub(crate) base: Option<Revision>,
    pub(crate) has_base_body: bool,
    pub(crate) later: ChangeLater,
}

crate::later_fields! {
    /// Later fields of a change.
    pub(crate) struct ChangeLater {
        /// A migration made it: it gives way to whatever else stands.
        migrated: bool = "m",
    }
}

impl ChangeRow {
    pub(crate) fn collection(&self) -> CollectionId {
        CollectionId(self.collection)
    }
}

/// How far a mutation of the outbox has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Progress {
    /// It may still change.
    #[serde(rename = "u")]
    Unsent,
    /// It has its number and may be on its way; it never changes again.
    #[serde(rename = "p")]
    Pinned(MutationNumber),
    /// The server answered a conflict, or refused it for its clock while a later change of its documents was on its way. It
    /// waits until the feed was read up to there, and until that later change is answered.
    #[serde(rename = "c")]
    Conflicted(Seq),
}

/// `o…`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MutationRow {
    pub(crate) progress: Progress,
    /// 0 changes, 1 withdrawn.
    pub(crate) content: u8,
    /// Connections that ended while it was in flight.
    pub(crate) ended: u32,
    pub(crate) changes: Vec<ChangeRow>,
    pub(crate) later: MutationLater,
}

impl MutationRow {
    /// How many values it has.
    const FIELDS: u32 = 5;

    /// Whether a mutation was never sent. Nothing else of it is read.
    pub(crate) fn is_unsent(payload: &[u8]) -> Result<bool> {
        let (progress, _) = Encoded::of_row(payload, Self::FIELDS, 0)?;
        progress.equals(Encoded::text("u"))
    }
}

crate::later_fields! {
    /// Later fields of a mutation.
    pub(crate) struct MutationLater {
        /// It was made under a client id that is no longer ours, and its outcome may be recorded under that one.
        doubt: Doubt = "d",
        /// It met a conflict with a version at this place, and nothing that was read explained why.
        met: Seq = "m",
        /// Nothing is in its way any more but a later mutation of one of its documents, which is on its way.
        freed: bool = "f",
        /// It brings back what a restored server has lost, or may have: it was on its way there.
        returns: bool = "r",
    }
}

/// Whether a mutation may have taken effect already, under a client id of before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "u8", from = "u8")]
pub(crate) enum Doubt {
    #[default]
    None,
    /// It was never sent from here; but a copy of this store may have sent it.
    Unsent,
    /// It had a number.
    Sent,
}

impl From<Doubt> for u8 {
    fn from(doubt: Doubt) -> Self {
        doubt as Self
    }
}

impl From<u8> for Doubt {
    fn from(number: u8) -> Self {
        match number {
            0 => Self::None,
            1 => Self::Unsent,
            _ => Self::Sent,
        }
    }
}

/// `j…`; bodies are values of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JournalRow {
    /// 0 conflict, 1 refusal, 2 two documents with the same values in a unique index.
    pub(crate) kind: u8,
    pub(crate) time: i64,
    pub(crate) target: u32,
    /// The whole mutation.
    pub(crate) changes: Vec<ChangeRow>,
    /// The server's version of each document, where it is known.
    pub(crate) remote: Vec<Option<ServerVersion>>,
    /// 0 local, 1 remote, 2 merged, 3 both.
    pub(crate) winner: u8,
    pub(crate) rule: String,
    /// Of a refusal.
    pub(crate) code: Option<String>,
    pub(crate) reason: Option<String>,
    /// 0 open, 1 restored, 2 dismissed.
    pub(crate) state: u8,
    pub(crate) later: Later,
}

#[cfg(test)]
mod tests;
