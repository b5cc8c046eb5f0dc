//! Who may read and write what: the rules of a server, asked on every path.
//!
//! [`Authorizer`] decides about collections and about each write; it also names the [`Audience`] of a document, a few
//! short labels that are stored with the record, so that reading needs no rule to be run over each document. All of it
//! is synchronous and pure: it runs inside the decision, and may run again for the same change.

mod audience;
mod authority;
#[cfg(not(target_arch = "wasm32"))]
pub mod file;

use std::fmt;
use std::sync::Arc;

use pocket_core::{Body, CollectionName, DocumentId};
use sha2::{Digest, Sha256};

use crate::Namespace;
use crate::auth::Access;

pub(crate) use self::audience::Readership;
pub use self::audience::{Audience, Marks};
pub use self::authority::Authority;
pub(crate) use self::authority::{Admitted, Standing, View};
#[cfg(not(target_arch = "wasm32"))]
pub use self::file::RulesFile;

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Read a collection. Which of its documents: see [`Authorizer::audience`].
    Read,
    /// Create, replace or delete a document.
    Write,
    /// Erase a document: everywhere, whatever it holds by now.
    Erase,
}

/// Who wants to do what.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Attempt<'a> {
    /// Who: user, roles, labels and what else the token said.
    pub access: &'a Access,
    /// In which namespace.
    pub namespace: &'a Namespace,
    /// In which collection.
    pub collection: &'a CollectionName,
    /// What.
    pub operation: Operation,
    /// The document; none when it is about a whole collection.
    pub id: Option<&'a DocumentId>,
    /// The document as it stands; none when there is none, or it is about a whole collection.
    pub before: Option<&'a Body>,
    /// The document as it would be; none when it would be gone.
    pub after: Option<&'a Body>,
}

/// A document, for who names its audience.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Document<'a> {
    /// Its namespace.
    pub namespace: &'a Namespace,
    /// Its collection.
    pub collection: &'a CollectionName,
    /// Its id.
    pub id: &'a DocumentId,
    /// What it holds.
    pub body: &'a Body,
}

/// Decides who may do what. A closure `Fn(&Attempt) -> bool` is one, with all documents readable by all readers.
///
/// Synchronous and pure: the same question has the same answer for as long as [`version`](Self::version) is the same.
/// A panic counts as no.
pub trait Authorizer: Send + Sync + 'static {
    /// Whether the attempt is allowed.
    fn authorize(&self, attempt: &Attempt<'_>) -> bool;

    /// Who may read a document, among those who may read its collection.
    fn audience(&self, document: &Document<'_>) -> Audience {
        let _ = document;
        Audience::everyone()
    }

    /// A name for these rules. Another one makes clients read everything again, and labels are computed anew.
    fn version(&self) -> String {
        String::new()
    }
}

impl<T: Authorizer + ?Sized> Authorizer for Arc<T> {
    fn authorize(&self, attempt: &Attempt<'_>) -> bool {
        (**self).authorize(attempt)
    }

    fn audience(&self, document: &Document<'_>) -> Audience {
        (**self).audience(document)
    }

    fn version(&self) -> String {
        (**self).version()
    }
}

impl<F> Authorizer for F
where
    F: Fn(&Attempt<'_>) -> bool + Send + Sync + 'static,
{
    fn authorize(&self, attempt: &Attempt<'_>) -> bool {
        self(attempt)
    }
}

/// Looks at what would be written, and may refuse it. A closure `Fn(&Attempt) -> Result<(), String>` is one.
///
/// Synchronous and pure, asked once the write is known to be allowed. A refusal and a panic reject this one mutation
/// with the code `validation`.
pub trait Validator: Send + Sync + 'static {
    /// Takes what would be written, or says why not; the client is told.
    ///
    /// # Errors
    /// The reason, for people.
    fn validate(&self, attempt: &Attempt<'_>) -> Result<(), String>;
}

impl<F> Validator for F
where
    F: Fn(&Attempt<'_>) -> Result<(), String> + Send + Sync + 'static,
{
    fn validate(&self, attempt: &Attempt<'_>) -> Result<(), String> {
        self(attempt)
    }
}

/// Tells one set of rules from another.
pub(crate) type RulesId = [u8; 8];

/// The rules of a server. None at all allow everything.
#[derive(Clone, Default)]
pub struct Rules {
    authorizer: Option<(Arc<dyn Authorizer>, RulesId)>,
    validator: Option<Arc<dyn Validator>>,
}

impl Rules {
    /// Asks this one who may do what.
    #[must_use]
    pub fn authorizer(mut self, authorizer: Arc<dyn Authorizer>) -> Self {
        let digest: [u8; 32] = Sha256::digest(authorizer.version().as_bytes()).into();
        let mut id = RulesId::default();
        id.copy_from_slice(&digest[..8]);
        self.authorizer = Some((authorizer, id));
        self
    }

    /// Asks this one about everything that would be written.
    #[must_use]
    pub fn validator(mut self, validator: Arc<dyn Validator>) -> Self {
        self.validator = Some(validator);
        self
    }

    /// Whether everything is allowed.
    pub fn is_open(&self) -> bool {
        self.authorizer.is_none() && self.validator.is_none()
    }
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules")
            .field("authorizer", &self.authorizer.as_ref().map(|(_, id)| id))
            .field("validator", &self.validator.is_some())
            .finish()
    }
}
