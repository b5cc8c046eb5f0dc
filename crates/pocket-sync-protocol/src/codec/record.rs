//! The bytes of one record, the same for every reader.

use bytes::Bytes;
use pocket_core::{Body, DocumentId, Hlc, Record, RecordState, Seq};

use super::reader::Reader;
use super::writer::Writer;
use crate::ProtocolError;
use crate::limits::largest_document;

const LIVE: u64 = 0;
const DELETED: u64 = 1;
const ERASED: u64 = 2;

/// A record without what stands in the tables of its message.
#[derive(Debug)]
pub(crate) struct RecordParts {
    pub(crate) seq: Seq,
    pub(crate) id: DocumentId,
    pub(crate) hlc: Hlc,
    pub(crate) state: RecordState,
}

/// `[seq, id, hlc, state, body or nil, later]`.
pub(crate) fn encode_record(record: &Record) -> Bytes {
    let body = record.state.body();
    let id = record.id.as_str();
    let mut writer = Writer::with_capacity(32 + id.len() + body.map_or(0, Body::len));
    writer.array(6);
    writer.u64(record.seq.get());
    writer.text(id);
    writer.u64(record.rev.hlc.bits());
    writer.u64(match record.state {
        RecordState::Live(_) => LIVE,
        RecordState::Deleted => DELETED,
        RecordState::Erased => ERASED,
    });
    match body {
        Some(body) => writer.bin(body.as_bytes()),
        None => writer.nil(),
    }
    writer.nil();
    writer.finish()
}

pub(crate) fn decode_record(bytes: &Bytes) -> Result<RecordParts, ProtocolError> {
    let mut reader = Reader::new(bytes);
    reader.fixed("a record", 6)?;
    let seq = Seq::new(reader.u64("a record's place")?);
    let id = document_id(&mut reader)?;
    let hlc = Hlc::from_bits(reader.u64("a record's clock")?);
    let state = reader.u64("a record's state")?;
    let body = reader.optional(|reader| reader.bin("a record's body"))?;
    reader.later()?;
    reader.end()?;
    let state = match (state, body) {
        (LIVE, Some(body)) => {
            let body = Body::from_msgpack(body, &largest_document()).map_err(|error| {
                ProtocolError::bad_frame(format!("the body of {:?}: {error}", id.as_str()))
            })?;
            RecordState::Live(body)
        }
        (DELETED, None) => RecordState::Deleted,
        (ERASED, None) => RecordState::Erased,
        (LIVE | DELETED | ERASED, _) => {
            return Err(ProtocolError::bad_frame(
                "a body goes with live records, and only those",
            ));
        }
        (state, _) => {
            return Err(ProtocolError::bad_frame(format!(
                "{state} is no state of a record"
            )));
        }
    };
    Ok(RecordParts {
        seq,
        id,
        hlc,
        state,
    })
}

pub(super) fn document_id(reader: &mut Reader<'_>) -> Result<DocumentId, ProtocolError> {
    DocumentId::new(reader.text("a document's id")?)
        .map_err(|error| ProtocolError::bad_frame(error.to_string()))
}
