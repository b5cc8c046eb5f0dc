//! What can be set on a server, beside its [`Limits`].

use std::collections::BTreeSet;
use std::time::Duration;

use crate::Limits;
use crate::auth::Secret;
use crate::engine::Retention;
use crate::rules::Rules;

/// Who may look after a server.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Admin {
    /// Whether there is a page at `/`.
    pub page: bool,
    /// The token that lets in from elsewhere; without one, only who asks from this machine.
    pub token: Option<Secret>,
}

/// The settings of a server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The bounds of sessions, commits and reads.
    pub limits: Limits,
    /// Who may read and write what. None at all allow everything.
    pub rules: Rules,
    /// Pages of these origins may connect, beside those of this machine: `https://app.example.com`, exactly as a browser
    /// sends it. A request without an origin comes from no page.
    pub origins: BTreeSet<String>,
    /// Who may look after the server, and whether there is a page for that.
    pub admin: Admin,
    /// How long deletions are remembered, and clients that do not come back. By default 30 and 60 days; whoever was away
    /// longer reads everything again, and loses nothing. Clients that are connected are never forgotten.
    pub retention: Retention,
    /// How often the server looks for what is to be forgotten, in all namespaces, also those that nobody is connected to.
    /// The first time comes a minute after it began at the latest. Zero: never.
    pub forget_every: Duration,
    /// How often clients send a ping when nothing else is sent.
    pub heartbeat: Duration,
    /// A client that was silent for so long is gone.
    pub client_timeout: Duration,
    /// How often the token of a session is checked again: what was revoked ends at the latest then.
    pub recheck: Duration,
    /// How long an empty answer may be held back for a client that polls over HTTP; zero offers no long polling.
    pub poll_wait: Duration,
    /// The longest silence that a client may announce between two polls; a longer one costs it a new handshake.
    pub poll_timeout: Duration,
    /// Sessions over HTTP at once; further ones are told to come back.
    pub polled_sessions: usize,
    /// A connection that has sent no request, or no hello, for so long is closed.
    pub handshake_timeout: Duration,
    /// How long one frame over a WebSocket may take to come in, from when its first bytes are there; each 1,024 bytes of
    /// it buy another second. A body over HTTP has the same time.
    pub frame_timeout: Duration,
    /// A client that takes nothing of what is sent to it for so long is closed, also one over HTTP; it comes back and reads
    /// on. In a router of somebody else this holds for WebSockets only.
    pub write_timeout: Duration,
    /// What a client is told to wait after `retry-later`.
    pub retry_after: Duration,
    /// How long a shutdown waits for pushes that are under way.
    pub shutdown_timeout: Duration,
    /// The connections of one user at once; further ones are refused with `rate-limited`. The user `anonymous` of an
    /// open server may have any number.
    pub connections_per_user: usize,
    /// The connections from one address at once (of IPv6, from one /64); further ones are closed. Any number may come
    /// from this machine itself. Holds for [`serve`](crate::SyncServer::serve) only.
    pub connections_per_address: usize,
    /// The connections at once; further ones wait until one ends.
    pub connections: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            rules: Rules::default(),
            origins: BTreeSet::new(),
            admin: Admin::default(),
            retention: Retention::default(),
            forget_every: Duration::from_secs(60 * 60),
            heartbeat: Duration::from_secs(30),
            client_timeout: Duration::from_secs(60),
            recheck: Duration::from_secs(60),
            poll_wait: Duration::from_secs(25),
            poll_timeout: Duration::from_secs(600),
            polled_sessions: 10_000,
            handshake_timeout: Duration::from_secs(10),
            frame_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            retry_after: Duration::from_secs(1),
            shutdown_timeout: Duration::from_millis(1_500),
            connections_per_user: 10,
            connections_per_address: 100,
            connections: 10_000,
        }
    }
}
