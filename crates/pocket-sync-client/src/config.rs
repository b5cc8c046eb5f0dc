//! Settings of the sync engine, and every bound of the client.

mod checked;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use pocket_core::replica::Resolver;
use pocket_core::{CollectionName, ConflictStrategy};
pub use pocket_sync_protocol::Direction;
use serde::{Deserialize, Serialize};

use crate::auth::TokenSource;
use crate::custom::{CustomRules, ResolveConflict};
use crate::options;

pub(crate) use self::checked::check_token;

/// Pushes sent before their outcomes are known, unless the server allows fewer.
pub const PUSHES_IN_FLIGHT: usize = 4;

/// Pushes numbered ahead, so that the store is made durable once for several of them.
pub const PUSHES_AHEAD: usize = 8;

/// Pages the server may send before the first is applied.
pub const PAGES_IN_FLIGHT: u32 = 2;

/// Documents asked for by id at once.
pub const FETCHED_DOCUMENTS: usize = 256;

/// Conflicts that the application is asked about at the same time.
pub const QUESTIONS_AT_ONCE: usize = 16;

/// Open entries of the journal beyond which the statistics call it overfull. None is ever dropped.
pub const MAX_OPEN_CONFLICTS: u64 = 1_000;

/// The longest name of a namespace, in bytes; servers take no longer one.
pub const MAX_NAMESPACE_BYTES: usize = 128;

/// How long opening a connection may take, and then the handshake, in milliseconds.
pub const HANDSHAKE_MILLIS: u64 = 10_000;

/// How long a server may be silent while a call waits for it, in milliseconds, unless `answer_timeout` says otherwise.
pub const ANSWER_MILLIS: u64 = 10_000;

/// How many bytes of pushes without an answer give the server another millisecond: those of a line of 1 KiB a second, which
/// is the slowest that servers wait for. A push that takes more than two heartbeats is given up by its own timer.
pub(crate) const BYTES_A_MILLI: u64 = 1;

/// How long how a server may answer is looked at late, in milliseconds, before it counts as not looked at: what came
/// meanwhile may not have been taken yet.
pub(crate) const LATE_MILLIS: u64 = 2_000;

/// How long the application may take to give another token, in seconds.
pub const RENEWAL_SECONDS: u64 = 30;

/// The settings of a [`SyncEngine`](crate::SyncEngine); the required one in `new`, the others by setters.
///
/// As a serde type it has the same names, and durations in milliseconds. The token is read, but never written.
#[derive(Clone, Serialize, Deserialize)]
#[serde(default = "SyncConfig::unset", deny_unknown_fields)]
#[non_exhaustive]
pub struct SyncConfig {
    /// `ws(s)://` or `http(s)://`, with any base path; `/sync` is added only when there is no path.
    pub server_url: String,
    /// Sent in a header, never in the URL.
    #[serde(skip_serializing)]
    pub auth_token: Option<String>,
    /// What is opened on the server: a tenant, a workspace, a user.
    pub namespace: String,
    /// What syncs; empty means every collection with `sync: true`, also ones made later.
    pub collections: Vec<String>,
    /// Which way changes flow.
    #[serde(with = "options::direction")]
    pub direction: Direction,
    /// Who wins a conflict, for collections that do not say it themselves.
    pub conflict_strategy: ConflictStrategy,
    /// Whether the engine connects again by itself; it never gives up while this is on.
    pub auto_retry: bool,
    /// The first delay before connecting again; doubled per attempt, jittered, at most 30 s.
    #[serde(with = "options::millis")]
    pub retry_delay: Duration,
    /// Lost connections that one `force_sync`, `push` or `pull` bears before it fails.
    pub max_retry_attempts: u32,
    /// How long a server may be silent while `force_sync`, `push` or `pull` waits. Then the connection is given up, and a
    /// new one is tried at once; where that says nothing, either, the call fails with `timeout` 10 s later. A server
    /// is asked for a sign at the call, and again half of this after whatever it said last. It gets a second more for each
    /// KiB of pushes on its way to it, up to the two heartbeats that a push may take, and is left to its heartbeats while
    /// it owes documents: a slow line is not a dead one.
    #[serde(with = "options::millis")]
    pub answer_timeout: Duration,
    /// Whether a `ws(s)://` URL means a WebSocket; `false` makes it HTTP, as an `http(s)://` URL is anyway.
    pub use_websocket: bool,
    /// How often HTTP polls, or the longest it lets the server hold an answer back. Zero asks for nothing without a
    /// call or a local change. Over a WebSocket changes arrive by themselves.
    #[serde(with = "options::millis")]
    pub pull_interval: Duration,
    /// Changes per push, and documents per page while catching up.
    pub batch_size: NonZeroUsize,
    /// Whether a token may travel in plain text to a host that is not this machine.
    pub allow_plaintext: bool,
    /// Strategies of single collections, before what is recorded in the database.
    pub collection_strategies: BTreeMap<String, ConflictStrategy>,
    /// How long a rule of the application may take for one conflict.
    #[serde(with = "options::millis")]
    pub resolve_timeout: Duration,
    #[serde(skip)]
    token_source: Option<Arc<dyn TokenSource>>,
    #[serde(skip)]
    resolver: Option<Arc<dyn Resolver>>,
    #[serde(skip)]
    rules: CustomRules,
    /// Collections with a rule of their own, as they were named.
    #[serde(skip)]
    ruled: Vec<String>,
}

