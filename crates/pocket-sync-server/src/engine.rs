//! What keeps namespaces: their order, their records and what they know of clients.
//!
//! An engine is shaped by its transactions, not by keys and values: it loads what pushes name, calls the pure
//! [`decide`](crate::decide), and stores the result atomically, one commit of a namespace after the other. Everything
//! above the trait is shared by all engines.

mod embedded;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pocket_core::storage::{MaybeSend, MaybeSync};
use pocket_core::{
    ClientId, CollectionName, Digest, Epoch, Lineage, MutationNumber, Seq, SessionToken, Timestamp,
};
use pocket_storage::ordered::BTreeMap;
use pocket_sync_protocol::{EncodedRecord, EpochStart};

use crate::Namespace;
use crate::decide::{AttachRefusal, DocumentKey, PushAnswer, PushRequest};
use crate::rules::Authority;

pub use embedded::EmbeddedEngine;

/// Who begins a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachRequest {
    /// The user.
    pub user: Arc<str>,
    /// The client.
    pub client: ClientId,
    /// The session token of the client's last welcome, if it ever had one.
    pub presented: Option<SessionToken>,
    /// A client that is not known is refused, and may come again after so long: too many others came in for the first time.
    /// The server asks so first, and once more without it when there is room for one that turned out to be new.
    pub unless_new: Option<Duration>,
}

/// A session that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Where the log stands.
    pub log: LogState,
    /// The session token to present next time; durable.
    pub session: SessionToken,
    /// The last number of the client that has an outcome.
    pub last: MutationNumber,
    /// Nothing was known of the client.
    pub is_new: bool,
    /// The server's time of day. Not its hybrid clock, which never goes back: one that was ahead for a moment would tell
    /// a wrong time for ever.
    pub time: Timestamp,
}

/// Where the log of a namespace stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogState {
    /// Its name, kept for ever.
    pub lineage: Lineage,
    /// Its openings, oldest first.
    pub epochs: Arc<[EpochStart]>,
    /// This opening.
    pub epoch: Epoch,
    /// The newest place.
    pub head: Seq,
    /// Deletions at or below this place are forgotten.
    pub horizon: Seq,
}

impl LogState {
    /// Whether a place told in an epoch belongs to this log's history.
    ///
    /// A place is part of an epoch's history up to the last one given in it.
    pub fn contains(&self, epoch: Epoch, seq: Seq) -> bool {
        let Some(place) = self.epochs.iter().position(|start| start.epoch == epoch) else {
            return false;
        };
        match self.epochs.get(place + 1) {
            Some(next) => seq < next.first,
            None => seq <= self.head,
        }
    }
}

/// What a commit did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// An answer for each push, in their order.
    pub answers: Vec<PushAnswer>,
    /// The newest place.
    pub head: Seq,
}

/// Which stretch of the feed to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// Read what comes after this place.
    pub after: Seq,
    /// Read nothing behind this place.
    pub until: Option<Seq>,
    /// Leave out deletions at or before this place: the reader never had what they deleted.
    pub live_until: Option<Seq>,
    /// The reader was told of all removals up to this place. One further back may have been missed: its document stands
    /// further on in the feed as soon as it changes again.
    pub told: Seq,
    /// Read only these collections; none means all.
    pub collections: Arc<BTreeSet<CollectionName>>,
    /// Records at the most.
    pub records: usize,
    /// Stop before the records have more bytes than this; one record is always read.
    pub bytes: usize,
    /// Read what this one may see.
    pub authority: Authority,
    /// Tell also what a reader should hold that has read up to the head, if the stretch reaches it.
    pub digests: bool,
}

