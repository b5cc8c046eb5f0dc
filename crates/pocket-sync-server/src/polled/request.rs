//! One request over HTTP: from headers and a body to a [`Post`], and from its reply to an answer.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, CONTENT_ENCODING,
    CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, ORIGIN, RETRY_AFTER, VARY,
};
use axum::http::{Response, StatusCode};
use futures_util::StreamExt;
use pocket_sync_protocol::{codes, http as wire};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::table::{ConnectionId, Missing, TokenDigest, digest};
use super::{Polled, Post, Reply};
use crate::auth::Secret;
use crate::driver::Caller;
use crate::http::{bearer_token, may_connect, refuse};
use crate::session::{HELLO_BYTES, Session};
use crate::{SyncServer, driver};

/// Seconds that a server with too many connections asks for.
const BUSY_SECONDS: HeaderValue = HeaderValue::from_static("5");

const CONNECTION: HeaderName = HeaderName::from_static(wire::CONNECTION);
const SEQUENCE: HeaderName = HeaderName::from_static(wire::SEQUENCE);
const WAIT: HeaderName = HeaderName::from_static(wire::WAIT);
const INTERVAL: HeaderName = HeaderName::from_static(wire::INTERVAL);
const CLOSE: HeaderName = HeaderName::from_static(wire::CLOSE);
const MORE: HeaderName = HeaderName::from_static(wire::MORE);

/// What a request belongs to.
enum Connection {
    /// The one that it opens.
    New(Caller),
    Known(ConnectionId, mpsc::Sender<Post>),
}

/// An answer that says why nothing was done.
struct Refusal(Box<Response<Body>>);

/// `POST /sync`.
pub(crate) async fn post(State(server): State<SyncServer>, request: Request) -> Response<Body> {
    let origin = request.headers().get(ORIGIN).cloned();
    if !may_connect(&server.inner.config, origin.as_ref()) {
        return forbidden_origin();
    }
    let answered = exchange(&server, request).await;
    let mut response = answered.unwrap_or_else(|refusal| *refusal.0);
    let headers = response.headers_mut();
    // An intermediary that kept an answer would give one client what belongs to another.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(origin) = origin {
        let exposed = "pocket-connection, pocket-wait, pocket-close, pocket-more";
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(exposed),
        );
        headers.insert(VARY, HeaderValue::from_static("origin"));
    }
    response
}

/// `OPTIONS /sync`: what a page that may connect may send.
pub(crate) async fn preflight(
    State(server): State<SyncServer>,
    request: Request,
) -> Response<Body> {
    let Some(origin) = request.headers().get(ORIGIN).cloned() else {
        return status(StatusCode::NO_CONTENT);
    };
    if !may_connect(&server.inner.config, Some(&origin)) {
        return forbidden_origin();
    }
    let mut response = status(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    let allowed = "authorization, content-type, pocket-connection, pocket-sequence, pocket-wait, \
                   pocket-interval, pocket-close";
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("POST"),
    );
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(allowed),
    );
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    headers.insert(VARY, HeaderValue::from_static("origin"));
    response
}

async fn exchange(server: &SyncServer, request: Request) -> Result<Response<Body>, Refusal> {
    let (head, body) = request.into_parts();
    let headers = &head.headers;
    check_content(headers)?;
    let owner = digest(bearer_token(headers).as_ref().map(Secret::expose));
    let connection = match headers.get(CONNECTION) {
        // Numbered as it comes: its hello may be held up in the body.
        None => {
            let number = server.inner.next_connection();
            Connection::New(Caller::new(number, headers, &head.extensions))
        }
        Some(value) => {
            let id = value
                .to_str()
                .ok()
                .and_then(ConnectionId::parse)
                .ok_or_else(gone)?;
            Connection::Known(id, find(server, id, &owner)?)
        }
    };
    let limits = &server.inner.config.limits;
    let message_bytes = match connection {
        // Whoever is not known yet is not listened to at length.
        Connection::New(_) => HELLO_BYTES.min(limits.wire.message_bytes),
        Connection::Known(..) => limits.wire.message_bytes,
    };
    let most = wire::body_bytes(message_bytes);
    let read = read(headers, body, most, server.inner.config.frame_timeout).await;
    let read = read.and_then(|body| {
        wire::split(body)
            .map_err(|error| refusal(StatusCode::BAD_REQUEST, error.code(), &error.to_string()))
    });
    let frames = read.inspect_err(|_| {
        // What this request said is lost, so nothing behind it can be in order.
        if let Connection::Known(id, _) = connection {
            server.inner.polls.remove(id);
        }
    })?;
    let number = |name: HeaderName| number(headers, &name);
    let (reply, replied) = oneshot::channel();
    let post = Post {
        sequence: number(SEQUENCE)?.unwrap_or(0),
        frames,
        wait: number(WAIT)?
            .map_or(Duration::ZERO, Duration::from_millis)
            .min(server.inner.config.poll_wait),
        is_last: headers.contains_key(CLOSE),
        reply,
    };
    let caller = match connection {
        Connection::New(caller) => caller,
        Connection::Known(_, posts) => {
            // More requests at once than the protocol allows, or the connection ended in this moment.
            posts.try_send(post).map_err(|_| gone())?;
            server.inner.metrics.polls.add(1);
            return replied
                .await
                .map(|reply| answer(reply, None, server))
                .map_err(|_| gone());
        }
    };
    let interval = number(INTERVAL)?.map_or(Duration::ZERO, Duration::from_millis);
    let id = open(server, post, caller, owner, interval)?;
    let reply = replied.await.map_err(|_| gone())?;
    Ok(answer(reply, Some(id), server))
}

