//! One answer, from an event to the task that waits for it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// A place for a value that an event sets. What is set is kept until it is taken.
#[derive(Debug)]
pub(super) struct Signal<T>(Rc<RefCell<Inner<T>>>);

#[derive(Debug)]
struct Inner<T> {
    value: Option<T>,
    waker: Option<Waker>,
}

impl<T> Signal<T> {
    pub(super) fn new() -> Self {
        Self(Rc::new(RefCell::new(Inner {
            value: None,
            waker: None,
        })))
    }

    /// Sets the value unless one is there, and wakes who waits.
    pub(super) fn set(&self, value: T) {
        let mut inner = self.0.borrow_mut();
        inner.value.get_or_insert(value);
        if let Some(waker) = inner.waker.take() {
            drop(inner);
            waker.wake();
        }
    }

    /// Takes the value as soon as there is one.
    pub(super) async fn take(&self) -> T {
        poll_fn(|context| {
            let mut inner = self.0.borrow_mut();
            if let Some(value) = inner.value.take() {
                return Poll::Ready(value);
            }
            inner.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl<T> Clone for Signal<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}
