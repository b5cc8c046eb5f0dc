//! The server's address: which URLs are taken, and what they mean.

use std::net::IpAddr;

use crate::SyncError;

/// Where a server listens, as the transport needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    secure: bool,
    http: bool,
    authority: String,
    path: String,
}

impl Endpoint {
    /// Reads a URL: `ws`, `wss`, `http` or `https`; `/sync` is added only when there is no path.
    ///
    /// # Errors
    /// `config` when it is no such URL, or carries what belongs elsewhere (a user, a fragment).
    pub fn parse(url: &str) -> Result<Self, SyncError> {
        let bad =
            |why: &str| SyncError::config(format!("`{}` is no server URL: {why}", shown(url)));
        let (scheme, rest) = url.split_once("://").ok_or_else(|| bad(&unschemed(url)))?;
        let (http, secure) = match scheme.to_ascii_lowercase().as_str() {
            "ws" => (false, false),
            "wss" => (false, true),
            "http" => (true, false),
            "https" => (true, true),
            _ => return Err(bad("its scheme must be ws, wss, http or https")),
        };
        if url.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(bad("it contains a space or a control character"));
        }
        if rest.contains('#') {
            return Err(bad("it must not have a fragment (`#…`)"));
        }
        let split = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(split);
        if authority.contains('@') {
            return Err(bad(
                "it must not carry a user or a password; use `auth_token`",
            ));
        }
        let endpoint = Self {
            secure,
            http,
            authority: authority.to_owned(),
            path: match path {
                "" | "/" => "/sync".to_owned(),
                path if path.starts_with('?') => format!("/sync{path}"),
                path => path.to_owned(),
            },
        };
        if endpoint.host().is_empty() {
            return Err(bad("its host is missing"));
        }
        endpoint
            .port()
            .ok_or_else(|| bad("its port is no number from 1 to 65535"))?;
        Ok(endpoint)
    }

    /// Whether the way is encrypted.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Whether the way is HTTP instead of a WebSocket.
    pub fn is_http(&self) -> bool {
        self.http
    }

    /// The same endpoint by HTTP.
    #[must_use]
    pub fn over_http(mut self) -> Self {
        self.http = true;
        self
    }

    /// The host and, if it is named, the port, as they stand in the URL.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// What is asked of the host: the path, and the query if there is one.
    pub fn target(&self) -> &str {
        &self.path
    }

    /// The host: a name, or an address without brackets.
    pub fn host(&self) -> &str {
        match self.authority.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or(rest),
            None => self
                .authority
                .rsplit_once(':')
                .map_or(self.authority.as_str(), |(host, _)| host),
        }
    }

    /// The port, named or by scheme; none when what stands there is no port.
    pub fn port(&self) -> Option<u16> {
        let behind_host = self.authority.rsplit(']').next().unwrap_or(&self.authority);
        match behind_host.rsplit_once(':') {
            None => Some(if self.secure { 443 } else { 80 }),
            Some((_, port)) => port.parse().ok().filter(|port| *port != 0),
        }
    }

    /// Whether the host is this machine: a token may go there in plain text. Names below `localhost` are not taken for it,
    /// since some resolvers ask others for them.
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        host.eq_ignore_ascii_case("localhost")
            || host
                .parse::<IpAddr>()
                .is_ok_and(|address| address.to_canonical().is_loopback())
    }

    /// The URL a WebSocket is opened with.
    pub fn websocket_url(&self) -> String {
        self.url(if self.secure { "wss" } else { "ws" })
    }

    /// The URL that requests are sent to.
    pub fn http_url(&self) -> String {
        self.url(if self.secure { "https" } else { "http" })
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}{}", self.authority, self.path)
    }
}

/// What to write instead of an address without a scheme.
fn unschemed(url: &str) -> String {
    let meant = Endpoint::parse(&format!("ws://{url}"));
    match meant {
        Ok(meant) if !url.is_empty() && meant.is_loopback() => {
            format!("its scheme is missing; did you mean `ws://{}`?", shown(url))
        }
        Ok(_) if !url.is_empty() => format!(
            "its scheme is missing; did you mean `wss://{0}`, or `ws://{0}` without TLS?",
            shown(url)
        ),
        _ => "write it like `wss://sync.example.com`".to_owned(),
    }
}

