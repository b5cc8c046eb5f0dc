//! A document that ends each connection it is sent on: found, sent alone, taken back, and the rest arrives.

mod common;

use std::collections::BTreeSet;

use common::*;
use pocket_core::{JournalKind, Outcome, Winner, codes};
use pocket_sync_client::{Event, SessionConfig, Status, StoreRequestKind};
use pocket_sync_protocol::codes::close;
use pocket_sync_protocol::{Outcomes, Push, PushContent, Welcome};

/// A server behind a transport that dies when it carries `poison`.
#[derive(Default)]
struct Beyond {
    poison: &'static str,
    /// Whether the transport swallows it without dying: the connection lives and the answer never comes.
    swallows: bool,
    last: u64,
    head: u64,
    arrived: BTreeSet<String>,
    withdrawn: Vec<u64>,
    /// How many mutations travelled with the poison each time.
    together: Vec<usize>,
}

impl Beyond {
    fn welcome(&self) -> Welcome {
        welcome_at(self.head, self.last)
    }

    /// The answer to a push; none when it never arrives.
    fn take(&mut self, push: &Push) -> Option<Outcomes> {
        let ids = |content: &PushContent| match content {
            PushContent::Changes(changes) => changes
                .iter()
                .map(|change| change.id.as_str().to_owned())
                .collect(),
            PushContent::Withdrawn => Vec::new(),
        };
        let all: Vec<Vec<String>> = push.mutations.iter().map(ids).collect();
        if all.iter().flatten().any(|id| id == self.poison) {
            self.together.push(all.len());
            return None;
        }
        let mut outcomes = Vec::new();
        for (at, ids) in (0..).zip(all) {
            let number = push.first.get() + at;
            assert!(number <= self.last + 1, "numbers arrive in order");
            let first = if ids.is_empty() {
                self.withdrawn.push(number);
                0
            } else {
                self.head += 1;
                self.head
            };
            self.last = self.last.max(number);
            for id in ids {
                assert!(self.arrived.insert(id), "each arrives once");
            }
            outcomes.push(Outcome::Applied { first: seq(first) });
        }
        Some(Outcomes {
            id: push.id,
            first: push.first,
            outcomes,
            gap: None,
        })
    }

    /// Serves until the outbox is empty.
    async fn serve(&mut self, bench: &mut Bench) {
        for _ in 0..10_000 {
            let pushes = bench.pushes();
            if pushes.is_empty() && bench.state().await.pending == 0 {
                return;
            }
            for push in pushes {
                match self.take(&push) {
                    Some(outcomes) => bench.say(outcomes).await,
                    None if self.swallows => {}
                    None => {
                        bench.close(None).await;
                        break;
                    }
                }
            }
            if self.swallows && bench.connection.is_some() && bench.state().await.pending > 0 {
                bench.wait(HEARTBEAT).await;
                for id in bench.pings() {
                    if bench.connection.is_some() {
                        bench.say(pong(id, self.head)).await;
                    }
                }
            }
            if bench.connection.is_none() {
                bench.sent.clear();
                bench.reconnect(self.welcome()).await;
            }
        }
        panic!("the outbox never became empty");
    }
}

async fn with_documents(count: usize) -> Bench {
    let mut bench = Bench::with(config()).await;
    for place in 0..count {
        bench.insert_quietly(&format!("d{place:03}")).await;
    }
    bench.connect().await;
    bench
}

fn config() -> SessionConfig {
    SessionConfig::new(pocket_core::replica::Scope::All)
}

#[tokio::test]
async fn one_document_that_kills_every_connection_does_not_stop_the_other_999() {
    let mut bench = with_documents(1_000).await;
    let mut beyond = Beyond {
        poison: "d500",
        ..Beyond::default()
    };
    beyond.serve(&mut bench).await;
    assert_eq!(beyond.arrived.len(), 999);
    assert_eq!(beyond.withdrawn, [501]);
    assert_eq!(beyond.together[..3], [100, 100, 100]);
    assert_eq!(beyond.together[3..], [1, 1], "then alone, then no more");
    assert_eq!(bench.text("d500").await, None, "back to the server's state");
    assert_eq!(bench.text("d501").await.as_deref(), Some("local"));
    let journal = bench.database.journal().list(None, 10).await.unwrap();
    assert_eq!(journal.len(), 1);
    assert_eq!(
        (
            journal[0].kind,
            journal[0].winner,
            journal[0].code.as_deref()
        ),
        (JournalKind::Refusal, Winner::Remote, Some(codes::WITHDRAWN))
    );
    assert!(
        journal[0].documents[0].local.body.is_some(),
        "nothing is lost"
    );
    assert_eq!(bench.last().stats.rejected_count, 1);
}

