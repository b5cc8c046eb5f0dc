//! Cases of `pocket-storage-indexeddb`, each called by its name in a page or worker of its own.

mod damage;
mod lifetime;
mod reads;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use js_sys::Array;
use pocket_storage::conformance::{self, Place};
use pocket_storage::{
    Batch, BoxFuture, Direction, Durability, Entry, KeyRange, Result, ScanLimit, Storage,
    StorageError,
};
use pocket_storage_indexeddb::IndexedDbStorage;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};

use crate::raw::{self, Object};

type Case = fn(String) -> BoxFuture<'static, ()>;

macro_rules! cases {
    ($($module:ident { $($name:ident),* $(,)? })*) => {
        const CASES: &[(&str, Case)] =
            &[$($((stringify!($name), |name| Box::pin($module::$name(name)))),*),*];
    };
}

cases! {
    self {
        the_conformance_suite_passes,
        two_handles_that_write_in_turns_agree_with_a_sorted_map,
        of_two_handles_with_one_check_exactly_one_wins,
        waiting_commits_share_a_transaction,
        durability_is_what_was_asked_for_and_an_empty_batch_reaches_the_disk,
    }
    damage {
        a_database_of_a_newer_version_is_corrupt,
        a_database_of_something_else_is_corrupt_and_stays_as_it_is,
        damage_is_corrupt_and_never_a_missing_entry,
    }
    reads {
        reads_that_follow_each_other_share_transactions_and_pages,
        a_read_after_a_commit_finds_it_whoever_committed,
        readers_that_never_rest_see_what_others_commit_and_let_them,
        a_read_after_its_connection_was_lost_reads_again,
    }
    lifetime {
        a_connection_that_the_browser_gave_up_is_opened_again,
        a_connection_that_was_closed_and_not_told_of_yet_is_opened_again,
        a_database_that_went_with_its_connection_is_not_made_anew,
        a_database_that_somebody_made_anew_is_another_one,
        a_store_makes_way_for_a_newer_version_and_says_why,
        a_store_that_is_dropped_finishes_its_commits,
        a_store_that_was_closed_holds_nothing_any_more,
        a_store_whose_database_is_deleted_closes_and_says_why,
        deleting_what_somebody_else_holds_is_in_use,
    }
}

/// The names of all cases.
#[wasm_bindgen]
pub fn cases() -> Vec<String> {
    CASES.iter().map(|(name, _)| (*name).to_owned()).collect()
}

/// Runs a case; its databases have names that begin with `database`. A case that fails panics.
#[wasm_bindgen]
pub async fn run(case: String, database: String) {
    let found = CASES.iter().find(|(name, _)| *name == case);
    let (_, run) = found.expect("a case of this name");
    run(database).await;
}

/// Writes what a panic says where a script finds it, and into the console.
#[wasm_bindgen(start)]
pub fn start() {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.to_string();
        Object::global().set("pocketPanic", &text.as_str().into());
        web_sys::console::log_1(&text.into());
    }));
}

struct At(String);

impl Place for At {
    fn open(&self) -> BoxFuture<'_, Result<Arc<dyn Storage>>> {
        Box::pin(async {
            // In a browser nothing is `Send`, and `Arc` is what the contract has.
            #[expect(clippy::arc_with_non_send_sync, reason = "see above")]
            let store = Arc::new(open(&self.0).await);
            Ok(store as Arc<dyn Storage>)
        })
    }
}

async fn open(name: &str) -> IndexedDbStorage {
    let opened = IndexedDbStorage::open_quietly(name).await;
    opened.expect("a store opens")
}

async fn put(store: &IndexedDbStorage, key: &str, value: impl Into<Vec<u8>>) {
    let mut batch = Batch::new();
    batch.put(key, value.into());
    let put = store.commit(batch, Durability::Relaxed).await;
    put.expect("a commit");
}

async fn entries(store: &IndexedDbStorage) -> Result<Vec<Entry>> {
    let limit = ScanLimit::entries(usize::MAX).bytes(usize::MAX);
    store.scan(KeyRange::all(), limit, Direction::Forward).await
}

async fn the_conformance_suite_passes(name: String) {
    let mut place = 0;
    conformance::run(|| {
        place += 1;
        At(format!("{name} {place}"))
    })
    .await;
}

/// Splitmix64, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize % bound
    }
}

