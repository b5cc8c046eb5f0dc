//! Sessions over HTTP: a connection is a row of requests, each answered with what the session has to say.
//!
//! The rules stand in `docs/protocol.md`. Here a connection is another [`Wire`]: the request that waits for an answer is
//! the way out, the frames of requests are the way in. While no request waits, the feed is not read for this client, so
//! that one which stays away costs next to nothing.

mod request;
mod table;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use pocket_sync_protocol::codes::close;
use pocket_sync_protocol::http as wire;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep};

pub(crate) use self::request::{post, preflight};
use self::table::Place;
pub(crate) use self::table::Table;
use crate::driver::{Turn, Wire};
use crate::session::Session;

/// How long a request that came too early waits for the one before it.
const EARLY: Duration = Duration::from_secs(10);

/// How long the store may work before a request is answered without what it is working on.
const WORK: Duration = Duration::from_secs(10);

/// A request of a client.
#[derive(Debug)]
pub(crate) struct Post {
    /// Its place in the connection.
    pub(crate) sequence: u64,
    pub(crate) frames: Vec<Bytes>,
    /// How long an empty answer may be held back.
    pub(crate) wait: Duration,
    /// Whether the client ends the connection with it.
    pub(crate) is_last: bool,
    pub(crate) reply: oneshot::Sender<Reply>,
}

/// The answer to a request.
#[derive(Debug)]
pub(crate) struct Reply {
    /// Frames, as they stand in a body.
    pub(crate) body: Bytes,
    /// There is more to come without anything else happening: the client should ask again at once.
    pub(crate) more: bool,
    /// The connection has ended with this code.
    pub(crate) close: Option<u16>,
}

/// A connection over HTTP.
pub(crate) struct Polled {
    posts: mpsc::Receiver<Post>,
    /// The place of the next request.
    next: u64,
    early: Option<(Post, Instant)>,
    waiting: Option<Waiting>,
    /// What came and was not handed over yet.
    frames: VecDeque<Bytes>,
    unsent: VecDeque<Bytes>,
    unsent_bytes: usize,
    message_bytes: usize,
    /// The client has said goodbye, or an answer got lost.
    ends: bool,
    timer: Pin<Box<Sleep>>,
    /// Leaves the table with the connection.
    _place: Place,
}

/// The request that will be answered next.
struct Waiting {
    reply: oneshot::Sender<Reply>,
    since: Instant,
    wait: Duration,
}

impl Polled {
    pub(crate) fn new(posts: mpsc::Receiver<Post>, place: Place, message_bytes: usize) -> Self {
        Self {
            posts,
            next: 0,
            early: None,
            waiting: None,
            frames: VecDeque::new(),
            unsent: VecDeque::new(),
            unsent_bytes: 0,
            message_bytes,
            ends: false,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            _place: place,
        }
    }

    fn poll_turn(&mut self, context: &mut Context<'_>, session: &Session) -> Poll<Turn> {
        let (wants_frames, busy) = (session.wants_frames(), session.is_busy());
        loop {
            if session.is_full() && !self.is_full() {
                return Poll::Ready(Turn::Room);
            }
            if wants_frames && let Some(frame) = self.frames.pop_front() {
                return Poll::Ready(Turn::Frame(frame));
            }
            if self.frames.is_empty() {
                if self.ends {
                    self.answer(busy, None);
                    return Poll::Ready(Turn::Gone);
                }
                match self.poll_post(context) {
                    Poll::Ready(Some(post)) => {
                        self.take(post);
                        return Poll::Ready(Turn::Alive);
                    }
                    Poll::Ready(None) => return Poll::Ready(Turn::Gone),
                    Poll::Pending => {}
                }
            }
            if let Some(waiting) = &mut self.waiting
                && waiting.reply.poll_closed(context).is_ready()
            {
                // Whoever asked is gone, and with it the order of what it was told.
                return Poll::Ready(Turn::Gone);
            }
            let due = self.due(busy);
            if due.is_some_and(|due| due <= Instant::now()) {
                self.answer(busy, None);
                continue;
            }
            let early = self.early.as_ref().map(|(_, until)| *until);
            let Some(deadline) = due.into_iter().chain(early).min() else {
                return Poll::Pending;
            };
            if self.timer.deadline() != deadline {
                self.timer.as_mut().reset(deadline);
            }
            if self.timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            if early.is_some_and(|until| until <= Instant::now()) {
                return Poll::Ready(Turn::Gone);
            }
        }
    }

