//! The side that has the database open.
//!
//! Each peer has a thread that runs its command, where writing to a peer that does not read may block, and one that
//! listens to it. Peers are few: they are commands of one person or script on this machine.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::frame::{self, MAX_FRAME};
use super::socket::Socket;
use super::{Content, Held};
use crate::args::{self, Arguments, StorageKind};
use crate::failure::{Failure, Result};
use crate::output::{Ends, Output, Remote};
use crate::progress::Unit;
use crate::signals::Stop;
use crate::{codes, commands};

/// Peers at once.
const PEERS: usize = 32;

/// How long a peer may take to say what it wants.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Frames of input that wait for the command.
const WAITING: usize = 4;

/// How long commands of peers may take to end when the holder does.
const GRACE: Duration = Duration::from_millis(300);

/// A pause when no connection can be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// A database that other processes reach through this one, until the end.
#[derive(Debug)]
pub(crate) struct Holding {
    inner: Option<(JoinHandle<()>, Arc<Peers>)>,
}

/// What is held, and where.
#[derive(Clone)]
struct Holds {
    storage: StorageKind,
    content: Content,
    home: Arc<Path>,
}

/// Who is being served.
#[derive(Debug)]
struct Peers {
    streams: Mutex<Vec<(u64, UnixStream)>>,
    next: AtomicU64,
    count: watch::Sender<usize>,
    ending: watch::Sender<bool>,
}

impl Holding {
    /// Begins to listen in `directory`, whose lock is held. Where that cannot be, it is said, and nothing else
    /// changes: other commands are told that the database is in use.
    pub(crate) fn begin(
        directory: &Path,
        storage: StorageKind,
        content: Content,
        out: &Output,
    ) -> Self {
        let socket = match Socket::bind(directory) {
            Ok(socket) => socket,
            Err(error) => {
                out.note(format_args!(
                    "other commands cannot reach this database while this one runs: cannot listen in {}: {error}",
                    directory.display()
                ));
                return Self { inner: None };
            }
        };
        let peers = Arc::new(Peers {
            streams: Mutex::default(),
            next: AtomicU64::new(0),
            count: watch::Sender::new(0),
            ending: watch::Sender::new(false),
        });
        let holds = Holds {
            storage,
            content,
            home: directory.into(),
        };
        let task = tokio::spawn(accept(socket, holds, peers.clone()));
        Self {
            inner: Some((task, peers)),
        }
    }

    /// Takes no further commands and ends those that do not end by themselves in a moment; their processes are told.
    pub(crate) async fn end(self) {
        let Some((task, peers)) = self.inner else {
            return;
        };
        task.abort();
        // It only accepts; its end removes the socket.
        let _ = task.await;
        // Most are short: what would be done in a moment need not fail, and with it the script that it is a line of.
        if peers.gone().await {
            return;
        }
        peers.ending.send_replace(true);
        if peers.gone().await {
            return;
        }
        // Whoever does not read cannot be told.
        for (_, stream) in &*peers.lock() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        peers.gone().await;
    }
}

impl Peers {
    fn lock(&self) -> MutexGuard<'_, Vec<(u64, UnixStream)>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn gone(&self) -> bool {
        let mut count = self.count.subscribe();
        let gone = count.wait_for(|count| *count == 0);
        tokio::time::timeout(GRACE, gone).await.is_ok()
    }
}

/// A peer's place among the others, for as long as it is served.
struct Place {
    peers: Arc<Peers>,
    number: u64,
}

impl Place {
    fn take(peers: &Arc<Peers>, stream: &UnixStream) -> io::Result<Option<Self>> {
        let mut streams = peers.lock();
        if streams.len() >= PEERS {
            return Ok(None);
        }
        let number = peers.next.fetch_add(1, Ordering::Relaxed);
        streams.push((number, stream.try_clone()?));
        peers.count.send_modify(|count| *count += 1);
        Ok(Some(Self {
            peers: peers.clone(),
            number,
        }))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.peers
            .lock()
            .retain(|(number, _)| *number != self.number);
        self.peers.count.send_modify(|count| *count -= 1);
    }
}

