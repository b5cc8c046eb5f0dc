//! The bytes of the messages. Nothing else in Pocket knows them.
//!
//! Written by hand over `rmp` and not derived: a decoded body must stay a slice of its frame, and
//! an unknown field must be told from a critical one.

mod client;
mod digests;
mod page;
mod push;
mod reader;
mod record;
mod server;
mod writer;

use bytes::Bytes;
use pocket_core::{CollectionName, check_frame};

use crate::limits::MAX_FRAME_CHANGES;
use crate::{ClientMessage, ProtocolError, Push, PushContent, ServerMessage, WireLimits};

pub(crate) use digests::{decode_digests, encode_digests};
use reader::{Reader, shown};
pub(crate) use record::{RecordParts, decode_record, encode_record};

/// The frame of a client's message.
pub fn encode_client(message: &ClientMessage) -> Bytes {
    client::encode(message)
}

/// The frame of a server's message.
pub fn encode_server(message: &ServerMessage) -> Bytes {
    server::encode(message)
}

/// What a client said. Bodies are slices of `frame`.
///
/// # Errors
/// `too-large`, `bad-frame`, `critical-field`, or `unexpected-message` for a name that is no
/// client message.
pub fn decode_client(frame: &Bytes, limits: &WireLimits) -> Result<ClientMessage, ProtocolError> {
    open(frame, limits, client::decode)
}

/// What a server said. Records are slices of `frame`.
///
/// # Errors
/// `too-large`, `bad-frame`, `critical-field`, or `unexpected-message` for a name that is no
/// server message.
pub fn decode_server(frame: &Bytes, limits: &WireLimits) -> Result<ServerMessage, ProtocolError> {
    open(frame, limits, server::decode)
}

impl ClientMessage {
    /// Its frame.
    pub fn encode(&self) -> Bytes {
        encode_client(self)
    }
}

impl ServerMessage {
    /// Its frame.
    pub fn encode(&self) -> Bytes {
        encode_server(self)
    }
}

fn open<T>(
    frame: &Bytes,
    limits: &WireLimits,
    decode: fn(&str, &mut Reader<'_>) -> Result<Option<T>, ProtocolError>,
) -> Result<T, ProtocolError> {
    if frame.len() > limits.message_bytes {
        return Err(ProtocolError::TooLarge {
            bytes: frame.len(),
            limit: limits.message_bytes,
        });
    }
    check_frame(frame, limits.levels, limits.nodes)
        .map_err(|error| ProtocolError::bad_frame(error.to_string()))?;
    let mut reader = Reader::new(frame);
    let entries = reader.map("a frame")?;
    if entries != 1 {
        return Err(ProtocolError::bad_frame(format!(
            "a frame of {entries} messages; one is due"
        )));
    }
    let name = reader.text("a message's name")?;
    let message = decode(name, &mut reader)?
        .ok_or_else(|| ProtocolError::UnexpectedMessage { name: shown(name) })?;
    reader.end()?;
    Ok(message)
}

/// Whether a push holds no more than any push may.
pub(crate) fn check_push_size(push: &Push) -> Result<(), ProtocolError> {
    let changes: usize = push
        .mutations
        .iter()
        .map(|content| match content {
            PushContent::Changes(changes) => changes.len(),
            PushContent::Withdrawn => 0,
        })
        .sum();
    check_count(changes.max(push.mutations.len()))
}

fn check_count(count: usize) -> Result<(), ProtocolError> {
    if count > MAX_FRAME_CHANGES {
        return Err(ProtocolError::TooMany {
            count,
            limit: MAX_FRAME_CHANGES,
        });
    }
    Ok(())
}

fn collection_name(reader: &mut Reader<'_>) -> Result<CollectionName, ProtocolError> {
    CollectionName::new(reader.text("a collection's name")?)
        .map_err(|error| ProtocolError::bad_frame(error.to_string()))
}
