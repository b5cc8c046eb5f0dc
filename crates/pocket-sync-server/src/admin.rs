//! What people and machines that look after a server may see: figures, and a page that shows what it does.
//!
//! Everything here is read only. Whoever has the admin token may see it, and whoever asks from this machine itself: the
//! connection comes from a loopback address, names this machine as its host, and has passed through no proxy.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, FORWARDED, HOST,
    HeaderMap, HeaderValue, VIA, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::uri::Authority as HostName;
use axum::http::{Extensions, Response, StatusCode};
use axum::routing::get;
use percent_encoding::percent_decode_str;
use pocket_core::{CollectionName, DocumentId, Map, RecordState, Seq, Value};
use sha2::{Digest, Sha256};

use crate::auth::Secret;
use crate::engine::{EngineError, ReadRequest};
use crate::metrics::Gauges;
use crate::rules::Authority;
use crate::{Namespace, SyncServer};

/// Records of the feed that are shown at once.
const SHOWN: usize = 100;

/// Records that are looked at to count or to search; beyond that it is said that there are more.
const LOOKED_AT: usize = 200_000;

/// Documents that a search finds at the most.
const FOUND: usize = 50;

/// Who may look after a server.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Admin {
    /// Whether there is a page at `/`.
    pub page: bool,
    /// The token that lets in from elsewhere; without one, only who asks from this machine.
    pub token: Option<Secret>,
}

/// Where a request comes from: an extension of requests that [`SyncServer::serve`] sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Why nothing is shown.
enum Refusal {
    Unauthorized,
    NotFound,
    Engine(EngineError),
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

type Answer = Result<Map, Refusal>;

impl SyncServer {
    /// The routes `/metrics`, and with [`Admin::page`] the page `/` and what it asks for below `/admin`.
    ///
    /// [`serve`](Self::serve) has them. Elsewhere, merge them into a router whose requests have a [`Peer`] among their
    /// extensions, or set an admin token.
    pub fn admin_router(&self) -> Router {
        let router = Router::new().route("/metrics", get(metrics));
        let router = if self.inner.config.admin.page {
            router
                .route("/", get(page))
                .route("/admin/page.css", get(style))
                .route("/admin/page.js", get(script))
                .route("/admin/state", get(state))
                .route("/admin/clients", get(clients))
                .route("/admin/feed", get(feed))
                .route("/admin/document", get(document))
                .route("/admin/search", get(search))
        } else {
            router
        };
        router.with_state(self.clone())
    }

    /// Whether this request may see everything.
    fn admits(&self, headers: &HeaderMap, extensions: &Extensions) -> bool {
        let bearer = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        if let (Some(token), Some(bearer)) = (&self.inner.config.admin.token, bearer) {
            // Compared as hashes: how long it takes tells nothing about a token that is nearly right.
            let hash = |text: &str| Sha256::digest(text.as_bytes());
            return hash(token.expose()) == hash(bearer);
        }
        let peer = extensions.get::<Peer>();
        peer.is_some_and(|Peer(peer)| peer.ip().to_canonical().is_loopback())
            && is_this_machine(headers)
    }

    async fn known(&self, name: Option<&String>) -> Result<Namespace, Refusal> {
        let namespace = name.and_then(|name| Namespace::new(name));
        let namespace = namespace.ok_or(Refusal::NotFound)?;
        // Asking for one that is not there would make it.
        let all = self.inner.engine.namespaces().await?;
        if all.contains(&namespace) {
            Ok(namespace)
        } else {
            Err(Refusal::NotFound)
        }
    }

