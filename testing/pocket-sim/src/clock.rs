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

    pub(crate) fn set(&self, now: u64) {
        self.0.store(now, Ordering::Relaxed);
    }
}

/// How wrong a node's time of day is, in milliseconds. It survives restarts, as a battery clock does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Skew(Arc<AtomicI64>);

impl Skew {
    pub(crate) fn set(&self, skew: i64) {
        self.0.store(skew, Ordering::Relaxed);
    }

    pub(crate) fn jump(&self, by: i64) {
        self.0.fetch_add(by, Ordering::Relaxed);
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
        let passed = i64::try_from(self.world.now()).unwrap_or(i64::MAX);
        Timestamp::from_millis(BEGIN + passed + self.skew.0.load(Ordering::Relaxed))
    }

    fn random(&self, bytes: &mut [u8]) {
        self.dice
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .fill(bytes);
    }
}
