//! What a message may be, and what is none.

use bytes::Bytes;
use pocket_core::{Value, codes};
use pocket_storage::StorageError;
use pocket_storage::faulty::{CallKind, Moment};
use proptest::prelude::*;

use super::support::{handles, items};

#[tokio::test]
async fn what_is_no_message_is_an_error_and_changes_nothing() {
    let [mut a, b] = handles().await;
    let mut changes = b.docs.changes();
    a.put("a", 1).await;
    let message = a.told_once();
    for end in 0..message.len() {
        let error = b.db.committed_elsewhere(&message[..end]).await.unwrap_err();
        assert_eq!(error.code(), codes::VALIDATION, "{end} bytes");
    }
    let longer = [&message[..], &[0]].concat();
    for other in [
        &b"<html>"[..],
        &[0xc0],
        &[0x90],
        &[0x91, 0xa1, 0x61],
        &longer,
    ] {
        let error = b.db.committed_elsewhere(other).await.unwrap_err();
        assert_eq!(error.code(), codes::VALIDATION, "{other:?}");
    }
    assert_eq!(items(&mut changes), Vec::<String>::new());
    b.hear(&message).await;
    assert_eq!(items(&mut changes), ["+a1"]);
}

#[tokio::test]
async fn a_message_of_another_version_has_it_read_again() {
    let [mut a, b] = handles().await;
    let mut changes = b.docs.changes();
    a.put("a", 1).await;
    let mut message = a.told_once().to_vec();
    assert_eq!(message[1], 1, "the version is the first element");
    message[1] = 2;
    b.hear(&Bytes::from(message)).await;
    assert_eq!(items(&mut changes), ["lagged 2-2"]);
    assert_eq!(
        b.docs.get("a").await.unwrap().unwrap(),
        super::support::document("a", 1)
    );
}

#[tokio::test]
async fn behind_a_large_commit_it_is_read_again() {
    let [mut a, b] = handles().await;
    let mut changes = b.docs.changes();
    let large = format!(r#"{{"_id":"large","text":"{}"}}"#, "x".repeat(300 * 1024));
    a.docs
        .insert(&Value::from_json_str(&large).unwrap())
        .await
        .unwrap();
    let message = a.told_once();
    assert!(message.len() < 1_024);
    b.hear(&message).await;
    assert_eq!(items(&mut changes), ["lagged 2-2"]);
}

#[tokio::test]
async fn a_commit_of_which_nobody_knows_whether_it_is_stored_has_it_read_again() {
    let [mut a, b] = handles().await;
    let mut changes = b.docs.changes();
    let next = a.faults.calls().commit + 1;
    let error = StorageError::Backend("the answer was lost".into());
    a.faults
        .fail_at_kind(CallKind::Commit, next, Moment::After, error);
    let value = super::support::document("a", 1);
    let error = a.docs.insert(&value).await.unwrap_err();
    assert_eq!(error.code(), codes::STORAGE);
    b.hear(&a.told_once()).await;
    assert_eq!(items(&mut changes), ["lagged 2-2"]);
}

#[tokio::test]
async fn a_message_about_another_store_tells_nothing() {
    let [mut elsewhere] = handles().await;
    let [b] = handles().await;
    let mut changes = b.docs.changes();
    elsewhere.put("a", 1).await;
    b.hear(&elsewhere.told_once()).await;
    b.put("b", 2).await;
    assert_eq!(items(&mut changes), ["+b2"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_make_it_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let [mut a, b] = handles().await;
            a.put("a", 1).await;
            let mut message = a.told_once().to_vec();
            for (at, byte) in flips {
                let at = at.index(message.len());
                message[at] = byte;
            }
            // Whatever it is taken for, the store decides what is there.
            let _ = b.db.committed_elsewhere(&message).await;
            b.put("b", 2).await;
            assert_eq!(b.docs.count().await.unwrap(), 2);
            b.db.catch_up().await.unwrap();
        });
    }
}
