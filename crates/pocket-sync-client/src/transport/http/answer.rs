//! What an answer is: the server's, or that of something else on the way.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pocket_sync_protocol::codes;
use pocket_sync_protocol::http as wire;
use pocket_sync_protocol::limits::MAX_MESSAGE_BYTES;

use crate::{SyncError, transport};

/// How long an answer that has begun may bring nothing more.
pub(in crate::transport) const STALL: Duration = Duration::from_secs(60);

/// The largest refusal that is read.
const REFUSAL_BYTES: usize = 16 * 1024;

/// An answer of a sync server.
#[derive(Debug, Default)]
pub(in crate::transport) struct Answer {
    pub(in crate::transport) frames: Vec<Bytes>,
    /// What the server calls the connection, in its first answer.
    pub(in crate::transport) connection: Option<Arc<str>>,
    /// How long the server offers to hold an empty answer back, in its first answer.
    pub(in crate::transport) wait: Duration,
    /// There is more to come without anything else happening.
    pub(in crate::transport) more: bool,
    /// The connection has ended with this code.
    pub(in crate::transport) close: Option<u16>,
}

/// Why there is none.
#[derive(Debug)]
pub(in crate::transport) enum Failure {
    /// The connection broke, or something else than a sync server answered: come back.
    Lost(String),
    /// The server does not know this connection any more.
    Gone(String),
    /// The server has said why not.
    Refused(SyncError),
}

pub(in crate::transport) fn too_large() -> Failure {
    Failure::Lost("the answer is too large".to_owned())
}

pub(in crate::transport) fn stalled() -> Failure {
    Failure::Lost("the answer stopped half-way".to_owned())
}

pub(in crate::transport) fn broken_off(error: impl fmt::Display) -> Failure {
    Failure::Lost(format!("the answer broke off: {error}"))
}

/// What an answer says. `collect` reads its body, which must not be larger than it is told.
pub(in crate::transport) async fn read(
    status: u16,
    header: impl Fn(&str) -> Option<String>,
    collect: impl AsyncFnOnce(usize) -> Result<Bytes, Failure>,
    url: &str,
) -> Result<Answer, Failure> {
    let content_type = header("content-type");
    let kind = content_type
        .as_deref()
        .and_then(|kind| kind.split(';').next())
        .unwrap_or_default()
        .trim();
    if kind.eq_ignore_ascii_case(wire::CONTENT_TYPE) && status == 200 {
        let body = collect(wire::body_bytes(MAX_MESSAGE_BYTES)).await?;
        return frames(header, body);
    }
    if kind.eq_ignore_ascii_case("application/json")
        && let Ok(body) = collect(REFUSAL_BYTES).await
        && let Some(error) = transport::refusal(content_type.as_deref(), &body)
    {
        return Err(if error.code() == codes::CONNECTION_GONE {
            Failure::Gone(error.message().to_owned())
        } else {
            Failure::Refused(error)
        });
    }
    let error = transport::stranger(status, url);
    Err(if error.is_retryable() {
        Failure::Lost(error.message().to_owned())
    } else {
        Failure::Refused(error)
    })
}

fn frames(header: impl Fn(&str) -> Option<String>, body: Bytes) -> Result<Answer, Failure> {
    let frames = wire::split(body).map_err(|error| Failure::Lost(error.to_string()))?;
    let wait = header(wire::WAIT).and_then(|wait| wait.parse().ok());
    Ok(Answer {
        frames,
        connection: header(wire::CONNECTION).map(Arc::from),
        wait: wait.map_or(Duration::ZERO, Duration::from_millis),
        more: header(wire::MORE).is_some(),
        close: header(wire::CLOSE).and_then(|code| code.parse().ok()),
    })
}
