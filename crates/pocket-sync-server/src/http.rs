//! The HTTP face: `/health`, and the door to `/sync`.

use std::net::IpAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, ORIGIN,
    SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use axum::http::{Response, StatusCode};
use axum::routing::get;
use pocket_sync_protocol::SUBPROTOCOL;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::Config;
use crate::auth::Secret;
use crate::driver::Caller;
use crate::server::Held;
use crate::{SyncServer, polled, websocket};

impl SyncServer {
    /// The routes `/sync` and `/health`, to be served by itself or merged into another router.
    ///
    /// When another server serves them, call [`stop`](Self::stop) before that one stops.
    pub fn router(&self) -> Router {
        Router::new()
            .route(
                "/sync",
                get(sync).post(polled::post).options(polled::preflight),
            )
            .route("/health", get(ready))
            .route("/health/ready", get(ready))
            .route("/health/live", get(live))
            .with_state(self.clone())
    }
}

/// Whether this process runs at all; when it does not answer, start it again.
async fn live() -> Response<Body> {
    json(StatusCode::OK, r#"{"status":"live"}"#.to_owned())
}

/// Whether connections are taken, and what they write; when they are not, send them elsewhere.
async fn ready(State(server): State<SyncServer>) -> Response<Body> {
    if *server.inner.stopping().borrow() {
        return json(
            StatusCode::SERVICE_UNAVAILABLE,
            r#"{"status":"stopping"}"#.to_owned(),
        );
    }
    if let Some(trouble) = server.health().store {
        let status = trouble.as_str();
        return json(
            StatusCode::SERVICE_UNAVAILABLE,
            format!(r#"{{"status":"{status}"}}"#),
        );
    }
    // The connection that asks is one of them.
    let connections = server.connections().saturating_sub(1);
    json(
        StatusCode::OK,
        format!(r#"{{"status":"ok","connections":{connections}}}"#),
    )
}

async fn sync(State(server): State<SyncServer>, mut request: Request) -> Response<Body> {
    let headers = request.headers();
    if !may_connect(&server.inner.config, headers.get(ORIGIN)) {
        return refuse(
            StatusCode::FORBIDDEN,
            "forbidden",
            "pages of this origin may not connect",
        );
    }
    if *server.inner.stopping().borrow() {
        return refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "going-away",
            "the server stops; connect again",
        );
    }
    let Some(key) = websocket_key(headers) else {
        let mut response = refuse(
            StatusCode::UPGRADE_REQUIRED,
            "unexpected-message",
            "open a WebSocket here, or POST frames",
        );
        response
            .headers_mut()
            .insert(UPGRADE, HeaderValue::from_static("websocket"));
        return response;
    };
    let offered = lists(headers, &SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL);
    if !offered && headers.contains_key(SEC_WEBSOCKET_PROTOCOL) {
        let message = format!("none of the offered subprotocols is {SUBPROTOCOL}; update one side");
        return refuse(StatusCode::BAD_REQUEST, "version-mismatch", &message);
    }
    let accept = derive_accept_key(key.as_bytes());
    let caller = Caller::new(
        server.inner.next_connection(),
        headers,
        request.extensions(),
    );
    let upgrade = hyper::upgrade::on(&mut request);
    let held = request.extensions().get::<Held>().cloned();
    tokio::spawn(websocket::upgraded(server, upgrade, caller, held));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    if offered {
        headers.insert(
            SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static(SUBPROTOCOL),
        );
    }
    response
}

/// The key of a WebSocket handshake, if this is one.
fn websocket_key(headers: &HeaderMap) -> Option<&HeaderValue> {
    let is_handshake = lists(headers, &CONNECTION, "upgrade")
        && lists(headers, &UPGRADE, "websocket")
        && headers
            .get(SEC_WEBSOCKET_VERSION)
            .is_some_and(|version| version == "13");
    headers.get(SEC_WEBSOCKET_KEY).filter(|_| is_handshake)
}

/// Whether a header of comma-separated words has this one.
fn lists(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(word))
}

/// The token of a header `Authorization: Bearer TOKEN`.
pub(crate) fn bearer_token(headers: &HeaderMap) -> Option<Secret> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| Secret::from(token.trim()))
}

/// Whether who comes with this `Origin` may connect: no page at all, one of this machine, or one that is on the list.
///
/// For any other page a browser would send what it can reach here on behalf of whoever made the page.
pub(crate) fn may_connect(config: &Config, origin: Option<&HeaderValue>) -> bool {
    let is_listed = |origin: &HeaderValue| {
        let origin = origin.to_str().unwrap_or_default();
        config.origins.contains(origin)
    };
    origin.is_none_or(|origin| is_loopback_origin(origin) || is_listed(origin))
}

/// Whether an origin is a page served from this machine.
fn is_loopback_origin(origin: &HeaderValue) -> bool {
    let Some((_, authority)) = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"))
    else {
        return false;
    };
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// An answer that says why nothing was done. The message is for people, and must need no escaping in JSON.
pub(crate) fn refuse(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let message = message.replace(['"', '\\'], "'");
    json(
        status,
        format!(r#"{{"code":"{code}","message":"{message}"}}"#),
    )
}

fn json(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It was numbered when the runtime let it begin, so one that was opened later could count as the older.
    #[tokio::test]
    async fn a_connection_has_its_number_before_its_upgrade_is_answered() {
        let storage = std::sync::Arc::new(pocket_storage_memory::MemoryStorage::new());
        let server = SyncServer::builder(storage).build().unwrap();
        let request = Request::builder()
            .header(CONNECTION, "upgrade")
            .header(UPGRADE, "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .body(Body::empty())
            .unwrap();
        let before = server.inner.next_connection();
        // On one thread, nothing that was started begins before this is back.
        let response = sync(State(server.clone()), request).await;
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(server.inner.next_connection(), before + 2);
    }

    #[test]
    fn only_pages_of_this_machine_may_connect() {
        let is_loopback =
            |origin: &'static str| is_loopback_origin(&HeaderValue::from_static(origin));
        for origin in [
            "http://localhost",
            "http://localhost:5173",
            "https://127.0.0.1:1",
            "http://[::1]:80",
        ] {
            assert!(is_loopback(origin), "{origin}");
        }
        for origin in [
            "null",
            "",
            "https://example.com",
            "http://localhost.example.com",
            "http://127.0.0.1.nip.io",
        ] {
            assert!(!is_loopback(origin), "{origin}");
        }
    }

    #[test]
    fn pages_on_the_list_may_connect_and_none_that_look_like_them() {
        let mut config = Config::default();
        config.origins.insert("https://app.example.com".to_owned());
        let may =
            |origin: &'static str| may_connect(&config, Some(&HeaderValue::from_static(origin)));
        assert!(may_connect(&config, None) && may("https://app.example.com"));
        assert!(may("http://localhost:3000"));
        for origin in [
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://app.example.com.evil.org",
            "https://evil.org/https://app.example.com",
            "https://example.com",
            "null",
        ] {
            assert!(!may(origin), "{origin}");
        }
    }

    #[test]
    fn a_token_is_taken_from_a_bearer_header_only() {
        let with = |value: &'static str| {
            bearer_token(&HeaderMap::from_iter([(
                AUTHORIZATION,
                HeaderValue::from_static(value),
            )]))
        };
        assert_eq!(with("Bearer abc"), Some(Secret::from("abc")));
        assert_eq!(with("bearer  abc "), Some(Secret::from("abc")));
        assert_eq!(with("Basic abc"), None);
        assert_eq!(bearer_token(&HeaderMap::new()), None);
    }
}
