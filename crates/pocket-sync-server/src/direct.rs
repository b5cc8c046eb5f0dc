//! Reads and writes by the server itself, on the way that every change takes.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex};

use pocket_core::{
    Body, Change, ChangeKind, ClientId, CollectionName, DocumentId, Hlc, Mutation, MutationContent,
    MutationNumber, Outcome, Record, Revision, Seq, SessionToken, random_bytes,
};
use tokio::sync::oneshot;

use crate::Namespace;
use crate::auth::Access;
use crate::decide::{DocumentKey, PushAnswer, PushRequest};
use crate::engine::{AttachRequest, EngineError, ReadRequest};
use crate::locks::lock;
use crate::rules::Authority;
use crate::server::{Hub, Inner};

/// How often a write is tried again when a client's came before it.
const ATTEMPTS: usize = 16;

/// The clients by which a server writes, one for each namespace.
pub(crate) type Writers = Mutex<HashMap<Namespace, Arc<tokio::sync::Mutex<Option<Writer>>>>>;

/// The client by which a server writes into a namespace. Each run of a server has a new one.
#[derive(Debug)]
pub(crate) struct Writer {
    client: ClientId,
    session: SessionToken,
    next: MutationNumber,
    clock: Hlc,
}

/// Why the server's own read or write failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DirectError {
    /// The write breaks a rule.
    #[error("rejected with {code}: {reason}")]
    Rejected {
        /// The code that a client would be told.
        code: String,
        /// The reason.
        reason: String,
    },
    /// Clients kept writing the same document; try again.
    #[error("others keep writing this document; try again")]
    Busy,
    /// The store failed. After [`EngineError::Unknown`] the write may have taken effect.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// A namespace, as the server itself reads and writes it. Rules about users do not bind it; the validator does.
#[derive(Clone)]
pub struct NamespaceHandle {
    server: Arc<Inner>,
    hub: Arc<Hub>,
    namespace: Namespace,
}

impl NamespaceHandle {
    pub(crate) fn new(server: Arc<Inner>, namespace: &Namespace) -> Self {
        Self {
            hub: server.hub(namespace),
            server,
            namespace: namespace.clone(),
        }
    }

    /// The document, if it exists.
    ///
    /// # Errors
    /// [`DirectError::Engine`].
    pub async fn get(
        &self,
        collection: &CollectionName,
        id: &DocumentId,
    ) -> Result<Option<Body>, DirectError> {
        let record = self.record(collection, id).await?;
        Ok(record.and_then(|record| record.state.body().cloned()))
    }

    /// All documents of a collection, in the order of their last changes.
    ///
    /// They are held in memory; changes made meanwhile may or may not be among them.
    ///
    /// # Errors
    /// [`DirectError::Engine`].
    pub async fn list(
        &self,
        collection: &CollectionName,
    ) -> Result<Vec<(DocumentId, Body)>, DirectError> {
        let mut found: HashMap<DocumentId, (Seq, Option<Body>)> = HashMap::new();
        let mut after = Seq::ZERO;
        let collections = Arc::new(BTreeSet::from([collection.clone()]));
        loop {
            let limits = &self.server.config.limits;
            let request = ReadRequest {
                after,
                until: None,
                live_until: None,
                told: Seq::ZERO,
                collections: Arc::clone(&collections),
                records: limits.page_records,
                bytes: limits.wire.message_bytes,
                authority: Authority::open(),
                digests: false,
            };
            let page = self
                .server
                .engine
                .changes(&self.namespace, &request)
                .await?;
            for record in &page.records {
                let record = decoded(record)?;
                let body = record.state.body().cloned();
                found.insert(record.id, (record.seq, body));
            }
            after = page.end;
            if page.end >= page.head {
                break;
            }
        }
        let mut live: Vec<_> = found
            .into_iter()
            .filter_map(|(id, (seq, body))| Some((seq, id, body?)))
            .collect();
        live.sort_unstable_by_key(|(seq, ..)| *seq);
        Ok(live.into_iter().map(|(_, id, body)| (id, body)).collect())
    }

    /// Writes a document, whatever was there. Durable when it returns; tells the place.
    ///
    /// # Errors
    /// Each [`DirectError`].
    pub async fn put(
        &self,
        collection: &CollectionName,
        id: &DocumentId,
        body: &Body,
    ) -> Result<Seq, DirectError> {
        self.write(collection, id, ChangeKind::Put(body.clone()))
            .await
    }

