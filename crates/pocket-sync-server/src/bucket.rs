//! A bucket that fills at a steady rate: what may be done at once, and how often in the long run.

use std::time::Duration;

use crate::session::Moment;

/// What is left of a rate. It is counted in parts that one millisecond adds, so that none of them is ever lost.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    /// The parts that a millisecond adds.
    rate: i128,
    /// The parts of one thing.
    whole: i128,
    most: i128,
    left: i128,
    filled: Moment,
}

impl Bucket {
    /// A full bucket of `at_once` things, into which `count` of them come in each `period`.
    pub(crate) fn new(count: u64, period: Duration, at_once: u64) -> Self {
        let whole = i128::try_from(period.as_millis()).unwrap_or(i128::MAX >> 64);
        let whole = whole.max(1);
        let most = i128::from(at_once.max(1)) * whole;
        Self {
            rate: i128::from(count.max(1)),
            whole,
            most,
            left: most,
            filled: Moment::default(),
        }
    }

    /// When one may be taken: now, or later.
    pub(crate) fn ready(&mut self, now: Moment) -> Moment {
        let passed = i128::from(now.0.saturating_sub(self.filled.0));
        self.filled = self.filled.max(now);
        self.left = (self.left + passed * self.rate).min(self.most);
        // There has to be a whole one; more may be owed for then, but not twice.
        let missing = self.whole - self.left;
        if missing <= 0 {
            return now;
        }
        let wait = (missing + self.rate - 1) / self.rate;
        Moment(
            now.0
                .saturating_add(u64::try_from(wait).unwrap_or(u64::MAX)),
        )
    }

    /// Takes so many, which may be more than are left.
    pub(crate) fn take(&mut self, count: u64) {
        self.left -= i128::from(count) * self.whole;
    }

    /// Gives back one that was taken.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn give_back(&mut self) {
        self.left = (self.left + self.whole).min(self.most);
    }

    /// Whether it is as it was in the beginning.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn is_full(&mut self, now: Moment) -> bool {
        self.ready(now);
        self.left == self.most
    }
}
