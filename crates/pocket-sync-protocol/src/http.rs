//! The HTTP transport: names, and frames in a body. `docs/protocol.md` says how they are used.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use crate::ProtocolError;

/// The content type of every body that holds frames.
pub const CONTENT_TYPE: &str = "application/vnd.pocket.v1";

/// Names a connection. The server gives it with its first answer; the client repeats it.
pub const CONNECTION: &str = "pocket-connection";

/// The place of a request in its connection: 0 for the first one, then one more each.
pub const SEQUENCE: &str = "pocket-sequence";

/// Milliseconds that an answer without frames may be held back: what the client asks for, or the server offers.
pub const WAIT: &str = "pocket-wait";

/// Milliseconds between two requests of a client that polls, in its first request.
pub const INTERVAL: &str = "pocket-interval";

/// The close code of a connection that ends with this request or answer.
pub const CLOSE: &str = "pocket-close";

/// There is more to come without anything else happening: the client asks again at once. In answers, as `1`.
pub const MORE: &str = "pocket-more";

/// The most frames of a body.
pub const MAX_BODY_FRAMES: usize = 256;

/// The bytes before each frame in a body: its length, big-endian.
const LENGTH_BYTES: usize = 4;

/// The largest body while frames have at most `message_bytes`.
pub const fn body_bytes(message_bytes: usize) -> usize {
    message_bytes.saturating_add(LENGTH_BYTES * MAX_BODY_FRAMES)
}

/// Takes frames from the front for one body: as many as fit, and one at the least if there is any.
pub fn join(frames: &mut VecDeque<Bytes>, message_bytes: usize) -> Bytes {
    let (mut count, mut length) = (0, 0);
    for frame in frames.iter().take(MAX_BODY_FRAMES) {
        let with = length + LENGTH_BYTES + frame.len();
        if count > 0 && with > body_bytes(message_bytes) {
            break;
        }
        (count, length) = (count + 1, with);
    }
    let mut body = BytesMut::with_capacity(length);
    for frame in frames.drain(..count) {
        // No frame comes near 4 GiB: the limit on messages is 64 MiB.
        body.put_u32(u32::try_from(frame.len()).unwrap_or(u32::MAX));
        body.extend_from_slice(&frame);
    }
    body.freeze()
}

/// The frames of a body, as slices of it.
///
/// # Errors
/// [`ProtocolError`] when a length claims nothing or more than is there, and when there are too many frames.
pub fn split(mut body: Bytes) -> Result<Vec<Bytes>, ProtocolError> {
    let mut frames = Vec::new();
    while !body.is_empty() {
        let Some((length, _)) = body.split_first_chunk::<LENGTH_BYTES>() else {
            return Err(ProtocolError::bad_frame(
                "the body ends within the length of a frame",
            ));
        };
        let length = u32::from_be_bytes(*length) as usize;
        let rest = body.len() - LENGTH_BYTES;
        if length == 0 || length > rest {
            return Err(ProtocolError::bad_frame(format!(
                "a frame claims {length} bytes where the body has {rest} left"
            )));
        }
        if frames.len() == MAX_BODY_FRAMES {
            return Err(ProtocolError::bad_frame(format!(
                "a body has at most {MAX_BODY_FRAMES} frames"
            )));
        }
        let _ = body.split_to(LENGTH_BYTES);
        frames.push(body.split_to(length));
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(sizes: &[usize]) -> VecDeque<Bytes> {
        sizes
            .iter()
            .map(|size| Bytes::from(vec![0x80; *size]))
            .collect()
    }

    #[test]
    fn what_is_joined_is_split_into_the_same_frames() {
        let mut waiting = frames(&[1, 300, 70_000]);
        let sent: Vec<Bytes> = waiting.iter().cloned().collect();
        let body = join(&mut waiting, 1 << 20);
        assert!(waiting.is_empty());
        assert_eq!(split(body), Ok(sent));
        assert_eq!(split(Bytes::new()), Ok(Vec::new()));
    }

    #[test]
    fn a_body_takes_what_fits_and_the_rest_goes_later() {
        let mut waiting = frames(&[600, 500, 600]);
        assert_eq!(
            split(join(&mut waiting, 100)).map(|frames| frames.len()),
            Ok(2)
        );
        assert_eq!(waiting.len(), 1);
        let mut large = frames(&[6_000, 1]);
        let body = join(&mut large, 4_000);
        assert_eq!(body.len(), 6_004, "one frame is always taken");
        let mut many = frames(&[1; MAX_BODY_FRAMES + 1]);
        join(&mut many, 1 << 20);
        assert_eq!(many.len(), 1);
    }

    #[test]
    fn a_largest_frame_and_its_length_fit_a_body() {
        let mut waiting = frames(&[4_096]);
        assert!(join(&mut waiting, 4_096).len() <= body_bytes(4_096));
    }

    #[test]
    fn lengths_that_claim_what_is_not_there_are_refused() {
        let many = [[0, 0, 0, 1, 0x80].as_slice(); MAX_BODY_FRAMES + 1].concat();
        for body in [
            vec![0],
            vec![0, 0, 0, 0],
            vec![0, 0, 0, 2, 1],
            vec![0xff, 0xff, 0xff, 0xff],
            vec![0, 0, 0, 1, 0x80, 0, 0],
            many,
        ] {
            let error = split(Bytes::from(body)).expect_err("it is refused");
            assert_eq!(error.code(), crate::codes::BAD_FRAME);
        }
    }
}
