//! Devices that get a new version of the program at different times.

use pocket_core::{ConflictStrategy, Map, Migrated, Migration, Value};

use crate::world::{Device, Transport, World};

/// Texts of the new shape say so; the step knows its own result.
fn to_2() -> Migration {
    Migration::to(2).documents("docs", |_, mut document: Map| {
        let text = document
            .get("text")
            .and_then(Value::as_str)
            .ok_or("no text")?;
        if text.ends_with(" (2)") {
            return Ok(Migrated::Unchanged);
        }
        let text = format!("{text} (2)");
        document.insert("text", text);
        Ok(Migrated::Changed(document))
    })
}

async fn upgraded(device: Device) -> Device {
    device.restart_as(|builder| builder.migration(to_2())).await
}

async fn rounds(devices: &[&Device]) {
    for _ in 0..4 {
        for device in devices {
            device.sync().await;
        }
    }
}

async fn conflicts(device: &Device) -> u64 {
    device.database.stats().await.unwrap().open_conflicts
}

pub(crate) async fn devices_that_are_upgraded_at_different_times_agree_and_no_edit_is_lost(
    transport: Transport,
) {
    let world = World::new(transport).await;
    let (ann, cara) = (world.device().await, world.device().await);
    // Under a rule by which whatever he has would win.
    let config = world
        .config()
        .conflict_strategy(ConflictStrategy::ClientWins);
    let bob = Device::new(config).await;
    for id in ["same", "edited", "old"] {
        ann.put(id, id).await;
    }
    rounds(&[&ann, &bob, &cara]).await;
    for device in [&ann, &bob, &cara] {
        device.go_offline().await;
    }
    // Cara edits with the old program; nobody hears of it yet.
    cara.later();
    cara.put("old", "by cara").await;

    // Ann is upgraded first, and edits what she has then.
    for _ in 0..10 {
        ann.later();
        bob.later();
    }
    let ann = upgraded(ann).await;
    assert_eq!(ann.text("same").await.as_deref(), Some("same (2)"));
    assert_eq!(ann.pending().await, 3);
    ann.sync().await;
    ann.put("edited", "by ann (2)").await;
    ann.sync().await;

    // Bob is upgraded much later, offline, with what he read long ago.
    for _ in 0..100 {
        bob.later();
    }
    let bob = upgraded(bob).await;
    assert_eq!(bob.text("edited").await.as_deref(), Some("edited (2)"));
    rounds(&[&bob, &ann]).await;
    assert_eq!(bob.text("edited").await.as_deref(), Some("by ann (2)"));
    assert_eq!((conflicts(&ann).await, conflicts(&bob).await), (0, 0));

    // Cara's edit is later than the version that Ann's migration was made of, so it stands, in the old shape.
    rounds(&[&cara, &ann, &bob]).await;
    for device in [&ann, &bob, &cara] {
        assert_eq!(device.text("old").await.as_deref(), Some("by cara"));
        assert_eq!(device.text("same").await.as_deref(), Some("same (2)"));
    }
    // Both give it the new shape at once; then Cara has the new program, too, and nothing is left to do.
    for device in [&ann, &bob] {
        device.go_offline().await;
        let docs = device.database.collection::<Value>("docs").unwrap();
        assert_eq!(docs.reshape_all().await.unwrap().changed, 1);
    }
    rounds(&[&ann, &bob, &cara]).await;
    let cara = upgraded(cara).await;
    assert_eq!(cara.pending().await, 0);
    let expected = world.documents().await;
    assert_eq!(expected.get("old").map(String::as_str), Some("by cara (2)"));
    for device in [&ann, &bob, &cara] {
        device.sync().await;
        assert_eq!(device.documents().await, expected);
        assert_eq!(device.pending().await, 0);
    }
    assert_eq!((conflicts(&ann).await, conflicts(&bob).await), (0, 0));
}
