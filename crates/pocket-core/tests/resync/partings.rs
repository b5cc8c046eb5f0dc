//! A server that was restored more than once while a device could not read on.

use super::*;

fn doc(id: &str, seq: u64, millis: i64, n: i64) -> Record {
    record(id, seq, millis, Some(&format!(r#"{{"n":{n}}}"#)))
}

/// Found by the simulator: the two partings became one that reached from the first place to the second moment. What was
/// read between them, and deleted since, was sent to the server as if it had lost it.
#[tokio::test]
async fn what_was_read_between_two_restores_of_the_server_is_in_both_histories() {
    let world = World::new().await;
    world.attach(log(&[(1, 1)], 0, 0, 0)).await;
    world.page(1, (0, 3, 3), vec![doc("old", 3, PAST, 1)]).await;
    // Restored to place 2; the reading does not come to its end.
    world.attach(log(&[(1, 1), (3, 3)], 20, 0, 0)).await;
    world
        .page(3, (0, 11, 20), vec![doc("one", 11, PAST, 2)])
        .await;
    // Restored to place 14, and somebody has deleted the document since: that is left out.
    world
        .attach(log(&[(1, 1), (3, 3), (5, 15)], 16, 0, 0))
        .await;
    world.page(5, (0, 16, 16), Vec::new()).await;
    world.sweep().await;
    assert_eq!(world.n("one").await, None);
    assert_eq!(world.n("old").await, Some(1), "the server lost it");
    let sent = world.pin().await;
    let changes = sent.iter().flat_map(Mutation::changes);
    let documents: Vec<_> = changes.map(|change| change.id.as_str()).collect();
    assert_eq!(documents, ["old"]);
}

/// Found by the simulator: it was sent a second time, under the same revision.
#[tokio::test]
async fn what_a_restored_server_took_since_sync_was_switched_on_again_is_not_lost_by_it() {
    let world = World::new().await;
    world.attach(log(&[(1, 1)], 0, 0, 0)).await;
    world.page(1, (0, 9, 9), vec![doc("one", 9, PAST, 1)]).await;
    let switch = async |sync| {
        let config = CollectionConfig::new("docs").sync(sync);
        world.db.create_collection(config).await.unwrap();
    };
    switch(false).await;
    world.replica.load(&Scope::All).await.unwrap();
    world.attach(log(&[(1, 1), (3, 9)], 10, 0, 0)).await;
    world.page(3, (0, 10, 10), Vec::new()).await;
    world.sweep().await;
    world.update("one", 2).await;
    switch(true).await;
    assert_eq!(world.pin().await.len(), 1, "it is on its way");
    let state = world.replica.load(&Scope::All).await.unwrap();
    assert!(state.checkpoint.resyncing);
    world.settle(1, &[11]).await;

    let theirs = doc("one", 12, FUTURE, 3);
    world.page(3, (0, 12, 12), vec![theirs]).await;
    world.sweep().await;
    assert_eq!(world.n("one").await, Some(3));
    assert!(world.journal().await.is_empty(), "it met nothing");
    assert!(world.pin().await.is_empty());
}

/// What is lost of a collection is compared when that is read again, and says nothing of the others.
#[tokio::test]
async fn what_the_server_lost_of_one_collection_says_nothing_of_what_was_read_of_others_since() {
    let world = World::new().await;
    let switch = async |sync| {
        let config = CollectionConfig::new("late").sync(sync);
        world.db.create_collection(config).await.unwrap();
        world.replica.load(&Scope::All).await.unwrap()
    };
    switch(true).await;
    world.attach(log(&[(1, 1)], 0, 0, 0)).await;
    let late = Record {
        collection: CollectionName::new("late").unwrap(),
        ..doc("gone", 5, PAST, 1)
    };
    world.page(1, (0, 5, 5), vec![late]).await;
    switch(false).await;
    // Restored to place 2, and what is written there since is read as ever.
    world.attach(log(&[(1, 1), (3, 3)], 2, 0, 0)).await;
    world.page(3, (0, 2, 2), Vec::new()).await;
    world.sweep().await;
    world.page(3, (2, 4, 4), vec![doc("one", 4, PAST, 2)]).await;
    // Switched on again, when somebody has deleted that.
    assert!(switch(true).await.checkpoint.resyncing);
    world.page(3, (0, 6, 6), Vec::new()).await;
    world.sweep().await;
    assert_eq!(world.n("one").await, None);
    let sent = world.pin().await;
    let changes = sent.iter().flat_map(Mutation::changes);
    let documents: Vec<_> = changes.map(|change| change.id.as_str()).collect();
    assert_eq!(documents, ["gone"], "that alone is lost");
}

/// Found by the simulator: an edit of what a restored server had lost stands on nothing since, and was never sent, so it
/// and its deletion cancelled each other. Another device brought back what it had been made on.
#[tokio::test]
async fn the_end_of_an_edit_of_what_a_restored_server_had_lost_is_told() {
    let world = World::new().await;
    world.attach(log(&[(1, 1)], 0, 0, 0)).await;
    world
        .page(1, (0, 13, 13), vec![doc("lost", 13, PAST, 1)])
        .await;
    world.update("lost", 2).await;
    world.attach(log(&[(1, 1), (3, 11)], 11, 0, 0)).await;
    world.page(3, (0, 11, 11), Vec::new()).await;
    world.sweep().await;
    world.docs.delete("lost").await.unwrap();
    let pushed = world.pin().await;
    let kinds: Vec<_> = pushed[0]
        .changes()
        .iter()
        .map(|change| &change.kind)
        .collect();
    assert_eq!(kinds, [&ChangeKind::Delete]);
}

/// What one server was restored without was taken for what the next one had lost: a document that was deleted there came
/// back.
#[tokio::test]
async fn what_a_server_that_was_left_had_lost_says_nothing_of_the_next_one() {
    let world = World::new().await;
    let switch = async |sync| {
        let config = CollectionConfig::new("late").sync(sync);
        world.db.create_collection(config).await.unwrap();
        world.replica.load(&Scope::All).await.unwrap()
    };
    switch(true).await;
    world.attach(log(&[(1, 1)], 0, 0, 0)).await;
    world.page(1, (0, 5, 5), Vec::new()).await;
    switch(false).await;
    world.attach(log(&[(1, 1), (3, 3)], 2, 0, 0)).await;
    world.page(3, (0, 2, 2), Vec::new()).await;
    world.sweep().await;

    world.replica.detach().await.unwrap();
    world.attach(log(&[(7, 1)], 4, 0, 0)).await;
    world.page(7, (0, 4, 4), vec![doc("one", 4, PAST, 1)]).await;
    let state = switch(true).await;
    assert!(!state.checkpoint.resyncing, "it was never read from here");
    let joining = state.checkpoint.joining;
    assert_eq!(joining.len(), 1, "it is read from the start");
    // Somebody has deleted the document there, and that was left out.
    world.replica.begin_resync().await.unwrap();
    world.page(7, (0, 6, 6), Vec::new()).await;
    world.sweep().await;
    assert_eq!(world.n("one").await, None);
    assert!(world.pin().await.is_empty());
}
