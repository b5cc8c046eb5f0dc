//! What the application adds: rules for conflicts, tokens, listeners.

use super::*;

#[tokio::test]
async fn conflicts_are_told_after_they_are_stored() {
    let (listener, url) = listen().await;
    let database = database().await;
    insert(&database, "a").await;
    let sync = SyncEngine::new(&database, quick(&url));
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    sync.on_conflict(move |entry| {
        let _ = tell.send(entry.clone());
    });
    sync.start().await.expect("it starts");
    let mut peer = Peer::accept(&listener).await;
    peer.welcome(welcome()).await;
    let pull = peer.pull().await;
    let push = peer.push().await;
    let conflict = vec![Outcome::Conflict { seqs: vec![seq(1)] }];
    peer.say(Outcomes {
        id: push.id,
        first: push.first,
        outcomes: conflict,
        gap: None,
    })
    .await;
    peer.say(page(&pull, 0, 1, 1, &[record("a", 1)])).await;
    let entry = told.recv().await.expect("it is told");
    assert_eq!(entry.documents[0].id.as_str(), "a");
    let journal = database
        .journal()
        .list(None, 10)
        .await
        .expect("memory gives it");
    assert_eq!(journal[0].number, entry.number);
    assert_eq!(
        epoch(1),
        sync.checkpoint()
            .await
            .expect("memory gives it")
            .epoch
            .expect("it has read")
    );
}

/// A change of `a` that meets another version; the rest is the rule's work.
pub(super) async fn meet(listener: &TcpListener, sync: &SyncEngine) -> Peer {
    sync.start().await.expect("it starts");
    let mut peer = Peer::accept(listener).await;
    peer.welcome(welcome()).await;
    let (push, pull) = peer.push_and_pull().await;
    let outcomes = vec![Outcome::Conflict { seqs: vec![seq(1)] }];
    peer.say(Outcomes {
        id: push.id,
        first: push.first,
        outcomes,
        gap: None,
    })
    .await;
    peer.say(page(&pull, 0, 1, 1, &[record("a", 1)])).await;
    peer
}

#[tokio::test]
async fn a_rule_of_the_application_is_asked_and_its_answer_sent() {
    let (listener, url) = listen().await;
    let database = database().await;
    insert(&database, "a").await;
    let config = quick(&url).resolve_conflict(|conflict: Conflict| async move {
        let (local, remote) = (conflict.local_document(), conflict.remote_document());
        let text =
            |map: pocket_core::Map| map.get("text").and_then(Value::as_str).map(str::to_owned);
        let both = [text(local.to_map()?), text(remote.to_map()?)].map(Option::unwrap_or_default);
        Ok::<_, SyncError>(Resolved::document(&document("a", &both.join(" and ")))?.because("both"))
    });
    let sync = SyncEngine::new(&database, config);
    let mut conflicts = sync.conflicts();
    let mut peer = meet(&listener, &sync).await;
    assert_eq!(peer.push().await.mutations.len(), 1);
    let todos = database
        .collection::<Value>("todos")
        .expect("it is configured");
    let stored = todos.get("a").await.expect("memory gives it");
    assert_eq!(stored, Some(document("a", "local and remote")));
    let entry = conflicts.next().await.expect("the engine runs");
    assert_eq!((entry.number, entry.rule.as_str()), (1, "custom"));
    assert_eq!(entry.reason.as_deref(), Some("both"));
    sync.destroy().await;
    assert_eq!(conflicts.next().await, None);
}

#[tokio::test]
async fn a_rule_that_never_answers_is_over_at_its_deadline() {
    let (listener, url) = listen().await;
    let database = database().await;
    insert(&database, "a").await;
    let config = quick(&url)
        .resolve_timeout(Duration::from_millis(20))
        .resolve_conflict(|_: Conflict| std::future::pending::<Result<Resolved, String>>());
    let sync = SyncEngine::new(&database, config);
    let mut conflicts = sync.conflicts();
    let _peer = meet(&listener, &sync).await;
    let entry = conflicts.next().await.expect("the engine runs");
    assert_eq!(entry.code.as_deref(), Some(core_codes::RESOLVER_FAILED));
    let reason = entry.reason.expect("it says why");
    assert!(reason.contains("within 20 ms"), "{reason}");
    until(&mut sync.status(), Status::Idle).await;
}

#[tokio::test]
async fn the_end_of_an_engine_ends_its_streams_and_the_rule_it_waits_for() {
    struct Told(Option<tokio::sync::oneshot::Sender<()>>);
    impl Drop for Told {
        fn drop(&mut self) {
            let told = self.0.take().expect("it is dropped once");
            let _ = told.send(());
        }
    }
    let (listener, url) = listen().await;
    let database = database().await;
    insert(&database, "a").await;
    let (began, begins) = tokio::sync::oneshot::channel();
    let (ended, ends) = tokio::sync::oneshot::channel();
    let given = std::sync::Mutex::new(Some((began, Told(Some(ended)))));
    let config = quick(&url).resolve_conflict(move |_: Conflict| {
        let held = given.lock().expect("nobody panics").take();
        async move {
            let held = held.map(|(began, told)| (began.send(()), told));
            std::future::pending::<()>().await;
            drop(held);
            Ok::<_, String>(Resolved::local())
        }
    });
    let sync = SyncEngine::new(&database, config);
    let (mut statuses, mut stats) = (sync.status(), sync.stats());
    let (mut progress, mut conflicts) = (sync.progress(), sync.conflicts());
    let _peer = meet(&listener, &sync).await;
    begins.await.expect("the rule is asked");
    sync.destroy().await;
    ends.await.expect("the rule is ended with the engine");
    while statuses.next().await.is_some() {}
    while stats.next().await.is_some() {}
    while progress.next().await.is_some() {}
    assert_eq!(conflicts.next().await, None);
    assert_eq!(code(&sync.force_sync().await), Err(codes::DESTROYED));
    // What waits for a rule is kept, and the database goes on.
    insert(&database, "b").await;
}

/// Answers the next one at the door, and says which token it had.
pub(super) async fn refuse_at_the_door(listener: &TcpListener) -> String {
    let (mut stream, _) = listener.accept().await.expect("a client connects");
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.expect("a request"));
    }
    stream
        .write_all(UNAUTHORIZED.as_bytes())
        .await
        .expect("the client is there");
    let request = String::from_utf8(request).expect("headers are text");
    let mut lines = request.lines().map(str::to_ascii_lowercase);
    let line = lines.find_map(|line| line.strip_prefix("authorization: ").map(str::to_owned));
    line.expect("it has a token")
}

#[tokio::test]
async fn a_function_of_the_application_gives_another_token_when_one_is_refused() {
    let (listener, url) = listen().await;
    let config = quick(&url)
        .auth_token("first")
        .on_auth(|reason: AuthReason| async move {
            match reason {
                AuthReason::Refused(error) if error.code() == wire::UNAUTHORIZED => {
                    Ok("second".to_owned())
                }
                other => Err(format!("{other:?} was not expected")),
            }
        });
    let sync = SyncEngine::new(&database().await, config);
    sync.start().await.expect("it starts");
    assert_eq!(refuse_at_the_door(&listener).await, "bearer first");
    let mut peer = Peer::accept(&listener).await;
    assert_eq!(peer.authorization.as_deref(), Some("Bearer second"));
    peer.welcome(welcome()).await;
    sync.destroy().await;
}
