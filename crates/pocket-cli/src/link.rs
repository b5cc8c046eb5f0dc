//! A database and the engine that keeps it in step with a server.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use pocket_core::replica::Replica;
use pocket_core::{CollectionName, ConflictStrategy, Target, codes as core_codes};
use pocket_sync_client::{Direction, SyncConfig, SyncEngine, SyncError, codes as sync_codes};
use pocket_sync_server::auth::ANONYMOUS;

use crate::args::{Global, ServerArgs, Strategy, Way};
use crate::commands::collections::pending;
use crate::failure::{Failure, Result};
use crate::held::Holding;
use crate::open::{self, Opened};
use crate::output::{Output, counted};

/// How long the end of a connection may take before it is cut.
const GOODBYE: Duration = Duration::from_secs(1);

/// Errors that no waiting and no further try can mend.
const HOPELESS: [&str; 3] = [
    sync_codes::OTHER_LINEAGE,
    sync_codes::OTHER_NAMESPACE,
    sync_codes::OTHER_USER,
];

/// An open database with an engine that was not started yet.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) database: Opened,
    pub(crate) engine: SyncEngine,
    pub(crate) server: String,
    pub(crate) direction: Direction,
    /// Whether a token is shown to the server.
    has_token: bool,
    holding: Option<Holding>,
}

impl Link {
    /// Checks the settings, opens the database, and records which collections are local.
    pub(crate) async fn open(global: &Global, args: &ServerArgs) -> Result<Self> {
        let config = config(global, args)?;
        let database = open::database(global).await?;
        for name in &args.local_only {
            match open::settings(&database, name) {
                None => {
                    let settings = pocket_core::CollectionConfig::new(name);
                    database.create_collection(settings).await?;
                }
                Some(settings) if settings.sync => {
                    return Err(cuts_off(&database, name).await?);
                }
                Some(_) => {}
            }
        }
        for name in &config.collections {
            if open::settings(&database, name).is_some_and(|settings| !settings.sync) {
                return Err(Failure::new(
                    core_codes::CONFIG,
                    format!(
                        "`{name}` is local to this device and never syncs; leave `--collection {name}` out"
                    ),
                ));
            }
        }
        let (server, direction) = (config.server_url.clone(), config.direction);
        let has_token = config.auth_token.is_some();
        let engine = SyncEngine::new(&database, config);
        Ok(Self {
            database,
            engine,
            server,
            direction,
            has_token,
            holding: None,
        })
    }

    /// The same for a command that stays: others reach the database through it.
    pub(crate) async fn hold(global: &Global, args: &ServerArgs, out: &Output) -> Result<Self> {
        let mut link = Self::open(global, args).await?;
        link.holding = Some(open::hold(global, &link.database, out)?);
        Ok(link)
    }

    /// What somebody should know whose token the server did not look at; nothing before the first handshake.
    pub(crate) async fn ignored_token(&self) -> Result<Option<String>> {
        if !self.has_token {
            return Ok(None);
        }
        let replica = Replica::new(&self.database, Target::DEFAULT);
        let binding = replica.state().await?.binding;
        let is_anonymous = binding.is_some_and(|binding| binding.user == ANONYMOUS);
        Ok(is_anonymous.then(|| {
            format!(
                "{} lets everybody in as `{ANONYMOUS}`: the token that was given is not looked at there",
                self.server
            )
        }))
    }

    /// Ends the engine and closes the database.
    pub(crate) async fn close(self) -> Result {
        if let Some(holding) = self.holding {
            holding.end().await;
        }
        // The store's work always ends; a server that is silent may not.
        let _ = tokio::time::timeout(GOODBYE, self.engine.destroy()).await;
        Ok(self.database.close().await?)
    }
}

/// Why a collection that syncs is not made local in passing.
async fn cuts_off(database: &Opened, name: &str) -> Result<Failure> {
    let pending = pending(database, &CollectionName::new(name)?).await?;
    Ok(Failure::new(
        core_codes::CONFIG,
        format!(
            "`{name}` syncs, and {} of it would never be sent; `pocket collections set {name} --local-only` cuts it \
             off all the same, or leave `--local-only {name}` out",
            counted(pending, "change")
        ),
    ))
}

/// The options of the file, if there is one, with those of the command line before them.
pub(crate) fn config(global: &Global, args: &ServerArgs) -> Result<SyncConfig> {
    let mut config = match &args.config {
        Some(path) => read(path)?,
        None => SyncConfig::new(args.url()?).max_retry_attempts(u32::MAX),
    };
    if args.server.is_some() || config.server_url.is_empty() {
        args.url()?.clone_into(&mut config.server_url);
    }
    if let Some(namespace) = &args.namespace {
        config = config.namespace(namespace);
    }
    if !args.collection.is_empty() {
        config = config.collections(&args.collection);
    }
    if let Some(way) = args.direction {
        config = config.direction(match way {
            Way::Both => Direction::Both,
            Way::Push => Direction::Push,
            Way::Pull => Direction::Pull,
        });
    }
    if global.insecure {
        config = config.allow_plaintext(true);
    }
    if let Some(strategy) = args.strategy {
        config = config.conflict_strategy(match strategy {
            Strategy::LastWriteWins => ConflictStrategy::LastWriteWins,
            Strategy::ServerWins => ConflictStrategy::ServerWins,
            Strategy::ClientWins => ConflictStrategy::ClientWins,
            Strategy::Merge => ConflictStrategy::Merge,
        });
    }
    if let Some(millis) = args.pull_interval {
        config = config.pull_interval(Duration::from_millis(millis));
    }
    // An empty variable means none.
    if let Some(token) = args.token.as_ref().filter(|token| !token.is_empty()) {
        config = config.auth_token(token);
    }
    config.check().map_err(|error| match error.code() {
        sync_codes::PLAINTEXT_REFUSED => Failure::new(
            sync_codes::PLAINTEXT_REFUSED,
            format!(
                "the token would travel in plain text to {}; use wss://, or --insecure on a network you trust",
                config.server_url
            ),
        ),
        _ => Failure::from(error),
    })?;
    Ok(config)
}

/// Reads a file of options.
fn read(path: &Path) -> Result<SyncConfig> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::io(format!("cannot read {shown}"), &error))?;
    let wrong = |error: &dyn std::fmt::Display| {
        Failure::new(core_codes::CONFIG, error.to_string().trim_end()).at(shown.to_string())
    };
    match path.extension().and_then(OsStr::to_str) {
        Some("toml") => toml::Deserializer::parse(&text)
            .map_err(|error| wrong(&error))
            .and_then(|options| SyncConfig::from_options(options).map_err(|error| wrong(&error))),
        Some("json") => {
            let mut options = serde_json::Deserializer::from_str(&text);
            let read = SyncConfig::from_options(&mut options).map_err(|error| wrong(&error))?;
            options.end().map_err(|error| wrong(&error))?;
            Ok(read)
        }
        _ => Err(Failure::usage(format!(
            "{shown} must end in .toml or .json, to say how it is to be read"
        ))),
    }
}

/// Whether waiting does not help: somebody has to do something, and start anew.
pub(crate) fn is_hopeless(error: &SyncError) -> bool {
    HOPELESS.contains(&error.code())
}
