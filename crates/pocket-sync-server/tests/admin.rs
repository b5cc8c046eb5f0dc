//! What people and machines see that look after a server.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use pocket_core::{Body, CollectionName, DocumentId, DocumentLimits, Value};
use pocket_storage_memory::MemoryStorage;
use pocket_sync_server::auth::Secret;
use pocket_sync_server::{Config, Namespace, SyncServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

struct Served {
    server: SyncServer,
    address: String,
    _stop: oneshot::Sender<()>,
}

async fn served(token: Option<&str>, page: bool) -> Served {
    let mut config = Config::default();
    config.admin.page = page;
    config.admin.token = token.map(Secret::from);
    served_from(MemoryStorage::new(), config).await
}

async fn served_from(storage: MemoryStorage, config: Config) -> Served {
    let storage = Arc::new(storage);
    let server = SyncServer::builder(storage).config(config).build().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = server.clone();
    tokio::spawn(async move {
        let until = async {
            let _ = stopped.await;
        };
        running.serve(listener, until).await;
    });
    Served {
        server,
        address,
        _stop: stop,
    }
}

impl Served {
    /// The whole answer to a GET with these further lines in its head.
    async fn get(&self, path: &str, head: &str) -> String {
        let host = if head.contains("Host:") {
            String::new()
        } else {
            format!("Host: {}\r\n", self.address)
        };
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n{host}{head}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn json(&self, path: &str) -> Value {
        let answer = self.get(path, "").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        Value::from_json_str(body).unwrap()
    }

    async fn put(&self, namespace: &str, id: &str, text: &str) {
        let namespace = Namespace::new(namespace).unwrap();
        let document = Value::from_json_str(text).unwrap();
        let (_, body) = Body::from_serialize(&document, &DocumentLimits::default()).unwrap();
        let collection = CollectionName::new("things").unwrap();
        let id = DocumentId::new(id).unwrap();
        let handle = self.server.namespace(&namespace);
        handle.put(&collection, &id, &body).await.unwrap();
    }
}

fn field<'a>(value: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().fold(value, |value, name| match value {
        Value::Array(items) => &items[name.parse::<usize>().unwrap()],
        value => value.as_map().unwrap().get(name).unwrap(),
    })
}

const ROUTES: [&str; 6] = [
    "/metrics",
    "/admin/state",
    "/admin/clients",
    "/admin/feed?namespace=a",
    "/admin/document?namespace=a&collection=things&id=x",
    "/admin/search?namespace=a&id=x",
];

#[tokio::test]
async fn everybody_needs_the_token_where_one_is_set_and_else_has_to_be_here() {
    let open = served(None, true).await;
    let locked = served(Some("sesame"), true).await;
    open.put("a", "x", "{}").await;
    locked.put("a", "x", "{}").await;
    let elsewhere = [
        "X-Forwarded-For: 192.0.2.1\r\n",
        "Via: 1.1 proxy\r\n",
        "Host: rebound.example\r\n",
        "X-Forwarded-For: 192.0.2.1\r\nAuthorization: Bearer other\r\n",
    ];
    for route in ROUTES {
        let here = open.get(route, "").await;
        assert!(here.starts_with("HTTP/1.1 200"), "{route}: {here}");
        for server in [&open, &locked] {
            for head in elsewhere {
                let answer = server.get(route, head).await;
                assert!(
                    answer.starts_with("HTTP/1.1 401"),
                    "{route} {head}: {answer}"
                );
                assert!(!answer.contains("things"), "{answer}");
            }
        }
        // A proxy on this machine that adds nothing: `proxy_pass http://127.0.0.1:7700` of nginx.
        let answer = locked.get(route, "").await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{route}: {answer}");
        assert!(!answer.contains("things"), "{answer}");
        let with_token = "X-Forwarded-For: 192.0.2.1\r\nAuthorization: Bearer sesame\r\n";
        let answer = locked.get(route, with_token).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{route}: {answer}");
        let wrong = locked.get(route, "Authorization: Bearer other\r\n").await;
        assert!(wrong.starts_with("HTTP/1.1 401"), "{route}: {wrong}");
    }
}