    /// When the request that waits is to be answered, as things stand.
    fn due(&self, busy: bool) -> Option<Instant> {
        let waiting = self.waiting.as_ref()?;
        if self.is_full() || (!self.unsent.is_empty() && !busy) {
            return Some(waiting.since);
        }
        // What is being read or committed belongs to this answer, so that nobody has to ask twice.
        let wait = if busy {
            waiting.wait.max(WORK)
        } else {
            waiting.wait
        };
        // Not before the frames it brought are handed over.
        self.frames.is_empty().then_some(waiting.since + wait)
    }

    /// The next request, in its order; none when there can be none any more.
    fn poll_post(&mut self, context: &mut Context<'_>) -> Poll<Option<Post>> {
        loop {
            if let Some((post, _)) = self.early.take_if(|(post, _)| post.sequence == self.next) {
                return Poll::Ready(Some(post));
            }
            let Some(post) = std::task::ready!(self.posts.poll_recv(context)) else {
                return Poll::Ready(None);
            };
            if post.sequence == self.next {
                return Poll::Ready(Some(post));
            }
            // Two ways through the network: the later request may overtake the one before it, and no other.
            if post.sequence != self.next + 1 || self.early.is_some() {
                return Poll::Ready(None);
            }
            self.early = Some((post, Instant::now() + EARLY));
        }
    }

    /// A request ends the wait of the one before it.
    fn take(&mut self, post: Post) {
        self.answer(false, None);
        self.next += 1;
        self.ends |= post.is_last;
        self.frames.extend(post.frames);
        self.waiting = Some(Waiting {
            reply: post.reply,
            since: Instant::now(),
            wait: post.wait,
        });
    }

    /// Answers the request that waits, if there is one. An ending is told when nothing else is left to say.
    fn answer(&mut self, busy: bool, close: Option<u16>) {
        let Some(waiting) = self.waiting.take() else {
            return;
        };
        let body = wire::join(&mut self.unsent, self.message_bytes);
        self.unsent_bytes = self.unsent.iter().map(Bytes::len).sum();
        let reply = Reply {
            body,
            more: busy || !self.unsent.is_empty(),
            close: close.filter(|_| self.unsent.is_empty()),
        };
        // An answer nobody takes is lost, and the connection with it: numbers and cursors find out what was in it.
        self.ends |= waiting.reply.send(reply).is_err();
    }
}

impl Wire for Polled {
    fn send(&mut self, frame: Bytes) {
        self.unsent_bytes += frame.len();
        self.unsent.push_back(frame);
    }

    fn received(&self) -> u64 {
        // Every request is told as a sign of life of its own.
        0
    }

    fn takes_news(&self) -> bool {
        self.waiting.is_some()
    }

    fn is_full(&self) -> bool {
        self.unsent_bytes >= self.message_bytes
    }

    fn is_gone(&self) -> bool {
        self.ends
            || self
                .waiting
                .as_ref()
                .is_some_and(|waiting| waiting.reply.is_closed())
    }

    async fn turn(&mut self, session: &Session) -> Turn {
        std::future::poll_fn(|context| self.poll_turn(context, session)).await
    }

    async fn close(mut self, code: u16, _reason: &str, patience: Duration) {
        let until = Instant::now() + patience;
        loop {
            if self.waiting.is_some() {
                self.answer(false, Some(code));
                if self.unsent.is_empty() {
                    return;
                }
            }
            // A server that stops does not wait for those who will find it gone.
            if self.ends || code == close::GOING_AWAY {
                return;
            }
            let next = std::future::poll_fn(|context| self.poll_post(context));
            match tokio::time::timeout_at(until, next).await {
                Ok(Some(post)) => self.take(post),
                Ok(None) | Err(_) => return,
            }
        }
    }
}
