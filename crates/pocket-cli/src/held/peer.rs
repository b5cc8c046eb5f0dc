//! The side that was started while another process has the database open.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pocket_core::codes as core_codes;
use tokio::sync::oneshot;

use super::frame::{self, CHUNK, WORD_BYTES, WORDS};
use super::socket;
use crate::codes;
use crate::failure::{Failure, Result};
use crate::progress::{Bar, Unit};

/// How long the holder may take to answer the first time.
const PATIENCE: Duration = Duration::from_secs(10);

/// The way to the process that holds the database.
#[derive(Debug)]
pub(crate) struct Peer {
    stream: UnixStream,
}

impl Peer {
    /// Connects to the holder of this directory, if there is one that listens.
    pub(crate) fn of(directory: &Path) -> Result<Option<Self>> {
        let Some(stream) = socket::connect(directory) else {
            return Ok(None);
        };
        let silent = |what: &str| {
            Failure::new(
                core_codes::IN_USE,
                format!(
                    "{}: {what}; end it, or wait for its end",
                    directory.display()
                ),
            )
        };
        stream
            .set_read_timeout(Some(PATIENCE))
            .map_err(|error| lost(&error))?;
        match frame::read(&mut &stream) {
            Ok((frame::HELLO, version)) if version.first() == Some(&frame::VERSION) => {}
            Ok(_) => {
                return Err(silent(
                    "the process that holds it is of another version of pocket",
                ));
            }
            Err(error) if is_late(&error) => {
                return Err(silent("the process that holds it does not answer"));
            }
            // It ended just now.
            Err(_) => return Ok(None),
        }
        stream
            .set_read_timeout(None)
            .map_err(|error| lost(&error))?;
        Ok(Some(Self { stream }))
    }

    /// Has the holder run this process's command line. `file` is read instead of stdin. Dropped, it ends the
    /// command.
    ///
    /// `only_reads`: should the holder go away, nothing is half done.
    pub(crate) async fn run(self, file: Option<File>, only_reads: bool) -> Result {
        let input = move || -> Box<dyn Read + Send> {
            match file {
                Some(file) => Box::new(file),
                None => Box::new(io::stdin()),
            }
        };
        let words = std::env::args_os().collect();
        let ended = self.command(words, Box::new(input), Box::new(io::stdout()));
        match ended.await {
            Err(failure) if only_reads && failure.code() == codes::INTERRUPTED => {
                Err(Failure::interrupted(
                    "the process that holds the database went away before everything was read, and what was printed is not \
                     all; run the command again",
                ))
            }
            ended => ended,
        }
    }

    /// Has the holder run a command line, with this input and a place for its output.
    pub(crate) async fn command(
        self,
        words: Vec<OsString>,
        input: Box<dyn FnOnce() -> Box<dyn Read + Send> + Send>,
        out: Box<dyn Write + Send>,
    ) -> Result {
        fits(&words)?;
        let cut = Cut(self.stream.try_clone().map_err(|error| lost(&error))?);
        let (answer, answered) = oneshot::channel();
        let talk = move || {
            let status = talk(self.stream, words, input, out);
            // Nobody waits when a signal came.
            let _ = answer.send(status);
        };
        std::thread::Builder::new()
            .name("pocket-holder".to_owned())
            .spawn(talk)
            .map_err(|error| Failure::io("cannot start", &error))?;
        let status = answered.await;
        drop(cut);
        match status {
            // The command may have ended well before it could hear that its last words went nowhere.
            Ok(Ok(Ended {
                status: 0,
                unwritten: Some(error),
            })) if error.kind() != ErrorKind::BrokenPipe => {
                Err(Failure::io("cannot write the output", &error))
            }
            Ok(Ok(Ended { status: 0, .. })) => Ok(()),
            // It was told.
            Ok(Ok(ended)) => Err(Failure::silent(ended.status)),
            Ok(Err(error)) => Err(lost(&error)),
            Err(_) => Err(lost(&ErrorKind::Other.into())),
        }
    }
}

/// How a command ended that the holder ran.
struct Ended {
    status: u8,
    /// Why some of its output could not be written here.
    unwritten: Option<io::Error>,
}

/// Ends the conversation when it is dropped.
struct Cut(UnixStream);

impl Drop for Cut {
    fn drop(&mut self) {
        let _ = self.0.shutdown(std::net::Shutdown::Both);
    }
}

