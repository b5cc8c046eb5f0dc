//! How fast a connection may ask: two token buckets, of messages and of bytes. The time comes from outside.

use std::time::Duration;

use super::Moment;
use crate::bucket::Bucket;
use crate::limits::RateLimits;

const SECOND: Duration = Duration::from_secs(1);

/// Refusals that are borne beside what may come at once: what was in flight, and a defect or two.
const PATIENCE: u64 = 100;

/// What a connection has left.
#[derive(Debug)]
pub(super) struct Rate {
    messages: Bucket,
    bytes: Bucket,
    /// Refusals it may still cause; whoever goes on without a pause is sent away.
    refusals: Bucket,
    /// Everything is refused until then, so that what was sent in order is not taken with a gap.
    blocked: Option<Moment>,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is taken.
    Taken,
    /// It is refused; the same may come again after so long.
    Refused(Duration),
    /// The connection ends.
    Over,
}

impl Rate {
    pub(super) fn new(limits: &RateLimits) -> Self {
        let bucket = |per_second: u64, at_once: u64| Bucket::new(per_second, SECOND, at_once);
        let messages = bucket(
            limits.messages_per_second.into(),
            limits.messages_at_once.into(),
        );
        Self {
            refusals: bucket(
                limits.messages_per_second.into(),
                PATIENCE + u64::from(limits.messages_at_once),
            ),
            messages,
            bytes: bucket(limits.bytes_per_second, limits.bytes_at_once),
            blocked: None,
        }
    }

    /// Judges a message of so many bytes.
    pub(super) fn judge(&mut self, now: Moment, bytes: usize) -> Verdict {
        if let Some(until) = self.blocked.filter(|until| now < *until) {
            return self.refuse(now, until);
        }
        self.blocked = None;
        let until = self.messages.ready(now).max(self.bytes.ready(now));
        if until > now {
            self.blocked = Some(until);
            return self.refuse(now, until);
        }
        self.messages.take(1);
        // A large message may be owed for; what comes behind it waits.
        self.bytes.take(bytes as u64);
        Verdict::Taken
    }

    /// Judges a message that costs nothing to answer, and whose sender cannot be told to send it again: whether it is
    /// still within patience.
    pub(super) fn judge_sign_of_life(&mut self, now: Moment) -> Verdict {
        match self.refuse(now, now) {
            Verdict::Over => Verdict::Over,
            Verdict::Taken | Verdict::Refused(_) => Verdict::Taken,
        }
    }

    fn refuse(&mut self, now: Moment, until: Moment) -> Verdict {
        if self.refusals.ready(now) > now {
            return Verdict::Over;
        }
        self.refusals.take(1);
        Verdict::Refused(Duration::from_millis(until.0 - now.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate() -> Rate {
        Rate::new(&RateLimits {
            messages_per_second: 10,
            messages_at_once: 3,
            bytes_per_second: 1_000,
            bytes_at_once: 5_000,
        })
    }

    #[test]
    fn a_burst_is_taken_and_then_a_steady_rate() {
        let mut rate = rate();
        let mut at = |moment| rate.judge(Moment(moment), 1);
        assert_eq!([at(0), at(0), at(0)], [Verdict::Taken; 3]);
        assert_eq!(at(0), Verdict::Refused(Duration::from_millis(100)));
        assert_eq!(at(60), Verdict::Refused(Duration::from_millis(40)));
        assert_eq!(at(100), Verdict::Taken);
        assert_eq!(at(100), Verdict::Refused(Duration::from_millis(100)));
        assert_eq!([at(400), at(400)], [Verdict::Taken; 2]);
    }

    #[test]
    fn bytes_may_be_owed_for_and_are_paid_before_the_next() {
        let mut rate = rate();
        assert_eq!(rate.judge(Moment(0), 7_000), Verdict::Taken);
        assert_eq!(
            rate.judge(Moment(0), 1),
            Verdict::Refused(Duration::from_millis(2_001))
        );
        assert_eq!(rate.judge(Moment(2_001), 1), Verdict::Taken);
    }

    #[test]
    fn whoever_does_not_listen_is_sent_away_and_whoever_waits_is_not() {
        let mut deaf = rate();
        let verdicts: Vec<_> = (0..120).map(|_| deaf.judge(Moment(0), 1)).collect();
        assert_eq!(verdicts[106..], [Verdict::Over; 14]);
        assert!(matches!(verdicts[105], Verdict::Refused(_)));
        let mut polite = rate();
        let mut now = 0;
        let mut taken = 0;
        for _ in 0..1_000 {
            match polite.judge(Moment(now), 1) {
                Verdict::Taken => taken += 1,
                Verdict::Refused(wait) => now += u64::try_from(wait.as_millis()).unwrap(),
                Verdict::Over => panic!("it waited as it was told"),
            }
        }
        assert!(taken >= 500, "{taken}");
    }
}
