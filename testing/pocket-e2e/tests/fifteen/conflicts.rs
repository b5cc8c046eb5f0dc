//! Two who write the same document.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use pocket_core::replica::Conflict;
use pocket_core::{ConflictStrategy, Value};
use pocket_sync_client::{Resolved, SyncError};
use pocket_sync_server::{Config, TokenTable};

use crate::world::{Device, Transport, World};

/// Ten years in milliseconds.
const TEN_YEARS: i64 = 10 * 365 * 24 * 60 * 60 * 1_000;

/// Every device hears of what the others' conflicts led to.
async fn rounds(devices: &[&Device]) {
    for _ in 0..4 {
        for device in devices {
            device.sync().await;
        }
    }
}

async fn assert_equal(world: &World, devices: &[&Device]) {
    let expected = world.documents().await;
    for (place, device) in devices.iter().enumerate() {
        assert_eq!(device.documents().await, expected, "device {place}");
        assert_eq!(device.pending().await, 0, "device {place}");
    }
}

pub(crate) async fn point_08_neither_a_stale_push_nor_a_date_in_the_future_wins_for_ever(
    transport: Transport,
) {
    let world = World::new(transport).await;
    let (ann, bob) = (world.device().await, world.device().await);
    ann.put("d", "first").await;
    rounds(&[&ann, &bob]).await;
    ann.go_offline().await;
    ann.put("d", "stale").await;
    bob.later();
    bob.put("d", "newer").await;
    bob.sync().await;
    rounds(&[&ann, &bob]).await;
    assert_eq!(ann.text("d").await.as_deref(), Some("newer"));
    assert_equal(&world, &[&ann, &bob]).await;

    // Cara's clock is ten years ahead. What she writes counts, and what is written after it counts more.
    let cara = world.device().await;
    cara.clock.store(TEN_YEARS, Ordering::Relaxed);
    cara.sync().await;
    cara.put("d", "from the future").await;
    rounds(&[&cara, &ann, &bob]).await;
    assert_eq!(ann.text("d").await.as_deref(), Some("from the future"));
    bob.put("d", "after it").await;
    rounds(&[&bob, &ann, &cara]).await;
    assert_eq!(cara.text("d").await.as_deref(), Some("after it"));
    assert_equal(&world, &[&ann, &bob, &cara]).await;
}

pub(crate) async fn point_10_a_delete_and_an_update_end_the_same_everywhere_and_nothing_comes_back(
    transport: Transport,
) {
    let world = World::new(transport).await;
    let (ann, bob, third) = (
        world.device().await,
        world.device().await,
        world.device().await,
    );
    for id in ["deleted-first", "updated-first", "gone"] {
        ann.put(id, "there").await;
    }
    rounds(&[&ann, &bob, &third]).await;
    for device in [&ann, &bob, &third] {
        device.go_offline().await;
    }
    ann.delete("deleted-first").await;
    bob.later();
    bob.put("deleted-first", "updated").await;
    bob.put("updated-first", "updated").await;
    ann.later();
    ann.later();
    ann.delete("updated-first").await;
    ann.delete("gone").await;
    rounds(&[&ann, &bob, &third]).await;
    assert_equal(&world, &[&ann, &bob, &third]).await;
    // The later of the two wins by default.
    assert_eq!(ann.text("deleted-first").await.as_deref(), Some("updated"));
    assert_eq!(ann.text("updated-first").await, None);
    // Nothing comes back by itself: not after a restart, and not with whoever is new.
    let third = third.restart().await;
    rounds(&[&third, &ann, &bob]).await;
    assert_eq!(third.text("gone").await, None);
    assert_equal(&world, &[&ann, &bob, &third]).await;
}

pub(crate) async fn point_11_a_change_refused_or_lost_in_a_conflict_is_not_broadcast(
    transport: Transport,
) {
    let mut config = Config::default();
    config.limits.wire.document_bytes = 300;
    let world = World::with(transport, config, Arc::new(TokenTable::open())).await;
    let yielding = world
        .config()
        .conflict_strategy(ConflictStrategy::ServerWins);
    let (ann, bob, watcher) = (
        Device::new(yielding).await,
        world.device().await,
        world.device().await,
    );
    bob.put("d", "first").await;
    rounds(&[&bob, &ann, &watcher]).await;
    let mut heard = watcher.database.changes();
    ann.go_offline().await;
    let refused = format!("refused{}", "x".repeat(500));
    ann.put("large", &refused).await;
    ann.put("d", "lost").await;
    bob.put("d", "kept").await;
    bob.sync().await;
    rounds(&[&ann, &watcher]).await;
    ann.put("last", "the end").await;
    rounds(&[&ann, &bob]).await;
    loop {
        let change = format!("{:?}", heard.next().await.expect("the database is open"));
        assert!(
            !change.contains("refused") && !change.contains("large"),
            "{change}"
        );
        if change.contains("\"last\"") || change.contains("last") {
            break;
        }
    }
    rounds(&[&watcher]).await;
    assert_eq!(watcher.text("d").await.as_deref(), Some("kept"));
    assert_eq!(
        ann.text("large").await,
        None,
        "the refused change was taken back"
    );
    assert_equal(&world, &[&ann, &bob, &watcher]).await;
    let stats = ann.engine.snapshot().stats;
    assert_eq!((stats.rejected_count, stats.conflict_count), (1, 1));
    // Both are kept where they were written: nothing is lost silently.
    assert_eq!(
        ann.database.journal().list(None, 10).await.unwrap().len(),
        2
    );
}

/// A rule of an application: its own version, if it still has one, written larger.
async fn in_capitals(conflict: Conflict) -> Result<Resolved, SyncError> {
    let Some(Value::String(text)) = conflict
        .local_document()
        .to_map()
        .ok()
        .and_then(|map| map.get("text").cloned())
    else {
        return Ok(Resolved::remote());
    };
    let id = conflict.document_id.as_str();
    let document = format!(r#"{{"_id":"{id}","text":"{}"}}"#, text.to_uppercase());
    let document = Value::from_json_str(&document).unwrap();
    Ok(Resolved::document(&document)?.because("louder"))
}

pub(crate) async fn point_12_clients_with_different_strategies_end_with_the_same_documents(
    transport: Transport,
) {
    let world = World::new(transport).await;
    let with = |strategy| Device::new(world.config().conflict_strategy(strategy));
    let devices = [
        with(ConflictStrategy::LastWriteWins).await,
        with(ConflictStrategy::ServerWins).await,
        with(ConflictStrategy::ClientWins).await,
        with(ConflictStrategy::ClientWins).await,
        with(ConflictStrategy::Merge).await,
        Device::new(world.config().resolve_conflict(in_capitals)).await,
    ];
    let all: Vec<&Device> = devices.iter().collect();
    for n in 0..10 {
        devices[0].put(&format!("d{n}"), "first").await;
    }
    rounds(&all).await;
    for (who, device) in devices.iter().enumerate() {
        device.go_offline().await;
        for n in 0..10 {
            match (n + who) % 4 {
                0 => device.delete(&format!("d{n}")).await,
                _ => device.put(&format!("d{n}"), &format!("by {who}")).await,
            }
        }
    }
    // All at once, so that they meet each other in every order.
    for device in &devices {
        device.engine.start().await.unwrap();
    }
    rounds(&all).await;
    assert_equal(&world, &all).await;
    let conflicts: u64 = devices
        .iter()
        .map(|device| device.engine.snapshot().stats.conflict_count)
        .sum();
    assert!(conflicts >= 20, "they did meet: {conflicts}");
}
