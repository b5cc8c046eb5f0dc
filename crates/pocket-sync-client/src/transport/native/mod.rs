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

/// What else there is to say of an answer without TLS that makes no sense.
fn perhaps_tls(endpoint: &Endpoint) -> &'static str {
    match (endpoint.is_secure(), endpoint.is_http()) {
        (true, _) => "",
        (false, true) => "; does the server speak TLS? Then it is https://",
        (false, false) => "; does the server speak TLS? Then it is wss://",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_speaks_plainly_to_a_server_with_tls_is_told_the_other_scheme() {
        let hint = |url| perhaps_tls(&Endpoint::parse(url).expect("a URL"));
        assert!(hint("ws://h/").contains("wss://"));
        assert!(hint("http://h/").contains("https://"));
        assert_eq!((hint("wss://h/"), hint("https://h/")), ("", ""));
    }
}
