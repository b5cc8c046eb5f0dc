//! The limits of a server, as the command line names them. Each default is the library's own.

use std::time::Duration;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use pocket_core::{DocumentLimits, codes as core_codes};
use pocket_sync_protocol::limits::{MAX_FRAME_CHANGES, MAX_MESSAGE_BYTES};
use pocket_sync_server::Config;

use crate::failure::{Failure, Result};

/// The smallest message, in bytes: an answer to a full push fits.
const LEAST_MESSAGE: u64 = 64 * 1024;

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// The bytes of a message, either way
    #[arg(long, value_name = "BYTES", default_value = "4194304", value_parser = bytes(LEAST_MESSAGE, MAX_MESSAGE_BYTES))]
    message_bytes: usize,
    /// The bytes of a document; a message must hold two
    #[arg(long, value_name = "BYTES", default_value = "1048576", value_parser = bytes(1, DocumentLimits::MAX_BYTES))]
    document_bytes: usize,
    /// The values in a document, all of its fields and items counted
    #[arg(long, value_name = "N", default_value = "65536", value_parser = bytes(1, DocumentLimits::MAX_BYTES))]
    document_values: usize,
    /// How deep objects and lists of a document lie in each other
    #[arg(long, value_name = "N", default_value = "32", value_parser = bytes(1, DocumentLimits::MAX_DEPTH))]
    document_levels: usize,
    /// The changes of one transaction
    #[arg(long, value_name = "N", default_value = "1000", value_parser = bytes(1, MAX_FRAME_CHANGES))]
    batch: usize,
    /// The pushes of a connection that wait for their outcome; it is not read from while there are more
    #[arg(long, value_name = "N", default_value = "8", value_parser = bytes(1, 1_024))]
    pushes: usize,
    /// The bytes of those pushes; one of any size is taken
    #[arg(long, value_name = "BYTES", default_value = "8388608", value_parser = bytes(1, usize::MAX))]
    push_bytes: usize,
    /// The bytes that wait to be sent on a connection; it is not read from while there are more
    #[arg(long, value_name = "BYTES", default_value = "262144", value_parser = bytes(1, usize::MAX))]
    unsent_bytes: usize,
    /// The requests of a connection in a second, in the long run
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u32).range(1..))]
    messages_per_second: u32,
    /// The requests of a connection at once, after a pause
    #[arg(long, value_name = "N", default_value = "500", value_parser = clap::value_parser!(u32).range(1..))]
    messages_at_once: u32,
    /// The bytes of a connection in a second, in the long run
    #[arg(long, value_name = "BYTES", default_value = "8388608", value_parser = clap::value_parser!(u64).range(1..))]
    bytes_per_second: u64,
    /// The bytes of a connection at once, after a pause
    #[arg(long, value_name = "BYTES", default_value = "67108864", value_parser = clap::value_parser!(u64).range(1..))]
    bytes_at_once: u64,
    /// The connections at once; further ones wait
    #[arg(long, value_name = "N", default_value = "10000", value_parser = bytes(1, usize::MAX >> 3))]
    connections: usize,
    /// The connections of one user, but for `anonymous`
    #[arg(long, value_name = "N", default_value = "10", value_parser = bytes(1, usize::MAX))]
    connections_per_user: usize,
    /// The connections from one address, or one /64 of IPv6, but for this machine
    #[arg(long, value_name = "N", default_value = "100", value_parser = bytes(1, usize::MAX))]
    connections_per_address: usize,
    /// The devices of one user that come in for the first time, at once and in an hour, but for `anonymous`
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u32).range(1..))]
    new_clients_per_user: u32,
    /// The same from one address, or one /64 of IPv6, but for this machine
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u32).range(1..))]
    new_clients_per_address: u32,
    /// The sessions over HTTP at once
    #[arg(long, value_name = "N", default_value = "10000", value_parser = bytes(1, usize::MAX))]
    polled_sessions: usize,
    /// Seconds from a connection to its request, and from there to its hello
    #[arg(long, value_name = "S", default_value = "10", value_parser = some_seconds)]
    handshake_timeout: Duration,
    /// Seconds between two signs of life that clients are told to give
    #[arg(long, value_name = "S", default_value = "30", value_parser = some_seconds)]
    heartbeat: Duration,
    /// Seconds of silence after which a client is gone
    #[arg(long, value_name = "S", default_value = "60", value_parser = some_seconds)]
    idle_timeout: Duration,
    /// Seconds after which a client is gone that takes nothing of what is sent to it
    #[arg(long, value_name = "S", default_value = "60", value_parser = some_seconds)]
    write_timeout: Duration,
    /// Seconds between two checks of a session's token
    #[arg(long, value_name = "S", default_value = "60", value_parser = some_seconds)]
    token_check: Duration,
    /// Seconds for which an answer without news is held back over HTTP; 0 for none
    #[arg(long, value_name = "S", default_value = "25", value_parser = seconds)]
    poll_wait: Duration,
    /// The longest pause between two polls over HTTP, in seconds; after a longer one a client begins anew
    #[arg(long, value_name = "S", default_value = "600", value_parser = some_seconds)]
    poll_timeout: Duration,
    /// A namespace holds this many documents at the most
    #[arg(long, value_name = "N")]
    quota_documents: Option<u64>,
    /// The documents of a namespace have this many bytes at the most
    #[arg(long, value_name = "BYTES")]
    quota_bytes: Option<u64>,
}

