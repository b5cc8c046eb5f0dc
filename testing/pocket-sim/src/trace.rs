//! What happened, in order: as a hash always, as lines when somebody wants to read it.

use std::fmt;

/// Who something happened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Node {
    World,
    Server,
    Client(usize),
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::World => f.pad("world"),
            Self::Server => f.pad("server"),
            Self::Client(index) => f.pad(&format!("client {index}")),
        }
    }
}

/// The trace of one history.
#[derive(Debug)]
pub(crate) struct Trace {
    prints: bool,
    hash: u64,
}

impl Trace {
    pub(crate) fn new(prints: bool) -> Self {
        Self {
            prints,
            hash: 0xcbf2_9ce4_8422_2325,
        }
    }

    /// Two runs that did the same have the same.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// Mixes numbers into the hash (FNV-1a, a word at a time).
    pub(crate) fn mix(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.hash = (self.hash ^ number).wrapping_mul(0x0000_0100_0000_01b3);
            self.hash ^= self.hash >> 29;
        }
    }

    /// Mixes bytes into the hash.
    pub(crate) fn mix_bytes(&mut self, bytes: &[u8]) {
        self.mix(&[bytes.len() as u64, u64::from(crc32fast::hash(bytes))]);
    }

    /// Prints a line, if lines are wanted; `what` is not even made otherwise.
    pub(crate) fn line(&self, now: u64, node: Node, what: impl FnOnce() -> String) {
        if self.prints {
            println!("{:>9.3} s  {node:<9} {}", now_seconds(now), what());
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "virtual times are small")]
fn now_seconds(now: u64) -> f64 {
    now as f64 / 1_000.0
}
