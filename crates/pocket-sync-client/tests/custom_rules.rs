//! Rules of the application: what the session asks, what goes on meanwhile, and what answers come to.

mod common;

use std::sync::Arc;

use common::*;
use pocket_core::replica::{Answer, Conflict, Decision, Ruling, Scope};
use pocket_core::{CollectionName, ConflictStrategy, DocumentId, Outcome, Winner};
use pocket_storage_memory::MemoryDisk;
use pocket_sync_client::conflict::Strategies;
use pocket_sync_client::{
    CustomRules, Direction, Event, Pass, Resolved, SessionConfig, Status, StoreRequestKind,
    SyncConfig,
};
use pocket_sync_protocol::{Outcomes, Push};

fn asking() -> Arc<Strategies> {
    Arc::new(Strategies::new(ConflictStrategy::Custom).asks_application())
}

async fn bench() -> Bench {
    let mut bench = Bench::new().await;
    bench.resolver = asking();
    bench
}

fn conflict(push: &Push, place: u64) -> Outcomes {
    Outcomes {
        id: push.id,
        first: push.first,
        outcomes: vec![Outcome::Conflict {
            seqs: vec![seq(place)],
        }],
        gap: None,
    }
}

/// A pushed write of `a` that met another version.
async fn met(mut bench: Bench) -> Bench {
    bench.insert_quietly("a").await;
    bench.connect().await;
    let (pull, push) = (bench.the_pull(), bench.the_push());
    bench.say(conflict(&push, 1)).await;
    bench.say(page(&pull, 0, 1, 1, &[record("a", 1)])).await;
    bench
}

fn answers(conflicts: &[Conflict], decision: &Decision) -> Vec<Answer> {
    let answer = |conflict: &Conflict| Answer {
        conflict: conflict.clone(),
        ruling: Ruling::Stands {
            decision: decision.clone(),
            because: None,
        },
    };
    conflicts.iter().map(answer).collect()
}

async fn answer(bench: &mut Bench, decision: Decision) {
    let (batch, conflicts) = bench.questions.pop().expect("something was asked");
    let answers = answers(&conflicts, &decision);
    bench.event(Event::Answered { batch, answers }).await;
}

#[tokio::test]
async fn while_the_application_thinks_the_status_says_so_and_other_documents_travel() {
    let mut bench = met(bench().await).await;
    assert_eq!(bench.questions.len(), 1);
    assert_eq!(bench.questions[0].1[0].document_id.as_str(), "a");
    assert_eq!(bench.status(), Status::Syncing);
    assert_eq!(bench.last().stats.undecided, 1);

    bench.insert("b").await;
    let push = bench.the_push();
    assert_eq!(push.mutations.len(), 1);
    bench.say(applied(&push, 2)).await;
    assert_eq!(
        (bench.questions.len(), bench.status()),
        (1, Status::Syncing)
    );

    answer(&mut bench, Decision::KeepLocal).await;
    let again = bench.the_push();
    bench.say(applied(&again, 3)).await;
    assert_eq!(bench.status(), Status::Syncing, "the head is at 3 now");
    assert_eq!(bench.text("a").await.as_deref(), Some("local"));
    let stats = &bench.last().stats;
    assert_eq!(
        (stats.undecided, stats.conflict_count, stats.open_conflicts),
        (0, 1, 1)
    );
}

#[tokio::test]
async fn the_servers_version_leaves_nothing_to_send() {
    let mut bench = met(bench().await).await;
    answer(&mut bench, Decision::KeepRemote).await;
    assert_eq!(bench.text("a").await.as_deref(), Some("remote"));
    assert!(bench.pushes().is_empty());
    assert_eq!(bench.status(), Status::Idle);
}