#[tokio::test]
async fn a_document_that_is_swallowed_on_a_connection_that_lives_is_found_too() {
    let mut bench = with_documents(20).await;
    let mut beyond = Beyond {
        poison: "d003",
        swallows: true,
        ..Beyond::default()
    };
    beyond.serve(&mut bench).await;
    assert_eq!(beyond.arrived.len(), 19);
    assert_eq!(beyond.withdrawn, [4]);
}

#[tokio::test]
async fn the_count_survives_a_restart() {
    let mut bench = with_documents(3).await;
    for _ in 0..3 {
        bench.close(None).await;
        bench.sent.clear();
        bench.reconnect(welcome()).await;
    }
    let disk = bench.disk.copy();
    drop(bench);
    let mut bench = Bench::on(disk, config()).await;
    bench.connect().await;
    assert_eq!(bench.the_push().mutations.len(), 1, "sent alone");
}

#[tokio::test]
async fn connections_that_end_for_a_reason_of_their_own_blame_nobody() {
    let mut bench = with_documents(3).await;
    for code in [
        close::GOING_AWAY,
        close::RESTART,
        close::TOO_MANY,
        close::TIMEOUT,
        close::GOING_AWAY,
        close::RESTART,
    ] {
        bench.close(Some(code)).await;
        bench.sent.clear();
        bench.reconnect(welcome()).await;
    }
    assert_eq!(bench.the_push().mutations.len(), 3);
    // Nothing at all is heard: that is the network.
    for _ in 0..6 {
        while bench.connection.is_some() {
            bench.wait(HEARTBEAT).await;
        }
        bench.sent.clear();
        bench.reconnect(welcome()).await;
    }
    assert_eq!(bench.the_push().mutations.len(), 3);
    bench.event(Event::Stop).await;
    assert!(!bench.stored.contains(&StoreRequestKind::Blame));
}

#[tokio::test]
async fn a_change_that_had_arrived_before_it_was_taken_back_stands() {
    let mut bench = with_documents(1).await;
    // It took effect at place 1 at the first sending, and each answer was lost with its connection.
    for _ in 0..5 {
        bench.close(None).await;
        bench.sent.clear();
        bench.reconnect(welcome_at(1, 1)).await;
    }
    let push = bench.the_push();
    assert!(matches!(push.mutations[0], PushContent::Withdrawn));
    bench.say(applied(&push, 1)).await;
    assert_eq!(bench.state().await.pending, 0);
    assert_eq!(bench.text("d000").await.as_deref(), Some("local"));
    assert!(
        bench
            .database
            .journal()
            .list(None, 1)
            .await
            .unwrap()
            .is_empty()
    );
    assert_ne!(bench.status(), Status::Error);
}

#[tokio::test]
async fn a_change_the_server_found_in_conflict_is_suspected_no_longer() {
    let mut bench = with_documents(1).await;
    for _ in 0..4 {
        bench.close(None).await;
        bench.sent.clear();
        bench.reconnect(welcome_at(1, 1)).await;
    }
    let push = bench.the_push();
    let pull = bench.the_pull();
    bench
        .say(Outcomes {
            id: push.id,
            first: push.first,
            outcomes: vec![Outcome::Conflict { seqs: vec![seq(1)] }],
            gap: None,
        })
        .await;
    // Other text, but older: the local version wins and is sent again.
    let mut older = record("d000", 1);
    older.rev.hlc = pocket_core::Hlc::from_bits(1);
    bench.say(page(&pull, 0, 1, 1, &[older])).await;
    bench.close(None).await;
    bench.sent.clear();
    bench.reconnect(welcome_at(1, 1)).await;
    let again = bench.the_push();
    assert_eq!(again.first, number(2));
    assert!(matches!(again.mutations[0], PushContent::Changes(_)));
}
