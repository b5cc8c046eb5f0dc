//! On whose behalf something is done, and what the rules say to it.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use pocket_core::mutants::active;
use pocket_core::{Body, Change, ChangeKind, ClientId, CollectionName, DocumentId, Seq};
use pocket_sync_protocol::codes::rejection;
use sha2::{Digest, Sha256};

use super::{Attempt, Audience, Document, Marks, Operation, Readership, Rules, RulesId};
use crate::Namespace;
use crate::auth::Access;

/// The bytes of a fingerprint of rights.
const FINGERPRINT: usize = 16;
/// One text for all refusals, so that it tells nothing about what exists.
const MAY_NOT: &str = "the user may not do this to this document; ask for the right";

/// On whose behalf something is done, and by which rules. The default may do everything.
#[derive(Clone, Default)]
pub struct Authority(Option<Arc<Inner>>);

struct Inner {
    namespace: Namespace,
    access: Access,
    client: ClientId,
    rules: Rules,
}

/// What a reader gets of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// The record.
    Shown,
    /// That it is no longer his to see.
    Removed {
        /// He wrote it himself.
        own: bool,
    },
    /// Nothing.
    Hidden,
}

/// The version of a document that stands, as far as rules ask for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    /// Whether there is a record, also of a deletion.
    pub(crate) exists: bool,
    pub(crate) marks: Marks,
    /// What it holds, if it is live.
    pub(crate) body: Option<Body>,
}

impl Standing {
    /// Whether the change makes a document where none is, which overwrites nothing and needs no right to read.
    ///
    /// So does one over a deletion, whoever might read what it deleted: it is taken or refused, and answered, as if the
    /// deletion were forgotten already, and tells nothing of it. What names a version that it stands on is no such change,
    /// for a conflict would tell the place of the deletion.
    fn is_free_for(&self, change: &Change) -> bool {
        let creates = matches!(change.kind, ChangeKind::Put(_)) && change.base.is_none();
        !self.exists || creates && self.body.is_none()
    }
}

/// A change that the rules allow.
#[derive(Debug, Default)]
pub(crate) struct Admitted(Option<Admission>);

#[derive(Debug)]
struct Admission {
    before: Marks,
    audience: Audience,
    rules: RulesId,
    /// The writer, if he may not read what he wrote.
    blind: Option<Arc<str>>,
}

impl Admitted {
    /// What the record remembers, written at `seq`. Nobody reads on from before `horizon`.
    pub(crate) fn marks(self, seq: Seq, horizon: Seq) -> Marks {
        let Some(admission) = self.0 else {
            return Marks::default();
        };
        let before = admission.before.without_left(horizon);
        let marks = before.next(admission.audience, admission.rules, seq);
        match admission.blind {
            // He holds it all the same, and must hear that it is not his to see even when others write it next.
            Some(writer) if !active("pocket-mutant:blind-writer-forgotten") => {
                marks.written_blind(&writer, seq)
            }
            _ => marks,
        }
    }
}

impl Authority {
    /// May do everything.
    pub fn open() -> Self {
        Self::default()
    }

    /// What `access` allows to `client` in `namespace` by these rules.
    pub fn new(namespace: Namespace, access: Access, client: ClientId, rules: &Rules) -> Self {
        Self((!rules.is_open()).then(|| {
            Arc::new(Inner {
                namespace,
                access,
                client,
                rules: rules.clone(),
            })
        }))
    }

    /// Tells one set of rights to read from another; none where everything is readable by everybody.
    pub fn rights(&self) -> Option<Bytes> {
        let inner = self.0.as_deref()?;
        let (_, id) = inner.rules.authorizer.as_ref()?;
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        part(id);
        part(inner.access.user.as_bytes());
        for set in [&inner.access.roles, &inner.access.labels] {
            part(&(set.len() as u64).to_be_bytes());
            for name in set {
                part(name.as_bytes());
            }
        }
        Some(Bytes::copy_from_slice(&hash.finalize()[..FINGERPRINT]))
    }

    /// Whether everything that is there is shown: nothing depends on who reads.
    pub fn sees_everything(&self) -> bool {
        self.reader().is_none()
    }

    /// Whether decisions need the documents as they stand.
    pub(crate) fn needs_documents(&self) -> bool {
        self.0.is_some()
    }

    /// Whether the collection may be read at all.
    pub fn may_read(&self, collection: &CollectionName) -> bool {
        let Some((inner, authorizer, _)) = self.reader() else {
            return true;
        };
        let attempt = Attempt {
            access: &inner.access,
            namespace: &inner.namespace,
            collection,
            operation: Operation::Read,
            id: None,
            before: None,
            after: None,
        };
        contained(|| authorizer.authorize(&attempt)).unwrap_or(false)
    }

