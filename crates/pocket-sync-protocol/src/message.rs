//! The messages, as plain data. `docs/protocol.md` describes each; `codec` knows their bytes.

use std::time::Duration;

use bytes::Bytes;
use pocket_core::{
    ClientId, CollectionName, DocumentId, Epoch, Hlc, Lineage, MutationNumber, Outcome, Seq,
    SessionToken, Timestamp,
};

use crate::{ServerLimits, VersionRange};

/// What a client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientMessage {
    /// The first message of a connection.
    Hello(Hello),
    /// Numbered mutations.
    Push(Push),
    /// Read the feed from here on, and keep telling.
    Pull(Pull),
    /// A page is applied; one more may be sent.
    More(More),
    /// Read these documents, once.
    Fetch(Fetch),
    /// Still there?
    Ping(Ping),
}

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerMessage {
    /// The answer to a hello.
    Welcome(Welcome),
    /// What became of a push.
    Outcomes(Outcomes),
    /// A stretch of the feed.
    Page(Page),
    /// The answer to a fetch.
    Records(Records),
    /// Something was refused.
    Error(ErrorMessage),
    /// Still there.
    Pong(Pong),
}

/// Who a client is and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The protocol versions it speaks.
    pub versions: VersionRange,
    /// Its client id.
    pub client: ClientId,
    /// The namespace it opens.
    pub namespace: String,
    /// Its token, unless a header carried it.
    pub token: Option<String>,
    /// The session token of its last welcome, if it ever had one.
    pub session: Option<SessionToken>,
    /// The collections it reads; empty means all.
    pub collections: Vec<CollectionName>,
    /// What it will do.
    pub direction: Direction,
    /// How far it has read, if it ever has.
    pub checkpoint: Option<HelloCheckpoint>,
    /// The program and its version, for the server's log.
    pub agent: String,
}

/// Which way changes flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Both ways.
    #[default]
    Both,
    /// Only from the client to the server.
    Push,
    /// Only from the server to the client.
    Pull,
}

/// How far a client has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelloCheckpoint {
    /// The epoch in which the place was told.
    pub epoch: Epoch,
    /// The last place read.
    pub seq: Seq,
    /// The fingerprint of the rights it read with, as the welcome told it.
    pub rights: Option<Bytes>,
    /// The head fixed when its first sync or resync began, while that lasts.
    pub fixed_head: Option<Seq>,
}

/// Numbered mutations, contiguous from `first`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The id that the answer repeats.
    pub id: u32,
    /// The client has stored the outcomes up to here.
    pub confirmed: MutationNumber,
    /// The number of the first mutation.
    pub first: MutationNumber,
    /// The collections of the changes. Not checked yet: a bad one costs its mutations only.
    pub collections: Vec<String>,
    /// The clients of the bases.
    pub clients: Vec<ClientId>,
    /// The mutations.
    pub mutations: Vec<PushContent>,
}

/// What one mutation of a push holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushContent {
    /// Changes that take effect together.
    Changes(Vec<PushChange>),
    /// Nothing any more.
    Withdrawn,
}

/// One change of a push, as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushChange {
    /// Which of the push's collections.
    pub collection: u32,
    /// The document's id. Not checked yet: a bad one costs its mutation only.
    pub id: String,
    /// When it was written; who is the pushing client.
    pub hlc: Hlc,
    /// The version it was made on.
    pub base: Option<TableBase>,
    /// What it does.
    pub kind: PushChangeKind,
}

/// A base revision, its client by its place in the push's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableBase {
    /// When it was written.
    pub hlc: Hlc,
    /// Which of the push's clients wrote it.
    pub client: u32,
}

/// What a change of a push does. The body is not checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushChangeKind {
    /// The document is this.
    Put(Bytes),
    /// The document is deleted.
    Delete,
    /// The document is erased.
    Erase,
}

/// Read the feed; replaces the pull that runs on this connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// The id that the pages repeat.
    pub id: u32,
    /// The epoch in which `after` was told; none for a first read.
    pub epoch: Option<Epoch>,
    /// Read what comes after this place.
    pub after: Seq,
    /// Read up to this place and end there; none reads on for ever.
    pub until: Option<Seq>,
    /// The collections of a joining read; empty means those of the hello.
    pub collections: Vec<CollectionName>,
    /// How many pages the server may send before the first `more`.
    pub window: u32,
    /// How many records a page holds while catching up.
    pub batch: u32,
    /// The head fixed when a first sync or resync began, while that lasts: deletions up to there are left out.
    pub fixed_head: Option<Seq>,
}

/// A page is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct More {
    /// The id of the pull.
    pub id: u32,
    /// The end of the page that was applied.
    pub applied: Seq,
}

