//! Which waiting pushes become one commit.

use std::collections::VecDeque;

use crate::decide::PushRequest;

/// Pushes that wait, in order, each with what its answer needs.
#[derive(Debug)]
pub struct Joiner<T> {
    waiting: VecDeque<(PushRequest, T)>,
    waiting_changes: usize,
    waiting_bytes: usize,
    changes: usize,
    bytes: usize,
}

impl<T> Joiner<T> {
    /// Joins up to these many changes and bytes; a single push may have more.
    pub fn new(changes: usize, bytes: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            waiting_changes: 0,
            waiting_bytes: 0,
            changes,
            bytes,
        }
    }

    /// Adds a push behind those that wait.
    pub fn push(&mut self, push: PushRequest, tag: T) {
        self.waiting_changes += push.changes();
        self.waiting_bytes += push.bytes;
        self.waiting.push_back((push, tag));
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether what waits fills a commit.
    pub fn is_full(&self) -> bool {
        self.waiting_changes >= self.changes || self.waiting_bytes >= self.bytes
    }

    /// Takes the pushes of the next commit, in order: as many as fit, and at least one if any waits.
    pub fn next_commit(&mut self) -> (Vec<PushRequest>, Vec<T>) {
        let (mut changes, mut bytes) = (0, 0);
        let fits = |(push, _): &(PushRequest, T)| {
            changes += push.changes();
            bytes += push.bytes;
            changes <= self.changes && bytes <= self.bytes
        };
        let count = self
            .waiting
            .iter()
            .map(fits)
            .take_while(|fits| *fits)
            .count()
            .max(1);
        let (pushes, tags): (Vec<PushRequest>, _) =
            self.waiting.drain(..count.min(self.waiting.len())).unzip();
        for push in &pushes {
            self.waiting_changes -= push.changes();
            self.waiting_bytes -= push.bytes;
        }
        (pushes, tags)
    }
}

#[cfg(test)]
mod tests {
    use pocket_core::{ClientId, MutationNumber, SessionToken};

    use super::*;

    fn push(bytes: usize) -> PushRequest {
        PushRequest {
            user: "u".into(),
            client: ClientId::from_bytes([1; 16]),
            session: SessionToken::from_bytes([2; 16]),
            confirmed: MutationNumber::ZERO,
            first: MutationNumber::new(1),
            mutations: Vec::new(),
            bytes,
            authority: crate::rules::Authority::open(),
        }
    }

    #[test]
    fn what_waits_becomes_one_commit_in_order_up_to_the_bound() {
        let mut joiner = Joiner::new(1_000, 100);
        [40, 60, 1, 500, 3]
            .into_iter()
            .enumerate()
            .for_each(|(tag, bytes)| joiner.push(push(bytes), tag));
        assert_eq!(joiner.next_commit().1, [0, 1]);
        assert_eq!(joiner.next_commit().1, [2]);
        assert_eq!(
            joiner.next_commit().1,
            [3],
            "a push over the bound goes alone"
        );
        assert_eq!(joiner.next_commit().1, [4]);
        assert!(joiner.is_empty());
        assert!(joiner.next_commit().1.is_empty());
    }
}
