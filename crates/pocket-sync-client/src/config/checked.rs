//! What the settings mean: whether they can work, and what the parts of the engine need of them.

use std::sync::Arc;

use pocket_core::replica::{Resolver, Scope};
use pocket_core::storage::ordered::BTreeSet;
use pocket_core::{CollectionName, ConflictStrategy};

use super::{MAX_NAMESPACE_BYTES, SyncConfig};
use crate::auth::TokenSource;
use crate::conflict::Strategies;
use crate::custom::CustomRules;
use crate::endpoint::Endpoint;
use crate::session::SessionConfig;
use crate::{SyncError, codes};

impl SyncConfig {
    /// Checks everything that can be checked without a server.
    ///
    /// # Errors
    /// `config`, `bad-collection-name`, or `plaintext-refused`.
    pub fn check(&self) -> Result<(), SyncError> {
        self.check_url()?;
        self.endpoint()?;
        self.scope()?;
        self.check_collections()?;
        self.check_strategies()?;
        if self.auto_retry && self.retry_delay.is_zero() {
            return Err(SyncError::config(
                "`retry_delay` is zero, so `auto_retry` would try again without a pause; give it a delay or switch \
                 `auto_retry` off",
            ));
        }
        if self.answer_timeout.is_zero() {
            return Err(SyncError::config(
                "`answer_timeout` is zero, so no server could answer in time; 10 s is the usual one",
            ));
        }
        let fits = (1..=MAX_NAMESPACE_BYTES).contains(&self.namespace.len());
        if !fits || self.namespace.chars().any(char::is_control) {
            return Err(SyncError::config(format!(
                "a namespace has 1 to {MAX_NAMESPACE_BYTES} bytes and no control characters; `default` is the usual one"
            )));
        }
        self.auth_token.as_deref().map_or(Ok(()), check_token)
    }

    /// The server's address, and whether the token may go there.
    pub(crate) fn endpoint(&self) -> Result<Endpoint, SyncError> {
        let endpoint = Endpoint::parse(&self.server_url)?;
        let in_clear = !endpoint.is_secure() && !endpoint.is_loopback();
        let has_token = self.auth_token.is_some() || self.token_source.is_some();
        if has_token && in_clear && !self.allow_plaintext {
            return Err(SyncError::new(
                codes::PLAINTEXT_REFUSED,
                format!(
                    "a token would travel in plain text to {}; use wss://, or `allow_plaintext` on a network you trust",
                    endpoint.host()
                ),
            ));
        }
        Ok(if self.use_websocket {
            endpoint
        } else {
            endpoint.over_http()
        })
    }

    pub(crate) fn scope(&self) -> Result<Scope, SyncError> {
        if self.collections.is_empty() {
            return Ok(Scope::All);
        }
        let names = self
            .collections
            .iter()
            .map(|name| CollectionName::new(name));
        Ok(Scope::Only(names.collect::<Result<BTreeSet<_>, _>>()?))
    }

    /// Without it there is nothing to sync with.
    pub(crate) fn check_url(&self) -> Result<(), SyncError> {
        if self.server_url.is_empty() {
            return Err(SyncError::config(
                "`server_url` is missing; it is the address of the server, like wss://example.com",
            ));
        }
        Ok(())
    }

    /// Each collection is named once, and one with a strategy is among those that sync.
    fn check_collections(&self) -> Result<(), SyncError> {
        let mut names = BTreeSet::new();
        if let Some(twice) = self.collections.iter().find(|name| !names.insert(*name)) {
            return Err(SyncError::config(format!(
                "`collections` names `{twice}` twice"
            )));
        }
        let mut with_strategy = self.collection_strategies.keys();
        let stray = with_strategy.find(|name| !names.is_empty() && !names.contains(name));
        if let Some(stray) = stray {
            return Err(SyncError::config(format!(
                "`collection_strategies` names `{stray}`, which is not in `collections` and so does not sync"
            )));
        }
        Ok(())
    }

