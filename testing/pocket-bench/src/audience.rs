//! Many subscribers of one writer: who listens, and when each has heard.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::SinkExt;
use pocket_sync_protocol::{More, ServerMessage, WireLimits, decode_server, encode_client};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

use crate::Outcome;
use crate::light::{self, Light, Socket};
use crate::machine::Stopwatch;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where subscribers tell that they have heard.
#[derive(Default)]
struct Heard {
    count: AtomicUsize,
    all: Notify,
}

/// Subscribers that listen, each on a task of its own.
pub(crate) struct Audience {
    heard: Arc<Heard>,
    listeners: Vec<JoinHandle<Outcome<Vec<f64>>>>,
    /// Connections that nobody reads from.
    _stalled: Vec<Light>,
}

impl Audience {
    fn of(listeners: Vec<Listener>, stalled: Vec<Light>, origin: Stopwatch, times: usize) -> Self {
        let heard = Arc::new(Heard::default());
        let most = listeners.len();
        let listen = |listener: Listener| {
            let heard = Arc::clone(&heard);
            tokio::spawn(listener.listen(heard, most, origin, times))
        };
        Self {
            listeners: listeners.into_iter().map(listen).collect(),
            heard,
            _stalled: stalled,
        }
    }

    /// Light clients of Pocket, of which some take nothing any more after they have subscribed.
    pub(crate) async fn subscribe(
        url: &str,
        count: usize,
        stalled: usize,
        origin: Stopwatch,
        times: usize,
    ) -> Outcome<Self> {
        let (mut listeners, mut asleep) = (Vec::new(), Vec::new());
        for number in 0..count {
            let mut light = Light::join(url, 1_000 + number as u64).await?;
            light.subscribe().await?;
            if number < stalled {
                asleep.push(light);
            } else {
                listeners.push(Listener::Light(light));
            }
        }
        Ok(Self::of(listeners, asleep, origin, times))
    }

    /// Bare sockets that answer each frame with the same bytes.
    pub(crate) async fn connect(
        url: &str,
        count: usize,
        answer: &Bytes,
        origin: Stopwatch,
        times: usize,
    ) -> Outcome<Self> {
        let mut listeners = Vec::new();
        for _ in 0..count {
            let answer = answer.clone();
            listeners.push(Listener::Bare(light::dial(url, None).await?, answer));
        }
        Ok(Self::of(listeners, Vec::new(), origin, times))
    }

    /// Waits until all listeners have heard once more.
    pub(crate) async fn all_heard(&self) -> Outcome {
        tokio::time::timeout(PATIENCE, self.heard.all.notified())
            .await
            .map_err(|_| "a subscriber heard nothing; it may have lost its connection".into())
    }

    /// When each listener heard each time, in seconds since the origin, listener by listener.
    pub(crate) async fn times(self) -> Outcome<Vec<Vec<f64>>> {
        let mut all = Vec::with_capacity(self.listeners.len());
        for listener in self.listeners {
            all.push(listener.await??);
        }
        Ok(all)
    }
}

enum Listener {
    Light(Light),
    Bare(Socket, Bytes),
}

impl Listener {
    async fn listen(
        mut self,
        heard: Arc<Heard>,
        most: usize,
        origin: Stopwatch,
        times: usize,
    ) -> Outcome<Vec<f64>> {
        let mut all = Vec::with_capacity(times);
        while all.len() < times {
            match &mut self {
                Self::Light(light) => {
                    let page = light.page().await?;
                    all.push(origin.elapsed().as_secs_f64());
                    light.more(page.end).await?;
                }
                Self::Bare(socket, answer) => {
                    light::next_frame(socket).await?;
                    all.push(origin.elapsed().as_secs_f64());
                    socket.send(Message::Binary(answer.clone())).await?;
                }
            }
            if heard.count.fetch_add(1, Ordering::AcqRel) + 1 == most {
                heard.count.store(0, Ordering::Release);
                heard.all.notify_one();
            }
        }
        Ok(all)
    }
}

/// What a client answers a page with.
pub(crate) fn answer_to(page: &Bytes) -> Outcome<Bytes> {
    let ServerMessage::Page(page) = decode_server(page, &WireLimits::default())? else {
        return Err("what was recorded is no page".into());
    };
    let more = More {
        id: page.id,
        applied: page.end,
    };
    Ok(encode_client(&more.into()))
}
