//! Cases of `pocket-storage-indexeddb`, each called by its name in a page or worker of its own.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use js_sys::{Array, Uint8Array};
use pocket_storage::conformance::{self, Place};
use pocket_storage::{
    Batch, BoxFuture, Direction, Durability, Entry, KeyRange, Result, ScanLimit, Storage,
    StorageError,
};
use pocket_storage_indexeddb::{ClosedBy, IndexedDbStorage};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};

use crate::raw::{self, Object};

type Case = fn(String) -> BoxFuture<'static, ()>;

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        const CASES: &[(&str, Case)] = &[$((stringify!($name), |name| Box::pin($name(name)))),*];
    };
}

cases![
    a_store_that_was_closed_holds_nothing_any_more,
    the_conformance_suite_passes,
    two_handles_that_write_in_turns_agree_with_a_sorted_map,
    of_two_handles_with_one_check_exactly_one_wins,
    waiting_commits_share_a_transaction,
    durability_is_what_was_asked_for_and_an_empty_batch_reaches_the_disk,
    damage_is_corrupt_and_never_a_missing_entry,
    a_database_of_something_else_is_corrupt_and_stays_as_it_is,
    a_database_of_a_newer_version_is_corrupt,
    a_store_whose_database_is_deleted_closes_and_says_why,
    a_store_makes_way_for_a_newer_version_and_says_why,
    deleting_what_somebody_else_holds_is_in_use,
    a_connection_that_the_browser_gave_up_is_opened_again,
    a_database_that_went_with_its_connection_is_not_made_anew,
    a_store_that_is_dropped_finishes_its_commits,
];

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

async fn damage_is_corrupt_and_never_a_missing_entry(name: String) {
    let store = open(&name).await;
    let mut batch = Batch::new();
    for number in 0..400 {
        batch.put(format!("{number:04}"), vec![3; 200]);
    }
    store
        .commit(batch, Durability::Relaxed)
        .await
        .expect("a commit");
    let database = raw::open(&name, 1, &[]).await;
    let pages = raw::all(&database, "pages").await;
    assert!(pages.len() > 4, "{} pages", pages.len());
    let (lower, record) = &pages[2];
    let text = |key: &JsValue| {
        let buffer = key.clone().unchecked_into::<js_sys::ArrayBuffer>();
        Uint8Array::new(&buffer).to_vec()
    };
    let key = text(lower);
    let put_record = async |record: &JsValue| {
        let arguments = [record.clone(), lower.clone()];
        raw::change(&database, "pages", |store| {
            store.call("put", &arguments);
        })
        .await;
    };
    let is_corrupt = async |what: &str| {
        let corrupt = |answer: Option<StorageError>| {
            assert!(
                matches!(answer, Some(StorageError::Corrupt(_))),
                "{what}: {answer:?}"
            );
        };
        corrupt(store.get(&key).await.err());
        corrupt(entries(&store).await.err());
        let mut batch = Batch::new();
        batch.put(key.clone(), "other");
        corrupt(store.commit(batch, Durability::Relaxed).await.err());
        // Whoever opens it only now must not take it for less than it was either.
        let other = open(&name).await;
        corrupt(entries(&other).await.err());
    };
    let good = record.clone().unchecked_into::<Uint8Array>().to_vec();
    for (what, at) in [
        ("the format", 0),
        ("the checksum", 1),
        ("an entry", good.len() / 2),
    ] {
        let mut damaged = good.clone();
        damaged[at] ^= 4;
        put_record(&Uint8Array::from(&damaged[..]).into()).await;
        is_corrupt(what).await;
    }
    put_record(&Uint8Array::from(&good[..good.len() - 1]).into()).await;
    is_corrupt("a page that is cut").await;
    put_record(&"a text".into()).await;
    is_corrupt("a page that is a text").await;
    put_record(&pages[1].1).await;
    is_corrupt("the record of another page").await;
    put_record(record).await;
    assert_eq!(entries(&store).await.expect("it is whole again").len(), 400);
    let layout = raw::all(&database, "meta").await;
    let layout = layout
        .iter()
        .find(|(key, _)| key.as_string().as_deref() == Some("layout"));
    let number = layout.expect("it was split").1.clone();
    let put_layout = async |number: JsValue| {
        raw::change(&database, "meta", |store| {
            store.call("put", &[number, "layout".into()]);
        })
        .await;
    };
    put_layout("seven".into()).await;
    is_corrupt("the number of the layout").await;
    put_layout(number).await;
    assert_eq!(entries(&store).await.expect("it is whole again").len(), 400);
    // A handle that knows the page misses it.
    raw::change(&database, "pages", |store| {
        store.call("delete", std::slice::from_ref(lower));
    })
    .await;
    assert!(matches!(
        store.get(&key).await,
        Err(StorageError::Corrupt(_))
    ));
    assert!(matches!(
        entries(&store).await,
        Err(StorageError::Corrupt(_))
    ));
    database.call("close", &[]);
}

