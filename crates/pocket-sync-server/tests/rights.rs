//! Rights on every path, over real sockets: who reads what, what he may write, and what becomes of it when that changes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;
#[path = "rights/deleted.rs"]
mod deleted;
#[path = "rights/presence.rs"]
mod presence;
#[path = "rights/service.rs"]
mod service;

use std::sync::{Arc, Mutex};

use common::peer::{Peer, Running};
use pocket_core::{
    Body, Change, ChangeKind, CollectionName, DocumentId, DocumentLimits, Hlc, Map, Mutation,
    MutationContent, MutationNumber, Outcome, Revision, Seq,
};
use pocket_storage_memory::MemoryStorage;
use pocket_sync_protocol::{
    Direction, Fetch, Hello, HelloCheckpoint, Page, Pull, Push, ServerMessage, VersionRange, codes,
};
use pocket_sync_server::auth::Access;
use pocket_sync_server::rules::{Attempt, Operation};
use pocket_sync_server::{
    Config, Namespace, Rules, RulesFile, ServerEvent, SyncServer, SyncServerBuilder, TokenTable,
};

const RULES: &str = r#"
    [collections.todos]
    read = ["*"]
    write = ["*"]
    erase = ["*"]
    labels = ["user", "team"]
    manage = ["admin"]

    [collections.hidden]
    write = ["*"]
"#;

fn tokens() -> TokenTable {
    TokenTable::new()
        .access("ann", Access::all("ann"))
        .access("bob", Access::all("bob").label("team:red"))
        .access("root", Access::all("root").role("admin"))
}

fn server(storage: &Arc<MemoryStorage>) -> SyncServerBuilder {
    SyncServer::builder(storage.clone())
        .tokens(tokens())
        .authorizer(RULES.parse::<RulesFile>().unwrap())
}

async fn running(storage: &Arc<MemoryStorage>) -> Running {
    Running::of(server(storage).build().unwrap()).await
}

/// A peer that writes and reads as one of the users.
struct User {
    peer: Peer,
    next: u64,
}

impl User {
    async fn join(running: &Running, name: &str) -> Self {
        Self::join_as(running, name, name.as_bytes()[0]).await
    }

    /// From a client of its own.
    async fn join_as(running: &Running, name: &str, number: u8) -> Self {
        let mut peer = Peer::dial(running.address, number).await;
        peer.say(hello(&peer, name, None)).await;
        let ServerMessage::Welcome(welcome) = peer.receive().await else {
            panic!("no welcome")
        };
        peer.welcome = Some(welcome);
        Self { peer, next: 1 }
    }

    async fn write(&mut self, name: &str, base: Option<Revision>, kind: ChangeKind) -> Outcome {
        let key = common::key(name);
        let rev = self.rev(self.next);
        let change = Change {
            collection: key.collection,
            id: key.id,
            rev,
            base,
            kind,
        };
        let number = MutationNumber::new(self.next);
        self.next += 1;
        let mutation = Mutation {
            number,
            content: MutationContent::Changes(vec![change]),
        };
        let push = Push::build(
            u32::try_from(number.get()).unwrap(),
            self.peer.client,
            number,
            MutationNumber::ZERO,
            &[mutation],
        );
        self.peer.say(push.unwrap()).await;
        self.peer.outcomes().await.remove(0)
    }

    fn rev(&self, number: u64) -> Revision {
        Revision::new(Hlc::from_bits(number), self.peer.client)
    }

    /// Reads from a place up to the head.
    async fn read_after(&mut self, after: u64) -> Seen {
        let epoch = (after > 0).then(|| self.peer.epoch());
        self.peer.pull(epoch, after).await;
        let mut seen = Seen::default();
        loop {
            let page = self.peer.page().await;
            seen.add(&page);
            if page.end == page.head {
                return seen;
            }
        }
    }

    async fn live(&mut self) -> Seen {
        let mut seen = Seen::default();
        while seen == Seen::default() {
            // A page may merely pass places whose records are not for this reader.
            seen.add(&self.peer.page().await);
        }
        seen
    }

    async fn fetch(&mut self, names: &[&str]) -> Vec<String> {
        let documents = names.iter().map(|name| common::key(name));
        let documents = documents.map(|key| (key.collection, key.id)).collect();
        self.peer.say(Fetch { id: 9, documents }).await;
        loop {
            if let ServerMessage::Records(records) = self.peer.receive().await {
                let records = records.records().unwrap();
                return records.iter().map(|record| record.id.to_string()).collect();
            }
        }
    }
}

