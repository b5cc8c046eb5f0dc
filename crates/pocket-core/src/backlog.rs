//! Commits that wait for a reader, who may be slow or never come: bounded in number and in bytes.

use std::collections::VecDeque;

use crate::config::{SUBSCRIBER_BYTES, SUBSCRIBER_COMMITS};
use crate::events::CommitEvents;

/// Commits in order, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    commits: VecDeque<CommitEvents>,
    bytes: usize,
}

impl Backlog {
    /// Whether another one is more than may wait. A single commit always may, or nobody would ever hear of a large one.
    pub(crate) fn is_full_for(&self, commit: &CommitEvents) -> bool {
        let bytes = self.bytes.saturating_add(commit.bytes);
        let is_over = self.commits.len() >= SUBSCRIBER_COMMITS || bytes > SUBSCRIBER_BYTES;
        is_over && !self.commits.is_empty()
    }

    pub(crate) fn push(&mut self, commit: CommitEvents) {
        self.bytes = self.bytes.saturating_add(commit.bytes);
        self.commits.push_back(commit);
    }

    /// The oldest one.
    pub(crate) fn take(&mut self) -> Option<CommitEvents> {
        let commit = self.commits.pop_front()?;
        self.bytes = self.bytes.saturating_sub(commit.bytes);
        Some(commit)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
