//! The WebSocket transport: that of the platform.
//!
//! It can neither set headers, so the token travels in the hello, nor tell why a server refused the upgrade, nor hold the
//! other side back: what has arrived and was not taken is bounded here by ending the connection.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use js_sys::{ArrayBuffer, Uint8Array};
use pocket_core::storage::BoxFuture;
use pocket_sync_protocol::limits::MAX_MESSAGE_BYTES;
use pocket_sync_protocol::{SUBPROTOCOL, codes as wire};
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{BinaryType, CloseEvent, Event, MessageEvent};

use super::{TODO, told};
use crate::platform::{Sleep, sleep, timeout};
use crate::transport::{CLOSE_TIME, Connection, Incoming, shortened};
use crate::{Endpoint, SyncError};

/// Nothing else can carry the token; it never stands in the URL.
pub(in crate::transport) const TOKEN_IN_HELLO: bool = true;

/// Bytes that the platform is given before it has sent them. What is more waits here.
const BUFFERED_BYTES: u32 = 1024 * 1024;

/// How often a full buffer is looked at: no event tells that it has room again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Bytes that have arrived and were not taken, at the most; one message more may be on top.
const ARRIVED_BYTES: usize = MAX_MESSAGE_BYTES;

/// Opens a WebSocket to `endpoint`.
///
/// # Errors
/// `connect` when nobody answers, or something that is no sync server, or one that refuses: the platform does not tell
/// which. `version-mismatch` when it speaks another protocol.
pub(in crate::transport) async fn connect(
    endpoint: &Endpoint,
    _token: Option<&str>,
) -> Result<Box<dyn Connection>, SyncError> {
    let url = endpoint.websocket_url();
    let mut socket = WebSocket::new(&url)?;
    let opened = poll_fn(|context| socket.poll_open(context)).await;
    if let Err(reason) = opened {
        let why = if reason.is_empty() {
            format!("the browser does not tell why; {TODO}")
        } else {
            reason
        };
        return Err(SyncError::connect(format!(
            "`{url}` cannot be reached: {why}"
        )));
    }
    if socket.socket.protocol() != SUBPROTOCOL {
        return Err(SyncError::new(
            wire::VERSION_MISMATCH,
            format!(
                "what answers at `{url}` does not speak `{SUBPROTOCOL}`; check the URL, or update the older side"
            ),
        ));
    }
    Ok(Box::new(socket))
}

/// What the events have brought.
#[derive(Default)]
struct Shared {
    open: bool,
    arrived: VecDeque<Bytes>,
    arrived_bytes: usize,
    /// How it ended; told behind the last frame.
    end: Option<(Option<u16>, String)>,
    waker: Option<Waker>,
}

impl Shared {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn end(&mut self, code: Option<u16>, reason: String) {
        self.end.get_or_insert((code, reason));
        self.wake();
    }

    fn message(&mut self, event: &MessageEvent) {
        if self.end.is_some() {
            return;
        }
        let Ok(buffer) = event.data().dyn_into::<ArrayBuffer>() else {
            self.end(
                None,
                "the server sent text where frames are binary".to_owned(),
            );
            return;
        };
        let length = buffer.byte_length() as usize;
        if length > MAX_MESSAGE_BYTES || self.arrived_bytes > ARRIVED_BYTES {
            let reason = "the server sent more than was asked for".to_owned();
            self.end(None, reason);
            return;
        }
        self.arrived_bytes += length;
        self.arrived
            .push_back(Bytes::from(Uint8Array::new(&buffer).to_vec()));
        self.wake();
    }

    fn closed(&mut self, event: &CloseEvent) {
        // 1005 and 1006 stand for that no close frame came.
        let code = Some(event.code()).filter(|code| !matches!(code, 1005 | 1006));
        self.end(code, event.reason());
    }
}

struct WebSocket {
    socket: web_sys::WebSocket,
    shared: Rc<RefCell<Shared>>,
    outgoing: VecDeque<Bytes>,
    /// Runs while the platform's buffer is full.
    full: Option<Pin<Box<Sleep>>>,
    /// What the events call; detached and dropped with the connection.
    _listeners: Listeners,
}

struct Listeners {
    _open: Closure<dyn FnMut(Event)>,
    _message: Closure<dyn FnMut(MessageEvent)>,
    _close: Closure<dyn FnMut(CloseEvent)>,
}

