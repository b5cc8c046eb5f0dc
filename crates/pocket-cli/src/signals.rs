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
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Comes when this is true.
    #[cfg(unix)]
    pub(crate) fn when(receiver: watch::Receiver<bool>) -> Self {
        Self(receiver)
    }

    /// Waits for the first signal.
    pub(crate) async fn requested(&self) {
        let mut receiver = self.0.clone();
        if receiver.wait_for(|stop| *stop).await.is_err() {
            // Without its sender no signal can come any more.
            std::future::pending::<()>().await;
        }
    }
}

/// Listens from now on. A command that does not end in time is ended, with the status `late`. With `hangs_up` a SIGHUP is a
/// signal as well.
///
/// It has a thread and a runtime of its own: a worker that is blocked, on a pipe that nobody reads or on a disk that
/// does not answer, cannot hold up a signal.
pub(crate) fn listen(late: u8, hangs_up: bool) -> Result<Stop, Failure> {
    let (sender, receiver) = watch::channel(false);
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("cannot listen for signals", &error))?;
    let mut signals = {
        let _context = runtime.enter();
        Signals::new(hangs_up).map_err(|error| Failure::io("cannot listen for signals", &error))?
    };
    let wait = async move {
        signals.next().await;
        // The command may have ended already.
        let _ = sender.send(true);
        tokio::select! {
            () = signals.next() => std::process::exit(1),
            () = tokio::time::sleep(GRACE) => std::process::exit(late.into()),
        }
    };
    std::thread::Builder::new()
        .name("pocket-signals".to_owned())
        .spawn(move || runtime.block_on(wait))
        .map_err(|error| Failure::io("cannot listen for signals", &error))?;
    Ok(Stop(receiver))
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: Option<tokio::signal::unix::Signal>,
}

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

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            Some(()) = async { self.hangup.as_mut()?.recv().await } => {}
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

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
