//! Frames as they come from the other side.

use bytes::Bytes;
use pocket_sync_protocol::limits::largest_document;
use pocket_sync_protocol::{
    ClientMessage, ServerMessage, WireLimits, decode_client, decode_server, encode_client,
    encode_server, http,
};

/// What is read as a message can be written and read as the same; what is in it can be taken out.
pub(crate) fn decode(bytes: &[u8]) {
    let frame = Bytes::copy_from_slice(bytes);
    let limits = WireLimits::default();
    if let Ok(message) = decode_client(&frame, &limits) {
        from_client(&message);
        let again = decode_client(&encode_client(&message), &limits);
        assert_eq!(again.expect("what was written is read"), message);
    }
    if let Ok(message) = decode_server(&frame, &limits) {
        from_server(&message);
        let again = decode_server(&encode_server(&message), &limits);
        assert_eq!(again.expect("what was written is read"), message);
    }
    if let Ok(frames) = http::split(frame) {
        let total: usize = frames.iter().map(|frame| frame.len() + 4).sum();
        assert_eq!(total, bytes.len());
        let joined = http::join(&mut frames.into(), bytes.len().max(1));
        assert!(joined.is_empty() || bytes.starts_with(&joined));
    }
}

fn from_client(message: &ClientMessage) {
    if let ClientMessage::Push(push) = message {
        let client = pocket_core::ClientId::from_bytes([7; 16]);
        if let Ok(mutations) = push.mutations(client, &largest_document()) {
            assert_eq!(mutations.len(), push.mutations.len());
        }
    }
}

fn from_server(message: &ServerMessage) {
    match message {
        ServerMessage::Page(page) => {
            if let Ok(records) = page.records() {
                assert!(records.iter().all(|record| record.seq <= page.end));
                assert!(records.iter().is_sorted_by_key(|record| record.seq));
            }
            let _ = page.removals();
            let _ = page.digests();
        }
        ServerMessage::Records(records) => {
            let _ = records.records();
        }
        _ => {}
    }
}
