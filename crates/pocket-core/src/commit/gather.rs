//! Letting those who were answered together bring their next writes, which then share a commit.

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use pocket_storage::Durability;

use super::{Queue, lock};
use crate::config::{GATHERING_TURNS, PATIENT_TURNS};

/// After so many commits that were waited for in vain it is tried again.
const AGAIN: usize = 16;

/// How it went so far.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    /// How many jobs the next round has when all who were answered together come again; none where it was one alone.
    wanted: AtomicUsize,
    /// Commits in a row that were waited for in vain.
    in_vain: AtomicUsize,
}

impl Gathering {
    /// A round with so many jobs is about to be answered.
    pub(super) fn answers(&self, jobs: usize, queue: &Queue) {
        let wanted = if jobs < 2 {
            0
        } else {
            jobs + lock(queue).len()
        };
        self.wanted.store(wanted, Ordering::Relaxed);
    }

    /// Gives those who were answered together a moment to bring their next writes, which then share this commit.
    ///
    /// Without it, writers that go on at once fall into two halves that wait for each other's commits. Nobody waits for
    /// time, only for others who are ready to run. Where a commit waits for a disk, the moment is long
    /// enough for another thread to wake up and bring its write; where nobody comes, it is soon a short one again.
    pub(super) async fn gather(&self, queue: &Queue, strongest: Durability) {
        let wanted = self.wanted.load(Ordering::Relaxed);
        if wanted == 0 {
            return;
        }
        let in_vain = self.in_vain.load(Ordering::Relaxed);
        let dear = lock(queue).iter().map(|job| job.durability()).max();
        let dear = dear.min(Some(strongest));
        let patient = match dear {
            None | Some(Durability::Relaxed) => 0,
            Some(_) => PATIENT_TURNS >> in_vain,
        };
        for _ in 0..patient.max(GATHERING_TURNS) {
            if lock(queue).len() >= wanted {
                self.in_vain.store(0, Ordering::Relaxed);
                return;
            }
            turn().await;
        }
        self.in_vain.store((in_vain + 1) % AGAIN, Ordering::Relaxed);
    }
}

/// Lets all others that are ready run once.
async fn turn() {
    let mut passed = false;
    poll_fn(|context| {
        if std::mem::replace(&mut passed, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
