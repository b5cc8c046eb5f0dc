//! Migrations beside other devices: nobody's edit is lost to one, and all agree.

use std::sync::Arc;

use pocket_core::replica::{
    Attachment, Conflict, Decision, IncomingPage, PageKind, Replica, Resolver, Scope, ServerLog,
};
use pocket_core::{
    Binding, Body, ClientId, CollectionConfig, CollectionName, ConflictStrategy, Database,
    DocumentId, DocumentLimits, Epoch, Hlc, IndexConfig, Lineage, Mutation, MutationContent,
    MutationNumber, Outcome, PushLimit, Record, RecordState, Revision, Seq, SessionToken, Target,
    Timestamp, codes,
};
use pocket_storage_memory::MemoryStorage;
use serde_json::json;

use super::{app, counting, docs, shown, to_2, value};

/// A rule by which a conflict would be lost to the local side.
pub(crate) struct Local;

impl Resolver for Local {
    fn resolve(&self, _: &Conflict, _: Option<ConflictStrategy>) -> (Decision, &'static str) {
        (Decision::KeepLocal, "client-wins")
    }
}

pub(crate) fn body(json: &str) -> Body {
    Body::from_serialize(&value(json), &DocumentLimits::default())
        .unwrap()
        .1
}

/// Has a version of the server arrive behind place `from`.
pub(crate) async fn arrive(db: &Database, from: u64, id: &str, body: Body) {
    let replica = Replica::new(db, Target::DEFAULT);
    replica.load(&Scope::All).await.unwrap();
    if from == 0 {
        let attachment = Attachment {
            binding: Binding {
                lineage: Lineage::from_bytes([1; 16]),
                namespace: "default".into(),
                user: "anonymous".into(),
            },
            token: SessionToken::from_bytes([2; 16]),
            server_time: Timestamp::from_millis(1_700_000_000_000),
            since_asked: std::time::Duration::ZERO,
            rights: None,
            log: ServerLog::default(),
        };
        replica.attach(&attachment).await.unwrap();
    }
    let page = page((from, from + 1), id, body);
    replica.apply(page, Arc::new(Local)).await.unwrap();
}

/// A page behind a place up to another one, where the server's version of a document stands.
pub(crate) fn page((from, to): (u64, u64), id: &str, body: Body) -> IncomingPage {
    let written = Timestamp::from_millis(1_000 * i64::try_from(to).unwrap());
    let seq = Seq::new(to);
    IncomingPage {
        kind: PageKind::Feed,
        epoch: Epoch::from_bytes([3; 16]),
        start: Seq::new(from),
        end: seq,
        head: seq,
        records: vec![Record {
            collection: CollectionName::new("docs").unwrap(),
            id: DocumentId::new(id).unwrap(),
            rev: Revision::new(Hlc::from_time(written), ClientId::from_bytes([0xee; 16])),
            seq,
            state: RecordState::Live(body),
        }],
        removals: Vec::new(),
    }
}

/// Reads from the start: a version of document "1" that came to stand since.
async fn read_again(db: &Database, body: Body) {
    let replica = Replica::new(db, Target::DEFAULT);
    let state = replica.load(&Scope::All).await.unwrap();
    assert!(state.checkpoint.resyncing);
    let page = page((0, 3), "1", body);
    replica.apply(page, Arc::new(Local)).await.unwrap();
    replica.sweep(Arc::new(Local)).await.unwrap();
}

async fn pending(db: &Database) -> u64 {
    db.stats().await.unwrap().pending_changes
}

async fn journaled(db: &Database) -> usize {
    db.journal().list(None, 100).await.unwrap().len()
}

