//! Closing, deleting, making way, and connections that are lost.

use std::future::poll_fn;
use std::task::Poll;

use js_sys::Array;
use pocket_storage::{Batch, Durability, Storage, StorageError};
use pocket_storage_indexeddb::{ClosedBy, IndexedDbStorage};
use wasm_bindgen::{JsCast, JsValue};

use super::{entries, open, put};
use crate::raw::{self, Object};

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

pub(super) async fn a_store_whose_database_is_deleted_closes_and_says_why(name: String) {
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

pub(super) async fn a_store_makes_way_for_a_newer_version_and_says_why(name: String) {
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

pub(super) async fn deleting_what_somebody_else_holds_is_in_use(name: String) {
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
pub(super) fn opened_last() -> Object {
    let opened = Object::global().get("pocketOpened");
    opened.call("at", &[JsValue::from(-1)])
}

/// What a browser does when it gives up a connection, as far as a script can do it.
pub(super) fn give_up(connection: &Object) {
    connection.call("close", &[]);
    let class = Object::global()
        .get("Event")
        .0
        .unchecked_into::<js_sys::Function>();
    let event = js_sys::Reflect::construct(&class, &Array::of1(&"close".into()));
    connection.call("dispatchEvent", &[event.expect("an event")]);
}

pub(super) async fn a_connection_that_the_browser_gave_up_is_opened_again(name: String) {
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

/// A browser that closes a connection by force tells so with an event, which comes later: whoever begins something before that
/// meets an `InvalidStateError`.
pub(super) async fn a_connection_that_was_closed_and_not_told_of_yet_is_opened_again(name: String) {
    let store = open(&name).await;
    put(&store, "key", "value").await;
    opened_last().call("close", &[]);
    let found = store.get(b"key").await.expect("it is opened again");
    assert_eq!(found.as_deref(), Some(&b"value"[..]));
    opened_last().call("close", &[]);
    assert_eq!(entries(&store).await.expect("a scan").len(), 1);
    opened_last().call("close", &[]);
    put(&store, "other", "value").await;
    assert_eq!(entries(&store).await.expect("a scan").len(), 2);
    assert_eq!(store.closed_by(), None);
    opened_last().call("close", &[]);
    store.close().await.expect("it closes");
    assert_eq!(store.closed_by(), Some(ClosedBy::Caller));
}

pub(super) async fn a_database_that_went_with_its_connection_is_not_made_anew(name: String) {
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

/// The store that lost its connection must not take the new, empty database for its own.
pub(super) async fn a_database_that_somebody_made_anew_is_another_one(name: String) {
    let store = open(&name).await;
    put(&store, "key", "value").await;
    give_up(&opened_last());
    let deleted = IndexedDbStorage::delete(name.as_str()).await;
    deleted.expect("nobody holds it");
    let other = open(&name).await;
    put(&other, "key", "other").await;
    is_closed(&store).await;
    assert_eq!(store.closed_by(), Some(ClosedBy::Deletion));
    assert_eq!(entries(&other).await.expect("a scan").len(), 1);
}

/// Whoever deletes it then is not even made to wait for reads that nobody closed the store for.
pub(super) async fn a_store_that_was_closed_holds_nothing_any_more(name: String) {
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

pub(super) async fn a_store_that_is_dropped_finishes_its_commits(name: String) {
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
