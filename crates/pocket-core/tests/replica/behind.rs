//! What stands behind a change that lost or was refused, while it was on its way itself.

use super::*;

/// Found by the simulator: the second and the third change were moved onto the server's version of `n` and sent again
/// behind the fourth, of which nothing was known yet. It took effect, and until they were answered they were shown.
#[tokio::test]
async fn a_change_that_was_moved_is_not_sent_behind_a_later_one_that_is_on_its_way() {
    let world = World::new().await;
    world.insert("n", 1).await;
    let mut tx = world.db.transaction();
    tx.insert(&world.docs, &value(r#"{"_id":"x","n":1}"#))
        .unwrap();
    tx.update(&world.docs, "n", &json!({"n": 2})).unwrap();
    assert_eq!(world.pin().await.len(), 1);
    tx.commit().await.unwrap();
    assert_eq!(world.pin().await.len(), 1);
    let mut tx = world.db.transaction();
    tx.delete(&world.docs, "x").unwrap();
    tx.update(&world.docs, "n", &json!({"m": 3})).unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.pin().await.len(), 1);
    world.insert("x", 9).await;
    assert_eq!(world.pin().await.len(), 1);

    world
        .page(0, 2, vec![record("n", 2, FUTURE, Some(r#"{"n":7}"#))])
        .await
        .unwrap();
    let three = vec![conflict(2), conflict(2), conflict(2)];
    world.settle(1, three).await;
    assert!(world.pin().await.is_empty(), "the fourth is on its way");
    world.settle(4, vec![applied(3)]).await;
    assert_eq!(world.json("x").await.unwrap(), r#"{"_id":"x","n":9}"#);
    let again = world.pin().await;
    let changes = again.iter().flat_map(Mutation::changes);
    let documents: Vec<_> = changes.map(|change| change.id.as_str()).collect();
    assert_eq!(documents, ["n"], "whoever wrote `x` last had seen it");
    world.settle(5, vec![applied(4)]).await;
    assert_eq!(world.json("x").await.unwrap(), r#"{"_id":"x","n":9}"#);
    assert_eq!(world.json("n").await.unwrap(), r#"{"_id":"n","n":7,"m":3}"#);
    assert_eq!(world.pending().await, 0);
}

/// Found by the simulator: where the refused creation had made both, the transaction lost as not readable, and a later
/// one carried a half of it on.
#[tokio::test]
async fn a_transaction_on_creations_that_were_refused_while_it_was_on_its_way_creates_them() {
    let world = World::new().await;
    let mut tx = world.db.transaction();
    for id in ["a", "b"] {
        let document = value(&format!(r#"{{"_id":"{id}","n":0}}"#));
        tx.insert(&world.docs, &document).unwrap();
    }
    tx.commit().await.unwrap();
    assert_eq!(world.pin().await.len(), 1);
    let mut tx = world.db.transaction();
    tx.update(&world.docs, "a", &json!({"n": -1})).unwrap();
    tx.update(&world.docs, "b", &json!({"n": 1})).unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.pin().await.len(), 1);

    let refused = rejected("document-too-large");
    world.settle(1, vec![refused, conflict(0)]).await;
    let again = world.pin().await;
    let bases = again[0].changes().iter().map(|change| change.base);
    assert_eq!(bases.collect::<Vec<_>>(), [None, None]);
    world.settle(3, vec![applied(1)]).await;
    assert_eq!(world.json("a").await.unwrap(), r#"{"_id":"a","n":-1}"#);
    assert_eq!(world.json("b").await.unwrap(), r#"{"_id":"b","n":1}"#);
    let entries = world.db.journal().list(None, 10).await.unwrap();
    assert_eq!(entries.len(), 1, "the refusal");
}

/// The application's rule says that nothing stands.
struct Nothing;

impl Resolver for Nothing {
    fn resolve(&self, _: &Conflict, _: Option<ConflictStrategy>) -> (Decision, &'static str) {
        (Decision::Write(None), "custom")
    }
}

/// What waits behind a change that a rule turned into a deletion names that deletion as its base. It has never met it, so the
/// server refuses it, and a strategy decides: sent as an edit of nothing, it would bring the document back without a word.
#[tokio::test]
async fn an_edit_behind_a_deletion_that_a_rule_made_meets_it_as_a_conflict() {
    let world = World::new().await;
    world.insert("a", 1).await;
    world.pin().await;
    let mut tx = world.db.transaction();
    tx.update(&world.docs, "a", &json!({"n": 2})).unwrap();
    tx.insert(&world.docs, &value(r#"{"_id":"x","n":1}"#))
        .unwrap();
    tx.commit().await.unwrap();
    world
        .page(0, 1, vec![record("a", 1, FUTURE, Some(r#"{"n":7}"#))])
        .await
        .unwrap();
    let first = MutationNumber::new(1);
    let settled = world
        .replica
        .settle(first, vec![conflict(1)], Arc::new(Nothing));
    assert_eq!(settled.await.unwrap().journaled.len(), 1);

    let sent = world.pin().await;
    let deletion = &sent[0].changes()[0];
    let edit = sent[1].changes().iter().find(|it| it.id.as_str() == "a");
    assert_eq!(deletion.kind, ChangeKind::Delete);
    assert_eq!(edit.unwrap().base, Some(deletion.rev));
    world.settle(2, vec![applied(2), conflict(2)]).await;
    let deleted = Record {
        rev: deletion.rev,
        ..record("a", 2, FUTURE, None)
    };
    world.page(1, 2, vec![deleted]).await.unwrap();
    assert_eq!((world.json("a").await, world.json("x").await), (None, None));
    assert_eq!(world.pending().await, 0);
    let entries = world.db.journal().list(None, 10).await.unwrap();
    let last = entries.iter().max_by_key(|entry| entry.number).unwrap();
    assert_eq!((entries.len(), last.winner), (2, Winner::Remote));
    let ids = last.documents.iter().map(|document| document.id.as_str());
    assert_eq!(ids.collect::<Vec<_>>(), ["a", "x"]);
}

fn clock_refusal() -> Outcome {
    Outcome::Rejected {
        code: "clock".into(),
        reason: "ahead".into(),
        server_time: Some(Timestamp::from_millis(PAST)),
    }
}

/// A creation and its deletion that the server never took, refused for their clock; the deletion is on its way again, and
/// behind it the document, made anew.
async fn with_a_deletion_behind_which_all_is_made_anew() -> World {
    let world = World::new().await;
    world.insert("a", 1).await;
    world.pin().await;
    world.docs.delete("a").await.unwrap();
    world.settle(1, vec![clock_refusal()]).await;
    let sent = world.pin().await;
    assert_eq!(sent[0].changes()[0].kind, ChangeKind::Delete);
    world.insert("a", 2).await;
    assert_eq!(world.pin().await.len(), 1);
    world.settle(2, vec![clock_refusal()]).await;
    assert!(world.pin().await.is_empty(), "what stands on it is sent");
    world
}

/// Found by the simulator: the deletion was sent again behind what was made anew, met that as a conflict, and beat it by its
/// newer revision.
#[tokio::test]
async fn what_was_refused_for_its_clock_is_not_sent_behind_a_later_change_that_is_on_its_way() {
    let made_anew = Some(r#"{"_id":"a","n":2}"#.to_owned());
    let world = with_a_deletion_behind_which_all_is_made_anew().await;
    world.settle(3, vec![applied(1)]).await;
    assert!(world.pin().await.is_empty());
    assert_eq!(
        (world.json("a").await, world.pending().await),
        (made_anew.clone(), 0)
    );

    // Refused as well, both are sent again as one.
    let world = with_a_deletion_behind_which_all_is_made_anew().await;
    world.settle(3, vec![clock_refusal()]).await;
    let again = world.pin().await;
    assert_eq!((again.len(), world.pending().await), (1, 1));
    assert!(matches!(again[0].changes()[0].kind, ChangeKind::Put(_)));
    world.settle(4, vec![applied(1)]).await;
    assert_eq!(
        (world.json("a").await, world.pending().await),
        (made_anew, 0)
    );
    assert!(world.db.journal().list(None, 10).await.unwrap().is_empty());

    // Refused for good, it leaves the deletion behind.
    let world = with_a_deletion_behind_which_all_is_made_anew().await;
    world.settle(3, vec![rejected("validation")]).await;
    let again = world.pin().await;
    assert_eq!(again[0].changes()[0].kind, ChangeKind::Delete);
    world.settle(4, vec![applied(1)]).await;
    assert_eq!((world.json("a").await, world.pending().await), (None, 0));
}

/// The erase of a transaction that was refused stays, and what the device wrote since stands behind it.
#[tokio::test]
async fn an_erase_that_a_refusal_leaves_is_not_sent_behind_what_was_made_anew_since() {
    let world = World::new().await;
    world.insert("a", 1).await;
    world.pin().await;
    world.settle(1, vec![applied(1)]).await;
    let mut tx = world.db.transaction();
    tx.hard_delete(&world.docs, "a").unwrap();
    tx.insert(&world.docs, &value(r#"{"_id":"b","n":1}"#))
        .unwrap();
    tx.commit().await.unwrap();
    world.pin().await;
    world.insert("a", 2).await;
    assert_eq!(world.pin().await.len(), 1);
    world.settle(2, vec![rejected("validation")]).await;
    assert!(world.pin().await.is_empty(), "what stands on it is sent");
    world.settle(3, vec![conflict(1)]).await;
    let again = world.pin().await;
    let kinds = again.iter().flat_map(Mutation::changes);
    let puts = kinds.map(|change| matches!(change.kind, ChangeKind::Put(_)));
    assert_eq!(puts.collect::<Vec<_>>(), [false, true]);
    world.settle(4, vec![applied(2), applied(3)]).await;
    let there = Some(r#"{"_id":"a","n":2}"#.to_owned());
    assert_eq!((world.json("a").await, world.pending().await), (there, 0));
}
