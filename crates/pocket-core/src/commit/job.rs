//! What is committed: code that reads and writes, and who waits for its answer.

use pocket_storage::{Durability, MaybeSend};
use tokio::sync::oneshot;

use crate::registry::Registry;
use crate::stored;
use crate::tx::Tx;
use crate::{ClientId, Result};

/// A write that can be run again: it changes nothing but its [`Tx`].
#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
pub(crate) trait Job: MaybeSend + 'static {
    type Output: MaybeSend + 'static;

    /// Whether it scans. A scan does not see the writes of jobs before it, so such a job runs alone.
    fn runs_alone(&self) -> bool {
        false
    }

    /// About how many bytes it writes.
    fn weight(&self) -> usize {
        0
    }

    /// Keys that it reads first, where they are few and known before it runs.
    fn reads(&self, _registry: &Registry) -> Vec<Vec<u8>> {
        Vec::new()
    }

    /// Whether it stores what a server sent, or what follows from that.
    fn is_by_sync(&self) -> bool {
        false
    }

    /// Whether what breaks a unique index is stored and the journal tells of it, instead of that the job fails.
    fn keeps_duplicates(&self) -> bool {
        self.is_by_sync()
    }

    /// Behind it, the journal got entries about unique indexes.
    fn add_violations(_output: &mut Self::Output, _entries: &[u64]) {}

    async fn run(&mut self, tx: &mut Tx) -> Result<Self::Output>;
}

/// A job in the queue, its output type hidden.
#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
pub(super) trait Queued: MaybeSend {
    fn runs_alone(&self) -> bool;
    fn weight(&self) -> usize;
    fn reads(&self, registry: &Registry) -> Vec<Vec<u8>>;
    /// Whether nobody waits for its answer any more.
    fn is_abandoned(&self) -> bool;
    fn durability(&self) -> Durability;
    fn client(&self) -> Option<ClientId>;
    fn keeps_duplicates(&self) -> bool;
    fn add_violations(&mut self, entries: &[u64]);
    async fn run(&mut self, tx: &mut Tx) -> Result<()>;
    fn finish(self: Box<Self>, outcome: Result<()>);
}

pub(super) struct Entered<J: Job> {
    pub(super) job: J,
    pub(super) durability: Durability,
    /// The client that the store must be.
    pub(super) client: Option<ClientId>,
    pub(super) output: Option<J::Output>,
    pub(super) answer: oneshot::Sender<Result<J::Output>>,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl<J: Job> Queued for Entered<J> {
    fn runs_alone(&self) -> bool {
        self.job.runs_alone()
    }

    fn weight(&self) -> usize {
        self.job.weight()
    }

    fn reads(&self, registry: &Registry) -> Vec<Vec<u8>> {
        self.job.reads(registry)
    }

    fn is_abandoned(&self) -> bool {
        self.answer.is_closed()
    }

    fn durability(&self) -> Durability {
        self.durability
    }

    fn client(&self) -> Option<ClientId> {
        self.client
    }

    fn keeps_duplicates(&self) -> bool {
        self.job.keeps_duplicates()
    }

    fn add_violations(&mut self, entries: &[u64]) {
        if let Some(output) = &mut self.output {
            J::add_violations(output, entries);
        }
    }

    async fn run(&mut self, tx: &mut Tx) -> Result<()> {
        self.output = Some(self.job.run(tx).await?);
        Ok(())
    }

    fn finish(self: Box<Self>, outcome: Result<()>) {
        let output = self.output;
        let answer = outcome
            .and_then(|()| output.ok_or_else(|| stored::damaged("a write that ran has no output")));
        // The caller may have gone; the write stands all the same.
        let _ = self.answer.send(answer);
    }
}
