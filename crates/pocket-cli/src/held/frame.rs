//! What goes over the socket of a held database: frames of a kind, a length and bytes.
//!
//! The holder speaks first with [`HELLO`]. The peer sends its command line word by word, then [`RUN`]. From then on
//! the holder sends output until [`STATUS`], and the peer input, if it was asked for.

use std::ffi::OsString;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::ffi::OsStringExt;

use crate::lines::MAX_LINE_BYTES;

/// The version of these frames and of what command lines mean; the payload of [`HELLO`].
///
/// It goes up when a word of a command line comes to mean something else, or with a new kind of frame. New words need none:
/// whoever holds the database and does not know them says so.
pub(super) const VERSION: u8 = 3;

/// Bytes of one frame at the most.
pub(super) const MAX_FRAME: usize = 256 * 1024;

/// The words of a command line, and their bytes. A line of a shell's script has no more bytes, and holds any document.
pub(super) const WORDS: usize = 100_000;
pub(super) const WORD_BYTES: usize = MAX_LINE_BYTES as usize;

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
/// A part of a word that is longer than a frame; the next frame goes on with it.
pub(super) const PART: u8 = b'P';
/// One word of the command line, or the last part of it.
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

/// Writes one word of a command line, in parts where it is longer than a frame.
pub(super) fn write_word(to: &mut impl Write, word: &[u8]) -> io::Result<()> {
    let mut rest = word;
    while let Some((part, more)) = rest.split_at_checked(MAX_FRAME)
        && !more.is_empty()
    {
        write(to, PART, part)?;
        rest = more;
    }
    write(to, WORD, rest)
}

/// Reads a command line up to its [`RUN`].
pub(super) fn read_words(from: &mut impl Read) -> io::Result<Vec<OsString>> {
    let (mut words, mut bytes) = (Vec::new(), 0);
    let mut word = Vec::new();
    loop {
        let (kind, part) = read(from)?;
        bytes += part.len();
        if bytes > WORD_BYTES {
            return Err(ErrorKind::InvalidData.into());
        }
        match kind {
            // One without bytes would bring nothing, for ever.
            PART if !part.is_empty() => word.extend_from_slice(&part),
            WORD if words.len() < WORDS => {
                word.extend_from_slice(&part);
                words.push(OsString::from_vec(std::mem::take(&mut word)));
            }
            RUN if word.is_empty() => return Ok(words),
            _ => return Err(ErrorKind::InvalidData.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_any_length_are_read_as_written() {
        let lengths = [0, 1, MAX_FRAME, MAX_FRAME + 1, 3 * MAX_FRAME, 0, 5_000_000];
        let words: Vec<OsString> = (b'a'..)
            .zip(lengths)
            .map(|(letter, length)| OsString::from_vec(vec![letter; length]))
            .collect();
        let mut wire = Vec::new();
        for word in &words {
            write_word(&mut wire, word.as_encoded_bytes()).unwrap();
        }
        write(&mut wire, RUN, b"").unwrap();
        let mut from = wire.as_slice();
        // Not compared by a macro: nobody wants to read them.
        assert!(read_words(&mut from).unwrap() == words);
        assert!(from.is_empty());
    }

    #[test]
    fn a_command_line_without_an_end_is_refused() {
        let word = vec![b'x'; MAX_FRAME];
        let mut wire = Vec::new();
        while wire.len() <= WORD_BYTES + MAX_FRAME {
            write(&mut wire, PART, &word).unwrap();
        }
        let many = [WORD, 0, 0, 0, 0].repeat(WORDS + 1);
        let nothing = [PART, 0, 0, 0, 0].repeat(2);
        let half = [PART, 1, 0, 0, 0, b'x', RUN, 0, 0, 0, 0];
        for wire in [&wire[..], &many, &nothing, &half] {
            let mut from = wire;
            let error = read_words(&mut from).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData);
        }
    }

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