impl SyncConfig {
    /// The defaults, for this server.
    pub fn new(server_url: impl Into<String>) -> Self {
        Self {
            server_url: server_url.into(),
            auth_token: None,
            namespace: "default".to_owned(),
            collections: Vec::new(),
            direction: Direction::Both,
            conflict_strategy: ConflictStrategy::LastWriteWins,
            auto_retry: true,
            retry_delay: Duration::from_secs(1),
            max_retry_attempts: 5,
            answer_timeout: Duration::from_millis(ANSWER_MILLIS),
            use_websocket: true,
            pull_interval: Duration::from_secs(30),
            batch_size: const { NonZeroUsize::new(100).expect("100 is not zero") },
            allow_plaintext: false,
            collection_strategies: BTreeMap::new(),
            resolve_timeout: Duration::from_secs(30),
            token_source: None,
            resolver: None,
            rules: CustomRules::default(),
            ruled: Vec::new(),
        }
    }

    /// What a file without a word means; `check` refuses it.
    fn unset() -> Self {
        Self::new("")
    }

    /// The token that says who this is.
    #[must_use]
    pub fn auth_token(mut self, token: impl Into<String>) -> Self {
        self.auth_token = Some(token.into());
        self
    }

    /// Where another token comes from when the server refused the one there is, or when it ends soon.
    ///
    /// It is asked once for each refusal. What it answers is tried at once; if that is refused as well, the next
    /// question waits 15 to 30 seconds, and the status says `error` meanwhile. The end of a token is known if it is a
    /// JSON Web Token with `exp`.
    #[must_use]
    pub fn on_auth(mut self, source: impl TokenSource) -> Self {
        self.token_source = Some(Arc::new(source));
        self
    }

    /// The namespace to open; `default` unless set.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Only these collections, both ways: changes of others stay in the outbox, unsent. A transaction is sent when all
    /// its synced collections are among these.
    #[must_use]
    pub fn collections<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.collections = names.into_iter().map(Into::into).collect();
        self
    }

    /// Which way changes flow.
    #[must_use]
    pub fn direction(mut self, direction: Direction) -> Self {
        self.direction = direction;
        self
    }

    /// Who wins a conflict, for collections that do not say it themselves.
    #[must_use]
    pub fn conflict_strategy(mut self, strategy: ConflictStrategy) -> Self {
        self.conflict_strategy = strategy;
        self
    }

    /// Who wins a conflict in one collection, before what is recorded in the database.
    #[must_use]
    pub fn collection_strategy(
        mut self,
        collection: impl Into<String>,
        strategy: ConflictStrategy,
    ) -> Self {
        self.collection_strategies
            .insert(collection.into(), strategy);
        self
    }

    /// A rule of the application: sets the strategy `custom`, and answers for all collections that have it.
    #[must_use]
    pub fn resolve_conflict(mut self, rule: impl ResolveConflict) -> Self {
        self.conflict_strategy = ConflictStrategy::Custom;
        self.rules.set(rule);
        self
    }

    /// A rule of the application for one collection: sets its strategy to `custom`.
    #[must_use]
    pub fn resolve_conflict_in(
        mut self,
        collection: impl Into<String>,
        rule: impl ResolveConflict,
    ) -> Self {
        let name = collection.into();
        if let Ok(name) = CollectionName::new(&name) {
            self.rules.set_for(name, rule);
        }
        // A name that is none is told by `check`.
        self.ruled.push(name.clone());
        self.collection_strategy(name, ConflictStrategy::Custom)
    }

    /// How long a rule of the application may take for one conflict before the server's version stands.
    #[must_use]
    pub fn resolve_timeout(mut self, timeout: Duration) -> Self {
        self.resolve_timeout = timeout;
        self
    }

    /// Another pure rule than the built-in ones, for all collections. It is called inside a commit.
    #[must_use]
    pub fn resolver(mut self, resolver: impl Resolver) -> Self {
        self.resolver = Some(Arc::new(resolver));
        self
    }

    /// Whether the engine connects again by itself.
    #[must_use]
    pub fn auto_retry(mut self, on: bool) -> Self {
        self.auto_retry = on;
        self
    }

    /// The first delay before connecting again.
    #[must_use]
    pub fn retry_delay(mut self, delay: Duration) -> Self {
        self.retry_delay = delay;
        self
    }

    /// Lost connections that one operation bears before it fails.
    #[must_use]
    pub fn max_retry_attempts(mut self, attempts: u32) -> Self {
        self.max_retry_attempts = attempts;
        self
    }

    /// How long a server may be silent while an operation waits for it.
    #[must_use]
    pub fn answer_timeout(mut self, timeout: Duration) -> Self {
        self.answer_timeout = timeout;
        self
    }

    /// Whether to use a WebSocket.
    #[must_use]
    pub fn use_websocket(mut self, on: bool) -> Self {
        self.use_websocket = on;
        self
    }

    /// How often HTTP polls.
    #[must_use]
    pub fn pull_interval(mut self, interval: Duration) -> Self {
        self.pull_interval = interval;
        self
    }

    /// Changes per push, and documents per page while catching up.
    #[must_use]
    pub fn batch_size(mut self, changes: NonZeroUsize) -> Self {
        self.batch_size = changes;
        self
    }

    /// Lets a token travel in plain text, to any host. For networks that are encrypted by themselves.
    #[must_use]
    pub fn allow_plaintext(mut self, on: bool) -> Self {
        self.allow_plaintext = on;
        self
    }
}