impl LimitArgs {
    /// Sets them.
    ///
    /// # Errors
    /// `config` when two contradict each other; both are named.
    pub(crate) fn configure(&self, config: &mut Config) -> Result {
        self.check()?;
        let limits = &mut config.limits;
        limits.wire.message_bytes = self.message_bytes;
        limits.wire.document_bytes = self.document_bytes;
        limits.wire.nodes = self.document_values;
        limits.wire.levels = self.document_levels;
        limits.wire.changes = self.batch;
        limits.decide.changes = self.batch;
        limits.wire.pushes = self.pushes;
        limits.push_bytes = self.push_bytes;
        limits.unsent_bytes = self.unsent_bytes;
        limits.rate.messages_per_second = self.messages_per_second;
        limits.rate.messages_at_once = self.messages_at_once;
        limits.rate.bytes_per_second = self.bytes_per_second;
        limits.rate.bytes_at_once = self.bytes_at_once;
        limits.decide.quota.documents = self.quota_documents;
        limits.decide.quota.bytes = self.quota_bytes;
        config.connections = self.connections;
        config.connections_per_user = self.connections_per_user;
        config.connections_per_address = self.connections_per_address;
        config.new_clients_per_user = self.new_clients_per_user;
        config.new_clients_per_address = self.new_clients_per_address;
        config.polled_sessions = self.polled_sessions;
        config.handshake_timeout = self.handshake_timeout;
        config.heartbeat = self.heartbeat;
        config.client_timeout = self.idle_timeout;
        config.write_timeout = self.write_timeout;
        config.recheck = self.token_check;
        config.poll_wait = self.poll_wait;
        config.poll_timeout = self.poll_timeout;
        Ok(())
    }

    fn check(&self) -> Result {
        let contradictions = [
            (
                self.message_bytes < self.document_bytes.saturating_mul(2),
                format!(
                    "--message-bytes {} must be at least twice --document-bytes {}",
                    self.message_bytes, self.document_bytes
                ),
            ),
            (
                self.heartbeat >= self.idle_timeout,
                format!(
                    "--heartbeat {} must be shorter than --idle-timeout {}: else every quiet client is taken for gone",
                    self.heartbeat.as_secs_f64(),
                    self.idle_timeout.as_secs_f64()
                ),
            ),
            (
                self.poll_wait >= self.poll_timeout,
                format!(
                    "--poll-wait {} must be shorter than --poll-timeout {}",
                    self.poll_wait.as_secs_f64(),
                    self.poll_timeout.as_secs_f64()
                ),
            ),
            (
                u64::from(self.messages_at_once) < self.pushes as u64,
                format!(
                    "--messages-at-once {} must be at least --pushes {}: else one full line of pushes is too fast",
                    self.messages_at_once, self.pushes
                ),
            ),
            (
                self.quota_bytes
                    .is_some_and(|quota| quota < self.document_bytes as u64),
                format!(
                    "--quota-bytes {} must be at least --document-bytes {}",
                    self.quota_bytes.unwrap_or_default(),
                    self.document_bytes
                ),
            ),
        ];
        match contradictions.into_iter().find(|(wrong, _)| *wrong) {
            Some((_, why)) => Err(Failure::new(core_codes::CONFIG, why)),
            None => Ok(()),
        }
    }
}

