//! What reaches a device, and what moves its checkpoint.

use std::sync::Arc;
use std::time::Duration;

use pocket_core::CollectionConfig;
use pocket_sync_server::{Config, TokenTable};

use crate::world::{Device, Transport, World, until};

pub(crate) async fn point_02_an_acknowledged_push_never_moves_the_checkpoint_past_others_changes(
    transport: Transport,
) {
    let world = World::new(transport).await;
    let (ann, bob) = (world.device().await, world.device().await);
    ann.sync().await;
    ann.go_offline().await;
    bob.engine.start().await.unwrap();
    for n in 0..50 {
        bob.put(&format!("b{n}"), "by bob").await;
        ann.put(&format!("a{n}"), "by ann").await;
    }
    bob.sync().await;
    // The outcome of her pushes names places behind his changes, which she has not read yet.
    ann.engine.start().await.unwrap();
    ann.engine.push().await.unwrap();
    for n in 50..60 {
        bob.put(&format!("b{n}"), "by bob, meanwhile").await;
    }
    bob.sync().await;
    ann.sync().await;
    bob.sync().await;
    assert_eq!(ann.documents().await.len(), 110);
    assert_eq!(ann.documents().await, bob.documents().await);
    assert_eq!((ann.place().await, bob.place().await), (110, 110));
}

pub(crate) async fn point_03_numbers_made_by_a_client_never_enter_the_checkpoint(
    transport: Transport,
) {
    let mut config = Config::default();
    config.limits.wire.document_bytes = 200;
    let world = World::with(transport, config, Arc::new(TokenTable::open())).await;
    let (ann, bob) = (world.device().await, world.device().await);
    // Numbers that no place of the server answers to: it refuses all these.
    for n in 0..30 {
        ann.put(&format!("large{n}"), &"x".repeat(400)).await;
    }
    ann.sync().await;
    assert_eq!(ann.engine.snapshot().stats.rejected_count, 30);
    assert_eq!(ann.place().await, 0, "thirty numbers, and not one place");
    for n in 0..5 {
        bob.put(&format!("b{n}"), "small").await;
    }
    bob.sync().await;
    ann.sync().await;
    assert_eq!(ann.place().await, 5);
    assert_eq!(ann.documents().await, bob.documents().await);
    assert_eq!(ann.pending().await, 0);
}

pub(crate) async fn point_04_a_change_by_another_client_arrives_live_with_polling_off(
    transport: Transport,
) {
    let world = World::new(transport).await;
    // Over HTTP the server holds an answer back until there is news; no interval passes within this test.
    let interval = match transport {
        Transport::WebSocket => Duration::ZERO,
        Transport::Http => Duration::from_secs(3_600),
    };
    let reader = Device::new(world.config().pull_interval(interval)).await;
    let writer = world.device().await;
    reader.sync().await;
    let mut changes = reader.database.changes();
    writer.sync().await;
    for n in 0..3 {
        let id = format!("live{n}");
        writer.put(&id, "news").await;
        loop {
            let change = changes.next().await.expect("the database is open");
            if format!("{change:?}").contains(&id) {
                break;
            }
        }
    }
    assert_eq!(reader.documents().await.len(), 3);
}

pub(crate) async fn point_05_an_empty_collection_list_syncs_all_synced_collections_and_no_local_one(
    transport: Transport,
) {
    let world = World::new(transport).await;
    let writer = world.device().await;
    let local = CollectionConfig::new("private").sync(false);
    writer.database.create_collection(local).await.unwrap();
    writer.put_in("private", "p", "stays here").await;
    writer.put("d", "known from the start").await;
    writer.sync().await;
    let later = CollectionConfig::new("later").sync(true);
    writer.database.create_collection(later).await.unwrap();
    writer.put_in("later", "l", "made while it syncs").await;
    writer.sync().await;
    let fresh = world.device().await;
    fresh.sync().await;
    assert_eq!(fresh.documents().await.len(), 1);
    assert_eq!(fresh.documents_in("later").await.len(), 1);
    assert_eq!(fresh.documents_in("private").await.len(), 0);
    assert!(
        !fresh.database.has_collection("private"),
        "not even its name left the device"
    );
    assert_eq!(fresh.place().await, 2);
    // A collection that begins to sync later is read from the start, also by who reads live already.
    let mut shared = CollectionConfig::new("private");
    shared.sync = true;
    writer.database.create_collection(shared).await.unwrap();
    writer.sync().await;
    until("it arrives", || async {
        fresh.documents_in("private").await.len() == 1
    })
    .await;
}