/// Begins a connection with its first request.
fn open(
    server: &SyncServer,
    post: Post,
    caller: Caller,
    owner: TokenDigest,
    interval: Duration,
) -> Result<ConnectionId, Refusal> {
    let inner = &server.inner;
    if *inner.stopping().borrow() {
        let message = "the server stops; connect again";
        return Err(refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            codes::GOING_AWAY,
            message,
        ));
    }
    if post.frames.is_empty() || post.sequence != 0 {
        let message = "a connection begins with request 0 and a hello";
        return Err(refusal(
            StatusCode::BAD_REQUEST,
            codes::UNEXPECTED_MESSAGE,
            message,
        ));
    }
    let mut random = [0; 16];
    inner.env.random(&mut random);
    let id = ConnectionId::new(random);
    let Some((posts, receiver, place)) = inner.polls.enter(id, owner, inner.config.polled_sessions)
    else {
        let message = "too many connections; come back later";
        let mut refusal = refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            codes::RATE_LIMITED,
            message,
        );
        refusal.0.headers_mut().insert(RETRY_AFTER, BUSY_SECONDS);
        return Err(refusal);
    };
    posts.try_send(post).map_err(|_| gone())?;
    inner.metrics.polls.add(1);
    let session = Session::polled(std::sync::Arc::clone(&inner.config), interval);
    let polled = Polled::new(receiver, place, inner.config.limits.wire.message_bytes);
    let inner = std::sync::Arc::clone(inner);
    tokio::spawn(async move {
        let _served = inner.serving();
        driver::serve(std::sync::Arc::clone(&inner), session, polled, caller).await;
    });
    Ok(id)
}

fn answer(reply: Reply, opened: Option<ConnectionId>, server: &SyncServer) -> Response<Body> {
    let mut response = Response::new(Body::from(reply.body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(wire::CONTENT_TYPE));
    if let Some(code) = reply.close {
        headers.insert(CLOSE, HeaderValue::from(code));
        return response;
    }
    if reply.more {
        headers.insert(MORE, HeaderValue::from_static("1"));
    }
    if let Some(id) = opened {
        let wait = u64::try_from(server.inner.config.poll_wait.as_millis()).unwrap_or(u64::MAX);
        headers.insert(WAIT, HeaderValue::from(wait));
        if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
            headers.insert(CONNECTION, id);
        }
    }
    response
}

fn check_content(headers: &HeaderMap) -> Result<(), Refusal> {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let kind = kind
        .and_then(|kind| kind.split(';').next())
        .unwrap_or_default();
    let message = if !kind.trim().eq_ignore_ascii_case(wire::CONTENT_TYPE) {
        "a body has the content type application/vnd.pocket.v1"
    } else if headers.contains_key(CONTENT_ENCODING) {
        // Compressed bytes would be looked into before anybody knows how many they become.
        "a body has no content encoding"
    } else {
        return Ok(());
    };
    Err(refusal(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        codes::BAD_FRAME,
        message,
    ))
}

fn find(
    server: &SyncServer,
    id: ConnectionId,
    owner: &TokenDigest,
) -> Result<tokio::sync::mpsc::Sender<Post>, Refusal> {
    server
        .inner
        .polls
        .find(id, owner)
        .map_err(|missing| match missing {
            Missing::Gone => gone(),
            Missing::OtherToken => {
                let message = "this connection was opened with another token; open a new one";
                refusal(StatusCode::UNAUTHORIZED, codes::UNAUTHORIZED, message)
            }
        })
}

/// Reads a body of at most `most` bytes, as long as it keeps [coming](driver::time_to_come).
async fn read(
    headers: &HeaderMap,
    body: Body,
    most: usize,
    patience: Duration,
) -> Result<Bytes, Refusal> {
    let too_large = || {
        let message = format!("a body has at most {most} bytes here; send less at once");
        refusal(StatusCode::PAYLOAD_TOO_LARGE, codes::TOO_LARGE, &message)
    };
    let claimed = headers.get(axum::http::header::CONTENT_LENGTH);
    let claimed = claimed.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if claimed.is_some_and(|claimed| claimed > most as u64) {
        return Err(too_large());
    }
    let began = Instant::now();
    let (mut stream, mut first, mut rest) = (body.into_data_stream(), Bytes::new(), Vec::new());
    loop {
        let received = first.len() + rest.len();
        let until = began + driver::time_to_come(patience, received as u64);
        let chunk = match tokio::time::timeout_at(until, stream.next()).await {
            Ok(Some(Ok(chunk))) => chunk,
            Ok(None) => break,
            Ok(Some(Err(error))) => {
                let message = format!("the body broke off: {error}");
                return Err(refusal(StatusCode::BAD_REQUEST, codes::BAD_FRAME, &message));
            }
            Err(_) => {
                let message = "the body came too slowly";
                return Err(refusal(
                    StatusCode::REQUEST_TIMEOUT,
                    codes::IDLE_TIMEOUT,
                    message,
                ));
            }
        };
        if received + chunk.len() > most {
            return Err(too_large());
        }
        if received == 0 {
            // Most bodies are one chunk, which is not copied.
            first = chunk;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&chunk);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.into() })
}

/// A header that is a number, if it is there.
fn number(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>, Refusal> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| {
        let message = format!("the header {name} is no number");
        refusal(StatusCode::BAD_REQUEST, codes::BAD_FRAME, &message)
    })
}

fn gone() -> Refusal {
    let message = "this connection is not known any more; connect again";
    refusal(StatusCode::GONE, codes::CONNECTION_GONE, message)
}

fn forbidden_origin() -> Response<Body> {
    let message = "pages of this origin may not connect";
    refuse(StatusCode::FORBIDDEN, codes::FORBIDDEN, message)
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Refusal {
    Refusal(Box::new(refuse(status, code, message)))
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
