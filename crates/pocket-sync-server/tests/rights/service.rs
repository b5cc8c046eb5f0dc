//! What an application adds to a server: validators, its own reads and writes, bounds for users.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_validator_that_refuses_or_panics_costs_its_mutation_only() {
    let validate = |attempt: &Attempt<'_>| {
        let name = attempt.id.map(DocumentId::as_str);
        assert_ne!(name, Some("panics"), "a rule with a defect");
        match name {
            Some("bad") => Err("it is bad".to_owned()),
            _ => Ok(()),
        }
    };
    let authorize = |attempt: &Attempt<'_>| {
        assert_ne!(attempt.id.map(DocumentId::as_str), Some("unruly"));
        attempt.operation != Operation::Erase
    };
    let server = SyncServer::builder(Arc::new(MemoryStorage::new()))
        .authorizer(authorize)
        .validator(validate)
        .build()
        .unwrap();
    let running = Running::of(server).await;
    let mut ann = User::join(&running, "ann").await;
    for (name, expected) in [
        ("good", "applied"),
        ("bad", "validation"),
        ("panics", "validation"),
        ("unruly", "forbidden"),
        ("fine", "applied"),
    ] {
        let outcome = ann.write(name, None, to("user", "ann")).await;
        assert_eq!(code(&outcome), expected, "{name}");
    }
    assert_eq!(
        code(&ann.write("good", None, ChangeKind::Erase).await),
        "forbidden"
    );
    assert_eq!(ann.read_after(0).await.records, ["good", "fine"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_reads_and_writes_and_clients_hear_of_it() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&heard);
    let storage = Arc::new(MemoryStorage::new());
    let built = server(&storage).on_event(move |event: &ServerEvent<'_>| {
        let line = match event {
            ServerEvent::Connected { user, .. } => format!("{user} came"),
            ServerEvent::Disconnected { user, .. } => format!("{user} went"),
            ServerEvent::Applied { user, first, .. } => format!("{user} wrote {first}"),
            ServerEvent::Rejected { user, code, .. } => format!("{user} was told {code}"),
            _ => String::new(),
        };
        let count = {
            let mut heard = hears.lock().unwrap();
            heard.push(line);
            heard.len()
        };
        assert_ne!(count, 3, "a hook with a defect");
    });
    let running = Running::of(built.build().unwrap()).await;
    let mut ann = User::join(&running, "ann").await;
    ann.read_after(0).await;
    let namespace = running
        .server
        .namespace(&Namespace::new("default").unwrap());
    let (todos, id) = (common::key("x").collection, common::key("x").id);
    let ChangeKind::Put(body) = to("user", "ann") else {
        unreachable!("a put")
    };
    assert_eq!(
        namespace.put(&todos, &id, &body).await.unwrap(),
        Seq::new(1)
    );
    assert_eq!(ann.live().await, seen(&["x"], &[]));
    assert_eq!(ann.fetch(&["x"]).await, ["x"]);
    assert_eq!(
        code(&ann.write("x", None, to("user", "ann")).await),
        "conflict"
    );
    assert_eq!(
        namespace.put(&todos, &id, &body).await.unwrap(),
        Seq::new(2)
    );
    assert_eq!(
        namespace.get(&todos, &id).await.unwrap(),
        Some(body.clone())
    );
    let listed = namespace.list(&todos).await.unwrap();
    assert_eq!(listed, [(id.clone(), body)]);
    assert_eq!(namespace.delete(&todos, &id).await.unwrap(), Seq::new(3));
    assert!(namespace.list(&todos).await.unwrap().is_empty());
    assert_eq!(
        code(&ann.write("unknown/x", None, to("a", "b")).await),
        "forbidden"
    );

    let clients = running.server.clients();
    assert_eq!((clients.len(), &*clients[0].user), (1, "ann"));
    assert!(running.server.health().ready && running.server.health().clients == 1);
    assert!(running.server.disconnect_client(ann.peer.client));
    assert_eq!(ann.peer.end().await, ("going-away".to_owned(), Some(1001)));
    running.stop().await;
    assert_eq!(
        *heard.lock().unwrap(),
        [
            "ann came",
            "server wrote 1",
            "server wrote 2",
            "server wrote 3",
            "ann was told forbidden",
            "ann went"
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_has_ten_connections_and_the_eleventh_waits() {
    let mut config = Config::default();
    config.connections_per_user = 2;
    config.rules = Rules::default();
    let running = Running::start(Arc::new(MemoryStorage::new()), tokens(), config).await;
    let _first = User::join(&running, "ann").await;
    let mut others = Vec::new();
    for number in [201, 202] {
        let mut peer = Peer::dial(running.address, number).await;
        peer.hello(Some("ann"), None).await;
        others.push(peer);
        if number == 201 {
            assert!(matches!(
                others[0].receive().await,
                ServerMessage::Welcome(_)
            ));
        }
    }
    assert_eq!(
        others[1].end().await,
        ("rate-limited".to_owned(), Some(4429))
    );
    // Another user is not concerned.
    let _bob = User::join(&running, "bob").await;
    running.stop().await;
}

/// Each new client id made a row in the store, which stayed for weeks: a user could fill the disk with hellos.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_brings_a_bounded_number_of_new_devices_and_known_ones_come_in() {
    let mut config = Config::default();
    config.new_clients_per_user = 2;
    let running = Running::start(Arc::new(MemoryStorage::new()), tokens(), config).await;
    let first = User::join_as(&running, "ann", 201).await;
    // Whoever is known needs no room, also one that is refused.
    let mut session = first.peer.session();
    for _ in 0..5 {
        let mut again = Peer::dial(running.address, 201).await;
        again.hello(Some("ann"), Some(session)).await;
        let ServerMessage::Welcome(welcome) = again.receive().await else {
            panic!("a known device was refused")
        };
        session = welcome.session;
        let mut copied = Peer::dial(running.address, 201).await;
        copied.hello(Some("ann"), None).await;
        assert_eq!(copied.end().await.0, "client-copied");
    }
    User::join_as(&running, "ann", 202).await;
    let mut third = Peer::dial(running.address, 203).await;
    third.hello(Some("ann"), None).await;
    let ServerMessage::Error(error) = third.receive().await else {
        panic!("a third device came in")
    };
    assert_eq!((&*error.code, error.retryable), ("rate-limited", true));
    let wait = error.retry_after.unwrap();
    let half_an_hour = std::time::Duration::from_secs(1_800);
    assert!(wait <= half_an_hour && wait > half_an_hour / 2, "{wait:?}");
    assert_eq!(third.end().await.1, Some(4429));
    // It left no row, and others are not concerned.
    User::join_as(&running, "bob", 203).await;
    running.stop().await;
}

/// A device whose line had died was refused for as long as its old session was not missed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_comes_back_needs_no_further_place() {
    let mut config = Config::default();
    config.connections_per_user = 2;
    let running = Running::start(Arc::new(MemoryStorage::new()), tokens(), config).await;
    let join = async |number: u8, session| {
        let mut peer = Peer::dial(running.address, number).await;
        peer.hello(Some("ann"), session).await;
        match peer.next().await.unwrap() {
            ServerMessage::Welcome(welcome) => peer.welcome = Some(welcome),
            ServerMessage::Error(error) => peer.errors.push(error),
            other => panic!("{other:?}"),
        }
        peer
    };
    let _other = join(201, None).await;
    let mut last = join(202, None).await;
    for _ in 0..3 {
        let mut again = join(202, Some(last.session())).await;
        assert!(again.welcome.is_some(), "{:?}", again.errors);
        assert_eq!(last.end().await, ("replaced".to_owned(), Some(4409)));
        std::mem::swap(&mut last, &mut again);
    }
    // It has its place, and no other device has got one by that.
    let further = join(203, None).await;
    assert_eq!(further.errors[0].code, "rate-limited");
    // A copy of a device is refused, and takes nothing from it.
    let copied = join(202, None).await;
    assert_eq!(copied.errors[0].code, "client-copied");
    assert_eq!(running.server.clients().len(), 2);
    let further = join(203, None).await;
    assert_eq!(further.errors[0].code, "rate-limited");
    drop(last);
    let came = async {
        while join(203, None).await.welcome.is_none() {
            tokio::task::yield_now().await;
        }
    };
    super::common::peer::within(came).await;
    running.stop().await;
}