/// A stretch of the feed, read in one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedPage {
    /// The epoch of this opening.
    pub epoch: Epoch,
    /// The place it starts behind.
    pub start: Seq,
    /// The place it ends at.
    pub end: Seq,
    /// The newest place.
    pub head: Seq,
    /// The newest place when the reading began: what was deleted behind it may be shown as it was before.
    pub began: Seq,
    /// Deletions at or below this place may be missing.
    pub horizon: Seq,
    /// The records, by rising place.
    pub records: Vec<EncodedRecord>,
    /// What the reader may no longer see, by rising place.
    pub removals: Vec<Removed>,
    /// The digest of each collection that the reader should hold documents of, if he was to be told and the engine knows.
    pub digests: Option<BTreeMap<CollectionName, Digest>>,
}

/// A document that the reader saw once and may not see any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// The document.
    pub key: DocumentKey,
    /// The place of its record.
    pub seq: Seq,
    /// The reader wrote it himself, so he holds it even if he never read it.
    pub own: bool,
}

/// How long a server remembers what is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// Deletions older than this are forgotten; none keeps them however old they are.
    pub tombstones: Option<Duration>,
    /// Deletions so many places behind the newest one are forgotten, however young they are.
    pub places: Option<u64>,
    /// Clients not seen for longer than this are forgotten. Longer than `tombstones`: who comes back between the two
    /// keeps its id.
    pub clients: Option<Duration>,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for Retention {
    /// Deletions for 30 days, clients for 60.
    fn default() -> Self {
        Self::age(30 * DAY)
    }
}

impl Retention {
    /// Deletions for so long, clients for twice as long.
    pub fn age(tombstones: Duration) -> Self {
        Self {
            tombstones: Some(tombstones),
            places: None,
            clients: Some(tombstones.saturating_mul(2).max(DAY)),
        }
    }

    /// Everything for ever.
    pub fn forever() -> Self {
        Self {
            tombstones: None,
            places: None,
            clients: None,
        }
    }

    /// Forgets deletions so many places behind the newest one.
    #[must_use]
    pub fn places(mut self, places: u64) -> Self {
        self.places = Some(places);
        self
    }

    /// Whether any deletion is ever forgotten.
    pub(crate) fn forgets_deletions(&self) -> bool {
        self.tombstones.is_some() || self.places.is_some()
    }

    /// Forgets clients not seen for so long; none keeps all.
    #[must_use]
    pub fn clients(mut self, unseen: Option<Duration>) -> Self {
        self.clients = unseen;
        self
    }

    /// Whether a deletion is to be forgotten.
    pub(crate) fn is_over(&self, deleted: Timestamp, now: Timestamp, seq: Seq, head: Seq) -> bool {
        let behind = head.get().saturating_sub(seq.get());
        let is_old = self
            .tombstones
            .is_some_and(|most| is_past(deleted, most, now));
        is_old || self.places.is_some_and(|places| behind >= places)
    }
}

/// Whether it is at least so long ago. What lies ahead, since a clock was set back, is not.
pub(crate) fn is_past(moment: Timestamp, most: Duration, now: Timestamp) -> bool {
    let age = now.millis().saturating_sub(moment.millis());
    u128::try_from(age).is_ok_and(|age| age >= most.as_millis())
}

/// What one batch of forgetting did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Deletions forgotten.
    pub tombstones: usize,
    /// Clients forgotten.
    pub clients: usize,
    /// Deletions at or below this place are forgotten.
    pub horizon: Seq,
    /// There is more to do.
    pub more: bool,
}

/// The records of documents asked for by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The epoch of this opening.
    pub epoch: Epoch,
    /// The newest place.
    pub head: Seq,
    /// The records of those that exist.
    pub records: Vec<EncodedRecord>,
}

/// Records read at once when they are counted, and their bytes.
const COUNTED: usize = 1_024;
const COUNTED_BYTES: usize = 4 * 1024 * 1024;

/// How many documents there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// The documents of each collection.
    pub documents: BTreeMap<CollectionName, u64>,
    /// The records that were looked at, deletions as well.
    pub records: usize,
    /// Whether that was all of them.
    pub is_whole: bool,
}

