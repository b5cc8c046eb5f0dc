//! Unique indexes: what is over is in nobody's way, and is judged again when it comes back.

use super::*;

/// A document with an email and the time, in seconds, at which it expires.
fn mail(id: &str, email: &str, seconds: i64) -> Value {
    let Value::Map(mut map) = until(id, seconds) else {
        unreachable!("it is a map")
    };
    map.insert("email", email);
    Value::Map(map)
}

async fn unique(clock: &Clock, ttl: Ttl) -> Collection<Value> {
    let docs = docs(clock, ttl).await;
    let index = IndexConfig::new("email").unique();
    docs.create_index(index).await.unwrap();
    docs
}

fn violates<T: std::fmt::Debug>(outcome: pocket_core::Result<T>) {
    let error = outcome.unwrap_err();
    assert_eq!(error.code(), codes::INDEX_UNIQUE_VIOLATION);
}

#[tokio::test]
async fn a_document_that_comes_back_is_judged_by_what_was_taken_while_it_was_over() {
    let clock = Clock::at(1_000);
    let docs = unique(&clock, Ttl::at_field("until")).await;
    docs.insert(&mail("a", "x", 1_010)).await.unwrap();
    clock.set(1_020);
    docs.insert(&mail("b", "x", 1_099)).await.unwrap();
    violates(docs.upsert(&mail("a", "x", 1_099)).await);
    violates(docs.insert(&mail("a", "x", 1_099)).await);
    let mut tx = docs.database().transaction();
    tx.hard_delete(&docs, "a").unwrap();
    tx.commit().await.unwrap();
    violates(docs.insert(&mail("a", "x", 1_099)).await);
    assert_eq!(ids(&docs).await, ["b"]);
    // With another value, or once nobody has this one any more, it may.
    docs.insert(&mail("a", "y", 1_030)).await.unwrap();
    clock.set(1_040);
    docs.upsert(&mail("a", "y", 1_099)).await.unwrap();
    assert_eq!(ids(&docs).await, ["a", "b"]);
    clock.set(1_099);
    docs.upsert(&mail("a", "x", 2_000)).await.unwrap();
    violates(docs.upsert(&mail("b", "x", 2_000)).await);
    assert_eq!(ids(&docs).await, ["a"]);
}

#[tokio::test]
async fn the_same_content_written_again_is_judged_where_the_time_counts_from_the_last_write() {
    let clock = Clock::at(1_000);
    let docs = unique(&clock, Ttl::after_update(MINUTE)).await;
    let document = |id: &str| value(&format!(r#"{{"_id":{id:?},"email":"x"}}"#));
    docs.insert(&document("a")).await.unwrap();
    clock.set(1_060);
    docs.insert(&document("b")).await.unwrap();
    violates(docs.upsert(&document("a")).await);
    assert_eq!(ids(&docs).await, ["b"]);
    docs.upsert(&document("b")).await.unwrap();
}

#[tokio::test]
async fn documents_that_are_over_break_no_index_that_is_built() {
    let clock = Clock::at(1_000);
    let docs = docs(&clock, Ttl::at_field("until")).await;
    // The one that is over stands before the other, and behind it.
    for (id, email, seconds) in [
        ("a", "x", 1_010),
        ("b", "x", 1_099),
        ("c", "y", 1_099),
        ("d", "y", 1_010),
    ] {
        docs.insert(&mail(id, email, seconds)).await.unwrap();
    }
    let index = || IndexConfig::new("email").unique();
    violates(docs.create_index(index()).await);
    clock.set(1_020);
    docs.create_index(index()).await.unwrap();
    for (id, email) in [("a", "x"), ("d", "y")] {
        violates(docs.upsert(&mail(id, email, 1_099)).await);
    }
    assert_eq!(ids(&docs).await, ["b", "c"]);
}