#[tokio::test]
async fn what_moved_while_the_application_thought_is_asked_again() {
    let mut bench = met(bench().await).await;
    bench.put("a", "newer").await;
    bench.event(Event::OutboxGrew).await;
    assert_eq!(bench.questions.len(), 1, "one batch at a time");
    assert!(bench.pushes().is_empty(), "what stands on it waits");
    answer(&mut bench, Decision::KeepRemote).await;
    assert_eq!(bench.text("a").await.as_deref(), Some("newer"));
    assert_eq!(bench.questions.len(), 1, "it is asked about the newer one");
    answer(&mut bench, Decision::KeepLocal).await;
    let push = bench.the_push();
    assert_eq!(push.mutations.len(), 1);
}

#[tokio::test]
async fn after_a_stop_and_after_a_restart_the_same_is_asked_again() {
    let disk = MemoryDisk::new();
    let config = || SessionConfig::new(Scope::All);
    let mut bench = Bench::on(disk.clone(), config()).await;
    bench.resolver = asking();
    let mut bench = met(bench).await;
    let (batch, conflicts) = bench.questions.pop().expect("it was asked");
    bench.event(Event::Stop).await;
    let answers = answers(&conflicts, &Decision::KeepRemote);
    bench.event(Event::Answered { batch, answers }).await;
    assert_eq!(
        bench.text("a").await.as_deref(),
        Some("local"),
        "nobody waits for that"
    );
    bench.event(Event::Start).await;
    assert_eq!(bench.questions.len(), 1, "without a connection as well");
    drop(bench);

    let mut bench = Bench::on(disk, config()).await;
    bench.resolver = asking();
    bench.event(Event::Start).await;
    assert_eq!(bench.questions[0].1[0].local, conflicts[0].local);
    answer(&mut bench, Decision::KeepRemote).await;
    assert_eq!(bench.text("a").await.as_deref(), Some("remote"));
}

#[tokio::test]
async fn a_complete_pass_waits_for_the_application() {
    let mut bench = met(bench().await).await;
    bench.command(7, Pass::Push).await;
    let ping = bench.pings().pop().expect("the head is asked for");
    bench.say(pong(ping, 1)).await;
    assert!(bench.finished.is_empty());
    answer(&mut bench, Decision::KeepLocal).await;
    assert!(bench.finished.is_empty(), "what was decided is to be sent");
    let push = bench.the_push();
    bench.say(applied(&push, 2)).await;
    assert_eq!(bench.finished, [(7, Ok(()))]);
}

#[tokio::test]
async fn a_client_that_only_pushes_fetches_the_record_once_and_then_waits() {
    let mut config = SessionConfig::new(Scope::All);
    config.direction = Direction::Push;
    let mut bench = Bench::with(config).await;
    bench.resolver = asking();
    bench.insert_quietly("a").await;
    bench.connect().await;
    let push = bench.the_push();
    bench.say(conflict(&push, 1)).await;
    let fetch = bench.the_fetch();
    bench.say(records(&fetch, 1, &[record("a", 1)])).await;
    assert_eq!(bench.questions.len(), 1);
    bench.insert("b").await;
    let push = bench.the_push();
    bench.say(applied(&push, 2)).await;
    assert!(
        bench.sent.is_empty(),
        "nothing is fetched again: {:?}",
        bench.sent
    );
    answer(&mut bench, Decision::KeepLocal).await;
    let push = bench.the_push();
    bench.say(applied(&push, 3)).await;
    assert_eq!(
        (bench.status(), bench.state().await.pending),
        (Status::Idle, 0)
    );
}

#[tokio::test]
async fn a_store_that_fails_to_keep_an_answer_is_told_it_again() {
    let mut bench = met(bench().await).await;
    let (batch, conflicts) = bench.questions.pop().expect("it was asked");
    bench.slow_store = true;
    let given = answers(&conflicts, &Decision::KeepRemote);
    bench
        .event(Event::Answered {
            batch,
            answers: given,
        })
        .await;
    bench.asked = None;
    bench.slow_store = false;
    let error =
        pocket_core::Error::from(pocket_core::storage::StorageError::Full("no room".into()));
    let request = StoreRequestKind::Resolve;
    bench
        .event(Event::Stored(pocket_sync_client::StoreAnswer::Failed {
            request,
            error,
        }))
        .await;
    assert_eq!(bench.status(), Status::Error);
    bench.wait_for_timer().await;
    assert_eq!(bench.questions.len(), 1, "the store still has the question");
}