/// Each splits, merges and removes pages behind the back of the other.
async fn two_handles_that_write_in_turns_agree_with_a_sorted_map(name: String) {
    let stores = [open(&name).await, open(&name).await];
    let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let mut random = Random(5);
    for step in 0..250_usize {
        let store = &stores[random.below(2)];
        let mut batch = Batch::new();
        for _ in 0..random.below(40) {
            let key = format!("{:05}", random.below(3_000));
            let bytes = [20, 200, 900, 9_000][random.below(4)];
            if random.below(5) < 3 {
                batch.put(key.as_str(), vec![step as u8; bytes]);
                model.insert(key.into_bytes(), vec![step as u8; bytes]);
            } else {
                batch.delete(key.as_str());
                model.remove(key.as_bytes());
            }
        }
        if random.below(20) == 0 {
            // A whole part goes, and with it its pages.
            for key in model.range(b"01000".to_vec()..b"02000".to_vec()) {
                batch.delete(key.0.clone());
            }
            model.retain(|key, _| !(&b"01000"[..]..&b"02000"[..]).contains(&&key[..]));
        }
        let commit = store.commit(batch, Durability::Relaxed).await;
        commit.unwrap_or_else(|error| panic!("step {step}: {error}"));
        let reader = &stores[random.below(2)];
        let key = format!("{:05}", random.below(3_000)).into_bytes();
        let found = reader.get(&key).await.expect("a read");
        assert_eq!(
            found.as_deref(),
            model.get(&key).map(|value| &value[..]),
            "step {step}"
        );
        if step % 10 == 0 {
            let range = KeyRange::all().before(key.clone());
            let limit = ScanLimit::entries(200).bytes(60_000);
            let found = reader.scan(range, limit, Direction::Backward).await;
            let found = found.expect("a scan");
            let mut bytes = 0;
            let expected = model
                .range(..key)
                .rev()
                .take(200)
                .take_while(|(key, value)| {
                    let is_wanted = bytes < 60_000;
                    bytes += key.len() + value.len();
                    is_wanted
                });
            let same = found.iter().map(|(key, value)| (&key[..], &value[..]));
            let expected = expected.map(|(key, value)| (&key[..], &value[..]));
            assert!(same.eq(expected), "step {step}: backward");
            let all = entries(reader).await.expect("a scan");
            let all: Vec<_> = all
                .into_iter()
                .map(|(key, value)| (key, value.to_vec()))
                .collect();
            let model: Vec<_> = model.clone().into_iter().collect();
            assert!(
                all == model,
                "step {step}: {} and {} entries",
                all.len(),
                model.len()
            );
        }
    }
    // Somebody who opens it now finds the same.
    let third = entries(&open(&name).await).await.expect("a scan");
    assert_eq!(third.len(), model.len());
}

async fn of_two_handles_with_one_check_exactly_one_wins(name: String) {
    let (one, two) = (open(&name).await, open(&name).await);
    for round in 0..20_u8 {
        let batch = |text: &str| {
            let mut batch = Batch::new();
            batch.check_absent([round]).put([round], text.to_owned());
            batch
        };
        let mut first = one.commit(batch("one"), Durability::Relaxed);
        let mut second = two.commit(batch("two"), Durability::Relaxed);
        // Both are under way before either is done.
        poll_fn(|context| {
            assert!(first.as_mut().poll(context).is_pending());
            assert!(second.as_mut().poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
        let answers = [first.await, second.await];
        let stored = two.get(&[round]).await.expect("a read").expect("a value");
        let winner = usize::from(stored == "two");
        assert!(answers[winner].is_ok(), "{answers:?}");
        assert!(
            matches!(answers[1 - winner], Err(StorageError::Conflict)),
            "{answers:?}"
        );
    }
}

/// The durabilities of the writing transactions that were begun since the last call; the page's script keeps them.
fn begun() -> Vec<String> {
    let begun = Object::global().get("pocketBegun");
    let begun = begun
        .call("splice", &[0.into()])
        .0
        .unchecked_into::<Array>();
    begun.iter().filter_map(|one| one.as_string()).collect()
}

async fn waiting_commits_share_a_transaction(name: String) {
    let store = open(&name).await;
    put(&store, "first", "").await;
    begun();
    let mut waiting: Vec<BoxFuture<'_, Result<()>>> = Vec::new();
    for number in 0..200_u8 {
        let mut batch = Batch::new();
        batch.put([number], vec![number; 100]);
        waiting.push(store.commit(batch, Durability::Relaxed));
    }
    poll_fn(|context| {
        for one in &mut waiting {
            assert!(one.as_mut().poll(context).is_pending());
        }
        Poll::Ready(())
    })
    .await;
    for one in waiting {
        one.await.expect("a commit");
    }
    assert_eq!(begun().len(), 1);
    assert_eq!(entries(&store).await.expect("a scan").len(), 201);
}

async fn durability_is_what_was_asked_for_and_an_empty_batch_reaches_the_disk(name: String) {
    let store = open(&name).await;
    assert_eq!(store.capabilities().durability, Durability::PowerLoss);
    for (durability, expected) in [
        (Durability::Relaxed, "relaxed"),
        (Durability::ProcessCrash, "relaxed"),
        (Durability::PowerLoss, "strict"),
    ] {
        begun();
        let mut batch = Batch::new();
        batch.put("key", expected);
        store.commit(batch, durability).await.expect("a commit");
        assert_eq!(begun(), [expected]);
    }
    let database = raw::open(&name, 1, &[]).await;
    let flushed = |all: Vec<(JsValue, JsValue)>| {
        let mut keys = all.iter().filter_map(|(key, _)| key.as_string());
        keys.any(|key| key == "flushed")
    };
    assert!(!flushed(raw::all(&database, "meta").await));
    // A transaction that writes nothing need not reach the disk: so this one writes.
    let commit = store.commit(Batch::new(), Durability::PowerLoss).await;
    commit.expect("a commit");
    assert_eq!(begun(), ["strict"]);
    assert!(flushed(raw::all(&database, "meta").await));
    database.call("close", &[]);
}
