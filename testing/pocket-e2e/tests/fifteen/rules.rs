//! Rules that change while devices are there.

use std::sync::Arc;

use pocket_core::CollectionConfig;
use pocket_sync_server::rules::Attempt;
use pocket_sync_server::{Config, Rules, TokenTable};

use crate::world::{Transport, World, until};

/// Lets everybody read and write all but one collection.
fn without(closed: &'static str) -> Rules {
    let may = move |attempt: &Attempt<'_>| attempt.collection.as_str() != closed;
    Rules::default().authorizer(Arc::new(may))
}

/// Closures have no name by which one is told from another: what they changed was noticed by digests, if at all.
pub(crate) async fn rights_that_closures_give_reach_devices_when_other_closures_take_their_place(
    transport: Transport,
) {
    let mut config = Config::default();
    config.rules = without("none");
    let mut world = World::with(transport, config, Arc::new(TokenTable::open())).await;
    let (writer, reader) = (world.device().await, world.device().await);
    let away = world.device().await;
    for device in [&writer, &reader, &away] {
        let drafts = CollectionConfig::new("drafts").sync(true);
        device.database.create_collection(drafts).await.unwrap();
    }
    writer.put("a", "one").await;
    writer.put_in("drafts", "b", "two").await;
    for device in [&writer, &reader, &away] {
        device.sync().await;
    }
    away.go_offline().await;
    assert_eq!(reader.documents_in("drafts").await.len(), 1);
    // A collection that may be read no longer leaves devices that are there.
    world.set_rules(without("drafts"));
    until("drafts are gone", || async {
        reader.documents_in("drafts").await.is_empty()
    })
    .await;
    // Another one leaves, and that one comes back.
    world.set_rules(without("docs"));
    until("documents have gone, and drafts have come", || async {
        reader.documents().await.is_empty() && reader.documents_in("drafts").await.len() == 1
    })
    .await;
    // Whoever was away meanwhile hears of it when he is back.
    away.sync().await;
    until("it holds what it may read", || async {
        away.documents().await.is_empty() && away.documents_in("drafts").await.len() == 1
    })
    .await;
    // Behind a restart, with a name of their own.
    away.go_offline().await;
    world.stop().await;
    world.set_rules(without("drafts").version("2"));
    world.start().await;
    away.sync().await;
    until("it holds what it may read now", || async {
        away.documents().await.len() == 1 && away.documents_in("drafts").await.is_empty()
    })
    .await;
    for device in [writer, reader, away] {
        device.engine.destroy().await;
    }
    world.stop().await;
}
