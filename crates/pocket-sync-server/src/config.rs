//! What can be set on a server, beside its [`Limits`].

use std::time::Duration;

use crate::Limits;

/// The settings of a server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The bounds of sessions, commits and reads.
    pub limits: Limits,
    /// How often clients send a ping when nothing else is sent.
    pub heartbeat: Duration,
    /// A client that was silent for so long is gone.
    pub client_timeout: Duration,
    /// A connection that has sent no request, or no hello, for so long is closed.
    pub handshake_timeout: Duration,
    /// A client that takes nothing of what is sent to it for so long is closed; it comes back and reads on.
    pub write_timeout: Duration,
    /// What a client is told to wait after `retry-later`.
    pub retry_after: Duration,
    /// How long a shutdown waits for pushes that are under way.
    pub shutdown_timeout: Duration,
    /// The connections at once; further ones wait until one ends.
    pub connections: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            heartbeat: Duration::from_secs(30),
            client_timeout: Duration::from_secs(60),
            handshake_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(60),
            retry_after: Duration::from_secs(1),
            shutdown_timeout: Duration::from_millis(1_500),
            connections: 10_000,
        }
    }
}
