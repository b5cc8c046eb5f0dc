//! Time: one virtual clock for the world, and for each node a time of day that is wrong and jumps.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pocket_core::{Env, Timestamp};

use crate::dice::Dice;

/// The time of day at virtual time zero, in milliseconds since 1970.
const BEGIN: i64 = 1_750_000_000_000;

/// Virtual milliseconds since the beginning of a history.
#[derive(Clone, Debug, Default)]
pub(crate) struct WorldClock(Arc<AtomicU64>);

impl WorldClock {
    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// What a clock shows that is wrong by so much.
    pub(crate) fn time_of_day(&self, skew: i64) -> i64 {
        BEGIN + i64::try_from(self.now()).unwrap_or(i64::MAX) + skew
    }

    pub(crate) fn set(&self, now: u64) {
        self.0.store(now, Ordering::Relaxed);
    }
}

/// How wrong a node's time of day is, in milliseconds. It survives restarts, as a battery clock does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Skew {
    now: Arc<AtomicI64>,
    /// The least and the greatest it ever was.
    range: (i64, i64),
}

impl Skew {
    pub(crate) fn set(&mut self, skew: i64) {
        self.now.store(skew, Ordering::Relaxed);
        self.range = (skew, skew);
    }

    pub(crate) fn jump(&mut self, by: i64) {
        let now = self.now.fetch_add(by, Ordering::Relaxed) + by;
        self.range = (self.range.0.min(now), self.range.1.max(now));
    }

    pub(crate) fn now(&self) -> i64 {
        self.now.load(Ordering::Relaxed)
    }

    /// The least and the greatest it ever was.
    pub(crate) const fn range(&self) -> (i64, i64) {
        self.range
    }
}

/// A node's time of day and its random source.
#[derive(Debug)]
pub(crate) struct SimEnv {
    world: WorldClock,
    skew: Skew,
    dice: Mutex<Dice>,
}

impl SimEnv {
    pub(crate) fn new(world: &WorldClock, skew: &Skew, dice: Dice) -> Self {
        Self {
            world: world.clone(),
            skew: skew.clone(),
            dice: Mutex::new(dice),
        }
    }
}

impl Env for SimEnv {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.world.time_of_day(self.skew.now()))
    }

    fn random(&self, bytes: &mut [u8]) {
        self.dice
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .fill(bytes);
    }
}
