//! What comes in on a socket beside messages: frames that are not whole yet, pings and pongs.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::driver::time_to_come;

/// The length of a second, within which control frames are counted.
const SECOND: Duration = Duration::from_secs(1);
/// The bytes of a control frame of a client beside its content: two of the header, four of the mask.
const CONTROL_BYTES: u64 = 6;

/// Keeps the time of a frame, and counts those that carry nothing.
#[derive(Debug)]
pub(super) struct Coming {
    /// How long a frame may take that brings next to nothing.
    patience: Duration,
    /// Control frames a second at the most.
    controls: u32,
    /// The bytes that belong to frames which are whole.
    whole: u64,
    /// When the frame that is under way was first seen, and the end of its time.
    frame: Option<(Instant, Pin<Box<Sleep>>)>,
    /// The second that is counted, and what came in it.
    second: Option<(Instant, u32)>,
}

impl Coming {
    pub(super) fn new(patience: Duration, controls: u32) -> Self {
        Self {
            patience,
            controls,
            whole: 0,
            frame: None,
            second: None,
        }
    }

    /// A message is whole. What else was `received` may be the beginning of the next one; its time begins with its next
    /// byte.
    pub(super) fn message(&mut self, received: u64) {
        self.whole = received;
        self.frame = None;
    }

    /// A ping or a pong came, perhaps amid the parts of a message. Tells whether it is one too many.
    pub(super) fn control(&mut self, content: usize, received: u64) -> bool {
        self.whole = (self.whole + CONTROL_BYTES + content as u64).min(received);
        let now = Instant::now();
        let count = match &mut self.second {
            Some((since, count)) if now < *since + SECOND => {
                *count = count.saturating_add(1);
                *count
            }
            second => second.insert((now, 1)).1,
        };
        count > self.controls
    }

    /// Nothing is read now, so nothing can be late.
    pub(super) fn pause(&mut self) {
        self.frame = None;
    }

    /// Ready when a frame that is not whole has had its time.
    pub(super) fn poll_late(&mut self, context: &mut Context<'_>, received: u64) -> Poll<()> {
        let partial = received - self.whole;
        if partial == 0 {
            self.frame = None;
            return Poll::Pending;
        }
        let patience = self.patience;
        let (began, sleep) = self.frame.get_or_insert_with(|| {
            let now = Instant::now();
            (now, Box::pin(tokio::time::sleep_until(now + patience)))
        });
        let until = *began + time_to_come(patience, partial);
        if sleep.deadline() != until {
            sleep.as_mut().reset(until);
        }
        sleep.as_mut().poll(context)
    }
}
