//! Carrying out what a session asks of its store; shared by every driver.

use std::sync::Arc;

use pocket_core::ClientId;
use pocket_core::replica::{Replica, Resolver, Scope};

use crate::config::QUESTIONS_AT_ONCE;
use crate::session::{StoreAnswer, StoreRequest};

/// Does what `request` says and answers it.
///
/// Each request is one atomic commit of the replica, so a crash at any point leaves all of it or nothing. Where `client`
/// is told, the store refuses with `other-client` when it has become another one.
pub async fn perform(
    replica: &Replica,
    scope: &Scope,
    resolver: &Arc<dyn Resolver>,
    client: Option<ClientId>,
    request: StoreRequest,
) -> StoreAnswer {
    let kind = request.kind();
    let replica = &client.map_or_else(|| replica.clone(), |client| replica.acting_as(client));
    let answer = match request {
        StoreRequest::Load => replica.load(scope).await.map(StoreAnswer::Loaded),
        StoreRequest::Attach(attachment) => {
            replica.attach(&attachment).await.map(StoreAnswer::Attached)
        }
        StoreRequest::Pin(limit) => replica.pin(limit).await.map(StoreAnswer::Pinned),
        StoreRequest::Resend { from, limit } => {
            replica.resend(from, limit).await.map(StoreAnswer::Resent)
        }
        StoreRequest::Blame { first, last } => {
            replica.blame(first, last).await.map(StoreAnswer::Blamed)
        }
        StoreRequest::Settle { first, outcomes } => replica
            .settle(first, outcomes, resolver.clone())
            .await
            .map(StoreAnswer::Settled),
        StoreRequest::Resolve(answers) => replica
            .resolve(answers, QUESTIONS_AT_ONCE, resolver.clone())
            .await
            .map(StoreAnswer::Resolved),
        StoreRequest::Renew => replica.renew().await.map(StoreAnswer::Renewed),
        StoreRequest::Resync => replica.begin_resync().await.map(StoreAnswer::Resyncing),
        StoreRequest::Sweep => replica
            .sweep(resolver.clone())
            .await
            .map(StoreAnswer::Swept),
        StoreRequest::Verify(claim) => replica.verify(claim).await.map(StoreAnswer::Verified),
        StoreRequest::Waiting => replica.waiting().await.map(StoreAnswer::Waiting),
        StoreRequest::Apply(page) => replica
            .apply(page, resolver.clone())
            .await
            .map(StoreAnswer::Applied),
    };
    answer.unwrap_or_else(|error| StoreAnswer::Failed {
        request: kind,
        error,
    })
}
