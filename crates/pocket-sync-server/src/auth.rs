//! Who may come in: tokens, users and the namespaces they may open.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use crate::Namespace;

/// The user that everybody is on a server without tokens.
pub const ANONYMOUS: &str = "anonymous";

/// The namespaces a user may open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespaces {
    /// All of them.
    All,
    /// Only these.
    Only(Arc<BTreeSet<Namespace>>),
}

/// What a token stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The user.
    pub user: Arc<str>,
    /// What the user may open.
    pub namespaces: Namespaces,
}

impl Access {
    /// A user who may open every namespace.
    pub fn all(user: &str) -> Self {
        Self {
            user: user.into(),
            namespaces: Namespaces::All,
        }
    }

    /// The same user with only these namespaces.
    #[must_use]
    pub fn only(mut self, namespaces: impl IntoIterator<Item = Namespace>) -> Self {
        self.namespaces = Namespaces::Only(Arc::new(namespaces.into_iter().collect()));
        self
    }

    /// Whether the user may open `namespace`.
    pub fn may_open(&self, namespace: &Namespace) -> bool {
        match &self.namespaces {
            Namespaces::All => true,
            Namespaces::Only(some) => some.contains(namespace),
        }
    }
}

/// Why nobody was let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// There is no such token, or none was given.
    #[error("{0}")]
    Refused(String),
    /// The token was good once.
    #[error("the token has expired; get a new one")]
    Expired,
    /// It cannot be told now.
    #[error("the token cannot be checked now; try again later: {0}")]
    Unavailable(String),
}

/// Tells who a token stands for.
#[async_trait]
pub trait Authenticator: fmt::Debug + Send + Sync + 'static {
    /// What `token` stands for; none was given when it is `None`.
    ///
    /// # Errors
    /// [`AuthError`]; the connection is closed with a code, and nothing else happens.
    async fn authenticate(&self, token: Option<&str>) -> Result<Access, AuthError>;
}

/// A fixed list of tokens. Without any, the server is open and everybody is [`ANONYMOUS`].
#[derive(Clone, Default)]
pub struct TokenTable {
    /// By the hash of the token, so that comparing tells nothing about one that is nearly right.
    tokens: BTreeMap<[u8; 32], Access>,
}

impl TokenTable {
    /// No tokens: open to everybody.
    pub fn open() -> Self {
        Self::default()
    }

    /// Adds a token. Without a user it stands for a user named after a hash of the token.
    #[must_use]
    pub fn token(mut self, token: &str, user: Option<&str>, namespaces: Namespaces) -> Self {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let user = user.map_or_else(|| hashed_user(&digest), Arc::from);
        self.tokens.insert(digest, Access { user, namespaces });
        self
    }

    /// Whether everybody may come in.
    pub fn is_open(&self) -> bool {
        self.tokens.is_empty()
    }

    /// What `token` stands for.
    ///
    /// # Errors
    /// [`AuthError::Refused`] when it is missing or not in the list.
    pub fn look_up(&self, token: Option<&str>) -> Result<Access, AuthError> {
        if self.is_open() {
            return Ok(Access::all(ANONYMOUS));
        }
        let Some(token) = token else {
            return Err(AuthError::Refused(
                "this server asks for a token, and none was given".to_owned(),
            ));
        };
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let unknown = || {
            AuthError::Refused("this server does not know the token; use another one".to_owned())
        };
        self.tokens.get(&digest).cloned().ok_or_else(unknown)
    }
}

impl fmt::Debug for TokenTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenTable")
            .field("tokens", &self.tokens.len())
            .finish()
    }
}

#[async_trait]
impl Authenticator for TokenTable {
    async fn authenticate(&self, token: Option<&str>) -> Result<Access, AuthError> {
        self.look_up(token)
    }
}

/// `token-` and the first sixteen hexadecimal digits of the token's hash.
fn hashed_user(digest: &[u8; 32]) -> Arc<str> {
    let mut user = String::from("token-");
    for byte in &digest[..8] {
        user.extend(
            [byte >> 4, byte & 15].map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])),
        );
    }
    user.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_tokens_everybody_is_anonymous() {
        let access = TokenTable::open().look_up(Some("whatever")).unwrap();
        assert_eq!(access, Access::all(ANONYMOUS));
        assert_eq!(TokenTable::open().look_up(None).unwrap(), access);
    }

    #[test]
    fn a_token_opens_what_it_lists_and_nothing_else() {
        let namespace = |name| Namespace::new(name).unwrap();
        let only = Access::all("x").only([namespace("a")]).namespaces;
        let table = TokenTable::open().token("secret", Some("ann"), only).token(
            "other",
            None,
            Namespaces::All,
        );
        let ann = table.look_up(Some("secret")).unwrap();
        assert_eq!(&*ann.user, "ann");
        assert!(ann.may_open(&namespace("a")) && !ann.may_open(&namespace("b")));
        let other = table.look_up(Some("other")).unwrap();
        assert!(other.user.starts_with("token-") && other.user.len() == 22);
        assert!(other.may_open(&namespace("b")));
        assert!(matches!(
            table.look_up(Some("secre")),
            Err(AuthError::Refused(_))
        ));
        assert!(matches!(table.look_up(None), Err(AuthError::Refused(_))));
        assert!(!format!("{table:?}").contains("ann"));
    }
}
