//! Who is there, as events tell it: each connection comes once and goes once, however it ends.

use std::collections::BTreeMap;

use super::*;

/// What was told of connections: the number, the user, and whether he came.
type Told = Arc<Mutex<Vec<(u64, String, bool)>>>;

fn telling(told: &Told) -> impl Fn(&ServerEvent<'_>) + Send + Sync + 'static {
    let told = Arc::clone(told);
    move |event| {
        let (connection, user, came) = match *event {
            ServerEvent::Connected {
                connection, user, ..
            } => (connection, user, true),
            ServerEvent::Disconnected {
                connection, user, ..
            } => (connection, user, false),
            _ => return,
        };
        let line = (connection, user.to_owned(), came);
        told.lock().unwrap().push(line);
    }
}

/// The connections of each user that came and have not gone; each comes once, and goes once behind that.
fn present(told: &Told) -> BTreeMap<String, Vec<u64>> {
    let mut present: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut gone = Vec::new();
    for (connection, user, came) in &*told.lock().unwrap() {
        let of = present.entry(user.clone()).or_default();
        if *came {
            assert!(!of.contains(connection) && !gone.contains(connection));
            of.push(*connection);
        } else {
            let place = of.iter().position(|one| one == connection);
            of.remove(place.expect("who goes has come"));
            gone.push(*connection);
        }
    }
    present.retain(|_, of| !of.is_empty());
    present
}

async fn until(told: &Told, connections: &[(&str, usize)]) {
    let is_so = || {
        let present = present(told);
        let counts = present.iter().map(|(user, of)| (user.as_str(), of.len()));
        counts.eq(connections.iter().copied())
    };
    common::peer::within(async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

async fn join(running: &Running, name: &str, number: u8, last: Option<&Peer>) -> Peer {
    let mut peer = Peer::dial(running.address, number).await;
    peer.hello(Some(name), last.map(Peer::session)).await;
    let ServerMessage::Welcome(welcome) = peer.receive().await else {
        panic!("no welcome")
    };
    peer.welcome = Some(welcome);
    peer
}

/// Two sessions of one user were told apart by nothing, nor was one that took the place of another of its client.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_connection_is_told_to_come_and_to_go_exactly_once() {
    let told = Told::default();
    let storage = Arc::new(MemoryStorage::new());
    let built = server(&storage).on_event(telling(&told)).build().unwrap();
    let running = Running::of(built).await;
    // Two devices of one user.
    let first = join(&running, "ann", 201, None).await;
    let second = join(&running, "ann", 202, None).await;
    until(&told, &[("ann", 2)]).await;
    let mut listed: Vec<_> = running.server.clients();
    listed.sort_by_key(|info| info.connection);
    let listed: Vec<_> = listed.iter().map(|info| info.connection).collect();
    assert_eq!(present(&told)["ann"], listed);
    // A line that breaks.
    drop(second);
    until(&told, &[("ann", 1)]).await;
    // A newer session of the same client.
    let newer = join(&running, "ann", 201, Some(&first)).await;
    let mut older = first;
    assert_eq!(older.end().await, ("replaced".to_owned(), Some(4409)));
    until(&told, &[("ann", 1)]).await;
    // One that is refused never came.
    let mut copied = Peer::dial(running.address, 201).await;
    copied.hello(Some("ann"), None).await;
    assert_eq!(copied.end().await.0, "client-copied");
    // One that the server ends.
    let mut bob = join(&running, "bob", 203, None).await;
    until(&told, &[("ann", 1), ("bob", 1)]).await;
    assert!(running.server.disconnect_client(bob.client));
    assert_eq!(bob.end().await.0, "going-away");
    until(&told, &[("ann", 1)]).await;
    // What is told when the server stops has been told once it has stopped.
    let _other = join(&running, "bob", 204, None).await;
    running.stop().await;
    assert_eq!(present(&told), BTreeMap::new());
    assert_eq!(told.lock().unwrap().len(), 2 * 5);
    drop(newer);
}
