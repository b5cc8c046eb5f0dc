//! Who wins a conflict, seen in the documents and in the journal.

mod common;

use std::sync::Arc;

use common::*;
use pocket_core::replica::{Conflict, Decision, Resolver};
use pocket_core::{
    Body, ConflictStrategy, DocumentLimits, Hlc, Map, Outcome, Record, Value, Winner,
};
use pocket_sync_client::Status;
use pocket_sync_client::conflict::Strategies;
use pocket_sync_protocol::Outcomes;

/// A pushed write of `a` that met `theirs`, resolved by `resolver`.
async fn met(resolver: impl Resolver, theirs: Record) -> Bench {
    let mut bench = Bench::new().await;
    bench.resolver = Arc::new(resolver);
    bench.insert_quietly("a").await;
    bench.connect().await;
    let pull = bench.the_pull();
    let push = bench.the_push();
    let conflict = vec![Outcome::Conflict { seqs: vec![seq(1)] }];
    bench
        .say(Outcomes {
            id: push.id,
            first: push.first,
            outcomes: conflict,
            gap: None,
        })
        .await;
    bench.say(page(&pull, 0, 1, 1, &[theirs])).await;
    bench
}

fn later() -> Record {
    record("a", 1)
}

fn earlier() -> Record {
    let mut record = record("a", 1);
    record.rev.hlc = Hlc::from_bits(1);
    record
}

async fn journaled(bench: &Bench) -> (Winner, String) {
    let entries = bench
        .database
        .journal()
        .list(None, 10)
        .await
        .expect("memory gives it");
    assert_eq!(entries.len(), 1, "one conflict, one entry, whoever won");
    let document = &entries[0].documents[0];
    assert!(
        document.local.body.is_some() && document.remote.is_some(),
        "both versions are kept"
    );
    (entries[0].winner, entries[0].rule.clone())
}

#[tokio::test]
async fn the_later_write_wins_by_default() {
    let strategies = Strategies::default();
    let mut bench = met(strategies.clone(), later()).await;
    assert_eq!(bench.text("a").await.as_deref(), Some("remote"));
    assert_eq!(
        journaled(&bench).await,
        (Winner::Remote, "last-write-wins".to_owned())
    );
    assert!(bench.pushes().is_empty());
    assert_eq!(bench.status(), Status::Idle);

    let mut bench = met(strategies, earlier()).await;
    assert_eq!(bench.text("a").await.as_deref(), Some("local"));
    assert_eq!(
        journaled(&bench).await,
        (Winner::Local, "last-write-wins".to_owned())
    );
    let again = bench.the_push();
    assert_eq!(
        again.clients,
        [earlier().rev.client],
        "on the server's version"
    );
}

#[tokio::test]
async fn the_server_or_the_client_wins_by_strategy() {
    let bench = met(Strategies::new(ConflictStrategy::ServerWins), earlier()).await;
    assert_eq!(bench.text("a").await.as_deref(), Some("remote"));
    assert_eq!(
        journaled(&bench).await,
        (Winner::Remote, "server-wins".to_owned())
    );

    let mut bench = met(Strategies::new(ConflictStrategy::ClientWins), later()).await;
    assert_eq!(bench.text("a").await.as_deref(), Some("local"));
    assert_eq!(
        journaled(&bench).await,
        (Winner::Local, "client-wins".to_owned())
    );
    assert_eq!(bench.the_push().mutations.len(), 1);
}

/// A rule of an application: both texts.
struct Both;

impl Resolver for Both {
    fn resolve(
        &self,
        conflict: &Conflict,
        _: Option<ConflictStrategy>,
    ) -> (Decision, &'static str) {
        let text = |body: &Option<Body>| match body.as_ref().map(|body| body.field("text")) {
            Some(Ok(Some(Value::String(text)))) => text,
            _ => String::new(),
        };
        let both = format!(
            "{} and {}",
            text(&conflict.local.body),
            text(&conflict.remote.body)
        );
        let mut map = Map::new();
        map.insert("text".to_owned(), Value::String(both));
        let body = Body::from_map(&map, &DocumentLimits::default()).expect("it is small");
        (Decision::Write(Some(body)), "both")
    }
}

#[tokio::test]
async fn an_application_may_bring_its_own_rule() {
    let mut bench = met(Both, later()).await;
    assert_eq!(bench.text("a").await.as_deref(), Some("local and remote"));
    assert_eq!(journaled(&bench).await.1, "both");
    let push = bench.the_push();
    bench.say(applied(&push, 2)).await;
    assert_eq!(bench.state().await.pending, 0);
}