/// A count within these bounds.
fn bytes(least: u64, most: usize) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(least..=u64::try_from(most).unwrap_or(u64::MAX))
}

fn seconds(text: &str) -> std::result::Result<Duration, String> {
    crate::args::seconds(text)
}

/// A deadline, which is not over before it begins.
fn some_seconds(text: &str) -> std::result::Result<Duration, String> {
    let time = seconds(text)?;
    let some = time >= Duration::from_millis(1);
    some.then_some(time)
        .ok_or_else(|| "more than 0 seconds".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Serve {
        #[command(flatten)]
        limits: LimitArgs,
    }

    fn limits(words: &[&str]) -> LimitArgs {
        let words = [&["serve"][..], words].concat();
        Serve::try_parse_from(words).unwrap().limits
    }

    #[test]
    fn without_options_the_limits_are_those_of_the_library() {
        let mut config = Config::default();
        limits(&[]).configure(&mut config).unwrap();
        assert_eq!(format!("{config:?}"), format!("{:?}", Config::default()));
    }

    #[test]
    fn each_limit_reaches_the_server() {
        use clap::CommandFactory;
        let unset = format!("{:?}", Config::default());
        for argument in Serve::command().get_arguments() {
            let Some(name) = argument.get_long().filter(|name| *name != "help") else {
                continue;
            };
            let default = argument.get_default_values().first();
            let other: f64 = default.map_or(7_000_000.0, |value| {
                value.to_str().unwrap().parse::<f64>().unwrap() + 1.0
            });
            let mut config = Config::default();
            let set = limits(&[&format!("--{name}"), &other.to_string()]);
            set.configure(&mut config).unwrap();
            assert_ne!(format!("{config:?}"), unset, "--{name}");
        }
    }

    #[test]
    fn limits_that_contradict_each_other_are_both_named() {
        for (words, named) in [
            (
                ["--message-bytes", "1000000"],
                ["--message-bytes", "--document-bytes"],
            ),
            (
                ["--document-bytes", "3000000"],
                ["--message-bytes", "--document-bytes"],
            ),
            (["--heartbeat", "60"], ["--heartbeat", "--idle-timeout"]),
            (["--idle-timeout", "30"], ["--heartbeat", "--idle-timeout"]),
            (["--poll-wait", "600"], ["--poll-wait", "--poll-timeout"]),
            (
                ["--messages-at-once", "7"],
                ["--messages-at-once", "--pushes"],
            ),
            (
                ["--quota-bytes", "1000"],
                ["--quota-bytes", "--document-bytes"],
            ),
        ] {
            let failure = limits(&words)
                .configure(&mut Config::default())
                .unwrap_err();
            assert_eq!(failure.code(), core_codes::CONFIG);
            for name in named {
                assert!(failure.message().contains(name), "{words:?}: {failure:?}");
            }
        }
    }

    #[test]
    fn what_no_server_can_do_is_refused() {
        for words in [
            ["--message-bytes", "1000"],
            ["--message-bytes", "67108865"],
            ["--document-bytes", "16777217"],
            ["--document-levels", "101"],
            ["--batch", "0"],
            ["--batch", "4097"],
            ["--connections", "0"],
            ["--handshake-timeout", "0"],
            ["--messages-per-second", "0"],
        ] {
            let words = [&["serve"][..], &words].concat();
            assert!(Serve::try_parse_from(&words).is_err(), "{words:?}");
        }
    }

    /// The guide has a row for each, with its default as it is counted.
    #[test]
    fn the_guide_lists_each_limit_with_its_default() {
        use clap::CommandFactory;
        let guide = include_str!("../../../docs/guide/sync-server.md");
        for argument in Serve::command().get_arguments() {
            let Some(name) = argument.get_long().filter(|name| *name != "help") else {
                continue;
            };
            let default = argument.get_default_values().first();
            let default = default.map_or("none", |value| value.to_str().unwrap());
            let start = format!("| `{name}` | {default} |");
            assert!(
                guide.lines().any(|line| line.starts_with(&start)),
                "{start}"
            );
        }
    }
}
