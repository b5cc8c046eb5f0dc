//! What leaves a device, and how often.

use crate::world::{Transport, World, until};

pub(crate) async fn point_01_inserts_in_a_loop_send_each_change_once(transport: Transport) {
    let world = World::new(transport).await;
    let device = world.device().await;
    device.engine.start().await.unwrap();
    for n in 0..200 {
        device
            .put(&format!("d{n:03}"), "written while it syncs")
            .await;
    }
    device.sync().await;
    let stats = device.engine.snapshot().stats;
    assert_eq!(
        (stats.push_count, stats.resent_count, stats.conflict_count),
        (200, 0, 0)
    );
    let reader = world.device().await;
    reader.sync().await;
    assert_eq!(reader.documents().await.len(), 200);
    assert_eq!(
        reader.place().await,
        200,
        "the log has one entry for each insert"
    );
}

pub(crate) async fn point_06_what_was_written_offline_before_start_and_after_stop_is_all_sent(
    transport: Transport,
) {
    let mut world = World::new(transport).await;
    world.stop().await;
    let device = world.device().await;
    device.put("before-start", "1").await;
    device
        .engine
        .start()
        .await
        .expect("it starts without a server");
    device.put("offline", "2").await;
    let device = device.restart().await;
    assert_eq!(device.pending().await, 2, "a restart forgets nothing");
    device.engine.start().await.unwrap();
    device.put("after-restart", "3").await;
    world.start().await;
    device.sync().await;
    device.go_offline().await;
    device.put("after-stop", "4").await;
    let device = device.restart().await;
    device.sync().await;
    assert_eq!(device.pending().await, 0);
    let ids: Vec<String> = world.documents().await.into_keys().collect();
    assert_eq!(
        ids,
        ["after-restart", "after-stop", "before-start", "offline"]
    );
    until("it says so", || async {
        device.engine.snapshot().status == pocket_sync_client::Status::Idle
    })
    .await;
}
