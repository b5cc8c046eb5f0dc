//! The HTTP transport: a connection is a row of requests, as `docs/protocol.md` has it.
//!
//! At most two requests are under way. One may wait for news at the server; when there is something to say meanwhile, it
//! goes out with the second one, and the server answers the first.

pub(super) mod answer;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use pocket_core::storage::BoxFuture;
use pocket_sync_protocol::codes::close;
use pocket_sync_protocol::http as wire;
use pocket_sync_protocol::limits::DEFAULT_MESSAGE_BYTES;

use self::answer::{Answer, Failure};
use super::machine::pool::Pool;
use super::{CLOSE_TIME, Connection, Incoming};
use crate::platform::{Instant, Sleep, sleep, timeout};
use crate::{Endpoint, SyncError};

/// Requests under way at once.
const REQUESTS: usize = 2;

/// How long to wait for something to say before an answer with frames is followed by an empty request.
const PAUSE: Duration = Duration::from_millis(10);

/// The same after an empty answer that came sooner than it was asked for.
const LONG_PAUSE: Duration = Duration::from_secs(1);

/// How long an answer may take to begin, beyond the time it may be held back.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) connection: Option<Arc<str>>,
    pub(super) sequence: u64,
    pub(super) wait: Duration,
    pub(super) interval: Duration,
    pub(super) close: Option<u16>,
    pub(super) body: Bytes,
}

/// A duration as headers have it.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Reaches the server at `endpoint`. Nothing is asked of it before the first frame is sent; the token travels in a
/// header, never in the URL.
///
/// # Errors
/// `connect` when nobody answers; `config` for what cannot be sent.
pub(crate) async fn connect(
    endpoint: &Endpoint,
    token: Option<&str>,
    interval: Duration,
) -> Result<Box<dyn Connection>, SyncError> {
    let pool = Arc::new(Pool::new(endpoint, token)?);
    pool.warm().await?;
    Ok(Box::new(Http {
        pool,
        interval,
        name: None,
        wait: Duration::ZERO,
        sequence: 0,
        outgoing: VecDeque::new(),
        message_bytes: DEFAULT_MESSAGE_BYTES,
        under_way: VecDeque::new(),
        incoming: VecDeque::new(),
        more: false,
        pause: Box::pin(sleep(Duration::ZERO)),
        end: None,
    }))
}

struct Http {
    pool: Arc<Pool>,
    /// The application's `pull_interval`; zero asks for nothing by itself.
    interval: Duration,
    /// What the server calls this connection, from its first answer on.
    name: Option<Arc<str>>,
    /// How long the server may hold an empty answer back; zero when it is asked only now and then.
    wait: Duration,
    /// The place of the next request.
    sequence: u64,
    outgoing: VecDeque<Bytes>,
    /// The longest message the server takes; a request is hardly longer.
    message_bytes: usize,
    /// Requests, oldest first; their answers are taken in this order.
    under_way: VecDeque<UnderWay>,
    incoming: VecDeque<Bytes>,
    /// The server has more to say without anything else happening.
    more: bool,
    /// No empty request before this is over.
    pause: Pin<Box<Sleep>>,
    /// How it ended; told behind the last frame.
    end: Option<Incoming>,
}

struct UnderWay {
    future: BoxFuture<'static, Result<Answer, Failure>>,
    answer: Option<Result<Answer, Failure>>,
    began: Instant,
}

impl UnderWay {
    fn poll(&mut self, context: &mut Context<'_>) {
        if self.answer.is_none()
            && let Poll::Ready(answer) = self.future.as_mut().poll(context)
        {
            self.answer = Some(answer);
        }
    }
}

impl Http {
    /// Sends what there is to say, or asks for news if that is due.
    fn begin_request(&mut self, context: &mut Context<'_>) -> bool {
        if self.end.is_some() || self.under_way.len() >= REQUESTS {
            return false;
        }
        // The name comes with the first answer.
        let opens = self.name.is_none();
        if opens && (!self.under_way.is_empty() || self.outgoing.is_empty()) {
            return false;
        }
        if self.outgoing.is_empty() {
            let asks = self.more || !self.wait.is_zero();
            if !asks || !self.under_way.is_empty() || self.pause.as_mut().poll(context).is_pending()
            {
                return false;
            }
        }
        self.more = false;
        let request = self.request(None);
        self.under_way.push_back(UnderWay {
            future: Box::pin(self.pool.clone().exchange(request)),
            answer: None,
            began: Instant::now(),
        });
        true
    }

    fn request(&mut self, close: Option<u16>) -> Request {
        let request = Request {
            connection: self.name.clone(),
            sequence: self.sequence,
            wait: self.wait,
            interval: self.interval,
            close,
            // A push of the largest size travels alone.
            body: wire::join(&mut self.outgoing, self.message_bytes),
        };
        self.sequence += 1;
        request
    }

    /// Takes the answer to the oldest request, if it is there.
    fn take_answer(&mut self) -> bool {
        let Some(oldest) = self.under_way.front_mut() else {
            return false;
        };
        let (Some(answer), began) = (oldest.answer.take(), oldest.began) else {
            return false;
        };
        self.under_way.pop_front();
        match answer {
            Ok(answer) => self.answered(answer, began),
            Err(failure) => self.end = Some(failure.into()),
        }
        true
    }

    fn answered(&mut self, answer: Answer, began: Instant) {
        if let Some(code) = answer.close {
            self.end = Some(Incoming::Closed {
                code: Some(code),
                reason: String::new(),
            });
        } else if self.name.is_none() {
            self.name = answer.connection;
            if self.name.is_none() {
                let what = "the server's first answer names no connection".to_owned();
                self.end = Some(Failure::Lost(what).into());
            }
            // Asked at least once in each interval, and held no longer than the server allows.
            self.wait = answer.wait.min(self.interval);
        }
        self.more |= answer.more;
        let held = began.elapsed() * 2 >= self.wait;
        let pause = if !answer.frames.is_empty() || self.more {
            PAUSE
        } else if held {
            Duration::ZERO
        } else {
            LONG_PAUSE.min(self.wait)
        };
        self.pause.as_mut().reset(Instant::now() + pause);
        self.incoming.extend(answer.frames);
    }
}

impl Connection for Http {
    fn send(&mut self, frame: Bytes) {
        self.outgoing.push_back(frame);
    }

    fn limit(&mut self, message_bytes: usize) {
        self.message_bytes = message_bytes;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Incoming> {
        loop {
            if let Some(frame) = self.incoming.pop_front() {
                return Poll::Ready(Incoming::Frame(frame));
            }
            if let Some(end) = self.end.take() {
                self.under_way.clear();
                return Poll::Ready(end);
            }
            for request in &mut self.under_way {
                request.poll(context);
            }
            if !self.take_answer() && !self.begin_request(context) {
                return Poll::Pending;
            }
        }
    }

    fn close(mut self: Box<Self>, code: u16, _reason: String) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            if self.name.is_none() || self.end.is_some() {
                return;
            }
            self.wait = Duration::ZERO;
            let last = self.request(Some(code));
            let goodbye = self.pool.clone().exchange(last);
            // Those under way stay open meanwhile, so that what they brought is not taken back. Whether the server
            // hears of it or finds out by itself makes no difference to what is stored.
            let _ = timeout(CLOSE_TIME, goodbye).await;
        })
    }
}

impl From<Failure> for Incoming {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Lost(reason) => Self::Closed { code: None, reason },
            Failure::Gone(reason) => Self::Closed {
                code: Some(close::GONE),
                reason,
            },
            Failure::Refused(error) => Self::Refused(error),
        }
    }
}
