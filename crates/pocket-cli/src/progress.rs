//! Progress bars, on a terminal only.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use pocket_sync_client::Snapshot;

/// How often a bar is drawn anew.
const REFRESH: Duration = Duration::from_millis(100);

/// Shows how far a file is read while `work` reads it.
pub(crate) async fn of_bytes<T>(
    label: &'static str,
    total: u64,
    read: Arc<AtomicU64>,
    json: bool,
    work: impl Future<Output = T>,
) -> T {
    let bar = ProgressBar::with_draw_target(Some(total), target(json));
    bar.set_style(style(
        "{prefix:>10} {wide_bar} {bytes} of {total_bytes} {eta:>4}",
    ));
    bar.set_prefix(label);
    let bar = Cleared(bar);
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(REFRESH) => bar.0.set_position(read.load(Ordering::Relaxed)),
        }
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