    /// Each `custom` has a rule, and each name is one.
    fn check_strategies(&self) -> Result<(), SyncError> {
        for (name, strategy) in &self.collection_strategies {
            let collection = CollectionName::new(name)?;
            if *strategy == ConflictStrategy::Custom && !self.rules.has(&collection) {
                return Err(SyncError::config(format!(
                    "`collection_strategies` has `custom` for `{name}`, but there is no rule; give one with \
                     `resolve_conflict_in`, or choose another strategy"
                )));
            }
        }
        if self.conflict_strategy == ConflictStrategy::Custom
            && self.resolver.is_none()
            && !self.rules.has_general()
        {
            return Err(SyncError::config(
                "`conflict_strategy` is `custom`, but there is no rule; give one with `resolve_conflict`, or choose \
                 another strategy",
            ));
        }
        if self.resolver.is_some() {
            // It decides everything, so that nobody would ever be asked what was set beside it.
            let beside = if !self.collection_strategies.is_empty() {
                Some("`collection_strategies`")
            } else if self.rules.has_general() {
                Some("`resolve_conflict`")
            } else if self.conflict_strategy != ConflictStrategy::LastWriteWins {
                Some("`conflict_strategy`")
            } else {
                None
            };
            if let Some(beside) = beside {
                return Err(SyncError::config(format!(
                    "`resolver` decides all conflicts, so {beside} would have no effect; leave one of them out"
                )));
            }
        }
        if self.resolve_timeout.is_zero() {
            return Err(SyncError::config(
                "`resolve_timeout` is zero, so no rule could ever answer",
            ));
        }
        Ok(())
    }

    /// Who decides conflicts: the configured resolver, or the strategies.
    pub fn conflict_resolver(&self) -> Arc<dyn Resolver> {
        if let Some(resolver) = &self.resolver {
            return resolver.clone();
        }
        let mut strategies = Strategies::new(self.conflict_strategy);
        for (name, strategy) in &self.collection_strategies {
            if let Ok(name) = CollectionName::new(name) {
                strategies = strategies.collection(name, *strategy);
            }
        }
        for name in &self.ruled {
            if let Ok(name) = CollectionName::new(name) {
                strategies = strategies.asks_application_of(name);
            }
        }
        if self.rules.has_general() {
            strategies = strategies.asks_application();
        }
        Arc::new(strategies)
    }

    /// Where another token comes from, for whoever carries out [`Effect::Renew`](crate::Effect::Renew).
    pub fn token_source(&self) -> Option<Arc<dyn TokenSource>> {
        self.token_source.clone()
    }

    /// The rules of the application, for whoever carries out [`Effect::Ask`](crate::Effect::Ask).
    pub fn custom_rules(&self) -> CustomRules {
        self.rules.clone()
    }

    /// What the session needs of it; `seed` decides its jitter.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn session(&self, seed: u64) -> Result<SessionConfig, SyncError> {
        self.check()?;
        let mut session = SessionConfig::new(self.scope()?);
        session.namespace.clone_from(&self.namespace);
        session.token.clone_from(&self.auth_token);
        session.direction = self.direction;
        session.batch_size = self.batch_size.get();
        session.auto_retry = self.auto_retry;
        session.renews = self.token_source.is_some();
        session.retry_delay_millis =
            u64::try_from(self.retry_delay.as_millis()).unwrap_or(u64::MAX);
        session.max_retry_attempts = self.max_retry_attempts;
        session.answer_millis = u64::try_from(self.answer_timeout.as_millis()).unwrap_or(u64::MAX);
        session.seed = seed;
        if self.endpoint()?.is_http() {
            let interval = u64::try_from(self.pull_interval.as_millis()).unwrap_or(u64::MAX);
            session.poll_millis = Some(interval);
        }
        Ok(session)
    }
}

/// Whether `token` can stand in a header.
pub(crate) fn check_token(token: &str) -> Result<(), SyncError> {
    let fits = (1..=pocket_sync_protocol::limits::MAX_TEXT_BYTES).contains(&token.len());
    if fits && token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    // Not a word of the token itself: messages end up in logs.
    Err(SyncError::config(
        "a token has 1 to 4096 visible ASCII characters and no space",
    ))
}