async fn accept(socket: Socket, holds: Holds, peers: Arc<Peers>) {
    loop {
        let stream = match socket.listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(target: "pocket::held", %error, "a command could not be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        if !socket.admits(stream.peer_cred()) {
            tracing::warn!(target: "pocket::held", "a command of another user was refused");
            continue;
        }
        let (holds, peers) = (holds.clone(), peers.clone());
        let handle = Handle::current();
        let stream = stream.into_std().and_then(|stream| {
            stream.set_nonblocking(false)?;
            Ok(stream)
        });
        let served = stream.and_then(|stream| {
            let serve = move || {
                if let Err(error) = serve(&stream, holds, &peers, &handle) {
                    tracing::debug!(target: "pocket::held", %error, "a command was not run to its end");
                }
                // Whatever still waits on a copy of it ends.
                let _ = stream.shutdown(Shutdown::Both);
            };
            std::thread::Builder::new()
                .name("pocket-peer".to_owned())
                .spawn(serve)
        });
        if let Err(error) = served {
            tracing::warn!(target: "pocket::held", %error, "a command could not be served");
        }
    }
}

/// Serves one peer from its first word to the exit status.
fn serve(
    stream: &UnixStream,
    holds: Holds,
    peers: &Arc<Peers>,
    runtime: &Handle,
) -> io::Result<()> {
    let sink = Arc::new(Sink {
        stream: Mutex::new(stream.try_clone()?),
        deaf: AtomicBool::new(false),
    });
    let place = Place::take(peers, stream)?;
    stream.set_write_timeout(Some(HANDSHAKE))?;
    sink.send(frame::HELLO, &[frame::VERSION])?;
    let words = words(stream)?;
    stream.set_read_timeout(None)?;
    // From here on a peer may be as slow as it likes: `pocket export | less` is one.
    stream.set_write_timeout(None)?;
    let json = words.iter().any(|word| word == "--json");
    let ends = Ends::Remote(sink.clone());
    let result = match (&place, args::parse(&words)) {
        (None, _) => Err(Failure::new(
            pocket_core::codes::IN_USE,
            format!("{PEERS} other commands use this database now; try again when one has ended"),
        )),
        // Whoever sent it could read it.
        (Some(_), Err(failure)) => Err(unknown(&failure)),
        (Some(_), Ok(mut arguments)) => {
            let (gone, is_gone) = watch::channel(false);
            let input = listen(stream.try_clone()?, sink.clone(), gone)?;
            arguments.global.held = Some(Held::new(
                holds.content,
                holds.storage,
                ends.clone(),
                holds.home,
                Box::new(input),
            ));
            let mut ending = peers.ending.subscribe();
            let stop = Stop::when(is_gone);
            runtime.block_on(async {
                tokio::select! {
                    // Work that is done was not interrupted.
                    biased;
                    result = run_passed_on(arguments, stop.clone()) => result,
                    () = stop.requested() => Err(Failure::silent(1)),
                    _ = ending.wait_for(|ending| *ending) => Err(Failure::new(
                        codes::INTERRUPTED,
                        "the process that holds the database ended before the work was done; what it writes may or may not have been done: look before running it again",
                    )),
                }
            })
        }
    };
    let status = match result {
        Ok(()) => 0,
        Err(failure) => {
            failure.tell(&ends, json);
            failure.status()
        }
    };
    let sent = sink.send(frame::STATUS, &[status]);
    // Not before: a holder that ends waits for places, and a peer without a status takes what was committed for undone.
    // What the command may still do on other threads is cut off with the stream.
    drop(place);
    sent
}

/// Runs a command of a peer, if it is one that may come this way.
async fn run_passed_on(arguments: Arguments, stop: Stop) -> Result {
    if !super::is_passed_on(&arguments.command) {
        return Err(Failure::usage(
            "this command cannot be passed on to the process that holds the database",
        ));
    }
    commands::run_here(arguments, stop).await
}

/// Why a command line cannot be read that was read before: the process that sent it knows another one.
fn unknown(failure: &Failure) -> Failure {
    Failure::new(
        pocket_core::codes::IN_USE,
        format!(
            "the process that holds the database is of another version ({}) and does not know this command line; end \
             it and start it again with this one: {}",
            env!("CARGO_PKG_VERSION"),
            failure.message()
        ),
    )
}

