//! `pocket sync`: the database in step with a server, once or for as long as it runs.

use std::time::Duration;

use pocket_core::replica::Checkpoint;
use pocket_core::{Map, Value, codes as core_codes};
use pocket_sync_client::{Direction, Snapshot, Status, SyncEngine, SyncError, codes as sync_codes};
use tokio::time::Instant;

use crate::args::{Global, SyncArgs};
use crate::failure::{Failure, Result};
use crate::link::{self, Link};
use crate::output::{Output, counted, json, object};
use crate::progress::BothWays;
use crate::signals::Stop;

/// How long a pass may go without getting on, unless `--timeout` says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The first pause before the server is tried again; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// How long the end of a pass may take to settle.
const REST: Duration = Duration::from_secs(2);

/// The longest of these pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// `--once`: returns when everything is sent and everything there was is here.
pub(super) async fn once(global: &Global, args: SyncArgs, out: &mut Output, stop: &Stop) -> Result {
    let link = tokio::select! {
        link = Link::open(global, &args.server) => link?,
        () = stop.requested() => return Err(interrupted(None)),
    };
    let began = Instant::now();
    link.engine.start().await?;
    let work = async {
        tokio::select! {
            passed = pass(&link, args.timeout.unwrap_or(TIMEOUT), out) => passed?,
            () = stop.requested() => {
                let error = link.engine.snapshot().stats.last_error;
                return Err(interrupted(error.as_ref()));
            }
        }
        come_to_rest(&link.engine).await;
        Ok(())
    };
    let passed = shown(&link.engine, global.json, work).await;
    let snapshot = link.engine.snapshot();
    let (server, direction) = (link.server.clone(), link.direction);
    if let Ok(Some(text)) = link.ignored_token().await {
        out.note(text);
    }
    let closed = link.close().await;
    passed?;
    closed?;
    let stats = &snapshot.stats;
    let seconds = began.elapsed().as_secs_f64();
    let mut summary = figures(&snapshot);
    summary.insert("seconds", seconds);
    let text = format!(
        "{}: {} sent, {} received, {}, {} refused ({seconds:.2} s)",
        in_step(&server, direction, &snapshot),
        stats.push_count,
        stats.pull_count,
        counted(stats.conflict_count, "conflict"),
        stats.rejected_count
    );
    out.either(&summary, text)?;
    if stats.conflict_count + stats.rejected_count > 0 {
        out.note("`pocket conflicts` shows both versions of each conflict, and what was refused");
    }
    out.flush()?;
    if stats.rejected_count > 0 {
        // Everything is in step, but not as whoever wrote here meant it.
        return Err(Failure::refused(format!(
            "the server refused {}; each is taken back here and kept in the journal",
            counted(stats.rejected_count, "change")
        )));
    }
    Ok(())
}

/// A signal came first. What kept the pass from its end is not kept from whoever ended it.
fn interrupted(error: Option<&SyncError>) -> Failure {
    let why = error.map_or_else(String::new, |error| {
        format!("; so far: [{}] {}", error.code(), error.message())
    });
    Failure::interrupted(format!(
        "a signal came before both sides were in step; run it again to go on{why}"
    ))
}

/// Waits a moment until the engine has looked at what the pass left, so that what is printed is how things stand. Where
/// others write all the time it never is at rest.
async fn come_to_rest(engine: &SyncEngine) {
    let mut status = engine.status();
    let rest = async { while status.next().await.is_some_and(|now| now != Status::Idle) {} };
    // How it ends makes no difference to what is stored.
    let _ = tokio::time::timeout(REST, rest).await;
}

/// What holds at the end of a pass, and what does not.
fn in_step(server: &str, direction: Direction, snapshot: &Snapshot) -> String {
    let (pending, left_out) = (snapshot.stats.pending, snapshot.stats.left_out);
    let text = match direction {
        Direction::Pull if pending > 0 => format!(
            "everything of {server} is here, but {} here {} not sent (direction pull)",
            counted(pending, "change"),
            are(pending)
        ),
        _ => format!("in step with {server}"),
    };
    if left_out > 0 {
        let stay = if left_out == 1 { "stays" } else { "stay" };
        let left_out = counted(left_out, "change");
        return format!(
            "{text}, but for {left_out} of other collections that {stay} here (--collection)"
        );
    }
    text
}

fn are(count: u64) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

/// Shows the progress of the engine while `work` waits for it.
async fn shown<T>(engine: &SyncEngine, json: bool, work: impl Future<Output = T>) -> T {
    let bars = BothWays::new(json);
    let mut progress = engine.progress();
    let mut stats = engine.stats();
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            Some(_) = progress.next() => {}
            Some(_) = stats.next() => {}
        }
        bars.show(&engine.snapshot());
    }
}

