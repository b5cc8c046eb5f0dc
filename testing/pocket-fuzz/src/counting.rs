//! A clock that stands and a random source that counts, so that an input does the same in each run.

use std::sync::atomic::{AtomicU64, Ordering};

use pocket_core::{Env, Timestamp};

#[derive(Debug, Default)]
pub(crate) struct Counting(AtomicU64);

impl Env for Counting {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000)
    }

    fn random(&self, bytes: &mut [u8]) {
        for byte in bytes {
            let next = self.0.fetch_add(1, Ordering::Relaxed);
            *byte = next.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()[7];
        }
    }
}