impl WebSocket {
    fn new(url: &str) -> Result<Self, SyncError> {
        let socket = web_sys::WebSocket::new_with_str(url, SUBPROTOCOL);
        // A page of `https://` may not open `ws://`, Node below 22 has no WebSocket at all.
        let socket =
            socket.map_err(|thrown| SyncError::config(format!("`{url}`: {}", told(&thrown))))?;
        socket.set_binary_type(BinaryType::Arraybuffer);
        let shared = Rc::<RefCell<Shared>>::default();
        let open = {
            let shared = shared.clone();
            Closure::new(move |_: Event| {
                let mut shared = shared.borrow_mut();
                shared.open = true;
                shared.wake();
            })
        };
        let message = {
            let shared = shared.clone();
            Closure::new(move |event: MessageEvent| shared.borrow_mut().message(&event))
        };
        let close = {
            let shared = shared.clone();
            Closure::new(move |event: CloseEvent| shared.borrow_mut().closed(&event))
        };
        socket.set_onopen(Some(open.as_ref().unchecked_ref()));
        socket.set_onmessage(Some(message.as_ref().unchecked_ref()));
        // After an error comes the end, with all there is to know.
        socket.set_onclose(Some(close.as_ref().unchecked_ref()));
        Ok(Self {
            socket,
            shared,
            outgoing: VecDeque::new(),
            full: None,
            _listeners: Listeners {
                _open: open,
                _message: message,
                _close: close,
            },
        })
    }

    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<Result<(), String>> {
        let mut shared = self.shared.borrow_mut();
        if let Some((_, reason)) = shared.end.take() {
            return Poll::Ready(Err(reason));
        }
        if shared.open {
            return Poll::Ready(Ok(()));
        }
        shared.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// Gives the platform what it has room for; ready when it has taken all.
    fn poll_outgoing(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while !self.outgoing.is_empty() {
            if self.socket.buffered_amount() >= BUFFERED_BYTES {
                let full = self.full.get_or_insert_with(|| Box::pin(sleep(LOOK_AGAIN)));
                std::task::ready!(full.as_mut().poll(context));
                self.full = None;
                continue;
            }
            if let Some(frame) = self.outgoing.pop_front()
                && let Err(thrown) = self.socket.send_with_u8_array(&frame)
            {
                self.shared.borrow_mut().end(None, told(&thrown));
                return Poll::Ready(());
            }
        }
        self.full = None;
        Poll::Ready(())
    }

    fn take(&mut self, context: &mut Context<'_>) -> Poll<Incoming> {
        let mut shared = self.shared.borrow_mut();
        if let Some(frame) = shared.arrived.pop_front() {
            shared.arrived_bytes -= frame.len();
            return Poll::Ready(Incoming::Frame(frame));
        }
        if let Some((code, reason)) = shared.end.take() {
            return Poll::Ready(Incoming::Closed { code, reason });
        }
        shared.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Connection for WebSocket {
    fn send(&mut self, frame: Bytes) {
        self.outgoing.push_back(frame);
    }

    fn write(&mut self, context: &mut Context<'_>) {
        let _ = self.poll_outgoing(context);
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Incoming> {
        self.write(context);
        self.take(context)
    }

    fn close(mut self: Box<Self>, code: u16, reason: String) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let all = async {
                poll_fn(|context| self.poll_outgoing(context)).await;
                // Others than these are not an application's to send.
                let code = if code == wire::close::NORMAL || (3_000..5_000).contains(&code) {
                    code
                } else {
                    wire::close::NORMAL
                };
                let reason = shortened(reason);
                if self
                    .socket
                    .close_with_code_and_reason(code, &reason)
                    .is_err()
                {
                    return;
                }
                while let Incoming::Frame(_) = poll_fn(|context| self.take(context)).await {}
            };
            // Whether the other side hears of it or finds out by itself makes no difference to what is stored.
            let _ = timeout(CLOSE_TIME, all).await;
        })
    }
}

impl Drop for WebSocket {
    fn drop(&mut self) {
        self.socket.set_onopen(None);
        self.socket.set_onmessage(None);
        self.socket.set_onclose(None);
        // One that is closed already stays so.
        let _ = self.socket.close();
    }
}