/// A complete pass. It tries again for as long as it gets on, or may yet reach the server.
async fn pass(link: &Link, timeout: Duration, out: &Output) -> Result {
    let engine = &link.engine;
    let mut error: Option<SyncError> = None;
    let stalled = stalled(engine, timeout);
    let mut stalled = std::pin::pin!(stalled);
    let mut pause = FIRST_PAUSE;
    loop {
        let attempt = async {
            match link.direction {
                Direction::Both => engine.force_sync().await,
                Direction::Push => engine.push().await,
                Direction::Pull => engine.pull().await,
            }
        };
        tokio::select! {
            attempt = attempt => match attempt {
                Ok(()) => return Ok(()),
                Err(failed) if !failed.is_retryable() => return Err(failed.into()),
                Err(failed) => {
                    if error.as_ref().is_none_or(|before| before.code() != failed.code()) {
                        out.note(format_args!(
                            "waiting for {}: [{}] {}; given up when {} s go by without getting on (--timeout)",
                            link.server,
                            failed.code(),
                            failed.message(),
                            timeout.as_secs_f64()
                        ));
                    }
                    error = Some(failed);
                }
            },
            () = &mut stalled => break,
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (2 * pause).min(LONGEST_PAUSE),
            () = &mut stalled => break,
        }
    }
    Err(given_up(
        &link.server,
        timeout,
        engine.snapshot().stats.last_error,
        error,
    ))
}

/// Why a pass was given up. What the store of this device says comes before what became of connections since, and has its own
/// code: waiting longer for the server would not help.
fn given_up(
    server: &str,
    timeout: Duration,
    last: Option<SyncError>,
    failed: Option<SyncError>,
) -> Failure {
    let of_store = |error: &&SyncError| {
        [core_codes::STORAGE_FULL, core_codes::STORAGE].contains(&error.code())
    };
    let store = failed.iter().chain(&last).find(of_store).cloned();
    if let Some(error) = store {
        return Failure::from(error).and(&format!(
            "{} s went by without storing anything of {server}; what was stored before stays. Make room, and run it again",
            timeout.as_secs_f64()
        ));
    }
    let error = last.or(failed);
    let why = error.map_or_else(
        || "it does not answer".to_owned(),
        |error: SyncError| format!("[{}] {}", error.code(), error.message()),
    );
    Failure::new(
        sync_codes::TIMEOUT,
        format!(
            "{} s went by without getting on with {server}: {why}; what is stored here stays, run it again later",
            timeout.as_secs_f64()
        ),
    )
}

/// What is stored of a pass. A connection is none of it: a full disk lets one be made as often as it is tried.
#[derive(Clone, Debug, Default, PartialEq)]
struct Stored {
    sent: u64,
    received: u64,
    /// Where the store stood when it was last read; after a failure it has to be read again.
    checkpoint: Option<Checkpoint>,
}

impl Stored {
    fn after(self, snapshot: Snapshot) -> Self {
        Self {
            sent: snapshot.stats.push_count,
            received: snapshot.stats.pull_count,
            checkpoint: snapshot.checkpoint.or(self.checkpoint),
        }
    }
}

/// Returns when nothing of what was sent or received was stored for so long.
async fn stalled(engine: &SyncEngine, timeout: Duration) {
    let mut stats = engine.stats();
    let mut progress = engine.progress();
    let mut last = Stored::default().after(engine.snapshot());
    let mut deadline = Instant::now() + timeout;
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(deadline) => return,
            Some(_) = stats.next() => {}
            Some(_) = progress.next() => {}
        }
        let before = last.clone();
        last = last.after(engine.snapshot());
        if last != before {
            deadline = Instant::now() + timeout;
        }
    }
}

/// `--watch`: stays until a signal comes, and prints each change of the status.
pub(super) async fn watch(
    global: &Global,
    args: SyncArgs,
    out: &mut Output,
    stop: &Stop,
) -> Result {
    if args.timeout.is_some() {
        return Err(Failure::usage(
            "--timeout is for --once; --watch, which is the default, stays until it is told to end: leave one out",
        ));
    }
    let link = tokio::select! {
        link = Link::hold(global, &args.server, out) => link?,
        () = stop.requested() => return Ok(()),
    };
    link.engine.start().await?;
    let mut reports = Reports::new(&link.engine);
    let mut is_welcomed = false;
    let result = loop {
        tokio::select! {
            () = stop.requested() => break Ok(()),
            snapshot = reports.next() => {
                if snapshot.status == Status::Idle && !std::mem::replace(&mut is_welcomed, true)
                    && let Ok(Some(text)) = link.ignored_token().await
                {
                    out.note(text);
                }
                if let Err(failure) = report(&link, &snapshot, out) {
                    break Err(failure);
                }
                if let Err(failure) = check(&snapshot) {
                    break Err(failure);
                }
            }
        }
    };
    let closed = link.close().await;
    result.and(closed)
}

fn report(link: &Link, snapshot: &Snapshot, out: &mut Output) -> Result {
    if out.is_json() {
        let mut object = figures(snapshot);
        let error = snapshot.stats.last_error.as_ref();
        object.insert("error", error.map(SyncError::code));
        object.insert("message", error.map(SyncError::message));
        out.line(json(&object))?;
    } else {
        out.line(sentence(link, snapshot))?;
    }
    out.flush()
}

