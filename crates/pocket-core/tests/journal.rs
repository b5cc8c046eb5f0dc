//! What conflicts and refusals leave, and what an application does about it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "journal/asked.rs"]
mod asked;

use std::sync::Arc;

use pocket_core::replica::{
    Answer, Applied, Conflict, Decision, IncomingPage, PageKind, Replica, Resolver, Ruling,
};
use pocket_core::storage::{Direction, KeyRange, ScanLimit, Storage};
use pocket_core::{
    Body, ClientId, Collection, CollectionConfig, CollectionName, ConflictStrategy, Database,
    DecidedBy, DocumentId, DocumentLimits, Epoch, Hlc, JournalFilter, JournalKind, JournalState,
    MutationNumber, Outcome, PushLimit, Record, RecordState, Revision, Seq, Target, Timestamp,
    Value, Winner, codes,
};
use pocket_storage_memory::MemoryStorage;
use serde_json::json;

/// Always the same.
#[derive(Clone)]
struct Always(Decision, &'static str);

impl Resolver for Always {
    fn resolve(&self, _: &Conflict, _: Option<ConflictStrategy>) -> (Decision, &'static str) {
        (self.0.clone(), self.1)
    }
}

fn server_wins() -> Always {
    Always(Decision::KeepRemote, "server-wins")
}

fn client_wins() -> Always {
    Always(Decision::KeepLocal, "client-wins")
}

struct World {
    db: Database,
    docs: Collection<Value>,
    replica: Replica,
    resolver: Always,
    seq: u64,
}

const ALL: PushLimit = PushLimit {
    changes: 1_000,
    bytes: 1 << 20,
};

impl World {
    async fn new(resolver: Always) -> Self {
        Self::on(MemoryStorage::new(), resolver).await
    }

    async fn on(storage: MemoryStorage, resolver: Always) -> Self {
        let db = Database::builder("test")
            .collection(CollectionConfig::new("docs").sync(true))
            .open(storage)
            .await
            .unwrap();
        Self {
            docs: db.collection("docs").unwrap(),
            replica: Replica::new(&db, Target::DEFAULT),
            db,
            resolver,
            seq: 0,
        }
    }

    /// The server has this now.
    async fn arrives(&mut self, id: &str, json: Option<&str>) -> Applied {
        let start = Seq::new(self.seq);
        self.seq += 1;
        let state = json.map_or(RecordState::Deleted, |json| RecordState::Live(body(json)));
        let hlc = Hlc::from_time(Timestamp::from_millis(1_000 + self.seq.cast_signed()));
        let record = Record {
            collection: CollectionName::new("docs").unwrap(),
            id: DocumentId::new(id).unwrap(),
            rev: Revision::new(hlc, ClientId::from_bytes([9; 16])),
            seq: Seq::new(self.seq),
            state,
        };
        let page = IncomingPage {
            kind: PageKind::Feed,
            epoch: Epoch::from_bytes([1; 16]),
            start,
            end: Seq::new(self.seq),
            head: Seq::new(self.seq),
            records: vec![record],
            removals: Vec::new(),
        };
        let resolver = Arc::new(self.resolver.clone());
        self.replica.apply(page, resolver).await.unwrap()
    }

    /// Sends what is there, and the server refuses it.
    async fn refused(&self) {
        self.refused_for("forbidden", "not yours").await;
    }

    async fn refused_for(&self, code: &str, reason: &str) {
        let sent = self.replica.pin(ALL).await.unwrap().mutations;
        let no = Outcome::Rejected {
            code: code.into(),
            reason: reason.into(),
            server_time: None,
        };
        let (first, outcomes) = (sent[0].number, vec![no; sent.len()]);
        let resolver = Arc::new(self.resolver.clone());
        self.replica
            .settle(first, outcomes, resolver)
            .await
            .unwrap();
    }

    /// Tells what is still open, after these answers.
    async fn resolve(&self, answers: Vec<Answer>) -> Vec<Conflict> {
        let resolver = Arc::new(self.resolver.clone());
        let resolved = self.replica.resolve(answers, 10, resolver).await;
        resolved.unwrap().questions
    }

    async fn write(&self, json: &str) {
        self.docs
            .upsert(&Value::from_json_str(json).unwrap())
            .await
            .unwrap();
    }

    async fn json(&self, id: &str) -> Option<String> {
        let value = self.docs.get(id).await.unwrap();
        value.map(|value| value.to_json_string().unwrap())
    }

    /// Pending mutations, mutations that wait, those of them that wait for the application, open entries.
    async fn counts(&self) -> (u64, u64, u64, u64) {
        let state = self.replica.state().await.unwrap();
        (
            state.pending,
            state.waiting,
            state.undecided,
            state.open_conflicts,
        )
    }
}

fn body(json: &str) -> Body {
    let value = Value::from_json_str(json).unwrap();
    Body::from_serialize(&value, &DocumentLimits::default())
        .unwrap()
        .1
}

#[tokio::test]
async fn restoring_the_local_loser_is_a_new_edit_on_the_servers_version() {
    let mut world = World::new(server_wins()).await;
    world.write(r#"{"_id":"a","n":1}"#).await;
    world.arrives("a", Some(r#"{"n":7}"#)).await;
    assert_eq!(world.json("a").await.unwrap(), r#"{"_id":"a","n":7}"#);
    assert_eq!(world.counts().await, (0, 0, 0, 1));

    let written = world.db.journal().restore(1).await.unwrap();
    assert_eq!(written.len(), 1);
    assert_eq!(world.json("a").await.unwrap(), r#"{"_id":"a","n":1}"#);
    assert_eq!(world.counts().await, (1, 0, 0, 0));
    let sent = world.replica.pin(ALL).await.unwrap().mutations;
    let change = &sent[0].changes()[0];
    assert_eq!(change.base.unwrap().client, ClientId::from_bytes([9; 16]));
    assert_eq!(change.rev, written[0].rev);
    let entry = world.db.journal().get(1).await.unwrap();
    assert_eq!(entry.state, JournalState::Restored);
    assert!(
        entry.documents[0].local.body.is_some(),
        "both are still kept"
    );
    let again = world.db.journal().restore(1).await.unwrap_err();
    assert_eq!(again.code(), codes::JOURNAL_ENTRY_CLOSED);
    assert_eq!(world.counts().await, (1, 0, 0, 0), "and wrote nothing");
}

#[tokio::test]
async fn restoring_where_the_local_version_won_brings_the_servers_back() {
    let mut world = World::new(client_wins()).await;
    world.write(r#"{"_id":"a","n":1}"#).await;
    world.arrives("a", Some(r#"{"n":7}"#)).await;
    assert_eq!(world.json("a").await.unwrap(), r#"{"_id":"a","n":1}"#);
    world.db.journal().restore(1).await.unwrap();
    assert_eq!(world.json("a").await.unwrap(), r#"{"_id":"a","n":7}"#);
}

#[tokio::test]
async fn a_lost_delete_is_restored_as_a_delete_and_a_lost_update_of_a_deleted_document_as_a_create()
{
    let mut world = World::new(server_wins()).await;
    world.arrives("a", Some(r#"{"n":0}"#)).await;
    world.docs.delete("a").await.unwrap();
    world.arrives("a", Some(r#"{"n":1}"#)).await;
    assert!(world.json("a").await.is_some());
    world.db.journal().restore(1).await.unwrap();
    assert_eq!(world.json("a").await, None);

    let mut world = World::new(server_wins()).await;
    world.arrives("a", Some(r#"{"n":0}"#)).await;
    world.docs.update("a", &json!({"n": 5})).await.unwrap();
    world.arrives("a", None).await;
    assert_eq!(world.json("a").await, None);
    world.db.journal().restore(1).await.unwrap();
    assert_eq!(world.json("a").await.unwrap(), r#"{"_id":"a","n":5}"#);
    assert_eq!(world.counts().await, (1, 0, 0, 0));
}

#[tokio::test]
async fn a_transaction_that_lost_is_restored_as_one() {
    let mut world = World::new(server_wins()).await;
    let mut tx = world.db.transaction();
    for id in ["a", "b"] {
        let document = Value::from_json_str(&format!(r#"{{"_id":"{id}","n":1}}"#)).unwrap();
        tx.insert(&world.docs, &document).unwrap();
    }
    tx.commit().await.unwrap();
    world.arrives("b", Some(r#"{"n":7}"#)).await;
    assert_eq!(world.json("a").await, None, "one loses, all lose");
    world.db.journal().restore(1).await.unwrap();
    let sent = world.replica.pin(ALL).await.unwrap().mutations;
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].changes().len(), 2);
}

#[tokio::test]
async fn a_refusal_puts_the_document_back_and_its_change_can_be_restored_or_dismissed() {
    let mut world = World::new(server_wins()).await;
    world.arrives("a", Some(r#"{"n":0}"#)).await;
    world.docs.update("a", &json!({"n": 1})).await.unwrap();
    world.write(r#"{"_id":"b","n":1}"#).await;
    world.refused().await;
    assert_eq!(world.json("a").await.unwrap(), r#"{"_id":"a","n":0}"#);
    assert_eq!(world.json("b").await, None);
    assert_eq!(world.counts().await, (0, 0, 0, 2));

    let journal = world.db.journal();
    let why = journal.explain(1).await.unwrap();
    assert_eq!(why.decided_by, DecidedBy::Server);
    let text = why.to_string();
    for part in [
        "the server refused a change of docs/a",
        "`forbidden`: not yours",
        "changed n",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    journal.dismiss(2).await.unwrap();
    assert_eq!(
        journal.dismiss(2).await.unwrap_err().code(),
        codes::JOURNAL_ENTRY_CLOSED
    );
    journal.restore(1).await.unwrap();
    assert_eq!(world.json("a").await.unwrap(), r#"{"_id":"a","n":1}"#);
    assert_eq!(world.counts().await, (1, 0, 0, 0));
    // What was dismissed is still there, and so is its way back.
    journal.restore(2).await.unwrap();
    assert!(world.json("b").await.is_some());
    assert_eq!(world.counts().await, (2, 0, 0, 0));
}

#[tokio::test]
async fn the_journal_is_read_by_state_kind_and_collection() {
    let mut world = World::new(server_wins()).await;
    for n in 0..300 {
        world.write(&format!(r#"{{"_id":"r{n}","n":1}}"#)).await;
    }
    world.refused().await;
    world.write(r#"{"_id":"a","n":1}"#).await;
    world.arrives("a", Some(r#"{"n":7}"#)).await;
    let journal = world.db.journal();
    journal.dismiss(300).await.unwrap();
    let numbers = async |filter: &JournalFilter, after, limit| -> Vec<u64> {
        let entries = journal.list_matching(filter, after, limit).await.unwrap();
        entries.iter().map(|entry| entry.number).collect()
    };
    let conflicts = JournalFilter::default().kind(JournalKind::Conflict);
    assert_eq!(numbers(&conflicts, None, 10).await, [301]);
    let open = JournalFilter::open();
    assert_eq!(numbers(&open, Some(298), 10).await, [299, 301]);
    assert_eq!(numbers(&open, None, 2).await, [1, 2]);
    let docs = CollectionName::new("docs").unwrap();
    let others = CollectionName::new("others").unwrap();
    assert_eq!(
        numbers(&open.clone().collection(docs), None, 1_000)
            .await
            .len(),
        300
    );
    assert!(numbers(&open.collection(others), None, 10).await.is_empty());
    assert_eq!(
        journal.get(999).await.unwrap_err().code(),
        codes::JOURNAL_ENTRY_NOT_FOUND
    );
}

#[tokio::test]
async fn an_explanation_names_the_versions_the_rule_and_the_way_back() {
    let mut world = World::new(server_wins()).await;
    world.arrives("a", Some(r#"{"n":0,"title":"x"}"#)).await;
    world
        .docs
        .update("a", &json!({"title": "mine"}))
        .await
        .unwrap();
    world.arrives("a", Some(r#"{"n":5,"title":"x"}"#)).await;
    let why = world.db.journal().explain(1).await.unwrap();
    assert_eq!(
        (why.decided_by, why.entry.winner),
        (DecidedBy::Strategy, Winner::Remote)
    );
    let text = why.to_string();
    for part in [
        "a change of docs/a made here met another version on the server",
        r#"base: {"n":0,"title":"x"}"#,
        r#"here: {"n":0,"title":"mine"}, changed title"#,
        r#"there: {"n":5,"title":"x"}, changed n"#,
        "by the rule `server-wins`",
        "Restoring entry 1 writes the local version again",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}

/// The code of a refusal is any text that a server likes, and was shown as it is.
#[tokio::test]
async fn what_a_server_says_of_a_refusal_does_not_command_a_terminal() {
    let world = World::new(server_wins()).await;
    world.write(r#"{"_id":"a\u001b[2J"}"#).await;
    world.refused_for("no\u{1b}[2J", "not\nyours").await;
    let text = world.db.journal().explain(1).await.unwrap().to_string();
    let said = r"The server decided, with the code `no\u{1b}[2J`: not\nyours.";
    assert!(text.contains(said), "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

/// A page of the journal ended early where its rows were large together, and who took fewer entries than the limit for the
/// end never saw the rest.
#[tokio::test]
async fn a_list_ends_before_its_limit_only_at_the_end_of_the_journal() {
    const REFUSALS: usize = 16;
    let world = World::new(server_wins()).await;
    // So many changes that a scan of the store ends by bytes before it has read the rows of all.
    let long = "x".repeat(240);
    for refusal in 0..REFUSALS {
        let mut transaction = world.db.transaction();
        for at in 0..1_000 {
            let document = format!(r#"{{"_id":"{refusal}-{at}-{long}"}}"#);
            let document = Value::from_json_str(&document).unwrap();
            transaction.insert(&world.docs, &document).unwrap();
        }
        transaction.commit().await.unwrap();
        world.refused().await;
    }
    let journal = world.db.journal();
    let listed = journal.list(None, 100).await.unwrap();
    let numbers: Vec<_> = listed.iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, (1..=REFUSALS as u64).collect::<Vec<_>>());
    assert_eq!(listed[REFUSALS - 1].documents.len(), 1_000);
    let some = journal.list(Some(1), REFUSALS - 2).await.unwrap();
    assert_eq!(some.len(), REFUSALS - 2);
    assert_eq!(some[0].number, 2);
}
