//! How long things take here. What is asserted is what they cost in records, which does not depend on the machine.

use std::fmt::Write as _;

use js_sys::Reflect;
use pocket_storage::{Batch, Direction, Durability, KeyRange, ScanLimit, Storage};
use pocket_storage_indexeddb::IndexedDbStorage;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};

use crate::raw;

/// Runs of each.
const RUNS: usize = 21;

fn now() -> f64 {
    let performance = Reflect::get(&js_sys::global(), &"performance".into()).expect("a clock");
    let function = Reflect::get(&performance, &"now".into()).expect("a clock");
    let function = function.dyn_into::<js_sys::Function>().expect("a clock");
    let now = function.call0(&performance).expect("a clock");
    now.as_f64().expect("a time")
}

/// The shortest, the median and the longest.
fn line(what: &str, mut times: Vec<f64>) -> String {
    times.sort_by(f64::total_cmp);
    let (first, middle, last) = (times[0], times[times.len() / 2], times[times.len() - 1]);
    format!("{what}: {first:.1} / {middle:.1} / {last:.1} ms\n")
}

fn document(run: usize, number: usize) -> (String, String) {
    let id = format!("{run:06}-{number:06}");
    let text = format!(
        "{{\"_id\":\"{id}\",\"title\":\"A task of an ordinary length, number {number}\",\"completed\":false,\"priority\":3}}"
    );
    (id, format!("{text:200}"))
}

/// Measures, each of it several times, and says it in lines; the times are the shortest, the median and the longest.
#[wasm_bindgen]
pub async fn measure(name: String) -> String {
    let mut lines = String::new();
    let store = IndexedDbStorage::open(name.as_str())
        .await
        .expect("it opens");
    for (what, durability) in [
        (
            "500 documents of 200 B in one batch, relaxed",
            Durability::ProcessCrash,
        ),
        (
            "500 documents of 200 B in one batch, strict",
            Durability::PowerLoss,
        ),
    ] {
        let mut times = Vec::new();
        for run in 0..RUNS {
            let mut batch = Batch::new();
            for number in 0..500 {
                let (id, text) = document(run, number);
                batch.put(format!("{durability:?} {id}"), text);
            }
            let began = now();
            store.commit(batch, durability).await.expect("a commit");
            times.push(now() - began);
        }
        lines += &line(what, times);
    }
    let mut times = Vec::new();
    for run in 0..RUNS {
        // What the database makes of it: the document, its change in the outbox, and its id there.
        let mut batch = Batch::new();
        for number in 0..500 {
            let (id, text) = document(run, number);
            batch.put(format!("document {id}"), text.clone());
            batch.put(format!("outbox {id}"), text);
            batch.put(format!("place {id}"), "1");
        }
        let began = now();
        store
            .commit(batch, Durability::PowerLoss)
            .await
            .expect("a commit");
        times.push(now() - began);
    }
    lines += &line("three entries for each of 500 documents, strict", times);
    let mut times = Vec::new();
    for run in 0..RUNS * 5 {
        // Anew: one of those that are there.
        let (id, text) = document(run % RUNS, 7);
        let mut batch = Batch::new();
        batch.put(format!("document {id}"), text);
        let began = now();
        store
            .commit(batch, Durability::PowerLoss)
            .await
            .expect("a commit");
        times.push(now() - began);
    }
    lines += &line("one document among 10,500, strict", times);
    let mut times = Vec::new();
    for run in 0..RUNS * 5 {
        let (id, _) = document(run % RUNS, 100 + run);
        let began = now();
        let found = store.get(format!("document {id}").as_bytes()).await;
        times.push(now() - began);
        assert!(found.expect("a read").is_some());
    }
    lines += &line("one read", times);
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let limit = ScanLimit::entries(20_000).bytes(usize::MAX);
        let began = now();
        let found = store
            .scan(KeyRange::prefix("document "), limit, Direction::Forward)
            .await;
        times.push(now() - began);
        assert_eq!(found.expect("a scan").len(), 500 * RUNS);
    }
    lines += &line("a scan of 10,500 documents", times);
    store.close().await.expect("it closes");
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let began = now();
        let store = IndexedDbStorage::open_quietly(name.as_str())
            .await
            .expect("it opens");
        store.get(b"document").await.expect("a read");
        times.push(now() - began);
    }
    lines += &line("opening it again, and a first read", times);
    let database = raw::open(&name, 1, &[]).await;
    let records = raw::all(&database, "pages").await.len();
    let entries = 500 * RUNS * 5;
    let _ = writeln!(lines, "{entries} entries are {records} records");
    // 52,500 entries, of which 42,000 have 200 bytes and more.
    assert!(records < entries / 25, "{records} records");
    lines += &single_records(&name).await;
    database.call("close", &[]);
    lines
}

/// The same documents as a record each, without the store: what pages are there to avoid.
async fn single_records(name: &str) -> String {
    let name = format!("{name} of single records");
    let database = raw::open(&name, 1, &["documents"]).await;
    let mut lines = String::new();
    for (what, durability) in [("relaxed", "relaxed"), ("strict", "strict")] {
        let mut times = Vec::new();
        for run in 0..RUNS {
            let documents: Vec<(JsValue, JsValue)> = (0..500)
                .map(|number| {
                    let (id, text) = document(run, number);
                    let key = js_sys::Uint8Array::from(id.as_bytes());
                    (key.into(), js_sys::Uint8Array::from(text.as_bytes()).into())
                })
                .collect();
            let began = now();
            let options = raw::Object(js_sys::Object::new().into());
            options.set("durability", &durability.into());
            let arguments = ["documents".into(), "readwrite".into(), options.0];
            let transaction = database.call("transaction", &arguments);
            let records = transaction.call("objectStore", &["documents".into()]);
            for (key, value) in documents {
                records.call("put", &[value, key]);
            }
            assert_eq!(transaction.event(&["complete", "abort"]).await, "complete");
            times.push(now() - began);
        }
        lines += &line(
            &format!("500 single records of 200 B without Pocket, {what}"),
            times,
        );
    }
    database.call("close", &[]);
    lines
}
