//! Clients that only push or only pull.

use super::*;

#[tokio::test]
async fn a_client_that_only_pulls_sends_nothing() {
    let mut config = SessionConfig::new(Scope::All);
    config.direction = Direction::Pull;
    let mut bench = Bench::with(config).await;
    bench.insert_quietly("a").await;
    bench.connect().await;
    bench.insert("b").await;
    assert!(bench.pushes().is_empty());
    assert_eq!(
        (bench.status(), bench.last().progress.push_left),
        (Status::Idle, 2)
    );
}

/// A client that only pushes, with `ids` written, pushed and all refused as conflicts.
async fn in_conflict(ids: &[&str]) -> Bench {
    let mut config = SessionConfig::new(Scope::All);
    config.direction = Direction::Push;
    let mut bench = Bench::with(config).await;
    for id in ids {
        bench.insert_quietly(id).await;
    }
    bench.connect().await;
    let push = bench.the_push();
    let outcomes = ids
        .iter()
        .map(|_| Outcome::Conflict { seqs: vec![seq(5)] })
        .collect();
    bench
        .say(Outcomes {
            id: push.id,
            first: push.first,
            outcomes,
            gap: None,
        })
        .await;
    bench
}

#[tokio::test]
async fn a_client_that_only_pushes_fetches_just_what_its_conflicts_wait_for() {
    let mut bench = in_conflict(&["a", "b"]).await;
    let fetch = bench.the_fetch();
    let ids: Vec<&str> = fetch.documents.iter().map(|(_, id)| id.as_str()).collect();
    assert_eq!(ids, ["a", "b"]);
    bench.insert("later").await;
    assert!(
        bench.pushes().is_empty(),
        "a conflict that was not asked about must not come now"
    );

    let mut older = record("b", 6);
    older.rev.hlc = pocket_core::Hlc::from_bits(1);
    bench
        .say(records(&fetch, 6, &[record("a", 5), older]))
        .await;
    assert_eq!(
        bench.text("a").await.as_deref(),
        Some("remote"),
        "theirs is newer"
    );
    assert_eq!(
        bench.text("b").await.as_deref(),
        Some("local"),
        "this is newer"
    );
    let push = bench.the_push();
    assert_eq!(
        push.mutations.len(),
        2,
        "b again, on the server's version, and what came later"
    );
    bench.say(applied(&push, 7)).await;
    assert_eq!(
        (bench.state().await.pending, bench.status()),
        (0, Status::Idle)
    );
    assert!(bench.pulls().is_empty());
}

#[tokio::test]
async fn a_fetch_that_is_too_large_is_made_smaller_and_applied_as_one() {
    let mut bench = in_conflict(&["a", "b", "c"]).await;
    let fetch = bench.the_fetch();
    bench
        .say(error(Some(fetch.id), wire::TOO_LARGE, false, false))
        .await;
    for place in 5..8 {
        assert_eq!(bench.state().await.waiting, 3, "all or nothing");
        let fetch = bench.the_fetch();
        assert_eq!(fetch.documents.len(), 1);
        let found = record(fetch.documents[0].1.as_str(), place);
        bench.say(records(&fetch, 8, &[found])).await;
    }
    assert_eq!(
        (bench.state().await.waiting, bench.status()),
        (0, Status::Idle)
    );
}

#[tokio::test]
async fn a_fetch_without_an_answer_ends_the_connection_and_is_made_again() {
    let mut bench = in_conflict(&["a"]).await;
    let first = bench.the_fetch();
    while bench.connection.is_some() {
        bench.wait_for_timer().await;
    }
    bench.reconnect(welcome_at(5, 1)).await;
    let again = bench.the_fetch();
    assert_eq!(again.documents, first.documents);
    bench
        .say(error(Some(again.id), wire::RETRY_LATER, true, false))
        .await;
    bench.wait_for_timer().await;
    let again = bench.the_fetch();
    bench.say(records(&again, 5, &[record("a", 5)])).await;
    assert_eq!(bench.status(), Status::Idle);
}
