//! What the server's sessions know of the heads of logs, and since when.

use std::collections::BTreeMap;

/// Where the log of each namespace ends, each head with the moment from which on sessions know it.
///
/// A commit is stored before anybody hears of it. Whoever asks in between is told the head of before, and rightly so.
#[derive(Debug, Default)]
pub(crate) struct Heads(BTreeMap<usize, Vec<(u64, u64)>>);

impl Heads {
    /// From `moment` on whoever asks is told this head, or a later one.
    pub(crate) fn tell(&mut self, namespace: usize, moment: u64, head: u64) {
        let heads = self.0.entry(namespace).or_default();
        // What is no later head by then adds nothing.
        heads.retain(|(other, known)| *other < moment || *known > head);
        heads.push((moment, head));
    }

    /// The head that whoever asks `now` is told at the least.
    pub(crate) fn at(&self, namespace: usize, now: u64) -> u64 {
        let heads = self.0.get(&namespace).into_iter().flatten();
        let known = heads.filter(|(moment, _)| *moment <= now);
        known.map(|(_, head)| *head).max().unwrap_or(0)
    }

    /// The server goes back to these.
    pub(crate) fn restore(&mut self, now: u64, left: &BTreeMap<usize, u64>) {
        self.0.clear();
        for (namespace, head) in left {
            self.tell(*namespace, now, *head);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_counts_from_the_moment_on_at_which_sessions_know_it() {
        let mut heads = Heads::default();
        assert_eq!(heads.at(0, 100), 0);
        heads.tell(0, 10, 4);
        heads.tell(0, 12, 5);
        heads.tell(0, 11, 6);
        heads.tell(1, 5, 9);
        let known = [9, 10, 11, 12].map(|now| heads.at(0, now));
        assert_eq!(known, [0, 4, 6, 6]);
        heads.restore(20, &BTreeMap::from([(0, 2)]));
        assert_eq!((heads.at(0, 20), heads.at(1, 20)), (2, 0));
    }
}
