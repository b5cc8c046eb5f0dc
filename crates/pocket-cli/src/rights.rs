//! Who may do what on a server: tokens, signed ones too, and a rules file, as the command line names them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use clap::Args;
use pocket_core::codes as core_codes;
use pocket_sync_server::auth::{
    Access, AuthError, Authenticator, JwtAuthenticator, JwtKeys, TokenTable,
};
use pocket_sync_server::{Config, RulesFile, SyncServerBuilder};

use crate::failure::{Failure, Result};

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct RightsArgs {
    /// A file (TOML) that says who may read and write which collections and documents
    #[arg(long, value_name = "FILE")]
    pub(crate) rules: Option<PathBuf>,
    /// Take JSON Web Tokens signed for this public key: a PEM file (RS256, ES256), or a JWK set
    #[arg(long, value_name = "FILE")]
    pub(crate) jwt_key: Vec<PathBuf>,
    /// Take JSON Web Tokens signed with the secret in this file (HS256; 32 bytes or more)
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
    /// A namespace holds this many documents at the most
    #[arg(long, value_name = "N")]
    pub(crate) quota_documents: Option<u64>,
    /// The documents of a namespace have this many bytes at the most
    #[arg(long, value_name = "N")]
    pub(crate) quota_bytes: Option<u64>,
}

/// What [`RightsArgs`] name, read and checked.
#[derive(Debug)]
pub(crate) struct Rights {
    authenticator: Arc<dyn Authenticator>,
    rules: Option<Arc<RulesFile>>,
    is_open: bool,
}

impl RightsArgs {
    /// Reads the files.
    pub(crate) fn read(&self, tokens: TokenTable) -> Result<Rights> {
        let rules = self.rules.as_deref().map(rules).transpose()?;
        let jwt = self.jwt()?;
        let is_open = tokens.is_open() && jwt.is_none();
        let inner: Arc<dyn Authenticator> = match jwt {
            None => Arc::new(tokens),
            Some(jwt) if tokens.is_open() => Arc::new(jwt),
            Some(jwt) => Arc::new(Either { tokens, jwt }),
        };
        let authenticator = match &rules {
            Some(rules) => rules.grants(inner),
            None => inner,
        };
        Ok(Rights {
            authenticator,
            rules,
            is_open,
        })
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
        config.limits.decide.quota.documents = self.quota_documents;
        config.limits.decide.quota.bytes = self.quota_bytes;
        Ok(())
    }

    fn jwt(&self) -> Result<Option<JwtAuthenticator>> {
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
        let Some(keys) = keys else {
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
}

impl Rights {
    /// Whether everybody may come in.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Sets them on a server, behind its configuration.
    pub(crate) fn apply(self, builder: SyncServerBuilder) -> SyncServerBuilder {
        let builder = builder.authenticator(self.authenticator);
        match self.rules {
            Some(rules) => builder.authorizer(rules),
            None => builder,
        }
    }
}

/// Fixed tokens first, then signed ones.
#[derive(Debug)]
struct Either {
    tokens: TokenTable,
    jwt: JwtAuthenticator,
}

#[async_trait]
impl Authenticator for Either {
    async fn authenticate(&self, token: Option<&str>) -> Result<Access, AuthError> {
        match self.tokens.look_up(token) {
            Err(AuthError::Refused(_)) => self.jwt.look_up(token),
            known => known,
        }
    }
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