/// What the rules say to a conflict of `collection`.
async fn ruling(rules: &CustomRules, collection: &str) -> Ruling {
    let mut bench = met(bench().await).await;
    let mut conflict = bench.questions.remove(0).1.remove(0);
    conflict.collection = CollectionName::new(collection).expect("a good name");
    rules.answer(conflict).await.ruling
}

fn failure(ruling: Ruling) -> String {
    match ruling {
        Ruling::Failed { reason } => reason,
        other => panic!("{other:?} is no failure"),
    }
}

#[tokio::test]
async fn an_error_a_panic_and_another_document_are_failures_that_say_why() {
    let mut rules = CustomRules::default();
    assert!(failure(ruling(&rules, "todos").await).contains("no rule"));
    rules.set(|_: Conflict| async { Err::<Resolved, _>("no idea") });
    assert_eq!(failure(ruling(&rules, "todos").await), "it failed: no idea");
    rules.set(|conflict: Conflict| async move {
        assert!(conflict.local_document().is_deleted(), "not like this");
        Ok::<_, String>(Resolved::local())
    });
    assert!(failure(ruling(&rules, "todos").await).contains("not like this"));
    // Before there is a future at all.
    rules.set(|conflict: Conflict| {
        assert!(conflict.local_document().is_deleted(), "nor so early");
        std::future::ready(Ok::<_, String>(Resolved::local()))
    });
    assert!(failure(ruling(&rules, "todos").await).contains("nor so early"));
    let other = document("z", "else");
    rules.set(move |_: Conflict| {
        let resolved = Resolved::document(&other);
        std::future::ready(resolved)
    });
    assert!(failure(ruling(&rules, "todos").await).contains("\"z\""));
}

#[tokio::test]
async fn a_collection_may_have_a_rule_of_its_own() {
    let mut rules = CustomRules::default();
    let notes = CollectionName::new("notes").expect("a good name");
    rules.set(|_: Conflict| async { Ok::<_, String>(Resolved::remote()) });
    rules.set_for(notes, |_: Conflict| async {
        Ok::<_, String>(Resolved::merged().because("notes are merged"))
    });
    let decided = async |collection| match ruling(&rules, collection).await {
        Ruling::Stands { decision, because } => (decision, because),
        other => panic!("{other:?} is no decision"),
    };
    assert_eq!(decided("todos").await, (Decision::KeepRemote, None));
    assert_eq!(
        decided("notes").await,
        (Decision::Merge, Some("notes are merged".to_owned()))
    );
}

#[tokio::test]
async fn what_the_engine_says_of_a_collection_goes_before_what_is_recorded() {
    let config = SyncConfig::new("ws://127.0.0.1")
        .conflict_strategy(ConflictStrategy::ServerWins)
        .collection_strategy("todos", ConflictStrategy::ClientWins);
    let mut bench = Bench::new().await;
    bench.resolver = config.conflict_resolver();
    let bench = met(bench).await;
    let journal = bench.database.journal();
    assert_eq!(
        journal.get(1).await.expect("it is there").winner,
        Winner::Local
    );

    // Recorded by a program with a rule, opened by one without: the strategy of the engine.
    let config = SyncConfig::new("ws://127.0.0.1").conflict_strategy(ConflictStrategy::ServerWins);
    let mut bench = Bench::new().await;
    bench.resolver = config.conflict_resolver();
    let settings = pocket_core::CollectionConfig::new("todos")
        .sync(true)
        .conflict_strategy(ConflictStrategy::Custom);
    bench
        .database
        .create_collection(settings)
        .await
        .expect("memory takes it");
    let bench = met(bench).await;
    let entry = bench.database.journal().get(1).await.expect("it is there");
    assert_eq!(entry.rule, "server-wins");
    assert_eq!(
        entry.documents[0].id,
        DocumentId::new("a").expect("a good id")
    );
}
