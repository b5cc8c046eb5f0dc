//! Setting up a server.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use pocket_core::{Env, SystemEnv};
use pocket_storage::Storage;
use tokio::sync::{Semaphore, watch};

use super::{CHECKS, Inner, SyncServer};
use crate::admin::Counts;
use crate::auth::{Access, AuthError, AuthenticateWith, Authenticator, TokenTable};
use crate::connected::Connected;
use crate::direct::Writers;
use crate::engine::{EmbeddedEngine, Engine};
use crate::event::EventHook;
use crate::forgetting::Forgetting;
use crate::newcomers::Newcomers;
use crate::polled::Table;
use crate::rules::{Authorizer, Validator};
use crate::{Config, ConfigError};

/// Where namespaces are kept.
pub(super) enum Source {
    Storage(Arc<dyn Storage>),
    Engine(Arc<dyn Engine>),
}

/// Sets up a [`SyncServer`].
pub struct SyncServerBuilder {
    source: Source,
    hook: Option<Arc<dyn EventHook>>,
    authenticator: Arc<dyn Authenticator>,
    env: Arc<dyn Env>,
    config: Config,
    authorizer: Option<Arc<dyn Authorizer>>,
    rules_version: Option<String>,
    validator: Option<Arc<dyn Validator>>,
    #[cfg(feature = "tls")]
    tls: Option<Arc<crate::Tls>>,
}

impl SyncServerBuilder {
    /// A server over this, with everything else as it is by default.
    pub(super) fn over(source: Source) -> Self {
        Self {
            source,
            hook: None,
            authenticator: Arc::new(TokenTable::open()),
            env: Arc::new(SystemEnv),
            config: Config::default(),
            authorizer: None,
            rules_version: None,
            validator: None,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Lets in who has one of these tokens: nobody, if there are none. A server for which neither this nor an
    /// [`authenticator`](Self::authenticator) is set is open, and everybody is `anonymous`.
    #[must_use]
    pub fn tokens(self, tokens: TokenTable) -> Self {
        self.authenticator(Arc::new(tokens))
    }

    /// Asks this one who may come in.
    #[must_use]
    pub fn authenticator(mut self, authenticator: Arc<dyn Authenticator>) -> Self {
        self.authenticator = authenticator;
        self
    }

    /// Takes time and randomness from here instead of the machine.
    #[must_use]
    pub fn env(mut self, env: Arc<dyn Env>) -> Self {
        self.env = env;
        self
    }

    /// Sets limits and deadlines, and rules where none of [`authorizer`](Self::authorizer),
    /// [`rules_version`](Self::rules_version) and [`validator`](Self::validator) does.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Keeps namespaces with this engine instead of the embedded one.
    #[must_use]
    pub fn engine(mut self, engine: Arc<dyn Engine>) -> Self {
        self.source = Source::Engine(engine);
        self
    }

    /// Asks this closure who may come in.
    #[must_use]
    pub fn authenticate_with<F, T>(self, authenticate: F) -> Self
    where
        F: Fn(Option<String>) -> T + Send + Sync + 'static,
        T: Future<Output = Result<Access, AuthError>> + Send + 'static,
    {
        self.authenticator(Arc::new(AuthenticateWith(authenticate)))
    }

    /// Asks this one who may read and write what. A closure `Fn(&Attempt) -> bool` will do.
    #[must_use]
    pub fn authorizer(mut self, authorizer: impl Authorizer) -> Self {
        self.authorizer = Some(Arc::new(authorizer));
        self
    }

    /// Names the rules, for authorizers that have no [version](Authorizer::version) of their own, as closures: another name
    /// than in the run before makes clients read everything again, and let go of what they may no longer see.
    #[must_use]
    pub fn rules_version(mut self, version: impl Into<String>) -> Self {
        self.rules_version = Some(version.into());
        self
    }

    /// Asks this one about each document that would be written. A closure `Fn(&Attempt) -> Result<(), String>` will do.
    #[must_use]
    pub fn validator(mut self, validator: impl Validator) -> Self {
        self.validator = Some(Arc::new(validator));
        self
    }

    /// Tells this one what happens. A closure `Fn(&ServerEvent)` will do.
    #[must_use]
    pub fn on_event(mut self, hook: impl EventHook) -> Self {
        self.hook = Some(Arc::new(hook));
        self
    }

    /// Speaks TLS on what [`serve`](SyncServer::serve) accepts. Keep the [`Arc`] to read certificates again later.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: Arc<crate::Tls>) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The server.
    ///
    /// # Errors
    /// [`ConfigError`] names a setting with which no server can work.
    pub fn build(mut self) -> Result<SyncServer, ConfigError> {
        self.config.check()?;
        if let Some(authorizer) = self.authorizer {
            self.config.rules = self.config.rules.authorizer(authorizer);
        }
        if let Some(version) = self.rules_version {
            self.config.rules = self.config.rules.version(version);
        }
        if let Some(validator) = self.validator {
            self.config.rules = self.config.rules.validator(validator);
        }
        let engine = match self.source {
            Source::Engine(engine) => engine,
            Source::Storage(storage) => {
                let limits = self.config.limits.clone();
                Arc::new(EmbeddedEngine::new(storage, Arc::clone(&self.env), limits))
            }
        };
        Ok(SyncServer {
            inner: Arc::new(Inner {
                rules: watch::Sender::new(self.config.rules.clone()),
                newcomers: Arc::new(Newcomers::new(&self.config)),
                engine,
                authenticator: self.authenticator,
                env: self.env,
                config: Arc::new(self.config),
                hubs: Mutex::default(),
                connected: Connected::default(),
                writers: Writers::default(),
                metrics: Arc::default(),
                store: Arc::default(),
                counts: Counts::default(),
                #[cfg(feature = "tls")]
                tls: self.tls,
                hook: self.hook,
                polls: Table::default(),
                last_connection: AtomicU64::new(0),
                checks: Semaphore::new(CHECKS),
                forgetting: Forgetting::default(),
                stop: watch::Sender::new(false),
                served: watch::Sender::new(0),
            }),
        })
    }
}

impl fmt::Debug for SyncServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncServerBuilder")
            .field("authenticator", &self.authenticator)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use pocket_storage_memory::MemoryStorage;

    use super::*;
    use crate::rules::Attempt;

    /// A configuration that was set behind the rules left the server open.
    #[test]
    fn rules_hold_whatever_is_set_first() {
        let nobody = |_: &Attempt<'_>| false;
        let nothing = |_: &Attempt<'_>| Err("no".to_owned());
        let builder = || SyncServer::builder(Arc::new(MemoryStorage::new()));
        for builder in [
            builder().authorizer(nobody).config(Config::default()),
            builder().validator(nothing).config(Config::default()),
            builder().config(Config::default()).authorizer(nobody),
        ] {
            let server = builder.build().expect("it is usual");
            assert!(!server.inner.rules.borrow().is_open());
        }
    }
}