/// The URL without what may be a secret in it, for messages.
fn shown(url: &str) -> String {
    let cut: String = url.chars().take(120).collect();
    match cut.rsplit_once('@') {
        Some((_, behind)) => format!("…@{behind}"),
        None => cut,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> String {
        Endpoint::parse(text).expect(text).websocket_url()
    }

    #[test]
    fn both_schemes_name_the_same_endpoint() {
        assert_eq!(url("http://example.com/base"), "ws://example.com/base");
        assert_eq!(url("https://example.com"), "wss://example.com/sync");
        assert_eq!(url("WSS://example.com"), "wss://example.com/sync");
        let endpoint = Endpoint::parse("wss://example.com:1/base/sync").expect("a URL");
        assert!(!endpoint.is_http() && endpoint.clone().over_http().is_http());
        assert_eq!(endpoint.http_url(), "https://example.com:1/base/sync");
        assert!(
            Endpoint::parse("HTTP://example.com")
                .expect("a URL")
                .is_http()
        );
    }

    #[test]
    fn a_path_is_taken_as_given_and_only_its_absence_is_filled() {
        assert_eq!(url("ws://127.0.0.1:7700"), "ws://127.0.0.1:7700/sync");
        assert_eq!(url("ws://127.0.0.1:7700/"), "ws://127.0.0.1:7700/sync");
        assert_eq!(url("ws://h/api/v2/"), "ws://h/api/v2/");
        assert_eq!(url("ws://h/api?zone=1"), "ws://h/api?zone=1");
        assert_eq!(url("ws://h?zone=1"), "ws://h/sync?zone=1");
    }

    #[test]
    fn hosts_and_ports_are_found_in_every_form() {
        let parts = |text: &str| {
            let endpoint = Endpoint::parse(text).expect(text);
            (endpoint.host().to_owned(), endpoint.port())
        };
        assert_eq!(parts("ws://h:81/x"), ("h".into(), Some(81)));
        assert_eq!(parts("wss://h/x"), ("h".into(), Some(443)));
        assert_eq!(parts("ws://[::1]:7700/x"), ("::1".into(), Some(7700)));
        assert_eq!(parts("ws://[::1]"), ("::1".into(), Some(80)));
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for near in [
            "ws://localhost:1",
            "ws://127.9.9.9",
            "ws://[::1]:1",
            "ws://[::ffff:127.0.0.1]",
        ] {
            assert!(Endpoint::parse(near).expect(near).is_loopback(), "{near}");
        }
        for far in [
            "ws://example.com",
            "ws://128.0.0.1",
            "ws://localhost.example.com",
            "ws://a.localhost",
            "ws://127.0.0.1.example.com",
        ] {
            assert!(!Endpoint::parse(far).expect(far).is_loopback(), "{far}");
        }
    }

    #[test]
    fn an_address_without_a_scheme_is_told_with_one() {
        let told = |text: &str| Endpoint::parse(text).expect_err(text).message().to_owned();
        assert!(told("127.0.0.1:7700").contains("`ws://127.0.0.1:7700`"));
        assert!(told("localhost:7700/x").contains("`ws://localhost:7700/x`"));
        assert!(told("example.com").contains("`wss://example.com`"));
    }

    #[test]
    fn what_is_no_server_url_is_refused_with_a_reason() {
        for bad in [
            "example.com",
            "ftp://example.com",
            "ws://",
            "ws:///sync",
            "ws://h:0",
            "ws://h:99999",
            "ws://h:x",
            "ws://h/a b",
            "ws://h/#part",
            "ws://user:secret@h",
        ] {
            let error = Endpoint::parse(bad).expect_err(bad);
            assert_eq!(error.code(), "config");
            assert!(!error.message().contains("secret"), "{error}");
        }
    }
}