/// What pages brought: ids of records, and of removals.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    records: Vec<String>,
    removals: Vec<String>,
}

impl Seen {
    fn add(&mut self, page: &Page) {
        let records = page.records().unwrap();
        self.records
            .extend(records.iter().map(|record| record.id.to_string()));
        self.removals
            .extend(page.removals.iter().map(|gone| gone.id.to_string()));
    }
}

fn seen(records: &[&str], removals: &[&str]) -> Seen {
    let own = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    Seen {
        records: own(records),
        removals: own(removals),
    }
}

fn hello(peer: &Peer, token: &str, checkpoint: Option<HelloCheckpoint>) -> Hello {
    Hello {
        versions: VersionRange::SUPPORTED,
        client: peer.client,
        namespace: "default".to_owned(),
        token: Some(token.to_owned()),
        session: peer.welcome.as_ref().map(|welcome| welcome.session),
        collections: Vec::new(),
        direction: Direction::Both,
        checkpoint,
        agent: "test".to_owned(),
    }
}

/// A document for one user, or for a team.
fn to(field: &str, value: &str) -> ChangeKind {
    let mut map = Map::new();
    map.insert(field, value);
    ChangeKind::Put(Body::from_map(&map, &DocumentLimits::default()).unwrap())
}

fn applied(first: u64) -> Outcome {
    Outcome::Applied {
        first: Seq::new(first),
    }
}

