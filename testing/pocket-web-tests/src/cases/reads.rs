//! Reads of single keys that follow each other, which share transactions and pages: what is there is what they find.

use std::cell::Cell;
use std::rc::Rc;

use pocket_storage::{Batch, Durability, Storage};
use pocket_storage_indexeddb::IndexedDbStorage;
use wasm_bindgen_futures::{JsFuture, future_to_promise};

use super::lifetime::{give_up, opened_last};
use super::{open, put};
use crate::raw::Object;

/// The transactions that only read which were begun so far; the page's script counts them.
fn begun_to_read() -> f64 {
    let reads = Object::global().get("pocketReads").0.as_f64();
    reads.expect("a number")
}

fn key(number: u32) -> String {
    format!("{number:05}")
}

/// A store of numbers, as text, over many pages.
async fn filled(name: &str, count: u32) -> IndexedDbStorage {
    let store = open(name).await;
    let mut batch = Batch::new();
    for number in 0..count {
        batch.put(key(number), format!("{number:0200}"));
    }
    let commit = store.commit(batch, Durability::Relaxed).await;
    commit.expect("a commit");
    store
}

async fn number_at(store: &IndexedDbStorage, key: &str) -> u64 {
    let value = store.get(key.as_bytes()).await.expect("a read");
    let value = value.expect("a value");
    let text = std::str::from_utf8(&value).expect("text");
    text.parse().expect("a number")
}

pub(super) async fn reads_that_follow_each_other_share_transactions_and_pages(name: String) {
    const COUNT: u32 = 1_000;
    let store = filled(&name, COUNT).await;
    let before = begun_to_read();
    for number in 0..COUNT {
        assert_eq!(number_at(&store, &key(number)).await, u64::from(number));
    }
    let in_order = begun_to_read() - before;
    assert!(in_order > 1.0, "one would keep others from writing");
    assert!(in_order < 50.0, "{in_order}");

    let before = begun_to_read();
    for number in 0..COUNT {
        let number = number * 7_919 % COUNT;
        assert_eq!(number_at(&store, &key(number)).await, u64::from(number));
    }
    let in_no_order = begun_to_read() - before;
    assert!(in_no_order < 150.0, "{in_no_order}");
}

/// With pages that are split meanwhile, so that their places change too.
pub(super) async fn a_read_after_a_commit_finds_it_whoever_committed(name: String) {
    let one = filled(&name, 200).await;
    let two = open(&name).await;
    let stores = [&one, &two];
    for step in 0..200_u32 {
        let at = key(step * 37 % 200);
        let (writer, reader) = (stores[step as usize % 2], stores[step as usize / 2 % 2]);
        number_at(reader, &at).await;
        let mut batch = Batch::new();
        batch.put(at.as_str(), format!("{:0300}", step + 1_000));
        batch.put(format!("{at} {step}"), vec![0; 700]);
        let commit = writer.commit(batch, Durability::Relaxed).await;
        commit.expect("a commit");
        assert_eq!(number_at(reader, &at).await, u64::from(step) + 1_000);
        // Also where the page is known already.
        let next = key((step * 37 + 1) % 200);
        number_at(reader, &next).await;
        assert_eq!(number_at(reader, &at).await, u64::from(step) + 1_000);
    }
}

pub(super) async fn readers_that_never_rest_see_what_others_commit_and_let_them(name: String) {
    let reader = Rc::new(filled(&name, 400).await);
    let writer = open(&name).await;
    let (committed, is_over) = (Rc::new(Cell::new(0_u64)), Rc::new(Cell::new(false)));
    put(&writer, "counter", "0").await;
    let mut tasks = Vec::new();
    for offset in 0..3_u32 {
        let (reader, committed, is_over) = (
            Rc::clone(&reader),
            Rc::clone(&committed),
            Rc::clone(&is_over),
        );
        tasks.push(future_to_promise(async move {
            let mut reads = 0_u32;
            while !is_over.get() {
                let known = committed.get();
                let found = number_at(&reader, "counter").await;
                assert!(
                    found >= known,
                    "{found} was read after {known} was committed"
                );
                number_at(&reader, &key((offset * 131 + reads) % 400)).await;
                reads += 1;
            }
            Ok(reads.into())
        }));
    }
    for number in 1..=100_u64 {
        put(&writer, "counter", number.to_string()).await;
        committed.set(number);
    }
    is_over.set(true);
    for task in tasks {
        let reads = JsFuture::from(task).await.expect("a reader that ended");
        assert!(reads.as_f64() > Some(0.0), "{reads:?}");
    }
}

/// What was read in a transaction of the old connection says nothing about the new one.
pub(super) async fn a_read_after_its_connection_was_lost_reads_again(name: String) {
    let store = filled(&name, 50).await;
    assert_eq!(number_at(&store, &key(7)).await, 7);
    give_up(&opened_last());
    let other = open(&name).await;
    put(&other, &key(7), "77").await;
    assert_eq!(number_at(&store, &key(7)).await, 77);
}
