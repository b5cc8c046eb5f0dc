//! Who may come in: tokens, users and the namespaces they may open.

#[cfg(not(target_arch = "wasm32"))]
mod closure;
#[cfg(not(target_arch = "wasm32"))]
mod jwk;
#[cfg(not(target_arch = "wasm32"))]
mod jwt;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use pocket_core::storage::{MaybeSend, MaybeSync};
use pocket_core::{Map, Timestamp};
use sha2::{Digest, Sha256};

use crate::Namespace;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use self::closure::AuthenticateWith;
#[cfg(not(target_arch = "wasm32"))]
pub use self::jwk::{JwtAlgorithm, JwtKeys, KeyError};
#[cfg(not(target_arch = "wasm32"))]
pub use self::jwt::{JwtAuthenticator, MAX_LEEWAY};

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

/// A token, which never shows in a log: only [`expose`](Self::expose) gives it away.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The token itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(token: String) -> Self {
        Self(token)
    }
}

impl From<&str> for Secret {
    fn from(token: &str) -> Self {
        Self(token.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What a token stands for: the claims that rules decide by.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Access {
    /// The user.
    pub user: Arc<str>,
    /// What the user may open.
    pub namespaces: Namespaces,
    /// The user's roles; a rule may ask for one. Each is also the label `role:NAME`.
    pub roles: BTreeSet<Arc<str>>,
    /// Audience labels beside `user:NAME` and `role:NAME`: documents with one of them are readable.
    pub labels: BTreeSet<Arc<str>>,
    /// From then on the token is worth nothing.
    pub expires: Option<Timestamp>,
    /// Everything the token said, for rules of an application's own.
    ///
    /// Rights to read follow from user, roles and labels only: what else may change them belongs into a label.
    pub claims: Arc<Map>,
    /// The server itself, which may do everything.
    pub(crate) trusted: bool,
}

impl Access {
    /// A user who may open every namespace, without roles or labels.
    pub fn all(user: &str) -> Self {
        Self {
            user: user.into(),
            namespaces: Namespaces::All,
            roles: BTreeSet::new(),
            labels: BTreeSet::new(),
            expires: None,
            claims: Arc::default(),
            trusted: false,
        }
    }

    /// The server itself, for its own reads and writes.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn server() -> Self {
        Self {
            trusted: true,
            ..Self::all("server")
        }
    }

    /// The same user with only these namespaces.
    #[must_use]
    pub fn only(mut self, namespaces: impl IntoIterator<Item = Namespace>) -> Self {
        self.namespaces = Namespaces::Only(Arc::new(namespaces.into_iter().collect()));
        self
    }

    /// The same user with a further role.
    #[must_use]
    pub fn role(mut self, role: &str) -> Self {
        self.roles.insert(role.into());
        self
    }

    /// The same user with a further audience label.
    #[must_use]
    pub fn label(mut self, label: &str) -> Self {
        self.labels.insert(label.into());
        self
    }

    /// The same access, up to a time.
    #[must_use]
    pub fn until(mut self, expires: Timestamp) -> Self {
        self.expires = Some(expires);
        self
    }

    /// The same access, with everything the token said.
    #[must_use]
    pub fn with_claims(mut self, claims: Map) -> Self {
        self.claims = Arc::new(claims);
        self
    }

    /// Whether the user may open `namespace`.
    pub fn may_open(&self, namespace: &Namespace) -> bool {
        match &self.namespaces {
            Namespaces::All => true,
            Namespaces::Only(some) => some.contains(namespace),
        }
    }

    /// All audience labels that the user holds.
    pub(crate) fn all_labels(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let roles = self.roles.iter().map(|role| format!("role:{role}"));
        let own = std::iter::once(format!("user:{}", self.user)).chain(roles);
        let given = self.labels.iter().map(|label| Cow::from(&**label));
        own.map(Cow::from).chain(given)
    }

    /// Whether the user holds an audience label: one of the token's, `user:NAME` or `role:NAME`.
    pub fn holds(&self, label: &str) -> bool {
        if label.is_empty() {
            return false;
        }
        self.labels.contains(label)
            || label.strip_prefix("user:") == Some(&*self.user)
            || label
                .strip_prefix("role:")
                .is_some_and(|role| self.roles.contains(role))
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
#[cfg_attr(not(target_arch = "wasm32"), async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait(?Send))]
pub trait Authenticator: fmt::Debug + MaybeSend + MaybeSync + 'static {
    /// What `token` stands for; none was given when it is `None`.
    ///
    /// # Errors
    /// [`AuthError`]; the connection is closed with a code, and nothing else happens.
    async fn authenticate(&self, token: Option<&str>) -> Result<Access, AuthError>;
}

/// A fixed list of tokens. An empty one lets nobody in; [`open`](Self::open) lets in everybody.
#[derive(Clone, Default)]
pub struct TokenTable {
    /// By the hash of the token, so that comparing tells nothing about one that is nearly right.
    tokens: BTreeMap<[u8; 32], Access>,
    is_open: bool,
}

impl TokenTable {
    /// An empty list: nobody is let in before a token is added.
    pub fn new() -> Self {
        Self::default()
    }

    /// No list: whoever comes is [`ANONYMOUS`], whatever token he shows. A token that is added makes a list of it, so that
    /// from then on only tokens let in.
    pub fn open() -> Self {
        Self {
            is_open: true,
            ..Self::default()
        }
    }

    /// Adds a token. Without a user it stands for a user named after a hash of the token.
    #[must_use]
    pub fn token(self, token: &str, user: Option<&str>, namespaces: Namespaces) -> Self {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let user = user.map_or_else(|| hashed_user(&digest), Arc::from);
        let access = Access {
            namespaces,
            ..Access::all(&user)
        };
        self.access(token, access)
    }

    /// Adds a token that stands for this, with roles and labels.
    #[must_use]
    pub fn access(mut self, token: &str, access: Access) -> Self {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        self.tokens.insert(digest, access);
        self.is_open = false;
        self
    }

    /// Whether everybody may come in.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether there is no token in the list.
    pub fn is_empty(&self) -> bool {
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
            .field("is_open", &self.is_open)
            .finish()
    }
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait(?Send))]
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
    fn on_an_open_server_everybody_is_anonymous() {
        let access = TokenTable::open().look_up(Some("whatever")).unwrap();
        assert_eq!(access, Access::all(ANONYMOUS));
        assert_eq!(TokenTable::open().look_up(None).unwrap(), access);
    }

    /// An application filled a table from its store of users, which was empty once, and the server was open to everybody.
    #[test]
    fn a_list_without_tokens_lets_nobody_in() {
        for table in [TokenTable::new(), TokenTable::default()] {
            assert!(table.is_empty() && !table.is_open());
            for token in [None, Some(""), Some("whatever")] {
                let refused = table.look_up(token);
                assert!(matches!(refused, Err(AuthError::Refused(_))), "{token:?}");
            }
        }
        let listed = TokenTable::open().token("secret", Some("ann"), Namespaces::All);
        assert!(!listed.is_open() && listed.look_up(None).is_err());
        assert!(listed.look_up(Some("secret")).is_ok());
    }

    #[test]
    fn a_token_never_shows_in_what_is_logged() {
        let secret = Secret::from("sesame");
        let effect = crate::session::Effect::Authenticate {
            token: Some(secret.clone()),
        };
        let event = crate::session::Event::Opened {
            token: Some(secret.clone()),
        };
        for text in [
            format!("{secret:?}"),
            format!("{effect:?}"),
            format!("{event:?}"),
        ] {
            assert!(!text.contains("sesame"), "{text}");
        }
        assert_eq!(secret.expose(), "sesame");
    }

    #[test]
    fn labels_are_those_of_the_token_the_user_and_the_roles() {
        let ann = Access::all("ann").role("editor").label("team:red");
        for label in ["user:ann", "role:editor", "team:red"] {
            assert!(ann.holds(label), "{label}");
        }
        for label in [
            "",
            "ann",
            "user:bob",
            "role:ann",
            "role:",
            "user:",
            "team:blue",
        ] {
            assert!(!ann.holds(label), "{label}");
        }
    }

    #[test]
    fn a_token_opens_what_it_lists_and_nothing_else() {
        let namespace = |name| Namespace::new(name).unwrap();
        let only = Access::all("x").only([namespace("a")]).namespaces;
        let table = TokenTable::new().token("secret", Some("ann"), only).token(
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
