//! The revisions of new shapes: a small step in time behind what they are made of, and each given once.

use std::sync::Arc;

use pocket_core::replica::Replica;
use pocket_core::{ClientId, Database, Outcome, Revision, Seq, Target};
use serde_json::json;

use super::devices::{Local, answer, body, migrated, page, pin};
use super::docs;

/// What came to stand between the two new shapes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Between {
    Nothing,
    AnEdit,
    AnEditOfThisDevice,
}

async fn rev(db: &Database) -> Revision {
    let document = docs(db).await.get_document("1").await.unwrap();
    document.unwrap().rev
}

/// Found by the simulator: another device had written in the very millisecond of the version that was migrated first, and its
/// rule kept that. What this one made of it got the revision of its first new shape, which somebody may stand on.
#[tokio::test]
async fn the_new_shape_of_a_version_of_the_same_time_has_another_revision_than_the_first_one() {
    for between in [
        Between::Nothing,
        Between::AnEdit,
        Between::AnEditOfThisDevice,
    ] {
        let db = migrated().await;
        let replica = Replica::new(&db, Target::DEFAULT);
        let number = pin(&db).await[0].number;
        let first = rev(&db).await;
        answer(&db, number, Outcome::Applied { first: Seq::new(2) }).await;
        let mut place = 2;
        match between {
            Between::Nothing => {}
            Between::AnEdit => {
                place = 3;
                let edit = page((1, place), "1", body(r#"{"completed":true}"#));
                replica.apply(edit, Arc::new(Local)).await.unwrap();
            }
            Between::AnEditOfThisDevice => {
                docs(&db)
                    .await
                    .update("1", &json!({"note": "lost"}))
                    .await
                    .unwrap();
                assert_eq!(pin(&db).await.len(), 1);
            }
        }
        let start = if between == Between::AnEdit { place } else { 1 };
        let mut theirs = page((start, place + 1), "1", body(r#"{"done":true}"#));
        let millisecond = Revision::new(first.hlc, ClientId::from_bytes([0xdd; 16]));
        theirs.records[0].rev = Revision {
            hlc: pocket_core::Hlc::from_time(first.hlc.time()),
            ..millisecond
        };
        replica.apply(theirs, Arc::new(Local)).await.unwrap();
        if between == Between::AnEditOfThisDevice {
            let refused = Outcome::Rejected {
                code: "validation".into(),
                reason: String::new(),
                server_time: None,
            };
            answer(&db, number.next(), refused).await;
        }
        assert!(docs(&db).await.reshape("1").await.unwrap(), "{between:?}");
        let second = rev(&db).await;
        assert_eq!(second.client, first.client);
        assert_eq!(second.hlc.bits(), first.hlc.bits() + 1, "{between:?}");
    }
}