    /// What the reader gets of a record that `writer` wrote in a collection that he [may read](Self::may_read) or not, who
    /// was told of all removals up to `told`.
    ///
    /// `document` is asked only for a record that was written under other rules.
    pub(crate) fn view(
        &self,
        (collection, may_read): (&CollectionName, bool),
        writer: ClientId,
        marks: &Marks,
        told: Seq,
        document: impl FnOnce() -> Option<(DocumentId, Body)>,
    ) -> View {
        let Some((inner, _, rules)) = self.reader() else {
            return View::Shown;
        };
        // Whoever wrote what he may not read holds it, and is told to let go.
        let hidden = if writer == inner.client {
            View::Removed { own: true }
        } else {
            View::Hidden
        };
        let unseen = || {
            let known = marks.audience(rules).is_some()
                && (marks.was_written_blind(&inner.access.user, told)
                    || may_read && marks.left_behind(&inner.access, told));
            if known && hidden == View::Hidden && !active("pocket-mutant:removal-not-sent") {
                View::Removed { own: false }
            } else {
                hidden
            }
        };
        if !may_read {
            return unseen();
        }
        let computed;
        let audience = if let Some(audience) = marks.audience(rules) {
            audience
        } else if let Some((id, body)) = document() {
            computed = self.audience(collection, &id, &body);
            &computed
        } else {
            return hidden;
        };
        if audience.is_held_by(&inner.access) {
            View::Shown
        } else {
            unseen()
        }
    }

    /// Whether the reader belongs to a readership of a collection that he may read; none when its labels were not given
    /// by today's rules.
    pub(crate) fn is_among(&self, readership: &Readership) -> Option<bool> {
        let Some((inner, _, rules)) = self.reader() else {
            return Some(true);
        };
        match readership {
            Some((by, audience)) if *by == rules => Some(audience.is_held_by(&inner.access)),
            _ => None,
        }
    }

    /// Lets a change pass, or says why not.
    pub(crate) fn admit(
        &self,
        change: &Change,
        standing: &Standing,
    ) -> Result<Admitted, (&'static str, String)> {
        let Some(inner) = self.0.as_deref() else {
            return Ok(Admitted::default());
        };
        let (operation, after) = match &change.kind {
            ChangeKind::Put(body) => (Operation::Write, Some(body)),
            ChangeKind::Delete => (Operation::Write, None),
            ChangeKind::Erase => (Operation::Erase, None),
        };
        let attempt = Attempt {
            access: &inner.access,
            namespace: &inner.namespace,
            collection: &change.collection,
            operation,
            id: Some(&change.id),
            before: standing.body.as_ref(),
            after,
        };
        let mut admitted = Admitted::default();
        if let Some((authorizer, rules)) = &inner.rules.authorizer {
            let before = self.resolved(change, standing, *rules);
            let readable = standing.is_free_for(change)
                || active("pocket-mutant:unreadable-overwritten")
                || before
                    .audience(*rules)
                    .is_some_and(|audience| audience.is_held_by(&inner.access))
                    && self.may_read(&change.collection);
            let allowed = inner.access.trusted
                || readable && contained(|| authorizer.authorize(&attempt)).unwrap_or(false);
            if !allowed {
                return Err((rejection::FORBIDDEN, MAY_NOT.to_owned()));
            }
            let audience = match after {
                Some(body) => self.audience(&change.collection, &change.id, body),
                None => before
                    .audience(*rules)
                    .cloned()
                    .unwrap_or_else(Audience::nobody),
            };
            if let Some(fault) = audience.fault() {
                return Err((rejection::VALIDATION, fault));
            }
            let sees = inner.access.trusted
                || audience.is_held_by(&inner.access) && self.may_read(&change.collection);
            admitted = Admitted(Some(Admission {
                before,
                audience,
                rules: *rules,
                blind: (!sees).then(|| Arc::clone(&inner.access.user)),
            }));
        }
        if let Some(validator) = &inner.rules.validator {
            let answer = contained(|| validator.validate(&attempt));
            let refused = match answer {
                Some(Ok(())) => return Ok(admitted),
                Some(Err(reason)) => reason,
                None => {
                    "the server could not check this document; change it, or report it".to_owned()
                }
            };
            return Err((rejection::VALIDATION, refused));
        }
        Ok(admitted)
    }

    /// The marks of what stands, computed anew if other rules wrote them.
    fn resolved(&self, change: &Change, standing: &Standing, rules: RulesId) -> Marks {
        if !standing.exists {
            return Marks::default();
        }
        if standing.marks.audience(rules).is_some() {
            return standing.marks.clone();
        }
        let audience = match &standing.body {
            Some(body) => self.audience(&change.collection, &change.id, body),
            None => Audience::nobody(),
        };
        Marks::new(audience, rules)
    }

    fn audience(&self, collection: &CollectionName, id: &DocumentId, body: &Body) -> Audience {
        let Some((inner, authorizer, _)) = self.authorizer() else {
            return Audience::everyone();
        };
        let document = Document {
            namespace: &inner.namespace,
            collection,
            id,
            body,
        };
        contained(|| authorizer.audience(&document)).unwrap_or_else(Audience::nobody)
    }

    /// Who reads by which rules; none when everything is shown.
    fn reader(&self) -> Option<(&Inner, &dyn super::Authorizer, RulesId)> {
        self.authorizer()
            .filter(|(inner, ..)| !inner.access.trusted)
    }

    fn authorizer(&self) -> Option<(&Inner, &dyn super::Authorizer, RulesId)> {
        let inner = self.0.as_deref()?;
        let (authorizer, rules) = inner.rules.authorizer.as_ref()?;
        Some((inner, &**authorizer, *rules))
    }
}

/// Runs a rule; none when it panicked. Rules are pure, so nothing half done stays behind.
fn contained<T>(rule: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(rule)).ok()
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_deref() {
            None => f.write_str("Authority(everything)"),
            Some(inner) => f
                .debug_struct("Authority")
                .field("user", &inner.access.user)
                .field("namespace", &inner.namespace)
                .finish_non_exhaustive(),
        }
    }
}

impl PartialEq for Authority {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Eq for Authority {}
