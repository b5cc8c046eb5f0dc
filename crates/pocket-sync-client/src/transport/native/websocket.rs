//! The WebSocket transport: tokio-tungstenite, with rustls for `wss://`.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use pocket_core::storage::BoxFuture;
use pocket_sync_protocol::limits::MAX_MESSAGE_BYTES;
use pocket_sync_protocol::{SUBPROTOCOL, codes as wire};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::{ProtocolError, UrlError};
use tokio_tungstenite::tungstenite::http::{HeaderValue, Response, header};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::transport::{self, CLOSE_TIME, Connection, Incoming, shortened};
use crate::{Endpoint, SyncError};

/// Bytes collected before they are written.
const BUFFER_BYTES: usize = 64 * 1024;

/// Bytes read at once. Each read clears what it may fill, however little comes.
const READ_BYTES: usize = 16 * 1024;

/// The upgrade request carries the token.
pub(in crate::transport) const TOKEN_IN_HELLO: bool = false;

type Ws = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Opens a WebSocket to `endpoint`. The token travels in a header, never in the URL.
///
/// # Errors
/// `connect` when nobody answers, or something else than the sync server; `unauthorized` and `forbidden` when the
/// server refuses at the door.
pub(in crate::transport) async fn connect(
    endpoint: &Endpoint,
    token: Option<&str>,
) -> Result<Box<dyn Connection>, SyncError> {
    let url = endpoint.websocket_url();
    let mut request = url
        .as_str()
        .into_client_request()
        .map_err(|error| SyncError::config(format!("`{url}`: {error}")))?;
    let headers = request.headers_mut();
    headers.insert(
        header::SEC_WEBSOCKET_PROTOCOL,
        HeaderValue::from_static(SUBPROTOCOL),
    );
    if let Some(token) = token {
        let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| {
            SyncError::config("the token contains characters that no header can carry")
        })?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
    // The largest message any server may be configured for; the session holds each to what it was told.
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_write_buffer_size(2 * BUFFER_BYTES + MAX_MESSAGE_BYTES)
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    let opened = open(request, config, endpoint).await;
    let (stream, _) = opened.map_err(|error| refusal(error, endpoint))?;
    Ok(Box::new(WebSocket {
        stream,
        outgoing: VecDeque::new(),
        flushed: true,
        broken: None,
    }))
}

type Request = tokio_tungstenite::tungstenite::handshake::client::Request;
type Opened = (
    Ws,
    tokio_tungstenite::tungstenite::handshake::client::Response,
);

#[cfg(feature = "tls")]
async fn open(
    request: Request,
    config: WebSocketConfig,
    endpoint: &Endpoint,
) -> Result<Opened, Error> {
    let connector = if endpoint.is_secure() {
        tokio_tungstenite::Connector::Rustls(super::tls::config().await.map_err(Error::Io)?)
    } else {
        tokio_tungstenite::Connector::Plain
    };
    tokio_tungstenite::connect_async_tls_with_config(request, Some(config), true, Some(connector))
        .await
}

#[cfg(not(feature = "tls"))]
async fn open(request: Request, config: WebSocketConfig, _: &Endpoint) -> Result<Opened, Error> {
    tokio_tungstenite::connect_async_with_config(request, Some(config), true).await
}

/// What answered instead of a WebSocket. The body is what came along with the headers, which a server's few words do.
fn http_refusal(response: &Response<Option<Vec<u8>>>, url: &str) -> SyncError {
    let kind = response.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok());
    let body = response.body().as_deref().unwrap_or_default();
    let said = transport::refusal(kind, body);
    // That a WebSocket is wanted here was asked for; whoever took it out of the request is not the server.
    said.filter(|error| error.code() != wire::UNEXPECTED_MESSAGE)
        .unwrap_or_else(|| transport::stranger(response.status().as_u16(), url))
}

/// A server that awaits TLS may hang up on plain words.
fn unreachable(error: &std::io::Error, endpoint: &Endpoint) -> SyncError {
    let url = endpoint.websocket_url();
    let hint = match error.kind() {
        std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::UnexpectedEof => {
            super::perhaps_tls(endpoint)
        }
        _ => "",
    };
    SyncError::connect(format!("`{url}` cannot be reached: {error}{hint}"))
}

