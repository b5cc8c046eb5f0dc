//! What can be set on a server, beside its [`Limits`].

use std::collections::BTreeSet;
use std::time::Duration;

use pocket_core::codes;
use pocket_sync_protocol::limits::MAX_MESSAGE_BYTES;

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
    /// The token that lets in, from everywhere. Without one, only who asks from this machine, which also looks so behind a
    /// proxy on it that adds no header: set a token there.
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
    /// The first time comes a minute after it began at the latest. Where the clock got further than what passed, by an hour
    /// and more, or is at the start a day and an hour further than what was last written, that time is left out and the next
    /// comes within 15 minutes. Zero: never.
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
    /// on. In a router of somebody else this holds for a WebSocket only.
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
    /// The clients that come in for the first time from one user, at once and in an hour; further ones are refused with
    /// `rate-limited` and the time to wait. Each is remembered until [`Retention::clients`]. The user `anonymous` of an open
    /// server may have any number. What was used up is remembered of the last 100,000 users, and of as many addresses.
    pub new_clients_per_user: u32,
    /// The same from one address (of IPv6, from one /64), whoever they are; any number may come from this machine itself.
    /// In a router of somebody else, only where a request has a [`Peer`](crate::Peer) among its extensions.
    pub new_clients_per_address: u32,
    /// The connections at once; further ones wait until one ends.
    pub connections: usize,
}

/// The smallest message of a server, in bytes: the answer to a full push fits.
const LEAST_MESSAGE_BYTES: usize = 64 * 1024;

/// What channels and semaphores can count up to.
const MOST_QUEUED: usize = usize::MAX >> 3;

/// A setting with which no server can work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting} is {value}, and has to be {bound}")]
pub struct ConfigError {
    setting: &'static str,
    value: String,
    bound: String,
}

impl ConfigError {
    /// Its stable code: `config`.
    pub const fn code(&self) -> &'static str {
        codes::CONFIG
    }

    /// The name of the setting, as the path to its field.
    pub const fn setting(&self) -> &'static str {
        self.setting
    }
}

impl Config {
    /// Finds the first setting with which sessions would stop, or never begin.
    ///
    /// # Errors
    /// [`ConfigError`] names it and its bound.
    pub fn check(&self) -> Result<(), ConfigError> {
        let limits = &self.limits;
        let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let counts = [
            ("limits.wire.changes", limits.wire.changes),
            ("limits.wire.pushes", limits.wire.pushes),
            ("limits.decide.changes", limits.decide.changes),
            ("limits.decide.unconfirmed", limits.decide.unconfirmed),
            (
                "limits.decide.unconfirmed_bytes",
                limits.decide.unconfirmed_bytes,
            ),
            ("limits.push_bytes", limits.push_bytes),
            ("limits.page_records", limits.page_records),
            ("limits.window", count(limits.window)),
            ("limits.commit_queue", limits.commit_queue),
            ("limits.namespaces", limits.namespaces),
            ("connections", self.connections),
            ("new_clients_per_user", count(self.new_clients_per_user)),
            (
                "new_clients_per_address",
                count(self.new_clients_per_address),
            ),
        ];
        let times = [
            ("heartbeat", self.heartbeat),
            ("client_timeout", self.client_timeout),
            ("recheck", self.recheck),
            ("handshake_timeout", self.handshake_timeout),
            ("frame_timeout", self.frame_timeout),
            ("write_timeout", self.write_timeout),
        ];
        let counts = counts.into_iter().filter(|(_, value)| *value == 0);
        let times = times.into_iter().filter(|(_, value)| value.is_zero());
        let none = counts
            .map(|(setting, _)| setting)
            .chain(times.map(|(setting, _)| setting))
            .next();
        let bytes = limits.wire.message_bytes;
        if let Some(setting) = none {
            Err(ConfigError {
                setting,
                value: "0".to_owned(),
                bound: "more".to_owned(),
            })
        } else if !(LEAST_MESSAGE_BYTES..=MAX_MESSAGE_BYTES).contains(&bytes) {
            Err(ConfigError {
                setting: "limits.wire.message_bytes",
                value: bytes.to_string(),
                bound: format!("{LEAST_MESSAGE_BYTES} to {MAX_MESSAGE_BYTES}"),
            })
        } else if limits.commit_queue > MOST_QUEUED {
            Err(ConfigError {
                setting: "limits.commit_queue",
                value: limits.commit_queue.to_string(),
                bound: format!("at most {MOST_QUEUED}"),
            })
        } else if self.connections > MOST_QUEUED {
            Err(ConfigError {
                setting: "connections",
                value: self.connections.to_string(),
                bound: format!("at most {MOST_QUEUED}"),
            })
        } else {
            Ok(())
        }
    }
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
            new_clients_per_user: 100,
            new_clients_per_address: 1_000,
            connections: 10_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A session panicked, or never read a frame, long after the server had begun with such a limit.
    #[test]
    fn a_limit_with_which_no_session_works_is_named() {
        type Change = fn(&mut Config);
        assert_eq!(Config::default().check(), Ok(()));
        let cases: [(&str, Change); 10] = [
            ("limits.window", |config| config.limits.window = 0),
            ("limits.page_records", |config| {
                config.limits.page_records = 0;
            }),
            ("limits.commit_queue", |config| {
                config.limits.commit_queue = 0;
            }),
            ("limits.commit_queue", |config| {
                config.limits.commit_queue = usize::MAX;
            }),
            ("limits.push_bytes", |config| config.limits.push_bytes = 0),
            ("limits.wire.message_bytes", |config| {
                config.limits.wire.message_bytes = 511;
            }),
            ("limits.wire.message_bytes", |config| {
                config.limits.wire.message_bytes = usize::MAX;
            }),
            ("connections", |config| config.connections = 0),
            ("connections", |config| config.connections = usize::MAX),
            ("recheck", |config| config.recheck = Duration::ZERO),
        ];
        for (setting, change) in cases {
            let mut config = Config::default();
            change(&mut config);
            let error = config.check().unwrap_err();
            assert_eq!((error.setting(), error.code()), (setting, "config"));
            assert!(error.to_string().starts_with(setting), "{error}");
        }
    }
}
