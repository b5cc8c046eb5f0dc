//! A handle that nobody told what others committed: it finds that out by reading.

use pocket_core::{Order, Value};

use super::support::{Handle, document, handles};

async fn reads_of_a_query(handle: &Handle, found: usize) -> u64 {
    let before = handle.calls().0;
    let all: Vec<Value> = handle
        .docs
        .find()
        .sort("n", Order::Ascending)
        .all()
        .await
        .unwrap();
    assert_eq!(all.len(), found);
    handle.calls().0 - before
}

/// Each query of a handle that was behind was run up to four times, until that handle wrote something itself.
#[tokio::test]
async fn a_query_that_met_the_commit_of_another_handle_is_the_last_one_to_pay_for_it() {
    let [a, b] = handles().await;
    // More than one page, so that it takes a proof that they are of one state.
    let many: Vec<_> = (0..600).map(|n| document(&format!("{n:04}"), n)).collect();
    b.docs.insert_many(&many).await.unwrap();
    let alone = reads_of_a_query(&b, 600).await;
    a.put("x", 1).await;
    assert!(reads_of_a_query(&b, 601).await > alone);
    assert_eq!(reads_of_a_query(&b, 601).await, alone);
    a.docs.delete("x").await.unwrap();
    reads_of_a_query(&b, 600).await;
    assert_eq!(reads_of_a_query(&b, 600).await, alone);
}

/// What a reader found out is not taken for told.
#[tokio::test]
async fn what_was_found_out_by_reading_is_still_told_to_those_who_listen() {
    let [a, b] = handles().await;
    let many: Vec<_> = (0..600).map(|n| document(&format!("{n:04}"), n)).collect();
    b.docs.insert_many(&many).await.unwrap();
    let mut changes = b.docs.changes();
    a.put("x", 1).await;
    reads_of_a_query(&b, 601).await;
    assert!(super::support::items(&mut changes).is_empty());
    b.put("y", 2).await;
    assert_eq!(super::support::items(&mut changes), ["lagged 3-3", "+y2"]);
}