/// Refuses a command line that the holder would not take.
fn fits(words: &[OsString]) -> Result {
    let bytes: usize = words.iter().map(|word| word.len()).sum();
    if words.len() <= WORDS && bytes <= WORD_BYTES {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "the command line has {} words of {bytes} bytes; another process holds the database, and can be passed {WORDS} words \
         of {WORD_BYTES} bytes at most: give documents by a file (`import`), or by stdin (`insert` without a document)",
        words.len()
    )))
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn lost(error: &io::Error) -> Failure {
    Failure::new(
        codes::INTERRUPTED,
        format!(
            "the process that holds the database went away before the work was done ({error}); what \
             the command writes may or may not have been done: look before running it again"
        ),
    )
}

/// Says the command line and prints what comes back, up to the exit status.
fn talk(
    stream: UnixStream,
    words: Vec<OsString>,
    input: Box<dyn FnOnce() -> Box<dyn Read + Send> + Send>,
    mut out: Box<dyn Write + Send>,
) -> io::Result<Ended> {
    let to = Arc::new(Mutex::new(stream.try_clone()?));
    for word in words {
        let mut to = to.lock().unwrap_or_else(PoisonError::into_inner);
        frame::write_word(&mut *to, &word.into_vec())?;
    }
    send(&to, frame::RUN, &[])?;
    let mut input = Some(input);
    let mut bar: Option<Bar> = None;
    let mut unwritten: Option<io::Error> = None;
    let mut from = stream;
    loop {
        match frame::read(&mut from)? {
            (frame::OUT, bytes) => {
                if unwritten.is_none()
                    && let Err(error) = out.write_all(&bytes).and_then(|()| out.flush())
                {
                    // What that means is for the command to say, if it still runs.
                    unwritten = Some(error);
                    let to = to.clone();
                    // Not here: input may be on its way that is not taken before this side reads on.
                    std::thread::spawn(move || send(&to, frame::DEAF, &[]));
                }
            }
            (frame::NOTE, line) => {
                let mut line = line;
                line.push(b'\n');
                // Whoever closed stderr does not want to hear it.
                let _ = io::stderr().write_all(&line);
            }
            (frame::WANT, _) => {
                if let Some(input) = input.take() {
                    let to = to.clone();
                    // It may wait for a line that never comes; the end of the process is its end.
                    std::thread::Builder::new()
                        .name("pocket-input".to_owned())
                        .spawn(move || pump(&to, input()))?;
                }
            }
            (frame::PROGRESS, shown) => match progress(&shown) {
                Some((unit, label, total, position)) => {
                    let bar = bar.get_or_insert_with(|| Bar::new(unit, label, total, false));
                    bar.show(label, total, position);
                }
                None => bar = None,
            },
            (frame::STATUS, status) => {
                return Ok(Ended {
                    status: status.first().copied().unwrap_or(1),
                    unwritten,
                });
            }
            _ => return Err(ErrorKind::InvalidData.into()),
        }
    }
}

fn send(to: &Mutex<UnixStream>, kind: u8, bytes: &[u8]) -> io::Result<()> {
    let mut to = to.lock().unwrap_or_else(PoisonError::into_inner);
    frame::write(&mut *to, kind, bytes)
}

fn progress(bytes: &[u8]) -> Option<(Unit, &str, u64, u64)> {
    let (unit, bytes) = bytes.split_first()?;
    let unit = match *unit {
        frame::BYTES => Unit::Bytes,
        frame::DOCUMENTS => Unit::Documents,
        _ => return None,
    };
    let (total, bytes) = bytes.split_first_chunk()?;
    let (position, label) = bytes.split_first_chunk()?;
    let label = std::str::from_utf8(label).ok()?;
    Some((
        unit,
        label,
        u64::from_le_bytes(*total),
        u64::from_le_bytes(*position),
    ))
}

/// Sends the whole input. A failure to send means that the command has ended.
fn pump(to: &Mutex<UnixStream>, mut input: Box<dyn Read + Send>) {
    let mut buffer = vec![0; CHUNK];
    loop {
        let sent = match input.read(&mut buffer) {
            Ok(0) => {
                let _ = send(to, frame::END, &[]);
                return;
            }
            Ok(read) => send(to, frame::INPUT, &buffer[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => {
                let _ = send(to, frame::BROKEN, error.to_string().as_bytes());
                return;
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_that_cannot_be_passed_on_is_refused_with_the_way_out() {
        let long = OsString::from_vec(vec![b'x'; WORD_BYTES]);
        let most = vec![OsString::new(); WORDS - 1];
        fits(&[&most[..], std::slice::from_ref(&long)].concat()).unwrap();
        let many = vec![OsString::new(); WORDS + 1];
        for words in [&[long, "x".into()][..], &many] {
            let failure = fits(words).unwrap_err();
            assert_eq!(failure.code(), codes::USAGE);
            assert!(failure.message().contains("`import`"), "{failure:?}");
        }
    }
}