    /// Deletes a document, whatever it held by then. One that is missing leaves a mark of its deletion.
    ///
    /// # Errors
    /// Each [`DirectError`].
    pub async fn delete(
        &self,
        collection: &CollectionName,
        id: &DocumentId,
    ) -> Result<Seq, DirectError> {
        self.write(collection, id, ChangeKind::Delete).await
    }

    async fn write(
        &self,
        collection: &CollectionName,
        id: &DocumentId,
        kind: ChangeKind,
    ) -> Result<Seq, DirectError> {
        let slot = self.writer();
        let mut writer = slot.lock().await;
        for _ in 0..ATTEMPTS {
            let (mut current, stands) = match writer.take() {
                Some(writer) => (writer, true),
                None => (self.attach().await?, false),
            };
            let record = self.record(collection, id).await?;
            let before = record.as_ref().map(|record| record.rev.hlc);
            let clock = current.clock.max(before.unwrap_or(Hlc::ZERO));
            current.clock = clock.tick(self.server.env.now());
            let live = record.filter(|record| record.state.body().is_some());
            let change = Change {
                collection: collection.clone(),
                id: id.clone(),
                rev: Revision::new(current.clock, current.client),
                base: live.map(|record| record.rev),
                kind: kind.clone(),
            };
            let answer = self.push(&current, change).await?;
            let Some(outcome) = answer.outcomes.into_iter().next() else {
                // The log forgot this client; a new one takes over.
                if stands {
                    continue;
                }
                return Err(DirectError::Busy);
            };
            current.next = current.next.next();
            *writer = Some(current);
            match outcome {
                Outcome::Applied { first } => return Ok(first),
                Outcome::Conflict { .. } => {}
                Outcome::Rejected { code, reason, .. } => {
                    return Err(DirectError::Rejected { code, reason });
                }
            }
        }
        Err(DirectError::Busy)
    }

    /// Pushes one change, and waits for what becomes of it.
    async fn push(&self, writer: &Writer, change: Change) -> Result<PushAnswer, EngineError> {
        let number = writer.next;
        let push = PushRequest {
            user: Access::server().user,
            client: writer.client,
            session: writer.session,
            confirmed: MutationNumber::new(number.get() - 1),
            first: number,
            mutations: vec![Ok(Mutation {
                number,
                content: MutationContent::Changes(vec![change]),
            })],
            bytes: 0,
            authority: Authority::new(
                self.namespace.clone(),
                Access::server(),
                writer.client,
                &self.server.rights().borrow(),
            ),
        };
        let (sender, answer) = oneshot::channel();
        let tell = Box::new(move |result| {
            // Whoever asked may have lost interest.
            let _ = sender.send(result);
        });
        let hub = Arc::clone(&self.hub);
        self.hub.combiner.push(push, tell, hub).await;
        let gone = |_| EngineError::Unknown("the namespace is no longer served".to_owned());
        answer.await.map_err(gone)?
    }

    /// Makes a client of the server's own known to the log.
    async fn attach(&self) -> Result<Writer, EngineError> {
        let client = ClientId::from_bytes(random_bytes(&*self.server.env));
        let request = AttachRequest {
            user: Access::server().user,
            client,
            presented: None,
            unless_new: None,
        };
        let attached = self.hub.attach(request).await?;
        Ok(Writer {
            client,
            session: attached.session,
            next: attached.last.next(),
            clock: Hlc::from_time(attached.time),
        })
    }

    async fn record(
        &self,
        collection: &CollectionName,
        id: &DocumentId,
    ) -> Result<Option<Record>, EngineError> {
        let key = DocumentKey {
            collection: collection.clone(),
            id: id.clone(),
        };
        let engine = &self.server.engine;
        let fetched = engine
            .fetch(&self.namespace, &[key], &Authority::open())
            .await?;
        fetched.records.first().map(decoded).transpose()
    }

    fn writer(&self) -> Arc<tokio::sync::Mutex<Option<Writer>>> {
        let writers = &self.server.writers;
        let mut writers = lock(writers);
        Arc::clone(writers.entry(self.namespace.clone()).or_default())
    }
}

fn decoded(record: &pocket_sync_protocol::EncodedRecord) -> Result<Record, EngineError> {
    record
        .decode()
        .map_err(|error| EngineError::Fatal(error.to_string()))
}

impl fmt::Debug for NamespaceHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NamespaceHandle")
            .field(&self.namespace)
            .finish()
    }
}