/// A device that read a document of the old shape and then became the new program.
pub(crate) async fn migrated() -> Database {
    let storage = MemoryStorage::new();
    let db = app().open(storage.clone()).await.unwrap();
    arrive(&db, 0, "1", body(r#"{"done":false}"#)).await;
    assert_eq!(pending(&db).await, 0);
    drop(db);
    let db = app().migration(to_2()).open(storage).await.unwrap();
    assert_eq!(
        shown(&docs(&db).await, "1").await,
        r#"{"_id":"1","completed":false}"#
    );
    db
}

#[tokio::test]
async fn the_new_shape_of_a_synced_document_is_sent_as_an_edit_of_the_version_it_was_made_of() {
    let db = migrated().await;
    let replica = Replica::new(&db, Target::DEFAULT);
    replica.load(&Scope::All).await.unwrap();
    let limit = PushLimit {
        changes: 10,
        bytes: 1 << 20,
    };
    let pinned = replica.pin(limit).await.unwrap().mutations;
    let [mutation] = pinned.as_slice() else {
        panic!("{pinned:?}");
    };
    let MutationContent::Changes(changes) = &mutation.content else {
        panic!("{mutation:?}");
    };
    let base = changes[0].base.unwrap();
    assert_eq!(base.hlc, Hlc::from_time(Timestamp::from_millis(1_000)));
    assert_eq!(changes[0].rev.hlc.bits(), base.hlc.bits() + 1);
}

#[tokio::test]
async fn two_devices_that_migrate_the_same_document_agree_without_a_conflict() {
    let db = migrated().await;
    // What the other one made of it comes first, under a revision of its own.
    arrive(&db, 1, "1", body(r#"{"completed":false}"#)).await;
    assert_eq!(
        shown(&docs(&db).await, "1").await,
        r#"{"_id":"1","completed":false}"#
    );
    assert_eq!((pending(&db).await, journaled(&db).await), (0, 0));
}

#[tokio::test]
async fn a_newer_edit_of_another_device_stands_whatever_the_strategy_and_can_be_given_the_new_shape()
 {
    let db = migrated().await;
    arrive(&db, 1, "1", body(r#"{"done":true,"note":"later"}"#)).await;
    let docs = docs(&db).await;
    assert_eq!(
        shown(&docs, "1").await,
        r#"{"_id":"1","done":true,"note":"later"}"#
    );
    // Nobody's work was lost, so there is nothing to look at.
    assert_eq!((pending(&db).await, journaled(&db).await), (0, 0));

    assert!(docs.reshape("1").await.unwrap());
    assert_eq!(
        shown(&docs, "1").await,
        r#"{"_id":"1","note":"later","completed":true}"#
    );
    assert_eq!(pending(&db).await, 1);
    assert!(!docs.reshape("1").await.unwrap());
    assert!(!docs.reshape("missing").await.unwrap());
    arrive(&db, 2, "2", body(r#"{"done":true}"#)).await;
    assert_eq!(docs.reshape_all().await.unwrap().changed, 1);
}

#[tokio::test]
async fn an_edit_of_this_device_stays_one_when_its_document_is_migrated_before_or_after() {
    // Written before, migrated while it waits.
    let storage = MemoryStorage::new();
    let db = app().open(storage.clone()).await.unwrap();
    arrive(&db, 0, "1", body(r#"{"done":false}"#)).await;
    docs(&db)
        .await
        .update("1", &json!({"note": "mine"}))
        .await
        .unwrap();
    drop(db);
    let before = app().migration(to_2()).open(storage).await.unwrap();
    // Written after.
    let after = migrated().await;
    docs(&after)
        .await
        .update("1", &json!({"note": "mine"}))
        .await
        .unwrap();
    for db in [before, after] {
        assert_eq!(pending(&db).await, 1);
        arrive(&db, 1, "1", body(r#"{"done":true}"#)).await;
        // The rule of these devices keeps what is local, and the journal what is not.
        let fields = docs(&db).await.get("1").await.unwrap().unwrap();
        assert_eq!(
            fields,
            value(r#"{"_id":"1","completed":false,"note":"mine"}"#)
        );
        assert_eq!((pending(&db).await, journaled(&db).await), (1, 1));
    }
}

/// Pins what is pending next.
pub(crate) async fn pin(db: &Database) -> Vec<Mutation> {
    let limit = PushLimit {
        changes: 10,
        bytes: 1 << 20,
    };
    let replica = Replica::new(db, Target::DEFAULT);
    replica.pin(limit).await.unwrap().mutations
}

pub(crate) async fn answer(db: &Database, first: MutationNumber, outcome: Outcome) {
    let replica = Replica::new(db, Target::DEFAULT);
    let settled = replica.settle(first, vec![outcome], Arc::new(Local));
    settled.await.unwrap();
}

fn conflict_at(seq: u64) -> Outcome {
    Outcome::Conflict {
        seqs: vec![Seq::new(seq)],
    }
}

#[tokio::test]
async fn an_edit_behind_a_new_shape_that_gave_way_meets_a_conflict_of_its_own() {
    let db = migrated().await;
    let first = pin(&db).await[0].number;
    // Behind what is on its way; its device has not read what another one wrote.
    let docs = docs(&db).await;
    docs.update("1", &json!({"note": "mine"})).await.unwrap();
    answer(&db, first, conflict_at(2)).await;
    arrive(&db, 1, "1", body(r#"{"done":true,"note":"theirs"}"#)).await;
    // The rule of this device keeps what is local, and the journal what is not.
    assert_eq!((pending(&db).await, journaled(&db).await), (1, 1));
    let entries = db.journal().list(None, 10).await.unwrap();
    let remote = entries[0].documents[0].remote.as_ref().unwrap();
    let theirs = body(r#"{"done":true,"note":"theirs"}"#);
    assert_eq!(remote.body.as_ref(), Some(&theirs));
}

#[tokio::test]
async fn an_edit_behind_a_new_shape_that_the_server_refused_stands_on_the_old_one() {
    let db = migrated().await;
    let first = pin(&db).await[0].number;
    let docs = docs(&db).await;
    docs.update("1", &json!({"note": "mine"})).await.unwrap();
    let refused = Outcome::Rejected {
        code: "forbidden".into(),
        reason: "not yours".into(),
        server_time: None,
    };
    answer(&db, first, refused).await;
    assert_eq!((pending(&db).await, journaled(&db).await), (1, 0));
    let pinned = pin(&db).await;
    let MutationContent::Changes(changes) = &pinned[0].content else {
        panic!("{pinned:?}");
    };
    let base = changes[0].base.unwrap();
    assert_eq!(base.hlc, Hlc::from_time(Timestamp::from_millis(1_000)));
}

#[tokio::test]
async fn a_new_shape_behind_an_edit_that_lost_stays_the_smallest_step_in_time() {
    let storage = MemoryStorage::new();
    let db = app().open(storage.clone()).await.unwrap();
    arrive(&db, 0, "1", body(r#"{"done":false}"#)).await;
    let edit = json!({"note": "mine"});
    docs(&db).await.update("1", &edit).await.unwrap();
    let first = pin(&db).await[0].number;
    drop(db);
    let db = app().migration(to_2()).open(storage).await.unwrap();
    let refused = Outcome::Rejected {
        code: "forbidden".into(),
        reason: "not yours".into(),
        server_time: None,
    };
    answer(&db, first, refused).await;
    let pinned = pin(&db).await;
    let MutationContent::Changes(changes) = &pinned[0].content else {
        panic!("{pinned:?}");
    };
    let base = changes[0].base.unwrap();
    assert_eq!(base.hlc, Hlc::from_time(Timestamp::from_millis(1_000)));
    assert_eq!(changes[0].rev.hlc.bits(), base.hlc.bits() + 1);
    assert_eq!(
        changes[0].kind.body(),
        Some(&body(r#"{"completed":false}"#))
    );
}

/// A change that its server has yet to take, beside the version that it says it stands on.
fn changes_of(pinned: &[Mutation]) -> Vec<(Option<Revision>, Revision)> {
    let changes = pinned.iter().flat_map(Mutation::changes);
    changes.map(|change| (change.base, change.rev)).collect()
}

#[tokio::test]
async fn a_new_shape_of_an_edit_that_gets_another_time_stays_the_smallest_step_behind_it() {
    let storage = MemoryStorage::new();
    let db = app().open(storage.clone()).await.unwrap();
    arrive(&db, 0, "1", body(r#"{"done":false}"#)).await;
    let old = docs(&db).await;
    let mut tx = db.transaction();
    tx.update(&old, "1", &json!({"note": "mine"})).unwrap();
    tx.insert(&old, &value(r#"{"_id":"2"}"#)).unwrap();
    tx.commit().await.unwrap();
    let first = pin(&db).await[0].number;
    drop((old, db));
    let db = app().migration(to_2()).open(storage).await.unwrap();
    let pinned = pin(&db).await;
    let shape = pinned[0].number;
    // The edit is refused for its clock, and what stands on it is on its way.
    let refused = Outcome::Rejected {
        code: "clock".into(),
        reason: "ahead".into(),
        server_time: Some(Timestamp::from_millis(1_700_000_000_000)),
    };
    answer(&db, first, refused).await;
    answer(&db, shape, conflict_at(1)).await;
    let again = pin(&db).await;
    let [(_, edited), _, (Some(base), _)] = changes_of(&again)[..] else {
        panic!("{again:?}");
    };
    assert_ne!(base, edited, "what is on its way never changes");
    let first = Seq::new(2);
    answer(&db, again[0].number, Outcome::Applied { first }).await;
    answer(&db, again[1].number, conflict_at(2)).await;
    arrive(&db, 1, "3", body("{}")).await;
    let shaped = changes_of(&pin(&db).await);
    let [(base, rev)] = shaped[..] else {
        panic!("{shaped:?}");
    };
    assert_eq!(base, Some(edited));
    assert_eq!(rev.hlc.bits(), edited.hlc.bits() + 1);
    let docs = docs(&db).await;
    assert_eq!(docs.get_document("1").await.unwrap().unwrap().rev, rev);
}

/// Switches sync of the documents off or on.
async fn switch(db: &Database, sync: bool) {
    let config = CollectionConfig::new("docs").sync(sync);
    db.create_collection(config).await.unwrap();
}

/// A device that read a document of the old shape and switched sync of it off.
async fn apart() -> Database {
    let opened = app().migration(to_2()).open(MemoryStorage::new()).await;
    let db = opened.unwrap();
    arrive(&db, 0, "1", body(r#"{"done":false}"#)).await;
    switch(&db, false).await;
    assert!(docs(&db).await.reshape("1").await.unwrap());
    assert!(!docs(&db).await.reshape("1").await.unwrap());
    db
}

/// Found by the simulator: where sync was off, nothing said that nobody had made the new shape. When it was on again that
/// was an edit: it could stand against one that somebody had made, and the journal had entries with nobody's work in them.
#[tokio::test]
async fn a_new_shape_that_was_made_while_sync_was_off_gives_way_as_any_other() {
    let db = apart().await;
    switch(&db, true).await;
    let pinned = pin(&db).await;
    let [(Some(base), rev)] = changes_of(&pinned)[..] else {
        panic!("{pinned:?}");
    };
    assert_eq!(base.hlc, Hlc::from_time(Timestamp::from_millis(1_000)));
    assert_eq!(rev.hlc.bits(), base.hlc.bits() + 1);
    answer(&db, pinned[0].number, conflict_at(2)).await;
    // It was not read for a while, so everything is read again.
    let theirs = r#"{"done":true,"note":"theirs"}"#;
    read_again(&db, body(theirs)).await;
    assert_eq!((pending(&db).await, journaled(&db).await), (0, 0));
    let shown = docs(&db).await.get("1").await.unwrap().unwrap();
    assert_eq!(shown, value(r#"{"_id":"1","done":true,"note":"theirs"}"#));
}

#[tokio::test]
async fn an_edit_that_was_made_while_sync_was_off_is_one_whatever_shape_it_got() {
    for reshaped_again in [false, true] {
        let db = apart().await;
        let documents = docs(&db).await;
        let note = if reshaped_again {
            json!({"done": "mine"})
        } else {
            json!({"note": "mine"})
        };
        documents.update("1", &note).await.unwrap();
        assert_eq!(documents.reshape("1").await.unwrap(), reshaped_again);
        switch(&db, true).await;
        let first = pin(&db).await[0].number;
        answer(&db, first, conflict_at(2)).await;
        read_again(&db, body(r#"{"done":true}"#)).await;
        assert_eq!((pending(&db).await, journaled(&db).await), (1, 1));
    }
}

/// An edit is on its way, and its new shape was never sent: that leaves the outbox with its collection.
#[tokio::test]
async fn a_new_shape_that_was_pending_when_sync_was_switched_off_is_one_when_it_is_on_again() {
    let opened = app().migration(to_2()).open(MemoryStorage::new()).await;
    let db = opened.unwrap();
    arrive(&db, 0, "1", body(r#"{"done":false}"#)).await;
    let documents = docs(&db).await;
    documents
        .update("1", &json!({"note": "mine"}))
        .await
        .unwrap();
    let edit = pin(&db).await;
    let [(_, edited)] = changes_of(&edit)[..] else {
        panic!("{edit:?}");
    };
    assert!(documents.reshape("1").await.unwrap());
    switch(&db, false).await;
    assert_eq!(pending(&db).await, 1);
    switch(&db, true).await;
    let pinned = pin(&db).await;
    let [(base, _)] = changes_of(&pinned)[..] else {
        panic!("{pinned:?}");
    };
    assert_eq!(base, Some(edited));
    let first = Seq::new(2);
    answer(&db, edit[0].number, Outcome::Applied { first }).await;
    answer(&db, pinned[0].number, conflict_at(3)).await;
    let theirs = r#"{"done":true,"note":"theirs"}"#;
    read_again(&db, body(theirs)).await;
    assert_eq!((pending(&db).await, journaled(&db).await), (0, 0));
}

#[tokio::test]
async fn a_document_at_which_a_step_fails_does_not_keep_others_from_their_shape() {
    let storage = MemoryStorage::new();
    let db = app().migration(counting(2, "docs")).open(storage).await;
    let db = db.unwrap();
    let docs = docs(&db).await;
    // More than one batch, and more failures than a report names.
    let failing = |n: u32| n.is_multiple_of(8);
    let documents: Vec<_> = (0..1_200)
        .map(|n| {
            let field = if failing(n) { "other" } else { "n" };
            value(&format!(r#"{{"_id":"{n:04}","{field}":1}}"#))
        })
        .collect();
    docs.insert_many(&documents).await.unwrap();
    let report = docs.reshape_all().await.unwrap();
    assert_eq!((report.changed, report.failed), (1_050, 150));
    assert_eq!(report.failures.len(), 100);
    for (failure, n) in report
        .failures
        .iter()
        .zip((0..1_200).filter(|n| failing(*n)))
    {
        assert_eq!(failure.document_id.as_str(), format!("{n:04}"));
        assert_eq!(failure.error.code(), codes::MIGRATION);
        assert!(failure.error.to_string().contains("there is no n"));
    }
    assert_eq!(shown(&docs, "0000").await, r#"{"_id":"0000","other":1}"#);
    for id in ["0001", "1199"] {
        assert_eq!(shown(&docs, id).await, format!(r#"{{"_id":"{id}","n":2}}"#));
    }
    // Of one document alone it is the error.
    let error = docs.reshape("0000").await.unwrap_err();
    assert_eq!(error.code(), codes::MIGRATION);
}

#[tokio::test]
async fn a_new_shape_that_breaks_a_unique_index_is_stored_and_told() {
    let config =
        CollectionConfig::new("docs").index(IndexConfig::new("completed").unique().sparse());
    let builder = Database::builder("app").collection(config);
    let opened = builder.migration(to_2()).open(MemoryStorage::new()).await;
    let db = opened.unwrap();
    let docs = docs(&db).await;
    for document in [
        r#"{"_id":"1","completed":1}"#,
        r#"{"_id":"2","done":1}"#,
        r#"{"_id":"3","done":1}"#,
        r#"{"_id":"4","done":2}"#,
    ] {
        docs.insert(&value(document)).await.unwrap();
    }
    assert!(docs.reshape("2").await.unwrap());
    assert_eq!(journaled(&db).await, 1);
    let report = docs.reshape_all().await.unwrap();
    assert_eq!((report.changed, report.failed), (2, 0));
    assert_eq!(journaled(&db).await, 2);
    for (id, n) in [("1", 1), ("2", 1), ("3", 1), ("4", 2)] {
        let expected = format!(r#"{{"_id":"{id}","completed":{n}}}"#);
        assert_eq!(shown(&docs, id).await, expected);
    }
}