/// The command line of a peer.
fn words(stream: &UnixStream) -> io::Result<Vec<OsString>> {
    let deadline = Instant::now() + HANDSHAKE;
    frame::read_words(&mut UntilDeadline { stream, deadline })
}

/// A stream that has to be quick.
struct UntilDeadline<'a> {
    stream: &'a UnixStream,
    deadline: Instant,
}

impl Read for UntilDeadline<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        let mut stream = self.stream;
        stream.read(buffer)
    }
}

/// What the peer is sent.
struct Sink {
    stream: Mutex<UnixStream>,
    deaf: AtomicBool,
}

impl Sink {
    fn send(&self, kind: u8, bytes: &[u8]) -> io::Result<()> {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        frame::write(&mut *stream, kind, bytes)
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").finish_non_exhaustive()
    }
}

impl Remote for Sink {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        if self.deaf.load(Ordering::Relaxed) {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let bytes = &bytes[..bytes.len().min(frame::CHUNK)];
        self.send(frame::OUT, bytes)?;
        Ok(bytes.len())
    }

    fn note(&self, line: &str) {
        for part in line.as_bytes().chunks(MAX_FRAME) {
            // Whoever is gone does not want to hear it.
            let _ = self.send(frame::NOTE, part);
        }
    }

    fn progress(&self, shown: Option<(Unit, &str, u64, u64)>) {
        let bytes = shown.map_or_else(Vec::new, |(unit, label, total, position)| {
            let unit = match unit {
                Unit::Bytes => frame::BYTES,
                Unit::Documents => frame::DOCUMENTS,
            };
            [
                &[unit][..],
                &total.to_le_bytes(),
                &position.to_le_bytes(),
                label.as_bytes(),
            ]
            .concat()
        });
        // As above.
        let _ = self.send(frame::PROGRESS, &bytes);
    }
}

/// Listens to a peer on a thread of its own, and gives what the command reads.
fn listen(mut stream: UnixStream, sink: Arc<Sink>, gone: watch::Sender<bool>) -> io::Result<Input> {
    let (sender, parts) = sync_channel(WAITING);
    let input = Input {
        sink: sink.clone(),
        parts: Some(parts),
        part: io::Cursor::default(),
        asked: false,
    };
    let listen = move || {
        hear(&mut stream, &sink, &sender);
        // Nobody may wait for it any more.
        let _ = gone.send(true);
    };
    std::thread::Builder::new()
        .name("pocket-peer-input".to_owned())
        .spawn(listen)?;
    Ok(input)
}

/// A part of the input: bytes, no bytes for its end, or why there is no more.
type Part = io::Result<Vec<u8>>;

fn hear(stream: &mut UnixStream, sink: &Sink, parts: &SyncSender<Part>) {
    let mut wanted = true;
    loop {
        let part = match frame::read(stream) {
            Ok((frame::DEAF, _)) => {
                sink.deaf.store(true, Ordering::Relaxed);
                continue;
            }
            Ok((frame::INPUT, bytes)) if bytes.is_empty() => continue,
            Ok((frame::INPUT, bytes)) => Ok(bytes),
            Ok((frame::END, _)) => Ok(Vec::new()),
            Ok((frame::BROKEN, why)) => {
                Err(io::Error::other(String::from_utf8_lossy(&why).into_owned()))
            }
            // Gone, or out of its mind.
            Ok(_) | Err(_) => return,
        };
        // A command that has read enough leaves the rest.
        wanted = wanted && parts.send(part).is_ok();
    }
}

/// What the command reads: asked for at the first reading.
struct Input {
    sink: Arc<Sink>,
    parts: Option<Receiver<Part>>,
    part: io::Cursor<Vec<u8>>,
    asked: bool,
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.asked {
            self.asked = true;
            self.sink.send(frame::WANT, &[])?;
        }
        let read = self.part.read(buffer)?;
        if read > 0 || buffer.is_empty() {
            return Ok(read);
        }
        let Some(parts) = &self.parts else {
            return Ok(0);
        };
        // A peer that is gone has not said all: half a document must not be taken for a whole one.
        let part = parts.recv().map_err(|_| ErrorKind::UnexpectedEof)??;
        if part.is_empty() {
            self.parts = None;
            return Ok(0);
        }
        self.part = io::Cursor::new(part);
        self.part.read(buffer)
    }
}

#[cfg(test)]
mod tests;
