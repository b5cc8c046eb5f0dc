//! Databases that are damaged, of something else, or newer.

use js_sys::Uint8Array;
use pocket_storage::{Batch, Durability, Storage, StorageError};
use pocket_storage_indexeddb::IndexedDbStorage;
use wasm_bindgen::{JsCast, JsValue};

use super::{entries, open};
use crate::raw;

pub(super) async fn damage_is_corrupt_and_never_a_missing_entry(name: String) {
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

pub(super) async fn a_database_of_something_else_is_corrupt_and_stays_as_it_is(name: String) {
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

pub(super) async fn a_database_of_a_newer_version_is_corrupt(name: String) {
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