/// The status in a sentence.
pub(super) fn sentence(link: &Link, snapshot: &Snapshot) -> String {
    let server = &link.server;
    let (stats, progress) = (&snapshot.stats, &snapshot.progress);
    let error = stats.last_error.as_ref();
    let error = error.map_or_else(String::new, |error| {
        format!(": [{}] {}", error.code(), error.message())
    });
    match snapshot.status {
        Status::Idle => format!(
            "idle: {}, {} sent, {} received, {}",
            in_step(server, link.direction, snapshot),
            stats.push_count,
            stats.pull_count,
            counted(stats.conflict_count, "conflict")
        ),
        Status::Syncing => {
            format!(
                "syncing: {} to send, {} to receive",
                progress.push_left, progress.pull_left
            )
        }
        Status::Offline if error.is_empty() => {
            format!(
                "offline: connecting to {server}, {} to send",
                progress.push_left
            )
        }
        status => format!("{status}{error}"),
    }
}

/// The engine has given up for good, and so must whoever waits for it.
pub(super) fn check(snapshot: &Snapshot) -> Result {
    match &snapshot.stats.last_error {
        Some(error) if snapshot.status == Status::Error && link::is_hopeless(error) => {
            Err(error.clone().into())
        }
        _ => Ok(()),
    }
}

fn figures(snapshot: &Snapshot) -> Map {
    let (stats, progress) = (&snapshot.stats, &snapshot.progress);
    let place = snapshot
        .checkpoint
        .as_ref()
        .map(|checkpoint| checkpoint.seq.get());
    object([
        ("status", Value::from(snapshot.status.as_str())),
        ("pushed", Value::from(stats.push_count)),
        ("pulled", Value::from(stats.pull_count)),
        ("conflicts", Value::from(stats.conflict_count)),
        ("refused", Value::from(stats.rejected_count)),
        ("resent", Value::from(stats.resent_count)),
        ("left_out", Value::from(stats.left_out)),
        ("push_left", Value::from(progress.push_left)),
        ("pull_left", Value::from(progress.pull_left)),
        ("checkpoint", place.into()),
    ])
}

/// How an engine stands, whenever its status or its error is another one.
pub(super) struct Reports {
    engine: SyncEngine,
    status: pocket_core::Subscription<Status>,
    stats: pocket_core::Subscription<pocket_sync_client::Stats>,
    last: Option<(Status, Option<SyncError>)>,
}

impl Reports {
    pub(super) fn new(engine: &SyncEngine) -> Self {
        Self {
            engine: engine.clone(),
            status: engine.status(),
            stats: engine.stats(),
            last: None,
        }
    }

    pub(super) async fn next(&mut self) -> Snapshot {
        loop {
            // Neither stream ends while this holds the engine.
            tokio::select! {
                Some(_) = self.status.next() => {}
                Some(_) = self.stats.next() => {}
            }
            let snapshot = self.engine.snapshot();
            let now = (snapshot.status, snapshot.stats.last_error.clone());
            if self.last.as_ref() != Some(&now) {
                self.last = Some(now);
                return snapshot;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(checkpoint: Option<Checkpoint>, received: u64) -> Snapshot {
        let mut snapshot = Snapshot::default();
        snapshot.checkpoint = checkpoint;
        snapshot.stats.pull_count = received;
        snapshot
    }

    /// On a full disk each connection was taken for progress, so that the timeout never came.
    #[test]
    fn a_store_that_failed_and_was_read_again_is_no_progress() {
        let here = Some(Checkpoint::default());
        let first = Stored::default().after(snapshot(here.clone(), 0));
        let failed = first.clone().after(snapshot(None, 0));
        assert_eq!(failed, first);
        assert_eq!(failed.after(snapshot(here.clone(), 0)), first);
        assert_ne!(first.clone().after(snapshot(here, 1)), first);
    }

    /// It was told as `timeout`, whoever was at fault.
    #[test]
    fn a_pass_that_a_full_disk_stops_ends_with_the_code_of_the_disk() {
        let given_up = |last, failed| given_up("s", Duration::from_secs(3), last, failed);
        let full = || {
            Some(SyncError::retryable(
                core_codes::STORAGE_FULL,
                "no space left",
            ))
        };
        let gone = || Some(SyncError::retryable("network", "it hung up"));
        for (last, failed) in [(full(), None), (full(), gone()), (gone(), full())] {
            let failure = given_up(last, failed);
            assert_eq!(failure.code(), core_codes::STORAGE_FULL);
            assert!(failure.message().contains("no space left"), "{failure:?}");
        }
        for (last, failed) in [(gone(), None), (None, gone()), (None, None)] {
            assert_eq!(given_up(last, failed).code(), sync_codes::TIMEOUT);
        }
    }

    #[test]
    fn a_pass_tells_what_it_left_here() {
        let mut told = snapshot(None, 0);
        assert_eq!(in_step("s", Direction::Both, &told), "in step with s");
        told.stats.pending = 2;
        assert_eq!(
            in_step("s", Direction::Pull, &told),
            "everything of s is here, but 2 changes here are not sent (direction pull)"
        );
        told.stats.left_out = 1;
        assert!(
            in_step("s", Direction::Both, &told)
                .contains("1 change of other collections that stays here")
        );
    }
}
