//! What the server refuses leaves the queue, and holds up nothing else.

mod common;

use common::*;
use pocket_core::{JournalKind, Outcome};
use pocket_sync_client::Status;
use pocket_sync_protocol::Outcomes;

#[tokio::test]
async fn one_bad_document_in_a_thousand_stops_none_of_the_others() {
    let mut bench = Bench::new().await;
    for n in 0..1_000 {
        bench.insert_quietly(&format!("d{n}")).await;
    }
    bench.connect().await;
    let (mut settled, mut place, mut refused) = (0, 0, 0);
    while settled < 1_000 {
        let pushes = bench.pushes();
        assert!(!pushes.is_empty(), "the queue goes on after {settled}");
        for push in pushes {
            let mut outcomes = Vec::new();
            for at in 0..push.mutations.len() {
                settled += 1;
                // Somewhere in the middle of a push.
                outcomes.push(if settled == 450 {
                    refused += 1;
                    Outcome::Rejected {
                        code: "validation".into(),
                        reason: format!("number {at} of this push is bad"),
                        server_time: None,
                    }
                } else {
                    place += 1;
                    Outcome::Applied { first: seq(place) }
                });
            }
            bench
                .say(Outcomes {
                    id: push.id,
                    first: push.first,
                    outcomes,
                    gap: None,
                })
                .await;
        }
    }
    assert_eq!(refused, 1);
    assert_eq!(bench.state().await.pending, 0);
    let entries = bench.database.journal().list(None, 10).await;
    let entries = entries.expect("memory gives it");
    assert_eq!(entries.len(), 1);
    assert_eq!(
        (entries[0].kind, entries[0].code.as_deref()),
        (JournalKind::Refusal, Some("validation"))
    );
    let bad = entries[0].documents[0].id.to_string();
    let mut kept = 0;
    for n in 0..1_000 {
        kept += u32::from(bench.text(&format!("d{n}")).await.is_some());
    }
    assert_eq!(
        (kept, bench.text(&bad).await),
        (999, None),
        "it went back to nothing"
    );
    let stats = &bench.last().stats;
    assert_eq!((stats.rejected_count, stats.open_conflicts), (1, 1));
    assert!(!stats.journal_overfull);
    assert_ne!(bench.status(), Status::Error);
}

#[tokio::test]
async fn a_journal_that_nobody_reads_is_called_overfull_and_nothing_of_it_is_dropped() {
    let mut bench = Bench::new().await;
    for n in 0..1_001 {
        bench.insert_quietly(&format!("d{n}")).await;
    }
    bench.connect().await;
    let mut settled = 0;
    while settled < 1_001 {
        for push in bench.pushes() {
            settled += push.mutations.len();
            let outcome = Outcome::Rejected {
                code: "forbidden".into(),
                reason: "no".into(),
                server_time: None,
            };
            let outcomes = vec![outcome; push.mutations.len()];
            bench
                .say(Outcomes {
                    id: push.id,
                    first: push.first,
                    outcomes,
                    gap: None,
                })
                .await;
        }
    }
    let stats = &bench.last().stats;
    assert_eq!(
        (stats.open_conflicts, stats.journal_overfull),
        (1_001, true)
    );
    let journal = bench.database.journal();
    let entries = journal.list(None, 2_000).await.expect("memory gives it");
    assert_eq!(entries.len(), 1_001);
}
