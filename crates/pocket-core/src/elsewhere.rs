//! Several handles of one store: what one of them committed, told to the others.
//!
//! The store alone decides: a message only spares the others to read again what it says, and one that is lost, late or
//! told twice does no harm. `docs/consistency.md` says what each handle sees.

use std::future::poll_fn;
use std::pin::pin;

use bytes::Bytes;
use futures_util::future::{Either, select};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use tokio::sync::{broadcast, watch};

use crate::commit::{Job, LeftRounds};
use crate::config::MAX_COMMITTED_BYTES;
use crate::envelope::Later;
use crate::events::CommitEvents;
use crate::tx::{Kept, Tx};
use crate::{
    Body, ChangeEvent, ClientId, CollectionName, CommitSequence, Database, Document, DocumentId,
    DocumentLimits, Error, Result, Revision, Subscription, Timestamp, codes, envelope,
};

/// The version of the messages that are written. Of others only this number is read.
const VERSION: u8 = 1;

impl Database {
    /// What this handle commits from now on, each time as a message to the other handles of the same store, whichever
    /// way they are reached; [`committed_elsewhere`](Self::committed_elsewhere) takes it there.
    ///
    /// A message comes after its commit is durable, and before the write that it belongs to answers. It is opaque, at
    /// most a few hundred KiB, and holds documents in plain. Whoever reads too slowly gets a newer one next, from which
    /// the others see that some are missing. While nobody subscribes, nothing is encoded. It ends when the database is
    /// closed.
    pub fn committed(&self) -> Subscription<Bytes> {
        let notifier = &self.core().notifier;
        let receiver = notifier.committed_messages();
        let start = (receiver, notifier.outbox(), self.left_rounds());
        Subscription::new(stream::unfold(
            start,
            |(receiver, mut outbox, mut left)| async move {
                let mut receiver = receiver?;
                loop {
                    match told(&mut receiver, &mut outbox, &mut left).await {
                        Ok(message) => return Some((message, (Some(receiver), outbox, left))),
                        Err(broadcast::error::RecvError::Lagged(_)) => {}
                        Err(broadcast::error::RecvError::Closed) => return None,
                    }
                }
            },
        ))
    }

    /// Takes a message of another handle's [`committed`](Self::committed): its changes are told here as those of an own
    /// commit are, live queries move on without reading, and a sync engine hears that there is something to send.
    ///
    /// Messages are taken one after the other, in the order of the calls. One about commits that are known here is left
    /// aside. One that does not follow on what is known here, or has no details, or is of another version of this
    /// library, does what [`catch_up`](Self::catch_up) does.
    ///
    /// # Errors
    /// `validation` when it is no such message, and then nothing happens; and what the store says.
    pub async fn committed_elsewhere(&self, message: &[u8]) -> Result<()> {
        let message = Message::read(message)?;
        self.submit(HearJob { message }).await
    }

    /// Looks whether other handles of the same store committed what this one has not heard of. If so, settings are read
    /// again, subscribers to changes get [`Lagged`](crate::ChangeItem::Lagged), live queries read again, and a sync
    /// engine looks for something to send.
    ///
    /// # Errors
    /// What the store says.
    pub async fn catch_up(&self) -> Result<()> {
        self.submit(HearJob { message: None }).await
    }
}

/// The next message. A round that was left moves the outbox, so that this one, too, comes and drives it.
async fn told(
    messages: &mut broadcast::Receiver<Bytes>,
    outbox: &mut watch::Receiver<u64>,
    left: &mut LeftRounds,
) -> Result<Bytes, broadcast::error::RecvError> {
    loop {
        let driven = poll_fn(|context| left.poll(context));
        let (told, moved) = (pin!(messages.recv()), pin!(outbox.changed()));
        if let Either::Left((told, _)) = select(told, select(driven, moved)).await {
            return told;
        }
    }
}

/// Runs as a write does, so that no commit of this handle is under way meanwhile; it writes nothing.
struct HearJob {
    /// None: whatever it is, read again.
    message: Option<Heard>,
}

/// A message that was read, with the changes that it tells of.
struct Heard {
    message: Message,
    commits: Vec<CommitEvents>,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for HearJob {
    type Output = ();

    fn runs_alone(&self) -> bool {
        true
    }

    async fn run(&mut self, tx: &mut Tx) -> Result<()> {
        let core = tx.core().clone();
        let Some(Heard { message, commits }) = self.message.take() else {
            return core.catch_up().await;
        };
        let told = core.notifier.told();
        if message.end <= told {
            return Ok(());
        }
        match message.details {
            // Another client has another store, or has just become another one.
            Some(details) if message.base == told && details.client == core.client() => {
                let span = (message.base, message.end);
                core.hear(span, &details, commits, message.outbox_grew)
                    .await
            }
            _ => core.catch_up().await,
        }
    }
}

/// What a handle tells the others of one commit to the store, which may be that of several writes.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Message {
    version: u8,
    /// Where the store stood before it.
    base: CommitSequence,
    /// Where it stands behind it.
    end: CommitSequence,
    outbox_grew: bool,
    /// None when they are too large, or when nobody knows whether it is stored.
    details: Option<Details>,
    later: Later,
}

/// What is known of a commit.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Details {
    /// The state row as it is stored.
    pub(crate) state: ByteBuf,
    /// Who this is to a server.
    pub(crate) client: ClientId,
    /// The rows of collections and indexes that it wrote or removed, as they are stored.
    pub(crate) settings: Vec<(ByteBuf, Option<ByteBuf>)>,
    commits: Vec<Commit>,
}