async fn a_database_of_something_else_is_corrupt_and_stays_as_it_is(name: String) {
    let database = raw::open(&name, 1, &["things"]).await;
    raw::change(&database, "things", |store| {
        store.call("put", &["a thing".into(), 1.into()]);
    })
    .await;
    database.call("close", &[]);
    let answer = IndexedDbStorage::open(name.as_str()).await;
    assert!(
        matches!(&answer, Err(StorageError::Corrupt(text)) if text.contains(&name)),
        "{answer:?}"
    );
    let database = raw::open(&name, 1, &[]).await;
    assert_eq!(raw::all(&database, "things").await.len(), 1);
    database.call("close", &[]);
    // The same names, but nothing that says what they hold.
    let name = format!("{name} alike");
    let database = raw::open(&name, 1, &["pages", "meta"]).await;
    database.call("close", &[]);
    let answer = IndexedDbStorage::open(name.as_str()).await;
    assert!(
        matches!(answer, Err(StorageError::Corrupt(_))),
        "{answer:?}"
    );
}

async fn a_database_of_a_newer_version_is_corrupt(name: String) {
    let database = raw::open(&name, 2, &["pages", "meta", "more"]).await;
    database.call("close", &[]);
    let answer = IndexedDbStorage::open(name.as_str()).await;
    assert!(
        matches!(&answer, Err(StorageError::Corrupt(text)) if text.contains("newer")),
        "{answer:?}"
    );
    let name = format!("{name} format");
    open(&name).await.close().await.expect("it closes");
    let database = raw::open(&name, 1, &[]).await;
    raw::change(&database, "meta", |store| {
        store.call("put", &["pocket-pages-2".into(), "format".into()]);
    })
    .await;
    database.call("close", &[]);
    let answer = IndexedDbStorage::open(name.as_str()).await;
    assert!(
        matches!(&answer, Err(StorageError::Corrupt(text)) if text.contains("pocket-pages-2")),
        "{answer:?}"
    );
}

/// Every call, and whether it answers `Closed`.
async fn is_closed(store: &IndexedDbStorage) {
    assert!(matches!(store.get(b"key").await, Err(StorageError::Closed)));
    assert!(matches!(entries(store).await, Err(StorageError::Closed)));
    let mut batch = Batch::new();
    batch.put("key", "closed");
    let answer = store.commit(batch, Durability::Relaxed).await;
    assert!(matches!(answer, Err(StorageError::Closed)), "{answer:?}");
    store.close().await.expect("closing is always allowed");
}

async fn a_store_whose_database_is_deleted_closes_and_says_why(name: String) {
    let store = open(&name).await;
    put(&store, "key", "value").await;
    assert_eq!(store.closed_by(), None);
    IndexedDbStorage::delete(name.as_str())
        .await
        .expect("it is deleted");
    is_closed(&store).await;
    assert_eq!(store.closed_by(), Some(ClosedBy::Deletion));
    assert!(
        store
            .closed_by()
            .is_some_and(|by| by.to_string().contains("deleted"))
    );
    let store = open(&name).await;
    assert_eq!(entries(&store).await.expect("a scan").len(), 0);
    store.close().await.expect("it closes");
    assert_eq!(store.closed_by(), Some(ClosedBy::Caller));
    IndexedDbStorage::delete(name.as_str())
        .await
        .expect("nobody holds it");
    IndexedDbStorage::delete(name)
        .await
        .expect("there is none any more");
}

