//! A server's log that was filled before anybody connects, by the engine itself.

use std::sync::Arc;

use pocket_core::{
    Body, Change, ChangeKind, ClientId, CollectionName, DocumentId, DocumentLimits, Hlc, Mutation,
    MutationContent, MutationNumber, Revision, SessionToken, SystemEnv,
};
use pocket_storage::Storage;
use pocket_sync_server::decide::PushRequest;
use pocket_sync_server::engine::AttachRequest;
use pocket_sync_server::rules::Authority;
use pocket_sync_server::{EmbeddedEngine, Engine, Limits, Namespace};

use crate::Outcome;
use crate::documents::{ID_BYTES, Task};
use crate::pocket::COLLECTION;

/// Mutations of one push, as many as a frame may hold.
const AT_ONCE: usize = 1_000;

/// A client that writes into a log.
pub(crate) struct Filler {
    engine: EmbeddedEngine,
    namespace: Namespace,
    session: SessionToken,
    next: MutationNumber,
    collection: CollectionName,
}

const CLIENT: ClientId = ClientId::from_bytes([7; 16]);
const USER: &str = "anonymous";

/// The id of a document, as long as those that Pocket makes.
pub(crate) fn id(number: usize) -> Outcome<DocumentId> {
    Ok(DocumentId::new(&format!("{number:0ID_BYTES$}"))?)
}

impl Filler {
    pub(crate) async fn new(store: Arc<dyn Storage>) -> Outcome<Self> {
        let engine = EmbeddedEngine::new(store, Arc::new(SystemEnv), Limits::default());
        let namespace = Namespace::new("default").ok_or("a namespace has a name")?;
        let request = AttachRequest {
            user: USER.into(),
            client: CLIENT,
            presented: None,
            unless_new: None,
        };
        let attached = engine.attach(&namespace, &request).await?;
        Ok(Self {
            engine,
            namespace,
            session: attached.session,
            next: attached.last.next(),
            collection: CollectionName::new(COLLECTION)?,
        })
    }

    /// Creates documents; the first has the number `first`.
    pub(crate) async fn put(&mut self, first: usize, tasks: &[Task]) -> Outcome {
        for (start, tasks) in (first..).step_by(AT_ONCE).zip(tasks.chunks(AT_ONCE)) {
            let limits = DocumentLimits::default();
            let bodies = tasks
                .iter()
                .map(|task| Ok(Body::from_serialize(task, &limits)?.1))
                .collect::<Outcome<Vec<Body>>>()?;
            let changes = (start..).zip(bodies);
            let changes = changes
                .map(|(number, body)| Ok((id(number)?, None, ChangeKind::Put(body))))
                .collect::<Outcome<Vec<_>>>()?;
            self.push(changes).await?;
        }
        Ok(())
    }

    /// Deletes the documents of these numbers, which were created by mutations of the same numbers plus one.
    pub(crate) async fn delete(&mut self, first: usize, count: usize) -> Outcome {
        let numbers: Vec<usize> = (first..first + count).collect();
        for numbers in numbers.chunks(AT_ONCE) {
            let changes = numbers
                .iter()
                .map(|number| {
                    let created = MutationNumber::new(*number as u64 + 1);
                    Ok((id(*number)?, Some(revision(created)), ChangeKind::Delete))
                })
                .collect::<Outcome<Vec<_>>>()?;
            self.push(changes).await?;
        }
        Ok(())
    }

    async fn push(&mut self, changes: Vec<(DocumentId, Option<Revision>, ChangeKind)>) -> Outcome {
        let (first, count) = (self.next, changes.len());
        let mut mutations = Vec::with_capacity(count);
        for (id, base, kind) in changes {
            let change = Change {
                collection: self.collection.clone(),
                id,
                rev: revision(self.next),
                base,
                kind,
            };
            mutations.push(Ok(Mutation {
                number: self.next,
                content: MutationContent::Changes(vec![change]),
            }));
            self.next = self.next.next();
        }
        let push = PushRequest {
            user: USER.into(),
            client: CLIENT,
            session: self.session,
            confirmed: MutationNumber::new(first.get() - 1),
            first,
            mutations,
            bytes: 0,
            authority: Authority::open(),
        };
        let committed = self.engine.commit(&self.namespace, &[push]).await?;
        let applied = committed.answers.iter().map(|answer| answer.written.iter());
        let places: u64 = applied
            .flatten()
            .map(|places| places.end() - places.start() + 1)
            .sum();
        if places == count as u64 {
            Ok(())
        } else {
            Err(format!("{places} of {count} changes were applied to a log").into())
        }
    }
}

fn revision(number: MutationNumber) -> Revision {
    Revision::new(Hlc::from_bits(number.get()), CLIENT)
}
