//! SIGINT, SIGTERM and SIGHUP: the first asks a command to end, the second ends the process.

use std::io;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::watch;

use crate::failure::Failure;

/// How long a command may take to end after the first signal.
const GRACE: Duration = Duration::from_millis(1_800);

/// Whether a signal came. Clones hear of the same one.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    ended: watch::Receiver<bool>,
    /// How many SIGINTs came, where they do not end the process.
    interrupts: Option<watch::Receiver<u64>>,
}

impl Stop {
    /// Comes when this is true.
    pub(crate) fn when(receiver: watch::Receiver<bool>) -> Self {
        Self {
            ended: receiver,
            interrupts: None,
        }
    }

    /// The SIGINTs from now on, where they end a command of this process and not the process.
    pub(crate) fn interrupts(&self) -> Option<watch::Receiver<u64>> {
        let mut interrupts = self.interrupts.clone();
        if let Some(interrupts) = &mut interrupts {
            interrupts.mark_unchanged();
        }
        interrupts
    }

    /// Whether it came already.
    pub(crate) fn is_requested(&self) -> bool {
        *self.ended.borrow()
    }

    /// Waits for the first signal.
    pub(crate) async fn requested(&self) {
        let mut receiver = self.ended.clone();
        if receiver.wait_for(|stop| *stop).await.is_err() {
            // Without its sender no signal can come any more.
            std::future::pending::<()>().await;
        }
    }
}

/// What signals do to a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manners {
    /// The status of one that does not end in time.
    pub(crate) late: u8,
    /// Whether a SIGHUP is a signal as well.
    pub(crate) hangs_up: bool,
    /// Whether a SIGINT ends only what runs in it.
    pub(crate) has_prompt: bool,
}

/// Listens from now on.
///
/// It has a thread and a runtime of its own: a worker that is blocked, on a pipe that nobody reads or on a disk that
/// does not answer, cannot hold up a signal.
pub(crate) fn listen(manners: Manners) -> Result<Stop, Failure> {
    let (sender, receiver) = watch::channel(false);
    let (interrupt, interrupts) = watch::channel(0);
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("cannot listen for signals", &error))?;
    let mut signals = {
        let _context = runtime.enter();
        survive_size_limits();
        Signals::new(manners.hangs_up)
            .map_err(|error| Failure::io("cannot listen for signals", &error))?
    };
    let wait = async move {
        while signals.next().await == Signal::Interrupt && manners.has_prompt {
            interrupt.send_modify(|count| *count += 1);
        }
        // The command may have ended already.
        let _ = sender.send(true);
        tokio::select! {
            _ = signals.next() => std::process::exit(1),
            () = tokio::time::sleep(GRACE) => std::process::exit(manners.late.into()),
        }
    };
    std::thread::Builder::new()
        .name("pocket-signals".to_owned())
        .spawn(move || runtime.block_on(wait))
        .map_err(|error| Failure::io("cannot listen for signals", &error))?;
    Ok(Stop {
        ended: receiver,
        interrupts: manners.has_prompt.then_some(interrupts),
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signal {
    Interrupt,
    Other,
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: Option<tokio::signal::unix::Signal>,
}

/// Keeps the process from being ended where a file may not grow further (`ulimit -f`): the write fails, and is told as a full
/// disk is. Whoever listens for a signal is not ended by it, and goes on listening when the first listener is dropped.
#[cfg(unix)]
fn survive_size_limits() {
    use tokio::signal::unix::{SignalKind, signal};
    // The same on Linux, macOS and the BSDs. Where it cannot be listened for it does what it did.
    const FILE_SIZE_EXCEEDED: i32 = 25;
    drop(signal(SignalKind::from_raw(FILE_SIZE_EXCEEDED)));
}

#[cfg(not(unix))]
fn survive_size_limits() {}

/// Whether whoever started this process had it ignore SIGHUP, as `nohup` does. Listening would undo that. Where there is no
/// `/proc` nobody can tell, and SIGHUP does what it does by itself.
#[cfg(unix)]
fn ignores_hangup() -> bool {
    const HANGUP: u64 = 1;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_none_or(|mask| mask & HANGUP != 0)
}

#[cfg(unix)]
impl Signals {
    fn new(hangs_up: bool) -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let hangup = hangs_up && !ignores_hangup();
        Ok(Self {
            hangup: hangup.then(|| signal(SignalKind::hangup())).transpose()?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Other,
            Some(()) = async { self.hangup.as_mut()?.recv().await } => Signal::Other,
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    #[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
    fn new(_: bool) -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> Signal {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Signal::Interrupt
    }
}
