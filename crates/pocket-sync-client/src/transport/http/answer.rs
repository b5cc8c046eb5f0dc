//! What an answer is: the server's, or that of something else on the way.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use hyper::{Response, StatusCode};
use pocket_sync_protocol::codes;
use pocket_sync_protocol::http as wire;
use pocket_sync_protocol::limits::MAX_MESSAGE_BYTES;

use crate::{SyncError, transport};

/// How long an answer that has begun may bring nothing more.
const STALL: Duration = Duration::from_secs(60);

/// The largest refusal that is read.
const REFUSAL_BYTES: usize = 16 * 1024;

/// An answer of a sync server.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) frames: Vec<Bytes>,
    /// What the server calls the connection, in its first answer.
    pub(super) connection: Option<Arc<str>>,
    /// How long the server offers to hold an empty answer back, in its first answer.
    pub(super) wait: Duration,
    /// There is more to come without anything else happening.
    pub(super) more: bool,
    /// The connection has ended with this code.
    pub(super) close: Option<u16>,
}

/// Why there is none.
#[derive(Debug)]
pub(super) enum Failure {
    /// The connection broke, or something else than a sync server answered: come back.
    Lost(String),
    /// The server does not know this connection any more.
    Gone(String),
    /// The server has said why not.
    Refused(SyncError),
}

/// Reads an answer to its end.
pub(super) async fn read(response: Response<Incoming>, url: &str) -> Result<Answer, Failure> {
    let (head, body) = response.into_parts();
    let content_type = head
        .headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let kind = content_type
        .and_then(|kind| kind.split(';').next())
        .unwrap_or_default()
        .trim();
    if head.headers.contains_key(CONTENT_ENCODING) {
        return Err(Failure::Lost(format!(
            "`{url}` answered in an encoding nobody asked for"
        )));
    }
    if kind.eq_ignore_ascii_case(wire::CONTENT_TYPE) && head.status == StatusCode::OK {
        let body = collect(body, wire::body_bytes(MAX_MESSAGE_BYTES)).await?;
        return frames(&head.headers, body);
    }
    if kind.eq_ignore_ascii_case("application/json")
        && let Ok(body) = collect(body, REFUSAL_BYTES).await
        && let Some(error) = transport::refusal(content_type, &body)
    {
        return Err(if error.code() == codes::CONNECTION_GONE {
            Failure::Gone(error.message().to_owned())
        } else {
            Failure::Refused(error)
        });
    }
    let error = transport::stranger(head.status.as_u16(), url);
    Err(if error.is_retryable() {
        Failure::Lost(error.message().to_owned())
    } else {
        Failure::Refused(error)
    })
}

fn frames(headers: &HeaderMap, body: Bytes) -> Result<Answer, Failure> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let frames = wire::split(body).map_err(|error| Failure::Lost(error.to_string()))?;
    let wait = text(wire::WAIT).and_then(|wait| wait.parse().ok());
    Ok(Answer {
        frames,
        connection: text(wire::CONNECTION).map(Arc::from),
        wait: wait.map_or(Duration::ZERO, Duration::from_millis),
        more: headers.contains_key(wire::MORE),
        close: text(wire::CLOSE).and_then(|code| code.parse().ok()),
    })
}

async fn collect(mut body: Incoming, most: usize) -> Result<Bytes, Failure> {
    if body.size_hint().lower() > most as u64 {
        return Err(Failure::Lost("the answer is too large".to_owned()));
    }
    let mut collected = BytesMut::new();
    loop {
        let frame = tokio::time::timeout(STALL, body.frame()).await;
        let frame = frame.map_err(|_| Failure::Lost("the answer stopped half-way".to_owned()))?;
        let Some(frame) = frame else {
            return Ok(collected.freeze());
        };
        let frame =
            frame.map_err(|error| Failure::Lost(format!("the answer broke off: {error}")))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if collected.len() + data.len() > most {
            return Err(Failure::Lost("the answer is too large".to_owned()));
        }
        collected.extend_from_slice(&data);
    }
}