fn code(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Rejected { code, .. } => code,
        Outcome::Applied { .. } => "applied",
        Outcome::Conflict { .. } => "conflict",
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_gets_the_record_a_removal_or_nothing() {
    let storage = Arc::new(MemoryStorage::new());
    let live = running(&storage).await;
    let mut ann = User::join(&live, "ann").await;
    let mut bob = User::join(&live, "bob").await;
    let mut root = User::join(&live, "root").await;
    for user in [&mut ann, &mut bob, &mut root] {
        assert_eq!(user.read_after(0).await, seen(&[], &[]));
    }
    // Live: to its reader, to the manager, and to nobody else.
    assert_eq!(root.write("a", None, to("user", "ann")).await, applied(1));
    assert_eq!(ann.live().await, seen(&["a"], &[]));
    assert_eq!(root.write("b", None, to("team", "red")).await, applied(2));
    assert_eq!(bob.live().await, seen(&["b"], &[]));
    // It moves from Ann to Bob's team: one loses it, one gets it.
    let rev = root.rev(1);
    assert_eq!(
        root.write("a", Some(rev), to("team", "red")).await,
        applied(3)
    );
    assert_eq!(bob.live().await, seen(&["a"], &[]));
    // Ann was not shown the second record; the place passed with the removal.
    assert_eq!(ann.live().await.removals, ["a"]);
    // A fetch shows what may be read, and nothing of the rest.
    assert_eq!(ann.fetch(&["a", "b", "c"]).await, Vec::<String>::new());
    assert_eq!(bob.fetch(&["a", "b", "c"]).await, ["a", "b"]);
    // A deletion is told to who could read the document.
    let rev = root.rev(3);
    assert_eq!(
        root.write("a", Some(rev), ChangeKind::Delete).await,
        applied(4)
    );
    assert_eq!(bob.live().await, seen(&["a"], &[]));
    live.stop().await;

    // The same from the store, after a restart, by a cursor that stands anywhere.
    let cold = running(&storage).await;
    let mut ann = User::join(&cold, "ann").await;
    assert_eq!(
        ann.read_after(0).await,
        seen(&[], &[]),
        "a first read has nothing to let go of"
    );
    cold.stop().await;
}

/// Ann made a document for others, and somebody else wrote it next before she had read that place. The record was no longer
/// hers by then, so she heard nothing, and showed her version for ever. Found by digests, in the simulator.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_wrote_what_he_may_not_read_lets_go_of_it_even_if_others_write_it_next() {
    let storage = Arc::new(MemoryStorage::new());
    let live = running(&storage).await;
    let mut ann = User::join(&live, "ann").await;
    let mut root = User::join(&live, "root").await;
    root.write("a", None, to("user", "ann")).await;
    assert_eq!(ann.read_after(0).await, seen(&["a"], &[]));
    assert_eq!(ann.write("b", None, to("team", "red")).await, applied(2));
    let made = ann.rev(1);
    assert_eq!(
        root.write("b", Some(made), to("team", "red")).await,
        applied(3)
    );
    let mut told = Seen::default();
    while !told.removals.contains(&"b".to_owned()) {
        told.add(&ann.peer.page().await);
    }
    assert_eq!(told.records, Vec::<String>::new());
    live.stop().await;
    // The same from the store, where only the later version is left, and for another device of hers.
    let checkpoint = HelloCheckpoint {
        epoch: ann.peer.epoch(),
        seq: Seq::new(1),
        rights: ann.peer.welcome.as_ref().unwrap().rights.clone(),
        fixed_head: None,
    };
    let cold = running(&storage).await;
    let mut again = Peer::dial(cold.address, 150).await;
    again.say(hello(&again, "ann", Some(checkpoint))).await;
    let ServerMessage::Welcome(welcome) = again.receive().await else {
        panic!("no welcome")
    };
    again.welcome = Some(welcome);
    ann.peer = again;
    assert_eq!(ann.read_after(1).await, seen(&[], &["b"]));
    cold.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_is_told_of_labels_that_left_whether_it_stands_behind_them_or_not() {
    let storage = Arc::new(MemoryStorage::new());
    let first = running(&storage).await;
    let mut root = User::join(&first, "root").await;
    root.write("a", None, to("user", "ann")).await;
    let rev = root.rev(1);
    root.write("a", Some(rev), to("team", "red")).await;
    let rev = root.rev(2);
    root.write("a", Some(rev), to("team", "blue")).await;
    root.write("b", None, to("team", "red")).await;
    let epoch = root.peer.epoch();
    let rights = |user: &User| user.peer.welcome.as_ref().unwrap().rights.clone();
    let mut expected = Vec::new();
    // Warm, from the tail; then cold, from the store.
    for place in [first, running(&storage).await] {
        for (number, (name, after, what)) in (150..).zip([
            // She held it at 1, and it left her at 2.
            ("ann", 1, seen(&[], &["a"])),
            // Whoever comes back may have passed that place in the middle of a catch-up, when the document stood further on
            // already: told again rather than never.
            ("ann", 2, seen(&[], &["a"])),
            // He held it from 2 on, and it left him at 3.
            ("bob", 2, seen(&["b"], &["a"])),
            ("bob", 3, seen(&["b"], &[])),
        ]) {
            let mut user = User::join(&place, name).await;
            let rights = rights(&user);
            assert!(rights.is_some());
            expected.push((name, rights.clone()));
            let checkpoint = HelloCheckpoint {
                epoch,
                seq: Seq::new(after),
                rights,
                fixed_head: None,
            };
            let mut again = Peer::dial(place.address, number).await;
            again.say(hello(&again, name, Some(checkpoint))).await;
            let ServerMessage::Welcome(welcome) = again.receive().await else {
                panic!("no welcome")
            };
            again.welcome = Some(welcome);
            user.peer = again;
            user.peer.pull(Some(epoch), after).await;
            let mut all = Seen::default();
            all.add(&user.peer.page().await);
            assert_eq!(all, what, "{name} after {after}");
        }
        place.stop().await;
    }
    // The same user has the same fingerprint in each run, and each user one of his own.
    let of = |name: &str| {
        let rights = expected.iter().filter(|(one, _)| *one == name);
        rights.map(|(_, rights)| rights.clone()).collect::<Vec<_>>()
    };
    assert!(of("ann").windows(2).all(|pair| pair[0] == pair[1]));
    assert_ne!(of("ann")[0], of("bob")[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_be_read_may_not_be_written_and_is_not_compared() {
    let storage = Arc::new(MemoryStorage::new());
    let running = running(&storage).await;
    let mut root = User::join(&running, "root").await;
    let mut ann = User::join(&running, "ann").await;
    root.write("bobs", None, to("user", "bob")).await;
    root.write("gone", None, to("user", "bob")).await;
    let rev = root.rev(2);
    root.write("gone", Some(rev), ChangeKind::Delete).await;
    for (name, base, kind) in [
        ("bobs", None, to("user", "ann")),
        ("bobs", Some(root.rev(1)), to("user", "ann")),
        ("bobs", Some(root.rev(9)), ChangeKind::Delete),
        ("bobs", None, ChangeKind::Erase),
        // A deleted one is as invisible as the living, to who would touch it.
        ("gone", Some(root.rev(3)), to("user", "ann")),
        ("gone", Some(root.rev(2)), to("user", "ann")),
        ("gone", None, ChangeKind::Delete),
        ("gone", None, ChangeKind::Erase),
        // Of a collection that nobody reads, nothing that exists can be changed; and unknown ones are closed.
        ("unknown/x", None, to("user", "ann")),
    ] {
        let outcome = ann.write(name, base, kind).await;
        assert_eq!(code(&outcome), "forbidden", "{name}");
    }
    assert_eq!(
        code(&ann.write("hidden/x", None, to("user", "ann")).await),
        "applied"
    );
    assert_eq!(
        code(&ann.write("hidden/x", None, to("user", "ann")).await),
        "forbidden"
    );
    assert_eq!(
        code(&ann.write("mine", None, to("user", "ann")).await),
        "applied"
    );
    // She gives it away: it is Bob's now, and her device lets go of it.
    let rev = ann.rev(12);
    assert_eq!(
        code(&ann.write("mine", Some(rev), to("user", "bob")).await),
        "applied"
    );
    ann.peer.pull(None, 0).await;
    let mut bob = User::join(&running, "bob").await;
    assert_eq!(bob.read_after(0).await.records, ["bobs", "mine"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_read_with_other_rights_are_refused_until_it_reads_from_the_start() {
    let storage = Arc::new(MemoryStorage::new());
    let running = running(&storage).await;
    let mut root = User::join(&running, "root").await;
    root.write("a", None, to("user", "ann")).await;
    let epoch = root.peer.epoch();
    for rights in [None, Some(bytes::Bytes::from_static(b"other"))] {
        let mut peer = Peer::dial(running.address, b'a').await;
        let checkpoint = HelloCheckpoint {
            epoch,
            seq: Seq::new(1),
            rights,
            fixed_head: None,
        };
        let mut greeting = hello(&peer, "ann", Some(checkpoint));
        greeting.client = common::client(77);
        greeting.session = None;
        peer.client = greeting.client;
        peer.say(greeting).await;
        assert!(matches!(peer.receive().await, ServerMessage::Welcome(_)));
        let pull = |after: u64, collections: Vec<CollectionName>| Pull {
            id: 3,
            epoch: (after > 0).then_some(epoch),
            after: Seq::new(after),
            until: (!collections.is_empty()).then_some(Seq::new(1)),
            collections,
            window: 2,
            batch: 100,
            fixed_head: None,
        };
        // A joining read from the start does not make the main cursor good.
        peer.say(pull(0, vec![CollectionName::new("todos").unwrap()]))
            .await;
        assert!(matches!(peer.receive().await, ServerMessage::Page(_)));
        peer.say(pull(1, Vec::new())).await;
        let ServerMessage::Error(error) = peer.receive().await else {
            panic!("a page by old rights")
        };
        assert_eq!(error.code, codes::RIGHTS_CHANGED);
        peer.say(pull(0, Vec::new())).await;
        assert_eq!(peer.page().await.end, Seq::new(1));
        peer.say(pull(1, Vec::new())).await;
        assert_eq!(peer.page().await.end, Seq::new(1));
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_that_came_later_hold_for_what_is_there_already() {
    let storage = Arc::new(MemoryStorage::new());
    let open = Running::of(
        SyncServer::builder(storage.clone())
            .tokens(tokens())
            .build()
            .unwrap(),
    )
    .await;
    let mut ann = User::join(&open, "ann").await;
    assert!(ann.peer.welcome.as_ref().unwrap().rights.is_none());
    ann.write("anns", None, to("user", "ann")).await;
    ann.write("reds", None, to("team", "red")).await;
    ann.write("nobodys", None, to("x", "y")).await;
    open.stop().await;

    let running = running(&storage).await;
    let mut bob = User::join(&running, "bob").await;
    assert_eq!(bob.read_after(0).await.records, ["reds"]);
    let outcome = bob.write("anns", None, to("user", "bob")).await;
    assert_eq!(code(&outcome), "forbidden");
    // A record of today is told from what its old body said.
    let rev = Revision::new(Hlc::from_bits(2), common::client(b'a'));
    let mut root = User::join(&running, "root").await;
    assert_eq!(
        code(&root.write("reds", Some(rev), to("user", "ann")).await),
        "applied"
    );
    assert_eq!(bob.live().await, seen(&[], &["reds"]));
    running.stop().await;
}