/// Sequence, time in milliseconds and changes of a write.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Commit(CommitSequence, i64, Vec<Change>);

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Change {
    collection: String,
    id: String,
    before: Option<(Revision, ByteBuf)>,
    after: Option<(Revision, ByteBuf)>,
    is_from_sync: bool,
}

/// The message about what was committed on top of `base`; `state` is the state row as it is stored.
pub(crate) fn message(
    base: CommitSequence,
    kept: &Kept,
    settings: Vec<(Vec<u8>, Option<Bytes>)>,
    state: &Bytes,
) -> Bytes {
    let message = Message {
        version: VERSION,
        base,
        end: kept.state.sequence,
        outbox_grew: kept.outbox_grew,
        details: Details::of(kept, settings, state),
        later: Later,
    };
    envelope::encode(&message).into()
}

/// The message that the store may stand at `end` now, and that only it knows.
pub(crate) fn doubt(base: CommitSequence, end: CommitSequence) -> Bytes {
    let message = Message {
        version: VERSION,
        base,
        end,
        outbox_grew: true,
        details: None,
        later: Later,
    };
    envelope::encode(&message).into()
}

impl Message {
    /// None when another version of this library wrote it.
    fn read(bytes: &[u8]) -> Result<Option<Heard>> {
        let mut cursor = std::io::Cursor::new(bytes);
        let fields = rmp::decode::read_array_len(&mut cursor).map_err(foreign)?;
        let version: u64 = rmp::decode::read_int(&mut cursor).map_err(foreign)?;
        if fields == 0 {
            return Err(foreign("it is empty"));
        }
        if version != u64::from(VERSION) {
            return Ok(None);
        }
        let message: Self = envelope::decode(&Bytes::copy_from_slice(bytes)).map_err(foreign)?;
        if message.base >= message.end {
            return Err(foreign("it goes backwards"));
        }
        let commits = match &message.details {
            Some(details) => details.commits((message.base, message.end))?,
            None => Vec::new(),
        };
        Ok(Some(Heard { message, commits }))
    }
}

impl Details {
    /// None when they are too large.
    fn of(kept: &Kept, settings: Vec<(Vec<u8>, Option<Bytes>)>, state: &Bytes) -> Option<Self> {
        let of_setting = |(key, value): &(Vec<u8>, Option<Bytes>)| {
            key.len() + value.as_ref().map_or(0, Bytes::len)
        };
        let events = kept.events.iter().flat_map(|commit| commit.events.iter());
        let bytes = settings.iter().map(of_setting).sum::<usize>()
            + events.map(ChangeEvent::bytes).sum::<usize>();
        if bytes > MAX_COMMITTED_BYTES {
            return None;
        }
        let settings = settings.into_iter().map(|(key, value)| {
            let value = value.map(|value| ByteBuf::from(value.to_vec()));
            (ByteBuf::from(key), value)
        });
        Some(Self {
            state: ByteBuf::from(state.to_vec()),
            client: kept.client,
            settings: settings.collect(),
            commits: kept.events.iter().map(Commit::of).collect(),
        })
    }

    /// The changes, commit by commit; an error when they cannot be what was committed between the two.
    fn commits(&self, (base, end): (CommitSequence, CommitSequence)) -> Result<Vec<CommitEvents>> {
        let mut last = base;
        let commits = self.commits.iter();
        let commits = commits.map(|Commit(sequence, timestamp, changes)| {
            if *sequence <= last || *sequence > end {
                return Err(foreign("its commits are in no order"));
            }
            last = *sequence;
            let events = changes.iter().map(Change::event);
            Ok(CommitEvents::new(
                *sequence,
                Timestamp::from_millis(*timestamp),
                events.collect::<Result<_>>()?,
            ))
        });
        commits.collect()
    }
}

impl Commit {
    fn of(commit: &CommitEvents) -> Self {
        let timestamp = commit.events.first().map(|event| event.timestamp);
        Self(
            commit.sequence,
            timestamp.map_or(0, Timestamp::millis),
            commit.events.iter().map(Change::of).collect(),
        )
    }
}

impl Change {
    fn of(event: &ChangeEvent) -> Self {
        let version = |document: &Document| {
            let body = document.body.as_ref()?;
            Some((document.rev, ByteBuf::from(body.as_bytes().to_vec())))
        };
        Self {
            collection: event.collection.to_string(),
            id: event.document_id.to_string(),
            before: event.previous_document.as_ref().and_then(version),
            after: event.document.as_ref().and_then(version),
            is_from_sync: event.is_from_sync,
        }
    }

    fn event(&self) -> Result<ChangeEvent> {
        let limits = DocumentLimits::WIDEST;
        let id = DocumentId::new(&self.id).map_err(foreign)?;
        let version = |version: &Option<(Revision, ByteBuf)>| -> Result<_> {
            let Some((rev, body)) = version else {
                return Ok(None);
            };
            let body = Body::from_msgpack(Bytes::copy_from_slice(body), &limits);
            let body = body.map_err(foreign)?;
            Ok(Some(Document::new(id.clone(), *rev, Some(body))))
        };
        let collection = CollectionName::new(&self.collection).map_err(foreign)?;
        let (before, after) = (version(&self.before)?, version(&self.after)?);
        ChangeEvent::between(collection, before, after, self.is_from_sync)
            .ok_or_else(|| foreign("a change has neither a version before nor one after"))
    }
}

/// The error of bytes that no handle has told.
pub(crate) fn foreign(what: impl std::fmt::Display) -> Error {
    Error::new(
        codes::VALIDATION,
        format!("this is no message of another handle about what it committed: {what}"),
    )
}
