//! Progress bars, on a terminal only.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use pocket_sync_client::Snapshot;

use crate::args::Global;
use crate::output::{Ends, Remote};

/// How often a bar is drawn anew.
const REFRESH: Duration = Duration::from_millis(100);

/// Shows how far a file is read while `work` reads it.
pub(crate) async fn of_bytes<T>(
    label: &'static str,
    total: u64,
    read: Arc<AtomicU64>,
    global: &Global,
    work: impl Future<Output = T>,
) -> T {
    let mut shown = Shown::new(Unit::Bytes, label, total, global);
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(REFRESH) => shown.at(read.load(Ordering::Relaxed)),
        }
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Bytes,
    Documents,
}

/// A number that one side counts and the other shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counter(Arc<AtomicU64>);

impl Counter {
    pub(crate) fn set(&self, number: u64) {
        self.0.store(number, Ordering::Relaxed);
    }
}

/// A counter at zero.
pub(crate) fn counter() -> Counter {
    Counter::default()
}

/// Shows how many documents `work` has come by, where nobody knows how many there are.
pub(crate) async fn of_documents<T>(
    label: &'static str,
    read: Counter,
    global: &Global,
    work: impl Future<Output = T>,
) -> T {
    let shown = ProgressBar::with_draw_target(None, target(global.json));
    let shown = Cleared(shown);
    shown
        .0
        .set_style(style("{prefix:>10} {human_pos} documents"));
    shown.0.set_prefix(label);
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(REFRESH) => shown.0.set_position(read.0.load(Ordering::Relaxed)),
        }
    }
}

/// Shows how long `work` has taken so far, where nobody knows how much there is.
pub(crate) async fn of_time<T>(json: bool, work: impl Future<Output = T>) -> T {
    let shown = Cleared(ProgressBar::with_draw_target(None, target(json)));
    shown.0.set_style(style("    {elapsed}"));
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(REFRESH) => shown.0.tick(),
        }
    }
}

/// Where it is shown how far something is, until this is dropped.
pub(crate) enum Shown {
    Here(Bar),
    There(Arc<dyn Remote>, Unit, &'static str, u64),
    Nowhere,
}

impl Shown {
    pub(crate) fn new(unit: Unit, label: &'static str, total: u64, global: &Global) -> Self {
        match global.ends() {
            Ends::Remote(_) if global.json => Self::Nowhere,
            Ends::Remote(remote) => Self::There(remote, unit, label, total),
            Ends::Process => Self::Here(Bar::new(unit, label, total, global.json)),
        }
    }

    pub(crate) fn at(&mut self, position: u64) {
        match self {
            Self::Here(bar) => bar.0.0.set_position(position),
            Self::There(remote, unit, label, total) => {
                remote.progress(Some((*unit, label, *total, position)));
            }
            Self::Nowhere => {}
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Self::There(remote, ..) = self {
            remote.progress(None);
        }
    }
}

/// A bar.
#[derive(Debug)]
pub(crate) struct Bar(Cleared);

impl Bar {
    pub(crate) fn new(unit: Unit, label: &str, total: u64, json: bool) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), target(json));
        bar.set_style(style(match unit {
            Unit::Bytes => "{prefix:>10} {wide_bar} {bytes} of {total_bytes} {eta:>4}",
            Unit::Documents => "{prefix:>10} {wide_bar} {human_pos} of {human_len} {eta:>4}",
        }));
        bar.set_prefix(label.to_owned());
        Self(Cleared(bar))
    }

    /// The same bar for what another process does.
    #[cfg(unix)]
    pub(crate) fn show(&self, label: &str, total: u64, position: u64) {
        let Self(Cleared(bar)) = self;
        if bar.prefix() != label {
            bar.set_prefix(label.to_owned());
        }
        bar.set_length(total);
        bar.set_position(position);
    }
}

/// Two bars: what is sent, and what is received.
#[derive(Debug)]
pub(crate) struct BothWays {
    sent: Cleared,
    received: Cleared,
}

impl BothWays {
    pub(crate) fn new(json: bool) -> Self {
        let both = MultiProgress::with_draw_target(target(json));
        let bar = |label: &'static str| {
            let bar = both.add(ProgressBar::new(0));
            bar.set_style(style("{prefix:>10} {wide_bar} {human_pos} of {human_len}"));
            bar.set_prefix(label);
            Cleared(bar)
        };
        Self {
            sent: bar("sent"),
            received: bar("received"),
        }
    }

    pub(crate) fn show(&self, now: &Snapshot) {
        let show = |bar: &Cleared, done: u64, left: u64| {
            bar.0.set_length(done.saturating_add(left));
            bar.0.set_position(done);
        };
        show(&self.sent, now.stats.push_count, now.progress.push_left);
        show(&self.received, now.stats.pull_count, now.progress.pull_left);
    }
}

/// A bar that leaves nothing behind.
#[derive(Debug)]
struct Cleared(ProgressBar);

impl Drop for Cleared {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// stderr, where it is a terminal and no program reads along.
fn target(json: bool) -> ProgressDrawTarget {
    if json {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr()
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates of this file are right")
}
