//! The TCP or TLS connections that requests travel on: kept open between requests, opened anew when one has closed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::Response;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT,
};
use hyper_util::rt::TokioIo;
use pocket_sync_protocol::http as wire;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::tls_failure;
use crate::transport::http::answer::{self, Answer, Failure};
use crate::transport::http::{PATIENCE, Request, millis};
use crate::{Endpoint, SyncError};

/// How long reaching the server may take.
const DIAL_TIME: Duration = Duration::from_secs(10);

/// The ways to one server.
pub(in crate::transport) struct Pool {
    endpoint: Endpoint,
    url: String,
    authorization: Option<HeaderValue>,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

/// Why a request got no answer.
enum Unanswered {
    /// It may not even have been sent.
    NotBegun(String),
    Failed(Failure),
}

impl Pool {
    pub(in crate::transport) fn new(
        endpoint: &Endpoint,
        token: Option<&str>,
    ) -> Result<Self, SyncError> {
        let authorization = token.map(|token| {
            let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| {
                SyncError::config("the token contains characters that no header can carry")
            })?;
            value.set_sensitive(true);
            Ok::<_, SyncError>(value)
        });
        let pool = Self {
            endpoint: endpoint.clone(),
            url: endpoint.http_url(),
            authorization: authorization.transpose()?,
            idle: Mutex::default(),
        };
        // What cannot be a request at all is told before anything is opened.
        pool.build(&Request {
            connection: None,
            sequence: 0,
            wait: Duration::ZERO,
            interval: Duration::ZERO,
            close: None,
            body: Bytes::new(),
        })?;
        Ok(pool)
    }

    /// Opens the first connection, so that a server that is away is told from one that refuses.
    pub(in crate::transport) async fn warm(&self) -> Result<(), SyncError> {
        let sender = self.dial().await?;
        self.keep(sender);
        Ok(())
    }

    /// Sends a request and reads its answer.
    pub(in crate::transport) async fn exchange(
        self: Arc<Self>,
        request: Request,
    ) -> Result<Answer, Failure> {
        // A connection that was idle may have been closed in this moment. Sending the same request on a new one is
        // safe: the server takes each place of a row once.
        while let Some(idle) = self.take_idle() {
            match self.send(idle, &request).await {
                // But each hello begins a row.
                Err(Unanswered::NotBegun(reason)) if request.connection.is_none() => {
                    return Err(Failure::Lost(reason));
                }
                Err(Unanswered::NotBegun(_)) => {}
                Err(Unanswered::Failed(failure)) => return Err(failure),
                Ok(answer) => return Ok(answer),
            }
        }
        let sender = self.dial().await;
        let sender = sender.map_err(|error| {
            if error.is_retryable() {
                Failure::Lost(error.message().to_owned())
            } else {
                Failure::Refused(error)
            }
        })?;
        match self.send(sender, &request).await {
            Err(Unanswered::NotBegun(reason)) => Err(Failure::Lost(reason)),
            Err(Unanswered::Failed(failure)) => Err(failure),
            Ok(answer) => Ok(answer),
        }
    }

    async fn send(
        &self,
        mut sender: SendRequest<Full<Bytes>>,
        request: &Request,
    ) -> Result<Answer, Unanswered> {
        let lost = |error: hyper::Error| {
            Unanswered::NotBegun(format!(
                "the connection to `{}` was lost: {error}",
                self.url
            ))
        };
        sender.ready().await.map_err(lost)?;
        let built = self.build(request);
        let built = built.map_err(|error| Unanswered::Failed(Failure::Refused(error)))?;
        let answered = tokio::time::timeout(request.wait + PATIENCE, sender.send_request(built));
        let answered = answered.await.map_err(|_| {
            let seconds = PATIENCE.as_secs();
            let what = format!("`{}` did not answer for {seconds} s", self.url);
            Unanswered::Failed(Failure::Lost(what))
        })?;
        let answer = read(answered.map_err(lost)?, &self.url).await;
        let answer = answer.map_err(Unanswered::Failed)?;
        self.keep(sender);
        Ok(answer)
    }

