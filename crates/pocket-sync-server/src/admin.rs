//! What people and machines that look after a server may see: figures, and a page that shows what it does.
//!
//! Everything here is read only. Where an admin token is set, whoever has it may see it. Where none is, whoever asks from
//! this machine itself: the connection comes from a loopback address, names this machine as its host, and shows no sign of
//! a proxy. One that leaves none, as nginx does by itself, opens all of it to its own clients.

mod counts;
mod shown;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, FORWARDED, HOST, HeaderMap, HeaderValue,
    VIA, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::uri::Authority as HostName;
use axum::http::{Extensions, Response, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::routing::{MethodRouter, get};
use percent_encoding::percent_decode_str;
use pocket_core::{Map, Value};
use sha2::{Digest, Sha256};

use self::shown::{connected, found, newest, one, overview};
use crate::auth::Secret;
use crate::engine::EngineError;
use crate::http::bearer_token;
use crate::metrics::Gauges;
use crate::{Namespace, SyncServer};

pub(crate) use self::counts::Counts;

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
    /// The routes `/metrics` and `/admin/clients`, and with [`Admin::page`](crate::Admin::page) the page `/` and what else it
    /// asks for below
    /// `/admin`.
    ///
    /// [`serve`](Self::serve) has them. Elsewhere, merge them into a router whose requests have a [`Peer`] among their
    /// extensions, or set an admin token.
    pub fn admin_router(&self) -> Router {
        let guard = from_fn_with_state(self.clone(), guard);
        let guarded = |route: MethodRouter<Self>| route.route_layer(guard.clone());
        let router = Router::new()
            .route("/metrics", guarded(get(metrics)))
            .route("/admin/clients", guarded(get(clients)));
        let router = if self.inner.config.admin.page {
            router
                .route("/", get(page))
                .route("/admin/page.css", get(style))
                .route("/admin/page.js", get(script))
                .route("/admin/state", guarded(get(state)))
                .route("/admin/feed", guarded(get(feed)))
                .route("/admin/document", guarded(get(document)))
                .route("/admin/search", guarded(get(search)))
        } else {
            router
        };
        router.with_state(self.clone())
    }

    /// Whether this request may see everything.
    fn admits(&self, headers: &HeaderMap, extensions: &Extensions) -> bool {
        if let Some(token) = &self.inner.config.admin.token {
            // Also from this machine: a proxy on it may look like somebody who sits at it. Compared as hashes: how long it
            // takes tells nothing about a token that is nearly right.
            let hash = |token: &Secret| Sha256::digest(token.expose().as_bytes());
            return bearer_token(headers).is_some_and(|bearer| hash(token) == hash(&bearer));
        }
        let peer = extensions.get::<Peer>();
        peer.is_some_and(|Peer(peer)| peer.ip().to_canonical().is_loopback())
            && is_this_machine(headers)
    }

    async fn known(&self, name: Option<&String>) -> Result<Namespace, Refusal> {
        let namespace = name.and_then(|name| Namespace::new(name));
        let namespace = namespace.ok_or(Refusal::NotFound)?;
        // Asking for one that is not there would make it.
        let head = self.inner.engine.stored_head(&namespace).await?;
        head.map(|_| namespace).ok_or(Refusal::NotFound)
    }

    /// How things are now.
    pub(crate) fn gauges(&self) -> Gauges {
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

/// Whether a browser or a program means this machine, and nothing tells of somebody in between.
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

/// Lets pass who may see everything.
async fn guard(State(server): State<SyncServer>, request: Request, next: Next) -> Response<Body> {
    if server.admits(request.headers(), request.extensions()) {
        next.run(request).await
    } else {
        answer(Err(Refusal::Unauthorized))
    }
}

async fn metrics(State(server): State<SyncServer>) -> Response<Body> {
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

async fn clients(State(server): State<SyncServer>) -> Response<Body> {
    answer(Ok(object([("clients", connected(&server))])))
}

async fn state(State(server): State<SyncServer>) -> Response<Body> {
    answer(overview(&server).await)
}

async fn feed(State(server): State<SyncServer>, request: Request) -> Response<Body> {
    answer(newest(&server, &asked(&request)).await)
}

async fn document(State(server): State<SyncServer>, request: Request) -> Response<Body> {
    answer(one(&server, &asked(&request)).await)
}

async fn search(State(server): State<SyncServer>, request: Request) -> Response<Body> {
    answer(found(&server, &asked(&request)).await)
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
            let message = "this needs the admin token; where none is set, a request from the server's own machine";
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