#[tokio::test]
async fn namespaces_collections_feed_and_documents_are_told_as_they_are() {
    let served = served(None, true).await;
    served.put("a", "x", r#"{"n":9007199254740993}"#).await;
    served.put("a", "y", "{}").await;
    served.put("ä b", "z", "{}").await;
    let things = CollectionName::new("things").unwrap();
    let a = served.server.namespace(&Namespace::new("a").unwrap());
    a.delete(&things, &DocumentId::new("y").unwrap())
        .await
        .unwrap();
    let state = served.json("/admin/state").await;
    let names = field(&state, &["namespaces"]);
    assert_eq!(field(names, &["0", "name"]).as_str(), Some("a"));
    assert_eq!(field(names, &["1", "name"]).as_str(), Some("ä b"));
    assert_eq!(
        field(names, &["0", "collections", "0", "documents"]),
        &Value::from(1)
    );
    assert_eq!(field(names, &["0", "head"]), &Value::from(3));
    assert_eq!(field(&state, &["applied"]), &Value::from(4));
    let feed = served.json("/admin/feed?namespace=a").await;
    assert_eq!(field(&feed, &["records", "0", "id"]).as_str(), Some("x"));
    assert_eq!(
        field(&feed, &["records", "1", "state"]).as_str(),
        Some("deleted")
    );
    let behind = served.json("/admin/feed?namespace=a&after=3").await;
    assert_eq!(field(&behind, &["records"]), &Value::Array(Vec::new()));
    let document = served
        .json("/admin/document?namespace=a&collection=things&id=x")
        .await;
    assert_eq!(
        field(&document, &["content"]).as_str(),
        Some(r#"{"n":9007199254740993}"#)
    );
    let found = served.json("/admin/search?namespace=%C3%A4+b&id=z").await;
    assert_eq!(field(&found, &["records", "0", "id"]).as_str(), Some("z"));
}

#[tokio::test]
async fn asking_for_what_is_not_there_makes_nothing() {
    let served = served(None, true).await;
    for path in [
        "/admin/feed?namespace=none",
        "/admin/feed",
        "/admin/search?namespace=none&id=x",
        "/admin/document?namespace=none&collection=a&id=b",
    ] {
        let answer = served.get(path, "").await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
    let state = served.json("/admin/state").await;
    assert_eq!(field(&state, &["namespaces"]), &Value::Array(Vec::new()));
}

#[tokio::test]
async fn without_the_page_there_are_figures_only() {
    let served = served(None, false).await;
    for path in ["/", "/admin/state", "/admin/page.js"] {
        let answer = served.get(path, "").await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
    served.put("a", "x", "{}").await;
    let metrics = served.get("/metrics", "").await;
    assert!(
        metrics.contains("\npocket_outcomes_total{kind=\"applied\"} 1\n"),
        "{metrics}"
    );
    assert!(metrics.contains("\npocket_commits_total 1\n"), "{metrics}");
    for path in ["/health", "/health/ready", "/health/live"] {
        let answer = served.get(path, "").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn the_page_brings_nothing_from_elsewhere_and_may_not_be_framed() {
    let served = served(Some("sesame"), true).await;
    for path in ["/", "/admin/page.js", "/admin/page.css"] {
        let answer = served.get(path, "X-Forwarded-For: 192.0.2.1\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}");
        assert!(answer.contains("frame-ancestors 'none'"), "{path}");
        assert!(
            !answer.contains("http://") && !answer.contains("https://"),
            "{path}"
        );
        assert!(
            !answer.contains("innerHTML") && !answer.contains("sesame"),
            "{path}"
        );
    }
}

/// The page opened every namespace there was: each look gave each of them an epoch, and kept it in memory.
#[tokio::test]
async fn namespaces_are_not_opened_by_being_looked_at() {
    let storage = MemoryStorage::new();
    let before = served_from(storage.clone(), Config::default()).await;
    for namespace in ["a", "b", "c"] {
        before.put(namespace, "x", "{}").await;
        before.put(namespace, "y", "{}").await;
    }
    let mut config = Config::default();
    config.admin.page = true;
    config.limits.namespaces = 1;
    let server = served_from(storage, config).await;
    let state = server.json("/admin/state").await;
    for place in ["0", "1", "2"] {
        let shown = |path: &[&str]| field(&state, &[&["namespaces", place], path].concat()).clone();
        assert_eq!(shown(&["head"]), Value::from(2_u64));
        assert_eq!(
            shown(&["collections", "0", "documents"]),
            Value::from(2_u64)
        );
    }
    // The one that may be open at a time is still free.
    server.put("c", "z", "{}").await;
    let state = server.json("/admin/state").await;
    assert_eq!(
        field(&state, &["namespaces", "2", "head"]),
        &Value::from(3_u64)
    );
}