async fn a_store_makes_way_for_a_newer_version_and_says_why(name: String) {
    let store = open(&name).await;
    // Under way when the newer one comes: it is finished first.
    let mut batch = Batch::new();
    batch.put("key", "value");
    let mut commit = store.commit(batch, Durability::PowerLoss);
    poll_fn(|context| {
        assert!(commit.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
    let database = raw::open(&name, 2, &["more"]).await;
    commit.await.expect("what was under way is finished");
    assert_eq!(raw::all(&database, "pages").await.len(), 1);
    is_closed(&store).await;
    assert_eq!(store.closed_by(), Some(ClosedBy::Upgrade));
    database.call("close", &[]);
}

async fn deleting_what_somebody_else_holds_is_in_use(name: String) {
    let store = open(&name).await;
    put(&store, "key", "value").await;
    // It does not listen to who wants to delete.
    let holder = raw::open(&name, 1, &[]).await;
    let answer = IndexedDbStorage::delete(name.as_str()).await;
    assert!(
        matches!(&answer, Err(StorageError::InUse { path, .. }) if *path == name),
        "{answer:?}"
    );
    holder.call("close", &[]);
    // Behind the deletion, which goes on now.
    let store = open(&name).await;
    assert_eq!(entries(&store).await.expect("a scan").len(), 0);
}

/// The connection that was opened last; the page's script keeps it.
fn opened_last() -> Object {
    let opened = Object::global().get("pocketOpened");
    opened.call("at", &[JsValue::from(-1)])
}

/// What a browser does when it gives up a connection, as far as a script can do it.
fn give_up(connection: &Object) {
    connection.call("close", &[]);
    let class = Object::global()
        .get("Event")
        .0
        .unchecked_into::<js_sys::Function>();
    let event = js_sys::Reflect::construct(&class, &Array::of1(&"close".into()));
    connection.call("dispatchEvent", &[event.expect("an event")]);
}

async fn a_connection_that_the_browser_gave_up_is_opened_again(name: String) {
    let store = open(&name).await;
    for round in 0..3 {
        let mut batch = Batch::new();
        for number in 0..200 {
            batch.put(format!("{round} {number:03}"), vec![1; 200]);
        }
        store
            .commit(batch, Durability::Relaxed)
            .await
            .expect("a commit");
        give_up(&opened_last());
        assert_eq!(store.closed_by(), None);
        let found = entries(&store).await.expect("it is open again").len();
        assert_eq!(found, (round + 1) * 200);
        give_up(&opened_last());
    }
    put(&store, "key", "value").await;
    assert_eq!(entries(&store).await.expect("a scan").len(), 601);
}

async fn a_database_that_went_with_its_connection_is_not_made_anew(name: String) {
    let store = open(&name).await;
    put(&store, "key", "value").await;
    give_up(&opened_last());
    IndexedDbStorage::delete(name.as_str())
        .await
        .expect("nobody holds it");
    is_closed(&store).await;
    assert_eq!(store.closed_by(), Some(ClosedBy::Deletion));
    let listed = Object::global().get("indexedDB").call("databases", &[]);
    let listed =
        js_sys::futures::JsFuture::from(listed.0.unchecked_into::<js_sys::Promise>()).await;
    let listed = listed.expect("a list").unchecked_into::<Array>();
    let names = listed
        .iter()
        .filter_map(|one| Object(one).get("name").0.as_string());
    assert!(names.into_iter().all(|other| other != name));
}

/// Whoever deletes it then is not even made to wait for reads that nobody closed the store for.
async fn a_store_that_was_closed_holds_nothing_any_more(name: String) {
    for _ in 0..10 {
        let store = open(&name).await;
        put(&store, "key", "value").await;
        entries(&store).await.expect("a scan");
        store.close().await.expect("it closes");
        let factory = Object::global().get("indexedDB");
        let request = factory.call("deleteDatabase", &[name.as_str().into()]);
        let came = request.event(&["success", "blocked", "error"]).await;
        assert_eq!(came, "success");
    }
}

async fn a_store_that_is_dropped_finishes_its_commits(name: String) {
    let store = open(&name).await;
    let mut batch = Batch::new();
    batch
        .put("one", vec![1; 20_000])
        .put("two", vec![1; 20_000]);
    let mut commit = store.commit(batch, Durability::PowerLoss);
    poll_fn(|context| {
        assert!(commit.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
    drop(commit);
    drop(store);
    // Nobody closed it, and still nobody holds it when the last of its tasks is done.
    let store = open(&name).await;
    assert_eq!(entries(&store).await.expect("a scan").len(), 2);
    drop(store);
    IndexedDbStorage::delete(name)
        .await
        .expect("nobody holds it");
}