/// Read these documents, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// The id that the answer repeats.
    pub id: u32,
    /// The documents.
    pub documents: Vec<(CollectionName, DocumentId)>,
}

/// Still there?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    /// The id that the answer repeats.
    pub id: u32,
    /// The client's time, for the server's log.
    pub time: Option<Timestamp>,
}

/// The answer to a hello: where the server stands and what it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The protocol version spoken from here on.
    pub version: u16,
    /// The lineage of the log.
    pub lineage: Lineage,
    /// The user the token stands for.
    pub user: String,
    /// The epochs of the log, oldest first.
    pub epochs: Vec<EpochStart>,
    /// The epoch of this opening.
    pub epoch: Epoch,
    /// The newest place.
    pub head: Seq,
    /// Deletions at or below this place are forgotten.
    pub horizon: Seq,
    /// The server's time.
    pub time: Timestamp,
    /// What to present next time.
    pub session: SessionToken,
    /// The last number of this client that has an outcome.
    pub last_number: MutationNumber,
    /// What the server takes.
    pub limits: ServerLimits,
    /// How often to send a ping when nothing else is sent, to the millisecond.
    pub heartbeat: Duration,
    /// A fingerprint of the user's rights to read; none where everybody reads everything.
    pub rights: Option<Bytes>,
    /// The server knew nothing of this client, or knows nothing any more.
    pub is_new: bool,
}

/// One opening of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochStart {
    /// Its name.
    pub epoch: Epoch,
    /// The first place given in it.
    pub first: Seq,
}

/// What became of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcomes {
    /// The id of the push.
    pub id: u32,
    /// The number of the first outcome.
    pub first: MutationNumber,
    /// The outcomes, contiguous from `first`.
    pub outcomes: Vec<Outcome>,
    /// The number the server expects instead of what follows the outcomes.
    pub gap: Option<MutationNumber>,
}

/// A stretch of the feed, read in one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The id of the pull.
    pub id: u32,
    /// The epoch of this opening.
    pub epoch: Epoch,
    /// The place it starts behind.
    pub start: Seq,
    /// The place it ends at, whether or not a record stands there.
    pub end: Seq,
    /// The newest place the server saw.
    pub head: Seq,
    /// Whether it belongs to a resync.
    pub resync: bool,
    /// The collection it is a joining read of; none for the main feed.
    pub joining: Option<CollectionName>,
    /// The records, by rising place.
    pub set: RecordSet,
    /// What the reader may no longer see.
    pub removals: Vec<Removal>,
    /// What the reader should now hold, encoded; see [`Page::digests`].
    pub digest: Option<Bytes>,
}

/// A document the reader may no longer see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// Which of the page's collections.
    pub collection: u32,
    /// The document.
    pub id: DocumentId,
    /// The place at which it was removed.
    pub seq: Seq,
}

/// Encoded records under the tables they share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordSet {
    /// The collections.
    pub collections: Vec<CollectionName>,
    /// The clients that wrote the revisions.
    pub clients: Vec<ClientId>,
    /// For each record, which of the collections and which of the clients.
    pub heads: Vec<(u32, u32)>,
    /// For each record, the bytes that all readers share.
    pub data: Vec<Bytes>,
}

/// The answer to a fetch; documents that are missing or not readable are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    /// The id of the fetch.
    pub id: u32,
    /// The epoch of this opening.
    pub epoch: Epoch,
    /// The newest place the server saw.
    pub head: Seq,
    /// The records.
    pub set: RecordSet,
}

/// Something was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorMessage {
    /// The id of what it answers; none when it answers nothing in particular.
    pub id: Option<u32>,
    /// A stable code; see [`codes`](crate::codes).
    pub code: String,
    /// What happened and what to do.
    pub message: String,
    /// Whether the same may succeed later.
    pub retryable: bool,
    /// How long to wait before, to the millisecond.
    pub retry_after: Option<Duration>,
    /// Whether the connection is closed after it.
    pub fatal: bool,
}

/// Still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pong {
    /// The id of the ping.
    pub id: u32,
    /// The newest place.
    pub head: Seq,
    /// The server's time.
    pub time: Timestamp,
}

macro_rules! messages {
    ($kind:ident: $($name:ident),*) => {$(
        impl From<$name> for $kind {
            fn from(message: $name) -> Self {
                Self::$name(message)
            }
        }
    )*};
}

messages!(ClientMessage: Hello, Push, Pull, More, Fetch, Ping);
messages!(ServerMessage: Welcome, Outcomes, Page, Records, Pong);

impl From<ErrorMessage> for ServerMessage {
    fn from(message: ErrorMessage) -> Self {
        Self::Error(message)
    }
}
