//! Who may do what on a server: tokens, signed ones too, and a rules file, as the command line names them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;
use clap::Args;
use pocket_core::codes as core_codes;
use pocket_sync_server::auth::{
    Access, AuthError, Authenticator, JwtAuthenticator, JwtKeys, TokenTable,
};
use pocket_sync_server::{Config, Rules, RulesFile, SyncServer, SyncServerBuilder, WatchedFiles};

use crate::failure::{Failure, Result};
use crate::reload::Source;
use crate::tokens;

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct RightsArgs {
    /// Let in who has this token; without a user, as one named after a hash of it
    #[arg(long, value_name = "TOKEN[=USER[:NAMESPACE,…]]")]
    pub(crate) token: Vec<String>,
    /// A file with a line `TOKEN USER [NAMESPACE,…]` each. Read again when it changes, or at SIGHUP
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// A file (TOML) that says who may read and write which collections and documents. Read again when it changes, or
    /// at SIGHUP
    #[arg(long, value_name = "FILE")]
    pub(crate) rules: Option<PathBuf>,
    /// Take JSON Web Tokens signed for this public key: a PEM file (RS256, ES256), or a JWK set. Read again
    /// when it changes, or at SIGHUP
    #[arg(long, value_name = "FILE")]
    pub(crate) jwt_key: Vec<PathBuf>,
    /// Take JSON Web Tokens signed with the secret in this file (HS256; 32 bytes or more). Read again when it
    /// changes, or at SIGHUP
    #[arg(long, value_name = "FILE")]
    pub(crate) jwt_secret: Option<PathBuf>,
    /// Take only those made for this audience
    #[arg(long, value_name = "TEXT")]
    pub(crate) jwt_audience: Option<String>,
    /// Take only those of this issuer
    #[arg(long, value_name = "TEXT")]
    pub(crate) jwt_issuer: Option<String>,
    /// Let those without a claim `namespaces` open all of them
    #[arg(long)]
    pub(crate) jwt_all_namespaces: bool,
    /// Pages of this origin may connect, like `https://app.example.com`; those of this machine always may
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) allow_origin: Vec<String>,
}

/// What [`RightsArgs`] name, read and checked. A clone is the same.
#[derive(Clone, Debug)]
pub(crate) struct Rights {
    live: Arc<Live>,
    files: [WatchedFiles; 3],
}

/// Who is let in, and as whom. What came from files can be replaced while sessions ask.
#[derive(Debug)]
struct Live {
    tokens: RwLock<TokenTable>,
    jwt: Option<JwtAuthenticator>,
    rules: RwLock<Option<Arc<RulesFile>>>,
}

impl RightsArgs {
    /// Reads the files.
    pub(crate) fn read(&self) -> Result<Rights> {
        let keys = self.jwt_key.iter().chain(&self.jwt_secret).cloned();
        let files = [
            WatchedFiles::new(self.token_file.clone()),
            WatchedFiles::new(keys),
            WatchedFiles::new(self.rules.clone()),
        ];
        let rules = self.rules.as_deref().map(rules).transpose()?;
        let live = Arc::new(Live {
            tokens: RwLock::new(self.tokens()?),
            jwt: self.jwt()?,
            rules: RwLock::new(rules),
        });
        Ok(Rights { live, files })
    }

    /// Sets what is no matter of users.
    pub(crate) fn configure(&self, config: &mut Config) -> Result {
        for origin in &self.allow_origin {
            let is_origin = origin.split_once("://").is_some_and(|(scheme, host)| {
                matches!(scheme, "http" | "https") && !host.is_empty() && !host.contains('/')
            });
            if !is_origin {
                return Err(Failure::usage(format!(
                    "--allow-origin {origin:?} is no origin like https://app.example.com, without a path"
                )));
            }
            config.origins.insert(origin.to_ascii_lowercase());
        }
        Ok(())
    }

    fn tokens(&self) -> Result<TokenTable> {
        tokens::read(&self.token, self.token_file.as_deref())
    }

    fn keys(&self) -> Result<Option<JwtKeys>> {
        let mut keys: Option<JwtKeys> = None;
        for path in &self.jwt_key {
            let text = text(path)?;
            let read = if text.trim_start().starts_with('{') {
                JwtKeys::jwks(&text)
            } else {
                JwtKeys::pem(&text)
            };
            let read = read.map_err(|why| bad(path, why))?;
            keys = Some(keys.unwrap_or_default().and(read));
        }
        if let Some(path) = &self.jwt_secret {
            let text = text(path)?;
            let read = JwtKeys::secret(text.trim_end().as_bytes()).map_err(|why| bad(path, why))?;
            keys = Some(keys.unwrap_or_default().and(read));
        }
        Ok(keys)
    }

