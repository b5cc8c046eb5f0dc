//! A store that was copied: one client id in two places.

use super::*;

#[tokio::test]
async fn a_copied_store_takes_another_id_and_sends_anew_only_what_never_took_effect() {
    let world = World::new().await;
    world.attach(log(&[(1, 1)], 0, 0, 0)).await;
    let doc =
        |id, seq, millis, n: i64| record(id, seq, millis, Some(format!(r#"{{"n":{n}}}"#).as_str()));
    world
        .page(
            1,
            (0, 2, 2),
            vec![doc("edited", 1, PAST, 1), doc("beaten", 2, PAST, 1)],
        )
        .await;
    world.insert("applied", 1).await;
    world.update("beaten", 2).await;
    let pinned = world.pin().await;
    world.update("edited", 2).await;
    world.update("applied", 3).await;
    let before = world.db.client_id();

    let state = world.replica.renew().await.unwrap();
    assert_ne!(state.client, before);
    assert_eq!(world.db.client_id(), state.client);
    assert_eq!(
        (state.token, state.last_number),
        (None, MutationNumber::ZERO)
    );
    assert!(
        world.pin().await.is_empty(),
        "first comes what took effect already"
    );

    world.attach(log(&[(1, 1)], 4, 0, 0)).await;
    let applied = &pinned[0].changes()[0];
    let mut echo = doc("applied", 3, PAST, 1);
    echo.rev = applied.rev;
    let records = vec![doc("edited", 1, PAST, 1), echo, doc("beaten", 4, FUTURE, 9)];
    // It reads everything again: what it had sent was not sent back to it.
    world.page(1, (0, 4, 4), records).await;
    world.sweep().await;
    assert_eq!(world.replica.state().await.unwrap().waiting, 0);
    assert_eq!(world.n("beaten").await, Some(9));
    assert_eq!(
        world.journal().await,
        [(Winner::Remote, "outcome-unknown".to_owned())]
    );

    let pushed = world.pin().await;
    let changes: Vec<_> = pushed.iter().flat_map(Mutation::changes).collect();
    let ids: Vec<_> = changes.iter().map(|change| change.id.as_str()).collect();
    assert_eq!(ids, ["edited", "applied"]);
    assert!(
        changes
            .iter()
            .all(|change| change.rev.client == state.client)
    );
    assert_eq!(changes[1].base, Some(applied.rev));
    assert_eq!(pushed[0].number, MutationNumber::new(1));

    let world = World::on(world.storage.clone()).await;
    assert_eq!(world.db.client_id(), state.client);
}

#[tokio::test]
async fn a_create_in_doubt_that_was_deleted_meanwhile_does_not_come_back() {
    let world = World::new().await;
    world.attach(log(&[(1, 1)], 0, 0, 0)).await;
    world.insert("made", 1).await;
    world.pin().await;
    world.replica.renew().await.unwrap();
    world.attach(log(&[(1, 1)], 2, 0, 0)).await;
    world
        .page(1, (0, 2, 2), vec![record("made", 2, FUTURE, None)])
        .await;
    assert_eq!(world.n("made").await, None);
    assert_eq!(world.journal().await.len(), 1);
    assert!(world.pin().await.is_empty());
}

/// A copied store had two edits of one document pending. The first stood on what the server had, so both were sent anew,
/// but the second under the old client id: the server refused the whole push, for ever.
#[tokio::test]
async fn what_stands_on_a_change_that_is_sent_anew_takes_the_new_id_along() {
    let world = World::new().await;
    world.attach(log(&[(1, 1)], 0, 0, 0)).await;
    world.insert("made", 1).await;
    world.pin().await;
    world.update("made", 2).await;
    let state = world.replica.renew().await.unwrap();
    world.attach(log(&[(1, 1)], 1, 0, 0)).await;
    world
        .page(
            1,
            (0, 1, 1),
            vec![record("other", 1, PAST, Some(r#"{"n":1}"#))],
        )
        .await;
    world.sweep().await;
    let pushed = world.pin().await;
    let changes: Vec<_> = pushed.iter().flat_map(Mutation::changes).collect();
    assert_eq!(changes.len(), 2);
    assert!(
        changes
            .iter()
            .all(|change| change.rev.client == state.client)
    );
    assert_eq!(changes[1].base, Some(changes[0].rev));
}

/// A copy sent a transaction; here a later edit of one of its documents was merged with it before. The server showed the
/// other document as it was sent, the whole counted as done, and the edit was gone.
#[tokio::test]
async fn what_was_merged_with_a_transaction_that_a_copy_sent_is_not_lost() {
    let world = World::new().await;
    world.attach(log(&[(1, 1)], 0, 0, 0)).await;
    let mut tx = world.db.transaction();
    tx.insert(&world.docs, &value(r#"{"_id":"one","n":1}"#))
        .unwrap();
    tx.insert(&world.docs, &value(r#"{"_id":"two","n":1}"#))
        .unwrap();
    tx.commit().await.unwrap();
    let sent = |id: &'static str| {
        let docs = world.docs.clone();
        async move { docs.get_document(id).await.unwrap().unwrap().rev }
    };
    let (one, two) = (sent("one").await, sent("two").await);
    world.update("two", 2).await;
    world.replica.renew().await.unwrap();
    world.attach(log(&[(1, 1)], 2, 0, 0)).await;
    let mut records = vec![
        record("one", 1, PAST, Some(r#"{"n":1}"#)),
        record("two", 2, PAST, Some(r#"{"n":1}"#)),
    ];
    records[0].rev = one;
    records[1].rev = two;
    world.page(1, (0, 2, 2), records).await;
    assert_eq!(
        world.journal().await,
        [(Winner::Remote, "outcome-unknown".to_owned())],
        "the edit is kept"
    );
    assert_eq!(world.n("two").await, Some(1));
}

/// Two copies of a store, whose clocks stood still, gave one revision to different edits of a document. The server showed
/// that of the other copy; the one made here counted as done by its revision, and was in no journal.
#[tokio::test]
async fn an_edit_is_not_taken_for_that_of_a_copy_which_bears_the_same_revision() {
    let world = World::new().await;
    world.attach(log(&[(1, 1)], 0, 0, 0)).await;
    world.insert("one", 1).await;
    let here = world.docs.get_document("one").await.unwrap().unwrap().rev;
    world.replica.renew().await.unwrap();
    world.attach(log(&[(1, 1)], 1, 0, 0)).await;
    let mut theirs = record("one", 1, PAST, Some(r#"{"n":2}"#));
    theirs.rev = here;
    let state = world.page(1, (0, 1, 1), vec![theirs]).await.state;
    assert_eq!(
        world.journal().await,
        [(Winner::Remote, "outcome-unknown".to_owned())],
        "the edit is kept"
    );
    assert_eq!(world.n("one").await, Some(2));
    assert_eq!((state.waiting, state.pending), (0, 0));
}

/// Found by the simulator: a copy under the same id, whose clock stood at the same time, gave the revision of one change
/// of a transaction to a write of its own. That change counted as done, and the other was sent as half a transaction.
#[tokio::test]
async fn a_revision_that_a_copy_gave_to_another_write_does_not_tear_a_transaction() {
    let world = World::new().await;
    world.attach(log(&[(1, 1)], 0, 0, 0)).await;
    let doc = |id, seq, n: i64| record(id, seq, PAST, Some(format!(r#"{{"n":{n}}}"#).as_str()));
    world
        .page(1, (0, 2, 2), vec![doc("from", 1, 10), doc("to", 2, 0)])
        .await;
    let mut tx = world.db.transaction();
    tx.update(&world.docs, "from", &json!({ "n": 9 })).unwrap();
    tx.update(&world.docs, "to", &json!({ "n": 1 })).unwrap();
    tx.commit().await.unwrap();
    let rev = world.docs.get_document("from").await.unwrap().unwrap().rev;
    world.replica.renew().await.unwrap();
    world.attach(log(&[(1, 1)], 3, 0, 0)).await;
    let mut copys = doc("from", 3, 7);
    copys.rev = rev;
    let state = world.page(1, (2, 3, 3), vec![copys]).await.state;

    assert_eq!((state.pending, state.waiting), (0, 0));
    assert!(world.pin().await.is_empty(), "no half of it is sent");
    assert_eq!(
        (world.n("from").await, world.n("to").await),
        (Some(7), Some(0))
    );
    assert_eq!(
        world.journal().await,
        [(Winner::Remote, "outcome-unknown".to_owned())],
        "in one entry, for both"
    );
}
