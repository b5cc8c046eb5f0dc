//! How long to wait before the next attempt.
//!
//! Full jitter: a uniformly random share of a delay that doubles up to a cap. Thousands of clients that lost one server
//! come back spread over the whole delay (Marc Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015).

/// The longest delay between attempts, in milliseconds.
pub(crate) const MAX_DELAY_MILLIS: u64 = 30_000;

/// Delays that grow with each failure in a row.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    base: u64,
    failures: u32,
    random: SplitMix64,
}

impl Backoff {
    /// Delays that begin with up to `base` milliseconds; `seed` decides the jitter.
    pub(crate) fn new(base: u64, seed: u64) -> Self {
        Self {
            base: base.min(MAX_DELAY_MILLIS),
            failures: 0,
            random: SplitMix64(seed),
        }
    }

    /// Counts a failure and says how many milliseconds to wait: between nothing and the whole delay.
    pub(crate) fn next(&mut self) -> u64 {
        let whole = self
            .base
            .saturating_mul(1 << self.failures.min(32))
            .min(MAX_DELAY_MILLIS);
        self.failures = self.failures.saturating_add(1);
        self.random.up_to(whole)
    }

    /// As [`next`](Self::next), but the first failure in a row costs no wait.
    pub(crate) fn first_free(&mut self) -> u64 {
        let is_first = self.failures == 0;
        let wait = self.next();
        if is_first { 0 } else { wait }
    }

    /// A delay of what needs a person to go away: between half the cap and the cap.
    pub(crate) fn slow(&mut self) -> u64 {
        MAX_DELAY_MILLIS / 2 + self.random.up_to(MAX_DELAY_MILLIS / 2)
    }

    /// Something worked: the next failure is the first one again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Sebastiano Vigna's `SplitMix64`: small, and good enough for jitter.
#[derive(Clone, Debug)]
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Between 0 and `most`, both included.
    fn up_to(&mut self, most: u64) -> u64 {
        // The remainder prefers small numbers by one part in 2^49 here, which no jitter notices.
        self.next() % (most + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_stay_within_a_doubling_bound_and_its_cap() {
        for seed in 0..200 {
            let mut backoff = Backoff::new(1_000, seed);
            for whole in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
                assert!(backoff.next() <= whole);
            }
        }
    }

    #[test]
    fn jitter_uses_the_whole_delay() {
        let mut delays: Vec<u64> = (0..1_000)
            .map(|seed| Backoff::new(1_000, seed).next())
            .collect();
        delays.sort_unstable();
        assert!(delays[0] < 50 && delays[999] > 950);
        let middle = delays[500];
        assert!((400..600).contains(&middle), "{middle}");
    }

    #[test]
    fn success_begins_again() {
        let mut backoff = Backoff::new(1_000, 7);
        for _ in 0..10 {
            backoff.next();
        }
        backoff.reset();
        assert!(backoff.next() <= 1_000);
    }

    #[test]
    fn slow_delays_are_neither_eager_nor_endless() {
        let mut backoff = Backoff::new(1_000, 3);
        for _ in 0..100 {
            assert!((MAX_DELAY_MILLIS / 2..=MAX_DELAY_MILLIS).contains(&backoff.slow()));
        }
    }
}
