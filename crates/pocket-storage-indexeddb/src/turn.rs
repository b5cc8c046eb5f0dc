//! Turns: who was overtaken reads and writes in one transaction, and nothing comes in between.
//!
//! The browser runs transactions that write, of all tabs, in the order in which they were begun. But a commit rests on what
//! was read before it, in another transaction; so a tab that writes without a pause, and knows what it wrote last, is
//! always faster than one that has to read that first. One that was overtaken therefore reads in a transaction that may
//! write, and commits in it: it is next when those have ended that were begun before, and whoever goes on in a loop is
//! behind it. No lock is held but that of a transaction, which the browser ends as soon as nothing is asked of it.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;

use tokio::sync::Notify;

/// Whether this handle is to have a turn, and who uses the one that it has.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    is_wanted: Cell<bool>,
    is_out: Cell<bool>,
    back: Notify,
}

impl Turns {
    /// The next read begins a turn.
    pub(crate) fn want(&self) {
        self.is_wanted.set(true);
    }

    /// Whether a turn was to begin, which now is done or not needed.
    pub(crate) fn settle(&self) -> bool {
        self.is_wanted.replace(false)
    }

    /// Waits until nobody reads in the turn. A transaction has one round of requests at a time, and another one would only
    /// begin behind it.
    pub(crate) async fn wait(&self) {
        if self.is_out.get() {
            self.wait_for_others().await;
        }
    }

    /// Boxed, so that whoever waits has no copy of it.
    #[inline(never)]
    fn wait_for_others(&self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(async {
            while self.is_out.get() {
                self.back.notified().await;
            }
        })
    }

    /// Marks the turn as being read in, until what is given back is dropped.
    pub(crate) fn take(self: &Rc<Self>) -> Out {
        self.is_out.set(true);
        Out(Rc::clone(self))
    }
}

/// Somebody reads in the turn.
#[derive(Debug)]
pub(crate) struct Out(Rc<Turns>);

impl Drop for Out {
    fn drop(&mut self) {
        self.0.is_out.set(false);
        self.0.back.notify_waiters();
    }
}
