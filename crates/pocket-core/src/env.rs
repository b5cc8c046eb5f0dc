//! Time and randomness, injected: the only clock and random source below the drivers.

use std::fmt::Debug;

use pocket_storage::{MaybeSend, MaybeSync};

use crate::Timestamp;

/// Where a database takes time and randomness from.
pub trait Env: Debug + MaybeSend + MaybeSync + 'static {
    /// The time of day. It may jump, also backwards; nothing but the look of ids and revisions depends on it.
    fn now(&self) -> Timestamp;

    /// Fills `bytes` with random bytes that cannot be guessed.
    fn random(&self, bytes: &mut [u8]);
}

/// Sixteen random bytes of `env`.
pub fn random_bytes<const N: usize>(env: &dyn Env) -> [u8; N] {
    let mut bytes = [0; N];
    env.random(&mut bytes);
    bytes
}

/// The clock and the random source of the machine (or of the browser).
#[cfg(feature = "system-env")]
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEnv;

#[cfg(feature = "system-env")]
impl Env for SystemEnv {
    fn now(&self) -> Timestamp {
        #[cfg_attr(
            not(target_arch = "wasm32"),
            expect(clippy::disallowed_methods, reason = "this is the one clock")
        )]
        let since = web_time::SystemTime::now().duration_since(web_time::UNIX_EPOCH);
        // A clock before 1970 counts as 1970: revisions only need to rise, and the hybrid clock sees to that.
        let millis = since.map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        });
        Timestamp::from_millis(millis)
    }

    fn random(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system has a random source");
    }
}
