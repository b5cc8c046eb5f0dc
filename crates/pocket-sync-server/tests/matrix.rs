//! The matrix: users × namespaces × operations × transports. The rows come from the protocol's list of messages and the
//! router's list of routes, so that a new one without a row here fails.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "matrix/case.rs"]
mod case;
mod common;
#[path = "matrix/link.rs"]
mod link;

use std::collections::BTreeSet;
use std::sync::Arc;

use case::{Case, owned_by, todos};
use common::peer::Running;
use link::exchange;
use pocket_core::{ChangeKind, DocumentId, DocumentLimits, MutationContent};
use pocket_storage_memory::MemoryStorage;
use pocket_sync_protocol::ClientMessage;
use pocket_sync_server::auth::Access;
use pocket_sync_server::{Config, Namespace, RulesFile, SyncServer, TokenTable};

const RULES: &str = r#"
    [collections.todos]
    read = ["member"]
    write = ["member"]
    erase = ["member"]
    owner = "owner"
    manage = ["admin"]
"#;

/// Who asks. The first two are nobody the server knows; Eve is somebody, elsewhere.
const USERS: &[&str] = &["", "unknown", "eve", "bob", "guest", "ann", "root"];
/// Where the document is, and where Eve is at home.
const NAMESPACES: &[&str] = &["default", "other"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    WebSocket,
    Http,
}

/// An operation: which message it is made of, and what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Enter,
    EnterAsAnother,
    Create,
    CreateForAnother,
    Replace,
    Delete,
    Erase,
    Read,
    ReadFromForeignPlace,
    Join,
    ReadOn,
    Get,
    Ask,
}

use Operation::{
    Ask, Create, CreateForAnother, Delete, Enter, EnterAsAnother, Erase, Get, Join, Read,
    ReadFromForeignPlace, ReadOn, Replace,
};

const OPERATIONS: &[(&str, &[Operation])] = &[
    ("hello", &[Enter, EnterAsAnother]),
    ("push", &[Create, CreateForAnother, Replace, Delete, Erase]),
    ("pull", &[Read, ReadFromForeignPlace, Join]),
    ("more", &[ReadOn]),
    ("fetch", &[Get]),
    ("ping", &[Ask]),
];

/// What each route says to who has no token. `/sync` is what the matrix is about.
const ROUTES: &[(&str, u16)] = &[
    ("/sync", 426),
    ("/health", 200),
    ("/health/ready", 200),
    ("/health/live", 200),
    ("/metrics", 401),
    // The page itself is the same for everybody; what it shows it asks for.
    ("/", 200),
    ("/admin/page.css", 200),
    ("/admin/page.js", 200),
    ("/admin/state", 401),
    ("/admin/clients", 401),
    ("/admin/feed", 401),
    ("/admin/document", 401),
    ("/admin/search", 401),
];

/// The methods that are asked for on each route.
const METHODS: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// What other methods than GET say, where there are any; all the rest is "method not allowed".
const METHODS_OF: &[(&str, &str, u16)] = &[("/sync", "POST", 415), ("/sync", "OPTIONS", 204)];