    fn jwt(&self) -> Result<Option<JwtAuthenticator>> {
        let Some(keys) = self.keys()? else {
            let needs_keys = self.jwt_audience.is_some() || self.jwt_issuer.is_some();
            if needs_keys || self.jwt_all_namespaces {
                return Err(Failure::usage(
                    "--jwt-audience, --jwt-issuer and --jwt-all-namespaces need --jwt-key or --jwt-secret",
                ));
            }
            return Ok(None);
        };
        let mut jwt = JwtAuthenticator::new(keys).all_namespaces(self.jwt_all_namespaces);
        if let Some(audience) = &self.jwt_audience {
            jwt = jwt.audience(audience);
        }
        if let Some(issuer) = &self.jwt_issuer {
            jwt = jwt.issuer(issuer);
        }
        Ok(Some(jwt))
    }

    /// The files to read again while `server` runs. Each kind by itself: a mistake in the rules must not keep a token
    /// alive that was taken back.
    pub(crate) fn sources(&self, rights: &Rights, server: &SyncServer) -> Vec<Source> {
        let parts = || (self.clone(), Arc::clone(&rights.live), server.clone());
        let [token_file, key_files, rules_file] = rights.files.clone();
        let mut sources = Vec::new();
        if self.token_file.is_some() {
            let (args, live, server) = parts();
            let read = move || {
                let tokens = args.tokens().map_err(Failure::into_message)?;
                *write(&live.tokens) = tokens;
                server.check_tokens();
                Ok(())
            };
            sources.push(Source::new("token file", token_file, read));
        }
        if rights.live.jwt.is_some() {
            let (args, live, server) = parts();
            let read = move || {
                let keys = args.keys().map_err(Failure::into_message)?;
                if let (Some(jwt), Some(keys)) = (&live.jwt, keys) {
                    jwt.set_keys(keys);
                    server.check_tokens();
                }
                Ok(())
            };
            sources.push(Source::new("key of tokens", key_files, read));
        }
        if let Some(path) = self.rules.clone() {
            let (_, live, server) = parts();
            let read = move || {
                let rules = rules(&path).map_err(Failure::into_message)?;
                *write(&live.rules) = Some(Arc::clone(&rules));
                server.set_rules(Rules::default().authorizer(rules));
                Ok(())
            };
            sources.push(Source::new("rules file", rules_file, read));
        }
        sources
    }
}

impl Rights {
    /// Whether everybody may come in.
    pub(crate) fn is_open(&self) -> bool {
        read(&self.live.tokens).is_open() && self.live.jwt.is_none()
    }

    /// Whether something of them is read again.
    pub(crate) fn has_files(&self) -> bool {
        self.files.iter().any(|files| !files.is_empty())
    }

    /// Sets them on a server, behind its configuration.
    pub(crate) fn apply(&self, builder: SyncServerBuilder) -> SyncServerBuilder {
        let builder = builder.authenticator(Arc::clone(&self.live) as Arc<dyn Authenticator>);
        match &*read(&self.live.rules) {
            Some(rules) => builder.authorizer(Arc::clone(rules)),
            None => builder,
        }
    }
}

#[async_trait]
impl Authenticator for Live {
    /// Fixed tokens first, then signed ones; then what the rules give to the user.
    async fn authenticate(&self, token: Option<&str>) -> Result<Access, AuthError> {
        let tokens = read(&self.tokens);
        let access = match &self.jwt {
            Some(jwt) if tokens.is_open() => jwt.look_up(token),
            Some(jwt) => match tokens.look_up(token) {
                Err(AuthError::Refused(_)) => jwt.look_up(token),
                known => known,
            },
            None => tokens.look_up(token),
        }?;
        Ok(match &*read(&self.rules) {
            Some(rules) => rules.grant(access),
            None => access,
        })
    }
}

// What is in a lock is replaced as a whole, so a poisoned one is taken as it is.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

fn rules(path: &Path) -> Result<Arc<RulesFile>> {
    let rules = text(path)?.parse::<RulesFile>();
    Ok(Arc::new(rules.map_err(|why| bad(path, why))?))
}

fn text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::io(format!("cannot read {}", path.display()), &error))
}

fn bad(path: &Path, why: impl fmt::Display) -> Failure {
    Failure::new(core_codes::CONFIG, format!("{}: {why}", path.display()))
}
