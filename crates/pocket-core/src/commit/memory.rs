//! What a handle knows of the store without reading it, and how it hears of what others did there.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use pocket_storage::BoxFuture;

use super::CommitCore;
use crate::elsewhere::{self, Details};
use crate::events::CommitEvents;
use crate::lock::lock;
use crate::registry::Registry;
use crate::stored::{self, State};
use crate::{ClientId, CollectionName, CommitSequence, Result, envelope, keys};

/// What commits read and leave behind in memory.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    pub(super) state: State,
    /// The state row as it is stored, for the check.
    pub(super) stored: Option<Bytes>,
    pub(super) registry: Registry,
    pub(super) client: ClientId,
}

/// The state in its row, if there is one.
pub(crate) fn state_of(stored: Option<&Bytes>) -> Result<State> {
    match stored {
        Some(sealed) => stored::decode(&envelope::open(keys::STATE, sealed)?),
        None => Ok(State::default()),
    }
}

impl CommitCore {
    /// Reads state and collections from the store.
    pub(crate) async fn refresh(&self) -> Result<()> {
        let memory = self.read_memory().await?;
        let switched = self.install(memory);
        self.tell_switched(&switched);
        Ok(())
    }

    /// Keeps what was committed or read, and says which collections came, went, or have another time to live.
    pub(super) fn install(&self, memory: Memory) -> Vec<CollectionName> {
        let mut held = lock(&self.memory);
        let at = memory.state.sequence;
        let is_old = held.as_ref().is_some_and(|held| held.state.sequence > at);
        if is_old {
            // It was read before the commit that left this.
            return Vec::new();
        }
        self.offset.store(memory.state.offset, Ordering::Relaxed);
        self.pending.store(memory.state.pending, Ordering::Relaxed);
        *lock(&self.client) = memory.client;
        let registry = memory.registry.clone();
        let before = std::mem::replace(&mut *lock(&self.registry), registry.clone());
        *held = Some(memory);
        registry.switched_since(&before)
    }

    /// Live queries on these collections read again.
    pub(super) fn tell_switched(&self, switched: &[CollectionName]) {
        for name in switched {
            self.notifier.live.switched(name);
        }
    }

    /// Another handle committed, and told this of it; `base` is what was told here last. Runs while no commit of this
    /// handle does.
    pub(crate) async fn hear(
        &self,
        (base, end): (CommitSequence, CommitSequence),
        details: &Details,
        commits: Vec<CommitEvents>,
        outbox_grew: bool,
    ) -> Result<()> {
        let held = self.state().map(|state| state.sequence);
        let switched = if held.is_some_and(|held| held >= end) {
            // A reader was ahead of the message.
            Vec::new()
        } else {
            let told = (held == Some(base)).then(|| self.memory_of(end, details));
            let memory = match told {
                Some(Ok(memory)) => memory,
                // The store knows better.
                Some(Err(_)) | None => self.read_memory().await?,
            };
            if memory.state.sequence < end {
                return Err(elsewhere::foreign("it tells of what is not committed"));
            }
            self.install(memory)
        };
        self.notifier
            .committed(commits, (base, end), &self.registry());
        self.tell_switched(&switched);
        if outbox_grew {
            self.notifier.outbox_grew();
        }
        Ok(())
    }

    /// What was read under the state row `seen` was not of one state. If that row is still all that this handle knows of,
    /// another handle committed: it is read again, so that later reads need not find that out, too.
    pub(crate) async fn was_not_one_state(&self, seen: Option<&Bytes>) -> Result<()> {
        let knows = |memory: &Memory| memory.stored.as_ref() == seen;
        let is_behind = lock(&self.memory).as_ref().is_some_and(knows);
        if is_behind {
            self.refresh().await?;
        }
        Ok(())
    }

    /// What is in memory after what another handle told, without reading it.
    fn memory_of(&self, end: CommitSequence, details: &Details) -> Result<Memory> {
        let stored = Bytes::copy_from_slice(&details.state);
        let state: State = stored::decode(&envelope::open(keys::STATE, &stored)?)?;
        if state.sequence != end {
            return Err(stored::damaged("the state of another commit was told"));
        }
        let mut registry = self.registry();
        for (key, value) in &details.settings {
            let value = value.as_deref().map(|value| Bytes::copy_from_slice(value));
            registry.set_entry(key, value.as_ref())?;
        }
        Ok(Memory {
            state,
            stored: Some(stored),
            registry,
            client: details.client,
        })
    }

    /// Other handles may have committed what nobody told here. Runs while no commit of this handle does.
    pub(crate) async fn catch_up(&self) -> Result<()> {
        let memory = self.read_memory().await?;
        let at = memory.state.sequence;
        if at < self.notifier.told() {
            // The store is an older one than it was: nothing in memory holds any more.
            *lock(&self.memory) = None;
        }
        let switched = self.install(memory);
        if self.notifier.skipped_to(at) {
            // Nobody knows what is in there.
            self.notifier.outbox_grew();
        }
        self.tell_switched(&switched);
        Ok(())
    }

    /// The counters and the clock as last committed.
    pub(crate) fn state(&self) -> Option<State> {
        lock(&self.memory)
            .as_ref()
            .map(|memory| memory.state.clone())
    }

    /// The last commit in the store, whoever made it.
    pub(crate) async fn stored_sequence(&self) -> Result<CommitSequence> {
        Ok(self.read_state().await?.1.sequence)
    }

    /// The state row, also as it is stored.
    async fn read_state(&self) -> Result<(Option<Bytes>, State)> {
        let stored = self.storage.get(keys::STATE).await?;
        let state = state_of(stored.as_ref())?;
        Ok((stored, state))
    }

    /// Boxed, so that whoever asks has no copy of it.
    #[inline(never)]
    fn read_memory(&self) -> BoxFuture<'_, Result<Memory>> {
        Box::pin(self.read_memory_unboxed())
    }

    async fn read_memory_unboxed(&self) -> Result<Memory> {
        let (stored, state) = self.read_state().await?;
        let registry = Registry::read(&*self.storage).await?;
        let client = match self.storage.get(keys::DATABASE).await? {
            Some(sealed) => {
                let head = envelope::open(keys::DATABASE, &sealed)?;
                let head: stored::DatabaseHead = stored::decode(&head)?;
                self.schema.check(&head)?;
                head.client
            }
            None => self.client(),
        };
        Ok(Memory {
            state,
            stored,
            registry,
            client,
        })
    }

    /// The collections with the state row they belong to, as last committed or read.
    pub(crate) async fn seen(&self) -> Result<(Registry, Option<Bytes>)> {
        let memory = self.take_memory().await?;
        Ok((memory.registry, memory.stored))
    }

    pub(super) async fn take_memory(&self) -> Result<Memory> {
        let cached = lock(&self.memory).clone();
        match cached {
            Some(memory) => Ok(memory),
            None => self.read_memory().await,
        }
    }
}