/// The token is left out: configurations end up in logs.
impl fmt::Debug for SyncConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncConfig")
            .field("server_url", &self.server_url)
            .field("auth_token", &self.auth_token.as_ref().map(|_| "…"))
            .field("namespace", &self.namespace)
            .field("collections", &self.collections)
            .field("direction", &self.direction)
            .field("conflict_strategy", &self.conflict_strategy)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conflict::Strategies;

    fn refused(config: &SyncConfig) -> String {
        config
            .check()
            .expect_err("must be refused")
            .code()
            .to_owned()
    }

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let config = SyncConfig::new("wss://example.com");
        assert_eq!(config.direction, Direction::Both);
        assert_eq!(config.conflict_strategy, ConflictStrategy::LastWriteWins);
        assert!(config.auto_retry && config.use_websocket && !config.allow_plaintext);
        assert_eq!(
            (config.retry_delay, config.max_retry_attempts),
            (Duration::from_secs(1), 5)
        );
        assert_eq!(
            (config.pull_interval, config.batch_size.get()),
            (Duration::from_secs(30), 100)
        );
        assert!(config.auth_token.is_none() && config.collections.is_empty());
        config.check().expect("the defaults are fine");
    }

    #[test]
    fn a_token_in_plain_text_is_refused_except_to_this_machine() {
        let far = SyncConfig::new("ws://example.com").auth_token("t");
        assert_eq!(refused(&far), "plaintext-refused");
        assert_eq!(
            refused(&SyncConfig::new("http://example.com").auth_token("t")),
            "plaintext-refused"
        );
        far.allow_plaintext(true).check().expect("allowed");
        SyncConfig::new("ws://127.0.0.1:7700")
            .auth_token("t")
            .check()
            .expect("loopback");
        SyncConfig::new("wss://example.com")
            .auth_token("t")
            .check()
            .expect("encrypted");
        SyncConfig::new("ws://example.com")
            .check()
            .expect("no token, nothing to lose");
    }

    #[test]
    fn what_cannot_work_is_refused_at_once() {
        for namespace in [String::new(), "n".repeat(129), "a\nb".to_owned()] {
            let config = SyncConfig::new("ws://h").namespace(namespace);
            assert_eq!(refused(&config), "config");
        }
        assert_eq!(
            refused(&SyncConfig::new("ws://h").collections(["_mine"])),
            "bad-collection-name"
        );
        assert_eq!(
            refused(&SyncConfig::new("wss://h").auth_token("a\r\nb")),
            "config"
        );
    }

    /// It stands in for everything that decides otherwise, which was left aside without a word.
    #[test]
    fn a_resolver_of_ones_own_stands_alone() {
        let own =
            || SyncConfig::new("ws://h").resolver(Strategies::new(ConflictStrategy::ServerWins));
        own().check().expect("it is alone");
        let rule =
            |_: pocket_core::replica::Conflict| async { Ok::<_, String>(crate::Resolved::local()) };
        for (config, beside) in [
            (
                own().conflict_strategy(ConflictStrategy::Merge),
                "`conflict_strategy`",
            ),
            (
                own().collection_strategy("a", ConflictStrategy::Merge),
                "`collection_strategies`",
            ),
            (own().resolve_conflict(rule), "`resolve_conflict`"),
            (
                own().resolve_conflict_in("a", rule),
                "`collection_strategies`",
            ),
        ] {
            let error = config.check().expect_err("it contradicts itself");
            assert_eq!(error.code(), "config");
            assert!(error.message().contains("`resolver`"), "{error}");
            assert!(error.message().contains(beside), "{error}");
        }
    }

    #[test]
    fn a_token_is_not_shown() {
        let shown = format!("{:?}", SyncConfig::new("wss://h").auth_token("sesame"));
        assert!(!shown.contains("sesame"), "{shown}");
    }
}