/// What comes of it, in a word. Ann's document is the one that is asked for.
fn expected(user: &str, namespace: &str, operation: Operation) -> &'static str {
    let comes_in = match (user, namespace) {
        ("" | "unknown", _) => return "unauthorized",
        ("eve", "other") => true,
        ("eve", _) => false,
        (_, namespace) => namespace == "default",
    };
    if !comes_in {
        return "forbidden";
    }
    let is_member = matches!(user, "ann" | "bob");
    let (owns, manages) = (user == "ann", user == "root");
    match operation {
        Enter => "welcome",
        // The client id that Ann uses in her namespace is free in Eve's.
        EnterAsAnother if owns || user == "eve" => "welcome",
        EnterAsAnother => "other-user",
        Create if is_member || manages => "applied",
        CreateForAnother if manages => "applied",
        // In Eve's namespace there is no such document, and she has no rights to its collection.
        Replace | Delete if owns || manages => "conflict",
        Erase if owns || manages => "applied",
        Create | CreateForAnother | Replace | Delete | Erase => "forbidden",
        ReadFromForeignPlace => "unknown-epoch",
        Read | Join | ReadOn | Get if owns || manages => "shown",
        Read | Join | ReadOn | Get => "hidden",
        Ask => "pong",
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_gets_what_he_may_and_nothing_else_on_both_transports() {
    let mut config = Config::default();
    // Those who poll leave without a word, and their sessions stay a while.
    config.connections_per_user = 1_000;
    // Each cell has a client of its own.
    config.new_clients_per_user = 1_000;
    let of = |name: &str| Access::all(name).only([Namespace::new("default").unwrap()]);
    let tokens = TokenTable::new()
        .access("ann", of("ann").role("member"))
        .access("bob", of("bob").role("member"))
        .access("guest", of("guest"))
        .access("root", of("root").role("admin"))
        .access(
            "eve",
            Access::all("eve").only([Namespace::new("other").unwrap()]),
        );
    let server = SyncServer::builder(Arc::new(MemoryStorage::new()))
        .config(config)
        .tokens(tokens)
        .authorizer(RULES.parse::<RulesFile>().unwrap())
        .build()
        .unwrap();
    let running = Running::of(server).await;
    let here = Namespace::new("default").unwrap();
    let here = running.server.namespace(&here);
    let mut cell = 0_u8;
    let mut wrong = Vec::new();
    // Ann's client id is hers before anybody else comes with it.
    let enter = Case::new("ann", "default", Enter, 0, "none");
    assert_eq!(
        enter.ask(running.address, Transport::WebSocket).await,
        "welcome"
    );
    for transport in [Transport::WebSocket, Transport::Http] {
        for user in USERS {
            for namespace in NAMESPACES {
                for (_, operations) in OPERATIONS {
                    for operation in *operations {
                        // A document and a client of its own for each, so that none meets what another left.
                        cell = cell.checked_add(1).unwrap_or(1);
                        let id = format!("{user}-{namespace}-{operation:?}-{transport:?}");
                        let document = DocumentId::new(&id).unwrap();
                        if !matches!(operation, Create | CreateForAnother) {
                            here.put(&todos(), &document, &owned_by("ann"))
                                .await
                                .unwrap();
                        }
                        let case = Case::new(user, namespace, *operation, cell, &id);
                        let got = case.ask(running.address, transport).await;
                        if got != expected(user, namespace, *operation) {
                            wrong.push(format!("{id}: {got}"));
                        }
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    running.stop().await;
}

#[test]
fn every_message_of_the_protocol_has_a_row() {
    let text = include_str!("../../../docs/protocol.md");
    let (_, messages) = text.split_once("## 3. Messages of the client").unwrap();
    let (messages, _) = messages.split_once("\n## ").unwrap();
    let named: BTreeSet<&str> = messages
        .lines()
        .filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'))
        .collect();
    let rows: BTreeSet<&str> = OPERATIONS.iter().map(|(name, _)| *name).collect();
    let messages: BTreeSet<&str> = MESSAGES.iter().copied().collect();
    assert_eq!(rows, messages, "a message without a row");
    assert_eq!(named, messages, "the specification and the code");
    // And each operation begins with, or ends in, a message of its row.
    for (name, operations) in OPERATIONS {
        for operation in *operations {
            let case = Case::new("ann", "default", *operation, 1, "x");
            let last = case.messages().pop().unwrap();
            assert_eq!(kind(&last), *name, "{operation:?}");
        }
    }
}

/// The messages of a client, and the name of each. A new one does not compile until it is named here, and once it is,
/// it wants a row.
macro_rules! messages {
    ($($variant:ident = $name:literal),* $(,)?) => {
        const MESSAGES: &[&str] = &[$($name),*];

        fn kind(message: &ClientMessage) -> &'static str {
            match message {
                $(ClientMessage::$variant(_) => $name,)*
            }
        }
    };
}

messages! {
    Hello = "hello",
    Push = "push",
    Pull = "pull",
    More = "more",
    Fetch = "fetch",
    Ping = "ping",
}

/// The operations that a change of this kind is pushed by; a new kind does not compile without any.
fn pushed_by(kind: &ChangeKind) -> &'static [Operation] {
    match kind {
        ChangeKind::Put(_) => &[Create, CreateForAnother, Replace],
        ChangeKind::Delete => &[Delete],
        ChangeKind::Erase => &[Erase],
    }
}

#[test]
fn every_kind_of_change_is_pushed_by_an_operation_of_its_own() {
    let (_, pushes) = OPERATIONS.iter().find(|(name, _)| *name == "push").unwrap();
    for operation in *pushes {
        let case = Case::new("ann", "default", *operation, 1, "x");
        let Some(ClientMessage::Push(push)) = case.messages().pop() else {
            panic!("{operation:?} pushes nothing")
        };
        let limits = DocumentLimits::default();
        let mutation = push.mutations(case.client, &limits).unwrap().remove(0);
        let MutationContent::Changes(changes) = mutation.unwrap().content else {
            panic!("{operation:?} changes nothing")
        };
        assert!(pushed_by(&changes[0].kind).contains(operation));
    }
    let kinds = [
        ChangeKind::Put(owned_by("ann")),
        ChangeKind::Delete,
        ChangeKind::Erase,
    ];
    let all: usize = kinds.iter().map(|kind| pushed_by(kind).len()).sum();
    assert_eq!(all, pushes.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_has_a_row_and_says_nothing_to_strangers() {
    let tokens = TokenTable::new().access("ann", Access::all("ann"));
    let mut config = Config::default();
    config.admin.page = true;
    let server = SyncServer::builder(Arc::new(MemoryStorage::new()))
        .tokens(tokens)
        .config(config)
        .build()
        .unwrap();
    // The router tells its paths only in its debug form.
    let told = format!("{:?}", server.router().merge(server.admin_router()));
    let (own, _) = told.split_once("fallback_router").unwrap();
    let paths: BTreeSet<&str> = own
        .split('"')
        .filter(|part| part.starts_with('/') && !part.contains("__private"))
        .collect();
    let rows: BTreeSet<&str> = ROUTES.iter().map(|(path, _)| *path).collect();
    assert_eq!(paths, rows, "{told}");
    let running = Running::of(server).await;
    let namespace = running
        .server
        .namespace(&Namespace::new("default").unwrap());
    let id = DocumentId::new("very-secret-id").unwrap();
    namespace
        .put(&todos(), &id, &owned_by("ann"))
        .await
        .unwrap();
    // Nobody, somebody unknown, and a user who may sync but not look after the server.
    for token in [
        "",
        "authorization: Bearer no\r\n",
        "authorization: Bearer ann\r\n",
    ] {
        for (path, of_get) in ROUTES {
            for method in METHODS {
                let other = METHODS_OF
                    .iter()
                    .find(|(of, name, _)| (of, name) == (path, method));
                let status = match (*method, other) {
                    ("GET", _) => *of_get,
                    (_, Some((_, _, status))) => *status,
                    _ => 405,
                };
                let request = format!(
                    "{method} {path} HTTP/1.1\r\nhost: x\r\n{token}connection: close\r\ncontent-length: 0\r\n\r\n"
                );
                let answer = exchange(running.address, request.into_bytes()).await;
                let answer = String::from_utf8_lossy(&answer).into_owned();
                assert!(
                    answer.starts_with(&format!("HTTP/1.1 {status} ")),
                    "{method} {path}: {answer}"
                );
                assert!(
                    !answer.contains("secret") && !answer.contains("ann"),
                    "{method} {path}: {answer}"
                );
            }
        }
    }
    running.stop().await;
}
