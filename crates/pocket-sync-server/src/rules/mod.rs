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
    ///
    /// None by default, as for all closures: see [`Rules::version`].
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
    version: String,
}

impl Rules {
    /// Asks this one who may do what.
    #[must_use]
    pub fn authorizer(mut self, authorizer: Arc<dyn Authorizer>) -> Self {
        let id = named(&self.version, &authorizer.version());
        self.authorizer = Some((authorizer, id));
        self
    }

    /// Names these rules, beside what their authorizer says of its [version](Authorizer::version). What was read and
    /// written under another name counts for nothing: clients read everything again, and labels are computed anew.
    ///
    /// Rules without any name, as of closures, are taken for others than those before by each
    /// [`set_rules`](crate::SyncServer::set_rules), and for the same ones by a server that begins: closures that differ from those
    /// of the run before need another name than theirs.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        match self.authorizer.take() {
            Some((authorizer, _)) => self.authorizer(authorizer),
            None => self,
        }
    }

    /// The same, told from all others by `id` if they have no name.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn told_apart_by(mut self, fresh: RulesId) -> Self {
        if let Some((authorizer, id)) = &mut self.authorizer
            && self.version.is_empty()
            && authorizer.version().is_empty()
        {
            *id = fresh;
        }
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

/// The id of rules by their names.
fn named(version: &str, own: &str) -> RulesId {
    let mut hash = Sha256::new();
    if !version.is_empty() {
        hash.update((version.len() as u64).to_be_bytes());
        hash.update(version.as_bytes());
    }
    hash.update(own.as_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let mut id = RulesId::default();
    id.copy_from_slice(&digest[..8]);
    id
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules")
            .field("authorizer", &self.authorizer.as_ref().map(|(_, id)| id))
            .field("validator", &self.validator.is_some())
            .field("version", &self.version)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Named(&'static str);

    impl Authorizer for Named {
        fn authorize(&self, _: &Attempt<'_>) -> bool {
            true
        }

        fn version(&self) -> String {
            self.0.to_owned()
        }
    }

    fn id(rules: &Rules) -> RulesId {
        rules.authorizer.as_ref().unwrap().1
    }

    #[test]
    fn rules_are_told_apart_by_their_names_and_without_one_by_when_they_were_set() {
        let named = |name| Rules::default().authorizer(Arc::new(Named(name)));
        let closure = || Rules::default().authorizer(Arc::new(|_: &Attempt<'_>| true));
        let all = [
            closure(),
            named("1"),
            named("2"),
            closure().version("1"),
            closure().version("2"),
            named("1").version("1"),
            closure().told_apart_by([7; 8]),
            closure().told_apart_by([8; 8]),
        ];
        for (place, rules) in all.iter().enumerate() {
            let others = all[..place].iter();
            assert!(
                others.clone().all(|other| id(other) != id(rules)),
                "{place}"
            );
        }
        // Whatever has a name keeps it, whichever is set first.
        for rules in [named("1"), closure().version("1")] {
            assert_eq!(id(&rules.clone().told_apart_by([7; 8])), id(&rules));
        }
        let first = Rules::default()
            .version("1")
            .authorizer(Arc::new(Named("")));
        assert_eq!(id(&first), id(&closure().version("1")));
        // As records hold it.
        let digest: [u8; 32] = Sha256::digest(b"1").into();
        assert_eq!(id(&named("1")), digest[..8]);
    }
}