impl Counted {
    fn add(&mut self, collection: CollectionName, is_live: bool) {
        self.records += 1;
        *self.documents.entry(collection).or_default() += u64::from(is_live);
    }
}

/// Why an engine refused, by what the caller can do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The client may not begin a session; nothing was recorded.
    #[error("{}", refusal_text(*.0))]
    Refused(AttachRefusal),
    /// Nothing was stored; the same may succeed later.
    #[error("nothing was stored: {0}")]
    NotApplied(String),
    /// There is no room, and nothing was stored; the same succeeds when there is.
    #[error("the server's disk is full, nothing was stored: {0}")]
    Full(String),
    /// Whether it was stored is unknown; ask again with the same numbers.
    #[error("whether it was stored is unknown; ask again with the same numbers: {0}")]
    Unknown(String),
    /// There is more to read than one message holds; ask for less.
    #[error("{0}")]
    TooLarge(String),
    /// It cannot be done; somebody must look after the server.
    #[error("{0}")]
    Fatal(String),
}

fn refusal_text(refusal: AttachRefusal) -> &'static str {
    match refusal {
        AttachRefusal::OtherUser => {
            "this client id belongs to another user; use that user's token, or leave the server (`detach` keeps all documents \
             and offers them anew, `wipe` removes what came from here)"
        }
        AttachRefusal::Crowded => {
            "this user has too many connections; close one, or try again later"
        }
        AttachRefusal::TooManyNew(_) => {
            "too many devices of this user, or from this address, came in for the first time; try again later"
        }
        AttachRefusal::Replaced => "a session of this client has begun on a newer connection",
        AttachRefusal::ClientCopied => {
            "the session token is not the last one; the database was copied or restored and needs a client id of its own"
        }
    }
}

impl From<pocket_core::Error> for EngineError {
    /// What is stored cannot be read.
    fn from(error: pocket_core::Error) -> Self {
        Self::Fatal(error.to_string())
    }
}

/// What an engine answers.
pub type EngineResult<T> = Result<T, EngineError>;

