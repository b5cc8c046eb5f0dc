//! What is done to a whole collection, or a whole database, in which a document is damaged.

use pocket_core::{CollectionConfig, IndexConfig, IndexState, Value, codes};

use super::{World, names, of_server, told, value};

/// An index that was asked for over a damaged document was not recorded, so the building began anew each time.
#[tokio::test]
async fn an_index_over_a_damaged_document_is_recorded_and_gone_on_with_once_that_is_mended() {
    let world = World::synced().await;
    world.damage(b'd', b"c").await;
    let config = || IndexConfig::new("n").named("by_n");
    names(
        &world.docs.create_index(config()).await.unwrap_err(),
        "c",
        "docs",
    );
    let state = || {
        let indexes = world.docs.indexes();
        let index = indexes.into_iter().find(|it| it.config.name() == "by_n");
        index.unwrap().state
    };
    assert_eq!(state(), IndexState::Building);
    let again = world.docs.create_index(config()).await;
    assert_eq!(again.unwrap_err().code(), codes::CORRUPT);
    world.put("c", 30).await;
    world.docs.create_index(config()).await.unwrap();
    assert_eq!(state(), IndexState::Ready);
    assert_eq!(world.indexed().await, [1, 2, 4, 30]);
}

/// It stopped at the first damaged document, and nothing was deleted.
#[tokio::test]
async fn a_clearing_deletes_damaged_documents_with_the_others() {
    let world = World::synced().await;
    world.damage(b'd', b"c").await;
    assert_eq!(world.docs.clear().await.unwrap(), 4);
    assert_eq!(world.docs.count().await.unwrap(), 0);
    assert!(world.indexed().await.is_empty());
    // The server's version of what was damaged is not known, so everything is read again before anything is sent.
    world.read_again(of_server()).await;
    assert_eq!(world.docs.count().await.unwrap(), 0);
    let sent = world.pin().await;
    let mut deleted: Vec<_> = sent.iter().flat_map(told).collect();
    deleted.sort();
    let shortly: Vec<_> = deleted.iter().map(|(id, n, _)| (*id, *n)).collect();
    assert_eq!(
        shortly,
        [("a", None), ("b", None), ("c", None), ("d", None)]
    );
}

#[tokio::test]
async fn a_collection_with_a_damaged_document_can_be_deleted() {
    let world = World::new().await;
    let local = world.db.collection::<Value>("local").unwrap();
    for id in ["a", "b"] {
        let document = value(&format!(r#"{{"_id":"{id}","n":"{id}"}}"#));
        local.insert(&document).await.unwrap();
    }
    world.damage(b'd', b"a").await;
    assert_eq!(world.db.delete_collection("local").await.unwrap(), 2);
    let config = CollectionConfig::new("local");
    world.db.create_collection(config).await.unwrap();
    assert_eq!(local.count().await.unwrap(), 0);
}

/// A device with one damaged document could not leave its server.
#[tokio::test]
async fn a_database_leaves_its_server_though_a_document_and_a_change_are_damaged() {
    let world = World::synced().await;
    world.put("a", 10).await;
    world.damage(b'd', b"c").await;
    world.damage(b'o', b"").await;
    world.replica.detach().await.unwrap();
    let sent = world.pin().await;
    let mut offered: Vec<_> = sent.iter().flat_map(told).collect();
    offered.sort();
    let all = [
        ("a", Some(10), None),
        ("b", Some(2), None),
        ("d", Some(4), None),
    ];
    assert_eq!(offered, all);
    names(&world.docs.get("c").await.unwrap_err(), "c", "docs");
    world.put("c", 30).await;
    let sent = world.pin().await;
    let offered: Vec<_> = sent.iter().flat_map(told).collect();
    assert_eq!(offered, [("c", Some(30), None)]);
}

#[tokio::test]
async fn a_wipe_takes_damaged_documents_of_the_server_and_leaves_those_of_its_own() {
    let world = World::synced().await;
    let local = world.db.collection::<Value>("local").unwrap();
    local
        .insert(&value(r#"{"_id":"hurt","n":1}"#))
        .await
        .unwrap();
    local
        .insert(&value(r#"{"_id":"whole","n":2}"#))
        .await
        .unwrap();
    world.damage(b'd', b"c").await;
    world.damage(b'd', b"hurt").await;
    let wiped = world.replica.wipe().await.unwrap();
    assert_eq!(wiped.documents, 4);
    assert_eq!(world.docs.count().await.unwrap(), 0);
    assert!(world.indexed().await.is_empty());
    names(&local.get("hurt").await.unwrap_err(), "hurt", "local");
    assert!(local.get("whole").await.unwrap().is_some());
}
