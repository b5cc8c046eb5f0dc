//! Edits that were never sent merge.

use super::*;

#[tokio::test]
async fn unsent_edits_merge_and_keep_the_first_base() {
    let world = World::new().await;
    world
        .page(0, 1, vec![record("a", 1, PAST, Some(r#"{"n":0}"#))])
        .await
        .unwrap();
    let base = world.seq_of_base("a").await;
    for n in 1..5 {
        world.docs.update("a", &json!({"n": n})).await.unwrap();
    }
    let pinned = world.pin().await;
    assert_eq!(pinned.len(), 1);
    assert_eq!(pinned[0].changes()[0].base, Some(base));
    assert!(matches!(&pinned[0].changes()[0].kind, ChangeKind::Put(_)));
}

#[tokio::test]
async fn a_transaction_merges_with_edits_of_its_documents_only() {
    let world = World::new().await;
    let mut tx = world.db.transaction();
    tx.insert(&world.docs, &value(r#"{"_id":"a","n":1}"#))
        .unwrap();
    tx.insert(&world.docs, &value(r#"{"_id":"b","n":1}"#))
        .unwrap();
    tx.commit().await.unwrap();
    world.docs.update("a", &json!({"n": 2})).await.unwrap();
    assert_eq!(world.pending().await, 1);
    world.insert("c", 1).await;
    let mut tx = world.db.transaction();
    tx.update(&world.docs, "b", &json!({"n": 3})).unwrap();
    tx.update(&world.docs, "c", &json!({"n": 3})).unwrap();
    tx.commit().await.unwrap();
    // The single insert of c lies in the second transaction, the first overlaps it and stays.
    let pinned = world.pin().await;
    assert_eq!(
        pinned.iter().map(|m| m.changes().len()).collect::<Vec<_>>(),
        [2, 2]
    );
}

/// Edits of single documents grew a transaction that waited until no message could hold it, and all were refused.
#[tokio::test]
async fn edits_merge_only_into_what_can_still_be_sent() {
    let world = World::new().await;
    let large = |id: &str, kilobytes: usize| {
        let text = "x".repeat(kilobytes * 1_000);
        value(&format!(r#"{{"_id":"{id}","text":"{text}"}}"#))
    };
    let ids = ["a", "b", "c", "d"];
    let mut transaction = world.db.transaction();
    for id in ids {
        transaction.insert(&world.docs, &large(id, 400)).unwrap();
    }
    transaction.commit().await.unwrap();
    for id in ids {
        world.docs.upsert(&large(id, 900)).await.unwrap();
    }
    let sizes: Vec<usize> = world
        .replica
        .pin(PushLimit {
            bytes: usize::MAX,
            ..ALL
        })
        .await
        .unwrap()
        .mutations
        .iter()
        .map(|mutation| {
            mutation
                .changes()
                .iter()
                .filter_map(|change| change.kind.body())
        })
        .map(|bodies| bodies.map(Body::len).sum())
        .collect();
    assert!(sizes.len() > 1, "{sizes:?}");
    assert!(
        sizes.iter().all(|size| *size <= 2 * 1024 * 1024),
        "{sizes:?}"
    );
}
