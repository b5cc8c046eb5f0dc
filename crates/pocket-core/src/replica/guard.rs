//! Work on behalf of a session: refused once the store has become another client.
//!
//! Several handles of one store may each have an engine. One that leaves the server, or takes another client id, cannot
//! stop those of the others; what they still bring was agreed with a server, for a user, that the store may have left.

use super::Replica;
use crate::commit::Job;
use crate::keys;
use crate::stored::{self, DatabaseHead};
use crate::tx::Tx;
use crate::{ClientId, Error, Result, codes};

/// Refuses when the store is another client.
///
/// Asks the store and not the memory, which another handle's commit may have overtaken: a job that fails, or has nothing
/// to write, would never find out.
pub(crate) async fn check(tx: &mut Tx, client: ClientId) -> Result<()> {
    let payload = tx.get(keys::DATABASE).await?;
    let payload = payload.ok_or_else(|| stored::damaged("the database has no head"))?;
    let head: DatabaseHead = stored::decode(&payload)?;
    if head.client == client {
        return Ok(());
    }
    // Whoever loads the state next is told the client of now.
    tx.core().refresh().await?;
    Err(Error::new(
        codes::OTHER_CLIENT,
        "the database has left its server, or has taken another client id, since this session said hello",
    ))
}

impl Replica {
    pub(crate) async fn submit<J: Job>(&self, job: J) -> Result<J::Output> {
        self.database.submit_as(self.client, job).await
    }

    pub(super) async fn submit_durably<J: Job>(&self, job: J) -> Result<J::Output> {
        self.database.submit_durably_as(self.client, job).await
    }
}
