//! Rules of the application for conflicts: asynchronous, free to fail, and held to a deadline.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use pocket_core::replica::{Answer, Conflict, Decision, Ruling};
use pocket_core::storage::ordered::BTreeMap;
use pocket_core::storage::{BoxFuture, MaybeSend, MaybeSync};
use pocket_core::{Body, CollectionName, DocumentId, DocumentLimits};
use serde::Serialize;

use crate::SyncError;

/// What an application makes of a conflict: which version stands, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resolved {
    /// What stands; a document of its own is inside.
    pub resolution: Decision,
    /// Why, for the journal.
    pub because: Option<String>,
    /// Which document it says it is, if it has an `_id`.
    id: Option<DocumentId>,
}

impl Resolved {
    fn of(resolution: Decision) -> Self {
        Self {
            resolution,
            because: None,
            id: None,
        }
    }

    /// What was written here stands, and is sent again on top of the server's version.
    pub fn local() -> Self {
        Self::of(Decision::KeepLocal)
    }

    /// The server's version stands.
    pub fn remote() -> Self {
        Self::of(Decision::KeepRemote)
    }

    /// Both stand, merged field by field; where both changed the same field, the later write.
    pub fn merged() -> Self {
        Self::of(Decision::Merge)
    }

    /// The document is deleted.
    pub fn deleted() -> Self {
        Self::of(Decision::Write(None))
    }

    /// This document stands. It may have its `_id` or not.
    ///
    /// # Errors
    /// `validation` or `document-too-large` when it is no document.
    pub fn document<T: Serialize + ?Sized>(document: &T) -> Result<Self, SyncError> {
        // The limits of the database are checked when it is stored.
        let (id, body) = Body::from_serialize(document, &DocumentLimits::WIDEST)?;
        Ok(Self {
            id,
            ..Self::of(Decision::Write(Some(body)))
        })
    }

    /// Says why; the journal keeps it.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.because = Some(reason.into());
        self
    }
}

/// Decides conflicts with whatever it takes: a look at other documents, a question to a person or a service.
///
/// It runs outside of every commit. Other documents sync meanwhile, and what it says counts only if neither version
/// moved until it is stored; else it is asked again. After an error, a panic or its deadline
/// ([`resolve_timeout`](crate::SyncConfig::resolve_timeout)) the server's version stands, and the journal keeps both.
///
/// Asynchronous closures from a [`Conflict`] to a result are such rules.
pub trait ResolveConflict: MaybeSend + MaybeSync + 'static {
    /// What stands, or why there is no answer.
    fn resolve_conflict(&self, conflict: Conflict) -> BoxFuture<'static, Result<Resolved, String>>;
}

impl<F, R, E> ResolveConflict for F
where
    F: Fn(Conflict) -> R + MaybeSend + MaybeSync + 'static,
    R: Future<Output = Result<Resolved, E>> + MaybeSend + 'static,
    E: fmt::Display,
{
    fn resolve_conflict(&self, conflict: Conflict) -> BoxFuture<'static, Result<Resolved, String>> {
        let resolved = self(conflict);
        Box::pin(async move { resolved.await.map_err(|error| error.to_string()) })
    }
}

/// The application's rules: one for all collections, and ones for single collections.
#[derive(Clone, Default)]
pub struct CustomRules {
    all: Option<Arc<dyn ResolveConflict>>,
    collections: BTreeMap<CollectionName, Arc<dyn ResolveConflict>>,
}

impl CustomRules {
    /// A rule for all collections that have none of their own.
    pub fn set(&mut self, rule: impl ResolveConflict) {
        self.all = Some(Arc::new(rule));
    }

    /// A rule for one collection.
    pub fn set_for(&mut self, collection: CollectionName, rule: impl ResolveConflict) {
        self.collections.insert(collection, Arc::new(rule));
    }

    /// Whether there is one for this collection.
    pub fn has(&self, collection: &CollectionName) -> bool {
        self.rule(collection).is_some()
    }

    /// Whether there is one for all collections.
    pub(crate) fn has_general(&self) -> bool {
        self.all.is_some()
    }

    fn rule(&self, collection: &CollectionName) -> Option<&Arc<dyn ResolveConflict>> {
        self.collections.get(collection).or(self.all.as_ref())
    }

    /// Asks the rule of the conflict's collection. A panic is an answer, too; a deadline is the caller's.
    pub async fn answer(&self, conflict: Conflict) -> Answer {
        let ruling = self.ruling(&conflict).await;
        Answer { conflict, ruling }
    }

    async fn ruling(&self, conflict: &Conflict) -> Ruling {
        let failed = |reason: String| Ruling::Failed { reason };
        let Some(rule) = self.rule(&conflict.collection) else {
            return failed("there is no rule for this collection".to_owned());
        };
        let asked = AssertUnwindSafe(async { rule.resolve_conflict(conflict.clone()).await });
        match asked.catch_unwind().await {
            Err(panic) => failed(format!("it panicked: {}", told(&*panic))),
            Ok(Err(error)) => failed(format!("it failed: {error}")),
            Ok(Ok(resolved)) => match &resolved.id {
                Some(id) if *id != conflict.document_id => {
                    failed(format!("it answered with document {id:?}"))
                }
                _ => Ruling::Stands {
                    decision: resolved.resolution,
                    because: resolved.because,
                },
            },
        }
    }
}

impl fmt::Debug for CustomRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CustomRules")
            .field("all", &self.all.is_some())
            .field("collections", &self.collections.keys().collect::<Vec<_>>())
            .finish()
    }
}

/// What a panic said.
fn told(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("it did not say why")
}
