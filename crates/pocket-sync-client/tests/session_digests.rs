//! What the server says this device should hold, compared once it holds all that came.

mod common;

use std::collections::BTreeMap;

use common::*;
use pocket_core::{CollectionName, Digest, Record};
use pocket_sync_client::{Event, Status, StoreRequestKind};
use pocket_sync_protocol::Page;

#[expect(
    clippy::unnecessary_wraps,
    reason = "it is a field of a page, which may lack it"
)]
/// What a page says that holds so: the digest of these records, all of one collection.
fn digests(records: &[Record]) -> Option<bytes::Bytes> {
    let mut digests: BTreeMap<CollectionName, Digest> = BTreeMap::new();
    for record in records {
        let digest = digests.entry(record.collection.clone()).or_default();
        *digest = digest.plus(Digest::of(&record.id, record.rev));
    }
    Some(Page::encode_digests(&digests))
}

fn verified(bench: &Bench) -> usize {
    let is_one = |kind: &&StoreRequestKind| **kind == StoreRequestKind::Verify;
    bench.stored.iter().filter(is_one).count()
}

#[tokio::test]
async fn what_was_missed_is_found_at_the_head_and_read_again() {
    let mut bench = Bench::new().await;
    bench.greet().await;
    bench.say(welcome_at(2, 0)).await;
    let pull = bench.the_pull();
    let both = [record("a", 1), record("b", 2)];
    // A server with a defect leaves one out.
    let short = Page {
        digest: digests(&both),
        ..page(&pull, 0, 2, 2, &both[..1])
    };
    bench.say(short).await;
    assert_eq!(bench.last().stats.difference_count, 1);
    let again = bench.the_pull();
    assert_eq!((again.epoch, again.after), (None, seq(0)));
    assert_eq!(bench.status(), Status::Syncing);
    bench.say(page(&again, 0, 2, 2, &both)).await;
    assert_eq!(bench.text("b").await.as_deref(), Some("remote"));
    // Swept, and asked once more whether that was all.
    let check = bench.the_pull();
    assert_eq!(check.after, seq(2));
    let whole = Page {
        digest: digests(&both),
        ..page(&check, 2, 2, 2, &[])
    };
    bench.say(whole).await;
    assert_eq!(verified(&bench), 2);
    let stats = &bench.last().stats;
    assert_eq!((stats.difference_count, &stats.last_error), (1, &None));
    assert_eq!(bench.status(), Status::Idle);
}

#[tokio::test]
async fn nothing_is_compared_while_a_change_is_on_its_way() {
    let mut bench = Bench::new().await;
    bench.connect().await;
    let pull = bench.the_pull();
    bench.insert("mine").await;
    let push = bench.the_push();
    let both = [record("a", 1)];
    let whole = Page {
        digest: digests(&both),
        ..page(&pull, 0, 1, 1, &both)
    };
    bench.say(whole).await;
    assert_eq!(verified(&bench), 0);
    // By the time it has its outcome, the device knows of a place behind the one the server spoke of.
    bench.say(applied(&push, 2)).await;
    bench.say(page(&pull, 1, 2, 2, &[])).await;
    assert_eq!(bench.last().stats.difference_count, 0);
    assert_eq!(bench.status(), Status::Idle);
}

#[tokio::test]
async fn a_difference_that_stays_is_told_once_and_does_not_go_round() {
    let mut bench = Bench::new().await;
    bench.greet().await;
    bench.say(welcome_at(1, 0)).await;
    let told = [record("a", 1), record("never", 1)];
    for round in 1..=2 {
        let pull = bench.the_pull();
        let after = pull.after.get();
        let shown: &[Record] = if after == 0 { &told[..1] } else { &[] };
        let short = Page {
            digest: digests(&told),
            ..page(&pull, after, 1, 1, shown)
        };
        bench.say(short).await;
        if round == 1 {
            // Everything again.
            let again = bench.the_pull();
            bench.say(page(&again, 0, 1, 1, &told[..1])).await;
        }
    }
    assert_eq!(bench.pulls().len(), 0, "it is left for now");
    let stats = &bench.last().stats;
    assert_eq!(stats.difference_count, 2);
    bench.event(Event::Timer).await;
    assert_eq!(bench.pulls().len(), 0);
}