/// What a connection that could not be opened means.
fn refusal(error: Error, endpoint: &Endpoint) -> SyncError {
    let url = endpoint.websocket_url();
    match error {
        Error::Http(response) => http_refusal(&response, &url),
        Error::Io(error) => {
            super::tls_failure(&error, endpoint).unwrap_or_else(|| unreachable(&error, endpoint))
        }
        Error::Url(UrlError::TlsFeatureNotEnabled) => SyncError::config(
            "wss:// needs the feature `tls` of pocket-sync-client, which this build lacks",
        ),
        Error::Url(error) => SyncError::config(format!("`{url}`: {error}")),
        Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(_)) => SyncError::new(
            wire::VERSION_MISMATCH,
            format!(
                "what answers at `{url}` does not speak `{SUBPROTOCOL}`; check the URL, or update the older side"
            ),
        ),
        error => SyncError::connect(format!(
            "`{url}` does not answer like a sync server: {error}{}",
            super::perhaps_tls(endpoint)
        )),
    }
}

struct WebSocket {
    stream: Ws,
    outgoing: VecDeque<Bytes>,
    flushed: bool,
    /// Why nothing more can be written.
    broken: Option<String>,
}

impl WebSocket {
    fn poll_outgoing(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut stream = Pin::new(&mut self.stream);
        while !self.outgoing.is_empty() {
            std::task::ready!(stream.as_mut().poll_ready(context))?;
            if let Some(frame) = self.outgoing.pop_front() {
                self.flushed = false;
                stream.as_mut().start_send(Message::Binary(frame))?;
            }
        }
        if !self.flushed {
            std::task::ready!(stream.poll_flush(context))?;
            self.flushed = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl Connection for WebSocket {
    fn send(&mut self, frame: Bytes) {
        self.outgoing.push_back(frame);
    }

    fn write(&mut self, context: &mut Context<'_>) {
        if self.broken.is_some() {
            return;
        }
        if let Poll::Ready(Err(error)) = self.poll_outgoing(context) {
            self.broken = Some(error.to_string());
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Incoming> {
        // A failed write shows on the read side too, and there with the other side's reason.
        self.write(context);
        loop {
            let message = match Pin::new(&mut self.stream).poll_next(context) {
                Poll::Ready(Some(message)) => message,
                Poll::Ready(None) => return Poll::Ready(lost(self.broken.take())),
                Poll::Pending => {
                    let broken = self.broken.take();
                    return broken.map_or(Poll::Pending, |error| Poll::Ready(lost(Some(error))));
                }
            };
            return Poll::Ready(match message {
                Ok(Message::Binary(bytes)) => Incoming::Frame(bytes),
                Ok(Message::Close(frame)) => closed(frame),
                // tungstenite answers pings by itself, with the next read or write.
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => continue,
                Ok(Message::Text(_)) => lost(Some(
                    "the server sent text where frames are binary".to_owned(),
                )),
                Err(error) => lost(Some(error.to_string())),
            });
        }
    }

    fn close(mut self: Box<Self>, code: u16, reason: String) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let all = async {
                for frame in std::mem::take(&mut self.outgoing) {
                    self.stream.feed(Message::Binary(frame)).await?;
                }
                let frame = CloseFrame {
                    code: CloseCode::from(code),
                    reason: shortened(reason).into(),
                };
                self.stream.send(Message::Close(Some(frame))).await?;
                while let Some(Ok(_)) = self.stream.next().await {}
                Ok::<(), Error>(())
            };
            // Whether the other side hears of it or finds out by itself makes no difference to what is stored.
            let _ = tokio::time::timeout(CLOSE_TIME, all).await;
        })
    }
}

fn lost(reason: Option<String>) -> Incoming {
    Incoming::Closed {
        code: None,
        reason: reason.unwrap_or_default(),
    }
}

fn closed(frame: Option<CloseFrame>) -> Incoming {
    match frame {
        Some(frame) => Incoming::Closed {
            code: Some(frame.code.into()),
            reason: frame.reason.as_str().to_owned(),
        },
        None => lost(None),
    }
}