    /// How things are now.
    fn gauges(&self) -> Gauges {
        let health = self.health();
        Gauges {
            // The connection that asks is one of them.
            connections: health.connections.saturating_sub(1),
            clients: health.clients,
            namespaces: self.inner.namespaces_in_use(),
            lag: self.clients().iter().map(|one| one.lag).max().unwrap_or(0),
            ready: health.ready,
        }
    }
}

/// Whether a browser or a program means this machine, and nobody stands in between.
fn is_this_machine(headers: &HeaderMap) -> bool {
    let forwarded = ["x-forwarded-for", "x-real-ip", "x-forwarded-host"];
    if forwarded.iter().any(|name| headers.contains_key(*name))
        || headers.contains_key(FORWARDED)
        || headers.contains_key(VIA)
    {
        return false;
    }
    // A page elsewhere may have its name point to this machine; then the name gives it away.
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let Some(host) = host.and_then(|host| HostName::from_str(host).ok()) else {
        return false;
    };
    let host = host.host().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

async fn metrics(State(server): State<SyncServer>, request: Request) -> Response<Body> {
    if !server.admits(request.headers(), request.extensions()) {
        return answer(Err(Refusal::Unauthorized));
    }
    let text = server.inner.metrics.text(&server.gauges());
    with_type(text.into(), "text/plain; version=0.0.4; charset=utf-8")
}

async fn page() -> Response<Body> {
    with_type(
        include_str!("admin/page.html").into(),
        "text/html; charset=utf-8",
    )
}

async fn style() -> Response<Body> {
    with_type(
        include_str!("admin/page.css").into(),
        "text/css; charset=utf-8",
    )
}

async fn script() -> Response<Body> {
    with_type(
        include_str!("admin/page.js").into(),
        "text/javascript; charset=utf-8",
    )
}

/// What a request asks for behind its question mark.
fn asked(request: &Request) -> HashMap<String, String> {
    let decoded = |text: &str| {
        let text = text.replace('+', " ");
        percent_decode_str(&text).decode_utf8_lossy().into_owned()
    };
    let query = request.uri().query().unwrap_or_default();
    query
        .split('&')
        .filter_map(|field| field.split_once('='))
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

async fn clients(State(server): State<SyncServer>, request: Request) -> Response<Body> {
    if !server.admits(request.headers(), request.extensions()) {
        return answer(Err(Refusal::Unauthorized));
    }
    answer(Ok(object([("clients", connected(&server))])))
}

async fn state(State(server): State<SyncServer>, request: Request) -> Response<Body> {
    if !server.admits(request.headers(), request.extensions()) {
        return answer(Err(Refusal::Unauthorized));
    }
    answer(overview(&server).await)
}

async fn feed(State(server): State<SyncServer>, request: Request) -> Response<Body> {
    if !server.admits(request.headers(), request.extensions()) {
        return answer(Err(Refusal::Unauthorized));
    }
    answer(newest(&server, &asked(&request)).await)
}

async fn document(State(server): State<SyncServer>, request: Request) -> Response<Body> {
    if !server.admits(request.headers(), request.extensions()) {
        return answer(Err(Refusal::Unauthorized));
    }
    answer(one(&server, &asked(&request)).await)
}

async fn search(State(server): State<SyncServer>, request: Request) -> Response<Body> {
    if !server.admits(request.headers(), request.extensions()) {
        return answer(Err(Refusal::Unauthorized));
    }
    answer(found(&server, &asked(&request)).await)
}

fn connected(server: &SyncServer) -> Value {
    let client = |info: crate::ClientInfo| {
        Value::Map(object([
            ("client", info.client.to_string().into()),
            ("user", Value::from(&*info.user)),
            ("namespace", Value::from(info.namespace.as_str())),
            ("since", info.since.to_string().into()),
            ("position", info.position.get().into()),
            ("lag", info.lag.into()),
        ]))
    };
    server.clients().into_iter().map(client).collect()
}

async fn overview(server: &SyncServer) -> Answer {
    let mut namespaces = Vec::new();
    for namespace in server.inner.engine.namespaces().await? {
        let head = server.inner.engine.head(&namespace).await?;
        let (collections, is_whole) = server.inner.counted(&namespace, head).await?;
        let collections = collections.iter().map(|(name, count)| {
            Value::Map(object([
                ("name", Value::from(name.as_str())),
                ("documents", (*count).into()),
            ]))
        });
        namespaces.push(Value::Map(object([
            ("name", Value::from(namespace.as_str())),
            ("head", head.get().into()),
            ("whole", is_whole.into()),
            ("collections", collections.collect()),
        ])));
    }
    let totals = server.inner.metrics.totals();
    let codes = |codes: std::collections::BTreeMap<String, u64>| {
        let codes = codes
            .into_iter()
            .map(|(code, count)| (code, Value::from(count)));
        Value::Map(codes.collect())
    };
    let recent = server.inner.metrics.recent().into_iter().map(|one| {
        Value::Map(object([
            ("time", one.time.to_string().into()),
            ("namespace", Value::from(one.namespace.as_str())),
            ("user", one.user.into()),
            ("client", one.client.into()),
            ("code", one.code.into()),
            ("reason", one.reason.into()),
            ("document", one.document.into()),
        ]))
    });
    let gauges = server.gauges();
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    Ok(object([
        ("version", Value::from(env!("CARGO_PKG_VERSION"))),
        ("time", server.inner.env.now().to_string().into()),
        ("ready", gauges.ready.into()),
        ("connections", count(gauges.connections).into()),
        ("clients", connected(server)),
        ("namespaces", Value::Array(namespaces)),
        ("pushes", totals.pushes.into()),
        ("applied", totals.applied.into()),
        ("conflicts", totals.conflicts.into()),
        ("rejected", codes(totals.rejected)),
        ("errors", codes(totals.errors)),
        ("received_bytes", totals.received_bytes.into()),
        ("sent_bytes", totals.sent_bytes.into()),
        ("recent", recent.collect()),
    ]))
}

/// The newest stretch of a feed, or what is behind `after`.
async fn newest(server: &SyncServer, asked: &HashMap<String, String>) -> Answer {
    let namespace = server.known(asked.get("namespace")).await?;
    let engine = &server.inner.engine;
    let head = engine.head(&namespace).await?;
    let from = head.get().saturating_sub(SHOWN as u64);
    let after = asked.get("after").and_then(|after| after.parse().ok());
    let after = after.map_or(from, |after: u64| after.max(from));
    let page = engine
        .changes(&namespace, &server.inner.reading(Seq::new(after)))
        .await?;
    let mut records = Vec::new();
    for record in &page.records {
        records.push(described(record)?.into());
    }
    Ok(object([
        ("head", page.head.get().into()),
        ("records", Value::Array(records)),
    ]))
}

/// A record without its content.
fn described(record: &pocket_sync_protocol::EncodedRecord) -> Result<Map, Refusal> {
    let record = record
        .decode()
        .map_err(|error| EngineError::Fatal(error.to_string()))?;
    let state = match &record.state {
        RecordState::Live(_) => "live",
        RecordState::Deleted => "deleted",
        RecordState::Erased => "erased",
    };
    let size = record.state.body().map(|body| body.len() as u64);
    Ok(object([
        ("seq", record.seq.get().into()),
        ("collection", Value::from(record.collection.as_str())),
        ("id", Value::from(record.id.as_str())),
        ("rev", record.rev.to_string().into()),
        ("state", Value::from(state)),
        ("bytes", size.into()),
    ]))
}

async fn one(server: &SyncServer, asked: &HashMap<String, String>) -> Answer {
    let namespace = server.known(asked.get("namespace")).await?;
    let collection = asked.get("collection");
    let collection = collection.and_then(|name| CollectionName::new(name).ok());
    let id = asked.get("id").and_then(|id| DocumentId::new(id).ok());
    let (Some(collection), Some(id)) = (collection, id) else {
        return Err(Refusal::NotFound);
    };
    let key = crate::decide::DocumentKey { collection, id };
    let engine = &server.inner.engine;
    let fetched = engine.fetch(&namespace, &[key], &Authority::open()).await?;
    let record = fetched.records.first().ok_or(Refusal::NotFound)?;
    let mut shown = described(record)?;
    let record = record
        .decode()
        .map_err(|error| EngineError::Fatal(error.to_string()))?;
    let content = record.state.body().map(pocket_core::Body::to_map);
    let content = content.transpose().map_err(EngineError::from)?;
    // As text: numbers stay as they are, whatever the reader makes of JSON's.
    let content = content.map(|map| Value::Map(map).to_json_string());
    let content = content.transpose().map_err(EngineError::from)?;
    shown.insert("content", content);
    Ok(shown)
}

async fn found(server: &SyncServer, asked: &HashMap<String, String>) -> Answer {
    let namespace = server.known(asked.get("namespace")).await?;
    let wanted = asked.get("id").map_or("", String::as_str);
    let mut records = Vec::new();
    let mut after = Seq::ZERO;
    let mut looked_at = 0;
    let is_whole = loop {
        let page = server
            .inner
            .engine
            .changes(&namespace, &server.inner.reading(after))
            .await?;
        for record in &page.records {
            looked_at += 1;
            let id = record.decode().map(|record| record.id);
            if id.is_ok_and(|id| id.as_str().contains(wanted)) && records.len() < FOUND {
                records.push(described(record)?.into());
            }
        }
        after = page.end;
        if page.end >= page.head {
            break true;
        }
        if looked_at >= LOOKED_AT || records.len() >= FOUND {
            break false;
        }
    };
    Ok(object([
        ("records", Value::Array(records)),
        ("whole", is_whole.into()),
    ]))
}

impl crate::server::Inner {
    /// A stretch of the feed behind a place, as nobody's eyes in particular.
    fn reading(&self, after: Seq) -> ReadRequest {
        ReadRequest {
            after,
            until: None,
            live_until: None,
            told: Seq::ZERO,
            collections: std::sync::Arc::default(),
            records: self.config.limits.page_records,
            bytes: self.config.limits.wire.message_bytes,
            authority: Authority::open(),
        }
    }

    /// The documents of each collection, and whether that is all of them. Counted anew when the head has moved.
    async fn counted(
        &self,
        namespace: &Namespace,
        head: Seq,
    ) -> Result<(Vec<(CollectionName, u64)>, bool), EngineError> {
        if let Some(counts) = self.counts.get(namespace, head) {
            return Ok(counts);
        }
        let mut counts = std::collections::BTreeMap::<CollectionName, u64>::new();
        let mut after = Seq::ZERO;
        let mut looked_at = 0;
        let is_whole = loop {
            let page = self.engine.changes(namespace, &self.reading(after)).await?;
            for record in &page.records {
                looked_at += 1;
                let is_live = record
                    .decode()
                    .is_ok_and(|record| record.state.body().is_some());
                *counts.entry(record.collection.clone()).or_default() += u64::from(is_live);
            }
            after = page.end;
            if page.end >= page.head {
                break true;
            }
            if looked_at >= LOOKED_AT {
                break false;
            }
        };
        let counts = (counts.into_iter().collect(), is_whole);
        self.counts.put(namespace, head, &counts);
        Ok(counts)
    }
}

/// What was counted last in each namespace.
#[derive(Default)]
pub(crate) struct Counts(std::sync::Mutex<HashMap<Namespace, (Seq, Counted)>>);

type Counted = (Vec<(CollectionName, u64)>, bool);

impl Counts {
    fn get(&self, namespace: &Namespace, head: Seq) -> Option<Counted> {
        let counts = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let (at, counted) = counts.get(namespace)?;
        (*at == head).then(|| counted.clone())
    }

    fn put(&self, namespace: &Namespace, head: Seq, counted: &Counted) {
        let mut counts = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        counts.insert(namespace.clone(), (head, counted.clone()));
    }
}

fn object<const N: usize>(fields: [(&str, Value); N]) -> Map {
    fields.into_iter().collect()
}

fn answer(result: Answer) -> Response<Body> {
    let told = |code: &str, message: String| {
        object([("code", Value::from(code)), ("message", message.into())])
    };
    let (status, map) = match result {
        Ok(map) => (StatusCode::OK, map),
        Err(Refusal::Unauthorized) => {
            let message = "this needs the admin token, or a request from the server's own machine";
            (
                StatusCode::UNAUTHORIZED,
                told("unauthorized", message.to_owned()),
            )
        }
        Err(Refusal::NotFound) => (
            StatusCode::NOT_FOUND,
            told("not-found", "there is nothing of this name".to_owned()),
        ),
        Err(Refusal::Engine(error)) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            told("internal", error.to_string()),
        ),
    };
    let text = Value::Map(map).to_json_string().unwrap_or_default();
    let mut response = with_type(text.into(), "application/json");
    *response.status_mut() = status;
    if status == StatusCode::UNAUTHORIZED {
        let headers = response.headers_mut();
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn with_type(body: Body, kind: &'static str) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_request_that_means_this_machine_needs_no_token() {
        let with = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static("127.0.0.1:7700"));
            headers.insert(name, HeaderValue::from_static(value));
            is_this_machine(&headers)
        };
        for host in ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:7700"] {
            assert!(with("host", host), "{host}");
        }
        for host in ["", "example.com", "localhost.example.com", "10.0.0.1:7700"] {
            assert!(!with("host", host), "{host}");
        }
        for name in ["x-forwarded-for", "x-real-ip", "forwarded", "via"] {
            assert!(!with(name, "127.0.0.1"), "{name}");
        }
    }
}