    fn build(&self, request: &Request) -> Result<hyper::Request<Full<Bytes>>, SyncError> {
        let mut built = hyper::Request::post(self.endpoint.target())
            .header(HOST, self.endpoint.authority())
            .header(USER_AGENT, concat!("pocket/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, wire::CONTENT_TYPE)
            .header(ACCEPT, wire::CONTENT_TYPE)
            .header(wire::SEQUENCE, request.sequence)
            .header(wire::WAIT, millis(request.wait));
        built = match &request.connection {
            Some(name) => built.header(wire::CONNECTION, &**name),
            None => built.header(wire::INTERVAL, millis(request.interval)),
        };
        if let Some(authorization) = &self.authorization {
            built = built.header(AUTHORIZATION, authorization);
        }
        if let Some(code) = request.close {
            built = built.header(wire::CLOSE, code);
        }
        let built = built.body(Full::new(request.body.clone()));
        built.map_err(|error| SyncError::config(format!("`{}`: {error}", self.url)))
    }

    /// Opens a connection.
    async fn dial(&self) -> Result<SendRequest<Full<Bytes>>, SyncError> {
        let dialled = tokio::time::timeout(DIAL_TIME, self.open()).await;
        let unreachable =
            |why: &str| SyncError::connect(format!("`{}` cannot be reached: {why}", self.url));
        match dialled {
            Ok(Ok(sender)) => Ok(sender),
            Ok(Err(Dial::Io(error))) => Err(tls_failure(&error, &self.endpoint)
                .unwrap_or_else(|| unreachable(&error.to_string()))),
            Ok(Err(Dial::Hyper(error))) => Err(unreachable(&error.to_string())),
            #[cfg(not(feature = "tls"))]
            Ok(Err(Dial::NoTls)) => Err(SyncError::config(
                "https:// needs the feature `tls` of pocket-sync-client, which this build lacks",
            )),
            Err(_) => Err(unreachable("it does not answer")),
        }
    }

    async fn open(&self) -> Result<SendRequest<Full<Bytes>>, Dial> {
        let port = self.endpoint.port().unwrap_or_default();
        let stream = TcpStream::connect((self.endpoint.host(), port)).await?;
        stream.set_nodelay(true)?;
        if self.endpoint.is_secure() {
            return self.secure(stream).await;
        }
        handshake(stream).await
    }

    #[cfg(feature = "tls")]
    async fn secure(&self, stream: TcpStream) -> Result<SendRequest<Full<Bytes>>, Dial> {
        let config = super::tls::config().await?;
        let name = rustls::pki_types::ServerName::try_from(self.endpoint.host().to_owned());
        let name = name.map_err(std::io::Error::other)?;
        let connector = tokio_rustls::TlsConnector::from(config);
        handshake(connector.connect(name, stream).await?).await
    }

    #[cfg(not(feature = "tls"))]
    #[expect(clippy::unused_async, reason = "the same signature as with TLS")]
    async fn secure(&self, _: TcpStream) -> Result<SendRequest<Full<Bytes>>, Dial> {
        Err(Dial::NoTls)
    }

    fn take_idle(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|sender| !sender.is_closed());
        idle.pop()
    }

    fn keep(&self, sender: SendRequest<Full<Bytes>>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|sender| !sender.is_closed());
        idle.push(sender);
    }
}

enum Dial {
    Io(std::io::Error),
    Hyper(hyper::Error),
    #[cfg(not(feature = "tls"))]
    NoTls,
}

impl From<std::io::Error> for Dial {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

async fn handshake<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, Dial>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(Dial::Hyper)?;
    // It ends with the last handle on it, and each request hears for itself how.
    tokio::spawn(connection);
    Ok(sender)
}

/// Reads an answer to its end.
async fn read(response: Response<Incoming>, url: &str) -> Result<Answer, Failure> {
    let (head, body) = response.into_parts();
    if head.headers.contains_key(CONTENT_ENCODING) {
        return Err(Failure::Lost(format!(
            "`{url}` answered in an encoding nobody asked for"
        )));
    }
    let header = |name: &str| {
        let value = head.headers.get(name)?.to_str().ok()?;
        Some(value.to_owned())
    };
    let collect = async |most| collect(body, most).await;
    answer::read(head.status.as_u16(), header, collect, url).await
}

async fn collect(mut body: Incoming, most: usize) -> Result<Bytes, Failure> {
    if body.size_hint().lower() > most as u64 {
        return Err(answer::too_large());
    }
    let mut collected = BytesMut::new();
    loop {
        let frame = tokio::time::timeout(answer::STALL, body.frame()).await;
        let frame = frame.map_err(|_| answer::stalled())?;
        let Some(frame) = frame else {
            return Ok(collected.freeze());
        };
        let frame = frame.map_err(answer::broken_off)?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if collected.len() + data.len() > most {
            return Err(answer::too_large());
        }
        collected.extend_from_slice(&data);
    }
}
