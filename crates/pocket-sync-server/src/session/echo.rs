//! Which records a session need not send back to their writer.

use std::ops::RangeInclusive;

use pocket_core::Seq;

/// Ranges kept at the most; what is forgotten is merely sent.
const RANGES: usize = 4_096;

/// The places this very session wrote and was told the outcomes of, as far as its reading has not passed them.
#[derive(Debug, Default)]
pub(super) struct Echo {
    /// Rising, and never two that touch.
    ranges: std::collections::VecDeque<RangeInclusive<u64>>,
}

impl Echo {
    /// Adds places, all behind those added before.
    pub(super) fn add(&mut self, written: Vec<RangeInclusive<u64>>) {
        for range in written {
            match self.ranges.back_mut() {
                Some(last) if last.end().checked_add(1) == Some(*range.start()) => {
                    *last = *last.start()..=*range.end();
                }
                Some(last) if last.end() >= range.start() => {}
                _ => self.ranges.push_back(range),
            }
        }
        while self.ranges.len() > RANGES {
            self.ranges.pop_front();
        }
    }

    pub(super) fn contains(&self, seq: Seq) -> bool {
        let place = self
            .ranges
            .partition_point(|range| *range.end() < seq.get());
        self.ranges
            .get(place)
            .is_some_and(|range| range.contains(&seq.get()))
    }

    /// Forgets places that were read past.
    pub(super) fn forget(&mut self, passed: Seq) {
        while self
            .ranges
            .front()
            .is_some_and(|range| *range.end() <= passed.get())
        {
            self.ranges.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_become_one_and_those_passed_are_forgotten() {
        let mut echo = Echo::default();
        echo.add(vec![1..=3, 7..=7]);
        echo.add(vec![8..=9]);
        assert_eq!(echo.ranges.len(), 2);
        let held: Vec<u64> = (0..12)
            .filter(|seq| echo.contains(Seq::new(*seq)))
            .collect();
        assert_eq!(held, [1, 2, 3, 7, 8, 9]);
        echo.forget(Seq::new(7));
        assert!(!echo.contains(Seq::new(3)) && echo.contains(Seq::new(8)));
    }
}
