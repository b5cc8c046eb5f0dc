//! Connections of native targets: tokio's sockets, with rustls for what is encrypted.

pub(super) mod pool;
#[cfg(feature = "tls")]
mod tls;
pub(super) mod websocket;

#[cfg(feature = "tls")]
use crate::codes;
use crate::{Endpoint, SyncError};

/// What a failure to connect says about TLS; none when it is about something else.
#[cfg(feature = "tls")]
fn tls_failure(error: &std::io::Error, endpoint: &Endpoint) -> Option<SyncError> {
    tls::failure(error, endpoint)
}

#[cfg(not(feature = "tls"))]
fn tls_failure(_: &std::io::Error, _: &Endpoint) -> Option<SyncError> {
    None
}

/// The URL of an endpoint, as its transport has it.
#[cfg(feature = "tls")]
fn shown(endpoint: &Endpoint) -> String {
    if endpoint.is_http() {
        endpoint.http_url()
    } else {
        endpoint.websocket_url()
    }
}

#[cfg(feature = "tls")]
fn no_tls(endpoint: &Endpoint) -> SyncError {
    let (secure, plain) = if endpoint.is_http() {
        ("https", "http")
    } else {
        ("wss", "ws")
    };
    SyncError::new(
        codes::CONNECT,
        format!(
            "what answers at `{}` does not speak TLS; does the server speak {secure}://? Try {plain}://, or check the \
             port",
            shown(endpoint)
        ),
    )
}
