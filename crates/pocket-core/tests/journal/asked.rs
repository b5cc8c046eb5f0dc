//! Conflicts that the application is asked about.

use super::*;

fn ask() -> Always {
    Always(Decision::Ask, "custom")
}

fn stands(question: &Conflict, decision: Decision) -> Vec<Answer> {
    vec![Answer {
        conflict: question.clone(),
        ruling: Ruling::Stands {
            decision,
            because: Some("told so".into()),
        },
    }]
}

#[tokio::test]
async fn a_conflict_for_the_application_waits_for_its_answer_while_others_go_on() {
    let mut world = World::new(ask()).await;
    world.write(r#"{"_id":"a","n":1}"#).await;
    world.write(r#"{"_id":"b","n":1}"#).await;
    let applied = world.arrives("a", Some(r#"{"n":7}"#)).await;
    assert_eq!((applied.state.waiting, applied.state.undecided), (1, 1));
    assert_eq!(world.json("a").await.unwrap(), r#"{"_id":"a","n":1}"#);
    let sent = world.replica.pin(ALL).await.unwrap().mutations;
    assert_eq!(sent.len(), 1, "the other document is sent");
    assert_eq!(sent[0].changes()[0].id.as_str(), "b");

    let questions = world.resolve(Vec::new()).await;
    assert_eq!(questions.len(), 1);
    assert_eq!(questions[0].local.body, Some(body(r#"{"n":1}"#)));
    assert_eq!(questions[0].remote.body, Some(body(r#"{"n":7}"#)));
    let both = Decision::Write(Some(body(r#"{"n":8}"#)));
    assert!(world.resolve(stands(&questions[0], both)).await.is_empty());
    assert_eq!(world.json("a").await.unwrap(), r#"{"_id":"a","n":8}"#);
    assert_eq!(world.counts().await, (2, 0, 0, 1));
    let entry = world.db.journal().get(1).await.unwrap();
    assert_eq!(
        (entry.winner, entry.rule.as_str()),
        (Winner::Merged, "custom")
    );
    assert_eq!(entry.reason.as_deref(), Some("told so"));
    let sent = world.replica.pin(ALL).await.unwrap().mutations;
    assert_eq!(sent[0].number, MutationNumber::new(2));
    assert_eq!(sent[0].changes()[0].base, Some(questions[0].remote.rev));
}

#[tokio::test]
async fn an_answer_to_versions_that_moved_counts_for_nothing_and_is_asked_for_again() {
    let mut world = World::new(ask()).await;
    world.write(r#"{"_id":"a","n":1}"#).await;
    world.arrives("a", Some(r#"{"n":7}"#)).await;
    let first = world.resolve(Vec::new()).await;
    // The server's version moves, then the local one.
    world.arrives("a", Some(r#"{"n":9}"#)).await;
    let second = world.resolve(stands(&first[0], Decision::KeepRemote)).await;
    assert_eq!(second[0].remote.body, Some(body(r#"{"n":9}"#)));
    world.docs.update("a", &json!({"n": 2})).await.unwrap();
    let third = world
        .resolve(stands(&second[0], Decision::KeepRemote))
        .await;
    assert_eq!(third[0].local.body, Some(body(r#"{"n":2}"#)));
    assert_eq!(world.json("a").await.unwrap(), r#"{"_id":"a","n":2}"#);
    assert_eq!(world.counts().await, (1, 1, 1, 0), "nothing is decided yet");

    assert!(
        world
            .resolve(stands(&third[0], Decision::KeepRemote))
            .await
            .is_empty()
    );
    assert_eq!(world.json("a").await.unwrap(), r#"{"_id":"a","n":9}"#);
    assert_eq!(world.counts().await, (0, 0, 0, 1));
}

#[tokio::test]
async fn a_conflict_that_waited_is_found_again_after_a_restart() {
    let storage = MemoryStorage::new();
    let mut world = World::on(storage.clone(), ask()).await;
    world.write(r#"{"_id":"a","n":1}"#).await;
    world.arrives("a", Some(r#"{"n":7}"#)).await;
    let before = world.resolve(Vec::new()).await;
    drop(world);
    let world = World::on(storage, ask()).await;
    assert_eq!(world.counts().await, (1, 1, 1, 0));
    let after = world.resolve(Vec::new()).await;
    assert_eq!(after[0].local, before[0].local);
    world.resolve(stands(&after[0], Decision::KeepLocal)).await;
    assert_eq!(world.counts().await, (1, 0, 0, 1));
}

#[tokio::test]
async fn a_rule_that_fails_or_writes_nonsense_leaves_both_versions_in_the_journal() {
    let failed = Ruling::Failed {
        reason: "it panicked".into(),
    };
    let nonsense = Ruling::Stands {
        decision: Decision::Write(Some(Body::from_trusted(vec![0xc1].into()))),
        because: None,
    };
    for (ruling, why) in [(failed, "it panicked"), (nonsense, "no document")] {
        let mut world = World::new(ask()).await;
        world.write(r#"{"_id":"a","n":1}"#).await;
        world.arrives("a", Some(r#"{"n":7}"#)).await;
        let conflict = world.resolve(Vec::new()).await.remove(0);
        assert!(
            world
                .resolve(vec![Answer { conflict, ruling }])
                .await
                .is_empty()
        );
        assert_eq!(world.json("a").await.unwrap(), r#"{"_id":"a","n":7}"#);
        assert_eq!(world.counts().await, (0, 0, 0, 1));
        let entry = world.db.journal().get(1).await.unwrap();
        assert_eq!(entry.code.as_deref(), Some(codes::RESOLVER_FAILED));
        assert!(entry.reason.unwrap().contains(why));
        let document = &entry.documents[0];
        assert!(document.local.body.is_some());
        assert!(document.remote.as_ref().unwrap().body.is_some());
    }
}

#[tokio::test]
async fn a_transaction_asks_for_each_of_its_conflicts_and_goes_on_as_one() {
    let mut world = World::new(ask()).await;
    let mut tx = world.db.transaction();
    for id in ["a", "b", "c"] {
        let document = Value::from_json_str(&format!(r#"{{"_id":"{id}","n":1}}"#)).unwrap();
        tx.insert(&world.docs, &document).unwrap();
    }
    tx.commit().await.unwrap();
    world.arrives("a", Some(r#"{"n":7}"#)).await;
    world.arrives("b", Some(r#"{"n":7}"#)).await;
    let questions = world.resolve(Vec::new()).await;
    assert_eq!(questions.len(), 2);
    // One answer alone settles nothing.
    let half = world
        .resolve(stands(&questions[0], Decision::KeepLocal))
        .await;
    assert_eq!(half.len(), 1);
    assert_eq!(world.counts().await, (1, 1, 1, 0));
    let mut answers = stands(&questions[0], Decision::KeepLocal);
    answers.extend(stands(&questions[1], Decision::Write(None)));
    assert!(world.resolve(answers).await.is_empty());
    assert_eq!(world.json("b").await, None);
    let sent = world.replica.pin(ALL).await.unwrap().mutations;
    assert_eq!((sent.len(), sent[0].changes().len()), (1, 3));
}

/// The row that says so is on disk from now on.
#[tokio::test]
async fn a_mutation_that_waits_for_the_application_is_stored_as_it_was_first() {
    let storage = MemoryStorage::new();
    let mut world = World::on(storage.clone(), ask()).await;
    world.write(r#"{"_id":"a","n":1}"#).await;
    world.arrives("a", Some(r#"{"n":7}"#)).await;
    let rows = storage
        .scan(
            KeyRange::prefix([b'q']),
            ScanLimit::entries(10),
            Direction::Forward,
        )
        .await
        .unwrap();
    let rows: Vec<(&[u8], &[u8])> = rows.iter().map(|(key, value)| (&**key, &**value)).collect();
    let key: &[u8] = &[b'q', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let value: &[u8] = &[1, 0, 0xb3, 0xc3, 0x1f, 0x5c, 0x91, 0xc0];
    assert_eq!(rows, [(key, value)]);
}