/// Keeps namespaces.
#[cfg_attr(not(target_arch = "wasm32"), async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait(?Send))]
pub trait Engine: Debug + MaybeSend + MaybeSync + 'static {
    /// Opens a namespace, so that whatever follows is quick. What an earlier version left uncounted is counted here, which
    /// takes as long as its documents are many, and begins anew if the future is dropped before its end: the server
    /// lets it go on when the sessions that waited for it have given up.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    async fn prepare(&self, namespace: &Namespace) -> EngineResult<()> {
        let _ = namespace;
        Ok(())
    }

    /// Begins a session: checks the client and its session token, and records a fresh one durably.
    ///
    /// # Errors
    /// [`EngineError::Refused`] and the others.
    async fn attach(
        &self,
        namespace: &Namespace,
        request: &AttachRequest,
    ) -> EngineResult<Attached>;

    /// Decides pushes in order and stores their effects and outcomes in one atomic batch, durable when it returns.
    ///
    /// # Errors
    /// No push is answered: [`EngineError::NotApplied`], [`EngineError::Full`], [`EngineError::Unknown`], [`EngineError::Fatal`].
    async fn commit(
        &self,
        namespace: &Namespace,
        pushes: &[PushRequest],
    ) -> EngineResult<Committed>;

    /// Reads a stretch of the feed in one snapshot. Nothing that is not yet durable is shown.
    ///
    /// The stretch may end before the head without a record, when many records were left out.
    ///
    /// # Errors
    /// [`EngineError::NotApplied`], [`EngineError::Fatal`].
    async fn changes(&self, namespace: &Namespace, request: &ReadRequest)
    -> EngineResult<FeedPage>;

    /// Reads documents by id. Missing ones, and those that `authority` may not see, are left out.
    ///
    /// # Errors
    /// As [`changes`](Self::changes), and [`EngineError::TooLarge`] when they do not fit into one message.
    async fn fetch(
        &self,
        namespace: &Namespace,
        documents: &[DocumentKey],
        authority: &Authority,
    ) -> EngineResult<Fetched>;

    /// Forgets a small batch of what is older than `retention`; the horizon moves in the same commit. Whoever wants all of it
    /// forgotten calls again while there is [more](Compacted::more); commits go on in between.
    ///
    /// A namespace that nobody uses gets no epoch by it and stays closed; one that does not exist is not made. Clients that are
    /// connected have to be [seen](Self::note_seen) first.
    ///
    /// # Errors
    /// As [`commit`](Self::commit). An engine that keeps everything does nothing.
    async fn compact(
        &self,
        namespace: &Namespace,
        retention: &Retention,
    ) -> EngineResult<Compacted> {
        let _ = (namespace, retention);
        Ok(Compacted::default())
    }

    /// These clients are connected, and count as seen now: who only reads leaves no other trace. Those that were seen within
    /// `unless_within` are left as they are.
    ///
    /// # Errors
    /// As [`commit`](Self::commit). An engine that forgets no clients does nothing.
    async fn note_seen(
        &self,
        namespace: &Namespace,
        clients: &[ClientId],
        unless_within: Duration,
    ) -> EngineResult<()> {
        let _ = (namespace, clients, unless_within);
        Ok(())
    }

    /// Nobody is connected to the namespace any more: what is only kept for speed may be forgotten.
    fn release(&self, namespace: &Namespace) {
        let _ = namespace;
    }

    /// The namespaces there are, by name. An engine that cannot tell has none to show.
    ///
    /// # Errors
    /// As [`changes`](Self::changes).
    async fn namespaces(&self) -> EngineResult<Vec<Namespace>> {
        Ok(Vec::new())
    }

    /// The newest place of a namespace as it is stored, without opening it; none when there is no such namespace.
    ///
    /// # Errors
    /// As [`changes`](Self::changes).
    async fn stored_head(&self, namespace: &Namespace) -> EngineResult<Option<Seq>> {
        // Asking for one that is not there would make it.
        if !self.namespaces().await?.contains(namespace) {
            return Ok(None);
        }
        self.head(namespace).await.map(Some)
    }

    /// The greatest time that is stored with a namespace, without opening it: about when it was last written to. None when
    /// there is no such namespace, or the engine cannot tell. A server that starts compares its clock with it
    /// before it forgets by that; where it can compare with none, it leaves out its first round.
    ///
    /// # Errors
    /// As [`changes`](Self::changes).
    async fn stored_time(&self, namespace: &Namespace) -> EngineResult<Option<Timestamp>> {
        let _ = namespace;
        Ok(None)
    }

    /// Counts the documents of each collection among `most` records, without opening the namespace.
    ///
    /// # Errors
    /// As [`changes`](Self::changes).
    async fn count(&self, namespace: &Namespace, most: usize) -> EngineResult<Counted> {
        let mut request = ReadRequest {
            after: Seq::ZERO,
            until: None,
            live_until: None,
            told: Seq::ZERO,
            collections: Arc::default(),
            records: COUNTED,
            bytes: COUNTED_BYTES,
            authority: Authority::open(),
            digests: false,
        };
        let mut counted = Counted::default();
        while !counted.is_whole && counted.records < most {
            let page = self.changes(namespace, &request).await?;
            for record in &page.records {
                let decoded = record.decode();
                let is_live = decoded.is_ok_and(|record| record.state.body().is_some());
                counted.add(record.collection.clone(), is_live);
            }
            request.after = page.end;
            counted.is_whole = page.end >= page.head;
        }
        Ok(counted)
    }

    /// The newest place of a namespace.
    ///
    /// # Errors
    /// As [`changes`](Self::changes).
    async fn head(&self, namespace: &Namespace) -> EngineResult<Seq>;
}
