//! A namespace that is full, and servers and devices that live in one process.

use std::sync::Arc;

use pocket_sync_server::decide::Quota;
use pocket_sync_server::{Config, TokenTable};

use crate::world::{Transport, World};

pub(crate) async fn a_namespace_that_is_full_takes_changes_again_once_there_is_room(
    transport: Transport,
) {
    let mut config = Config::default();
    config.limits.decide.quota = Quota {
        documents: Some(3),
        bytes: None,
    };
    let world = World::with(transport, config, Arc::new(TokenTable::open())).await;
    let device = world.device().await;
    for n in 0..5 {
        device.put(&format!("d{n}"), "one of five").await;
    }
    device.sync().await;
    // Two were refused: told, kept, taken back, and no obstacle to what came behind them.
    let entries = device.database.journal().list(None, 10).await.unwrap();
    let codes: Vec<_> = entries.iter().map(|entry| entry.code.as_deref()).collect();
    assert_eq!(codes, [Some("quota"); 2]);
    assert_eq!(device.pending().await, 0);
    assert_eq!(device.documents().await.len(), 3);
    device.put("d0", "no larger than before").await;
    device.sync().await;
    assert_eq!(world.documents().await, device.documents().await);
    assert_eq!(device.engine.snapshot().stats.rejected_count, 2);

    device.delete("d1").await;
    device.sync().await;
    let again = &entries[0];
    device
        .database
        .journal()
        .restore(again.number)
        .await
        .unwrap();
    device.sync().await;
    assert_eq!(device.engine.snapshot().stats.rejected_count, 2);
    let documents = world.documents().await;
    assert_eq!(documents.len(), 3);
    assert!(documents.contains_key(again.documents[0].id.as_str()));
    assert_eq!(documents, device.documents().await);
}

pub(crate) async fn several_servers_and_engines_in_one_process_share_nothing(transport: Transport) {
    let mut worlds = [World::new(transport).await, World::new(transport).await];
    let mut devices = Vec::new();
    for world in &worlds {
        devices.push([world.device().await, world.device().await]);
    }
    for (which, pair) in devices.iter().enumerate() {
        pair[0].put("same", &format!("of {which}")).await;
        pair[0].sync().await;
        pair[1].sync().await;
    }
    for (which, (world, pair)) in worlds.iter().zip(&devices).enumerate() {
        let documents = world.documents().await;
        assert_eq!(documents.len(), 1);
        assert_eq!(documents["same"], format!("of {which}"));
        assert_eq!(pair[1].documents().await, documents);
        assert_eq!(pair[1].place().await, 1);
    }
    // The end of one server and of one engine is nobody else's.
    worlds[0].stop().await;
    devices[1][0].engine.destroy().await;
    devices[0][0].put("alone", "waits").await;
    devices[1][1].put("goes-on", "at once").await;
    devices[1][1].sync().await;
    assert_eq!(worlds[1].documents().await.len(), 2);
    assert_eq!(devices[0][0].pending().await, 1);
    worlds[0].start().await;
    devices[0][0].sync().await;
    devices[0][1].sync().await;
    assert_eq!(devices[0][1].documents().await.len(), 2);
    assert!(!worlds[1].documents().await.contains_key("alone"));
}
