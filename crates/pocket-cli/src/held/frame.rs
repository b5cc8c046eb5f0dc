//! What goes over the socket of a held database: frames of a kind, a length and bytes.
//!
//! The holder speaks first with [`HELLO`]. The peer sends its command line word by word, then [`RUN`]. From then on
//! the holder sends output until [`STATUS`], and the peer input, if it was asked for.

use std::io::{self, ErrorKind, Read, Write};

/// The version of these frames and of what command lines mean; the payload of [`HELLO`].
///
/// It goes up when a word of a command line comes to mean something else. New words need none: whoever holds the database
/// and does not know them says so.
pub(super) const VERSION: u8 = 2;

/// Bytes of one frame at the most.
pub(super) const MAX_FRAME: usize = 256 * 1024;

/// Bytes of input and output in one frame.
pub(super) const CHUNK: usize = 64 * 1024;

// Holder to peer.
pub(super) const HELLO: u8 = b'H';
/// Bytes for stdout.
pub(super) const OUT: u8 = b'O';
/// A line for stderr, without its end.
pub(super) const NOTE: u8 = b'N';
/// The command wants its input.
pub(super) const WANT: u8 = b'W';
/// How far something is: what is counted, [`BYTES`] or [`DOCUMENTS`]; total and position, eight bytes each; a label.
/// Nothing: the bar may go.
pub(super) const PROGRESS: u8 = b'P';
pub(super) const BYTES: u8 = b'B';
pub(super) const DOCUMENTS: u8 = b'D';
/// The end: the exit status.
pub(super) const STATUS: u8 = b'X';

// Peer to holder.
/// One word of the command line.
pub(super) const WORD: u8 = b'A';
/// The command line is complete.
pub(super) const RUN: u8 = b'R';
/// Bytes of the input.
pub(super) const INPUT: u8 = b'I';
/// The input is over.
pub(super) const END: u8 = b'E';
/// The input cannot be read on, and why.
pub(super) const BROKEN: u8 = b'B';
/// Nobody reads the output any more.
pub(super) const DEAF: u8 = b'D';

/// A kind and its bytes.
pub(super) type Frame = (u8, Vec<u8>);

/// Writes one frame with one call.
pub(super) fn write(to: &mut impl Write, kind: u8, bytes: &[u8]) -> io::Result<()> {
    let length =
        u32::try_from(bytes.len()).map_err(|_| io::Error::from(ErrorKind::InvalidInput))?;
    let mut frame = Vec::with_capacity(5 + bytes.len());
    frame.push(kind);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(bytes);
    to.write_all(&frame)
}

/// Reads one frame; `UnexpectedEof` when the other side is gone, `InvalidData` when it talks nonsense.
pub(super) fn read(from: &mut impl Read) -> io::Result<Frame> {
    let mut head = [0; 5];
    from.read_exact(&mut head)?;
    let [kind, length @ ..] = head;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_FRAME || !kind.is_ascii_uppercase() {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut bytes = Vec::new();
    // Memory grows with what comes, not with what is claimed.
    from.take(length as u64).read_to_end(&mut bytes)?;
    if bytes.len() < length {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok((kind, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_as_written_and_nonsense_is_none() {
        let mut wire = Vec::new();
        write(&mut wire, WORD, "ä".as_bytes()).unwrap();
        write(&mut wire, RUN, b"").unwrap();
        let mut from = wire.as_slice();
        assert_eq!(read(&mut from).unwrap(), (WORD, "ä".as_bytes().to_vec()));
        assert_eq!(read(&mut from).unwrap(), (RUN, Vec::new()));
        assert_eq!(
            read(&mut from).unwrap_err().kind(),
            ErrorKind::UnexpectedEof
        );
        let mut cut = &wire[..6];
        assert_eq!(read(&mut cut).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        for nonsense in [
            &b"GET / HTTP/1.1\r\n"[..],
            &[0; 5],
            &[b'A', 0xff, 0xff, 0xff, 0xff],
        ] {
            let mut from = nonsense;
            assert_eq!(read(&mut from).unwrap_err().kind(), ErrorKind::InvalidData);
        }
    }
}
