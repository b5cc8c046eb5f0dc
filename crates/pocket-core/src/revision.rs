//! Revisions: who wrote a version, and when by a hybrid logical clock.
//!
//! The clock is that of Kulkarni et al., "Logical Physical Clocks and Consistent Snapshots in Globally Distributed
//! Databases" (2014): 48 bits of milliseconds and a counter of 16 bits in one rising number.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{ClientId, Error, Result, Timestamp};

const COUNTER_BITS: u32 = 16;

/// Writes are this far apart where time stands: what lies between is for changes that nobody made.
const WRITES_APART: u64 = 16;

/// A reading of a hybrid logical clock: milliseconds since 1970 in the upper 48 bits, a counter below.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Hlc(u64);

impl Hlc {
    /// Before every reading.
    pub const ZERO: Self = Self(0);

    /// The first reading of a millisecond. Times before 1970 count as 1970, those past the year 10,889 as that.
    pub fn from_time(time: Timestamp) -> Self {
        let millis = u64::try_from(time.millis())
            .unwrap_or(0)
            .min((1 << (64 - COUNTER_BITS)) - 1);
        Self(millis << COUNTER_BITS)
    }

    /// From its 64 bits.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Its 64 bits.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The millisecond it was read in.
    pub fn time(self) -> Timestamp {
        Timestamp::from_millis((self.0 >> COUNTER_BITS).cast_signed())
    }

    /// The least reading behind this one that a write can have.
    #[must_use]
    const fn next(self) -> Self {
        Self((self.0 | (WRITES_APART - 1)).saturating_add(1))
    }

    /// The least reading behind this one that no write has: for a change that nobody made, as that of a migration. It is
    /// before every write that follows this reading, and never that of another write of the same client.
    #[must_use]
    pub(crate) const fn aside(self) -> Self {
        let least = self.0.saturating_add(1);
        Self(least.saturating_add(least.is_multiple_of(WRITES_APART) as u64))
    }

    /// Whether it is the reading of a change that nobody made.
    pub(crate) const fn is_aside(self) -> bool {
        !self.0.is_multiple_of(WRITES_APART)
    }

    /// Whether the two lie between the same two writes.
    pub(crate) const fn is_beside(self, other: Self) -> bool {
        self.0 / WRITES_APART == other.0 / WRITES_APART
    }

    /// A later reading of the same millisecond, where counters hardly come by themselves; which of 2,048 there, `random`
    /// says. The next reading, where none of these is later.
    #[must_use]
    pub(crate) const fn returning(self, random: u16) -> Self {
        const UPPER_HALF: u64 = 1 << (COUNTER_BITS - 1);
        let counter = self.0 & ((1 << COUNTER_BITS) - 1);
        let from = if counter < UPPER_HALF {
            UPPER_HALF
        } else {
            (counter | (WRITES_APART - 1)) + 1
        };
        let chosen = from + (random & 0x07ff) as u64 * WRITES_APART;
        if chosen >> COUNTER_BITS > 0 {
            return self.next();
        }
        Self(self.0 - counter + chosen)
    }

    /// The next reading at the time `now`: that time, or the least step behind this if time has not moved on.
    #[must_use]
    pub fn tick(self, now: Timestamp) -> Self {
        Self::from_time(now).max(self.next())
    }
}

/// A version of a document: unique, and ordered by time first and writer second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Revision {
    /// When it was written.
    pub hlc: Hlc,
    /// Who wrote it.
    pub client: ClientId,
}

impl Revision {
    /// A revision of its two parts.
    pub const fn new(hlc: Hlc, client: ClientId) -> Self {
        Self { hlc, client }
    }
}

/// `<hybrid clock, 16 hexadecimal digits>-<client, 32>`; sorts as text like the revision itself.
impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.hlc.bits(), self.client)
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Revision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || Error::validation(format!("`{text}` is not a revision"));
        let (hlc, client) = text.split_once('-').ok_or_else(bad)?;
        if hlc.len() != 16 {
            return Err(bad());
        }
        let bits = u64::from_str_radix(hlc, 16).map_err(|_| bad())?;
        Ok(Self::new(Hlc::from_bits(bits), client.parse()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_stands_or_jumps_back_still_rises() {
        let first = Hlc::ZERO.tick(Timestamp::from_millis(1_000));
        let same = first.tick(Timestamp::from_millis(1_000));
        let back = same.tick(Timestamp::from_millis(10));
        assert!(first < same && same < back);
        assert_eq!(back.time().millis(), 1_000);
    }

    #[test]
    fn what_nobody_made_is_before_the_next_write_and_never_is_one() {
        let mut write = Hlc::ZERO.tick(Timestamp::from_millis(1_000));
        for _ in 0..5_000 {
            let next = write.tick(Timestamp::from_millis(1_000));
            let mut aside = write;
            for _ in 1..WRITES_APART {
                let again = aside.aside();
                assert!(aside < again && again < next);
                assert_ne!(again.bits() % WRITES_APART, 0);
                aside = again;
            }
            // As many in a row as lie between two writes: it is later than the next one then, and still none.
            assert!(aside.aside() > next);
            assert_ne!(aside.aside().bits() % WRITES_APART, 0);
            write = next;
        }
        assert_eq!(Hlc::from_bits(u64::MAX).aside().bits(), u64::MAX);
    }

    #[test]
    fn what_returns_is_later_and_of_the_same_millisecond_while_there_is_room() {
        for counter in [0, 7, 0x7fff, 0x8000, 0x8010] {
            let lost = Hlc::from_bits((1_000 << COUNTER_BITS) | counter);
            for random in [0, 1, 0x07fe, 0xf000] {
                let back = lost.returning(random);
                assert!(back > lost && back.time() == lost.time(), "{counter:x}");
                assert!(back.bits() & 0x8000 > 0, "{counter:x}");
                assert_eq!(back.bits() % WRITES_APART, 0, "{counter:x}");
            }
        }
        let last = Hlc::from_bits((1_000 << COUNTER_BITS) | 0xffff);
        assert_eq!(last.returning(5), last.next());
    }

    #[test]
    fn a_revision_survives_its_text() {
        let revision = Revision::new(
            Hlc::from_bits(0x0123_4567_89ab_cdef),
            ClientId::from_bytes([7; 16]),
        );
        assert_eq!(revision.to_string().parse::<Revision>().unwrap(), revision);
        assert!("12-34".parse::<Revision>().is_err());
    }
}
