//! Conflicts: what happens to a local change when the server has another version.
//!
//! A mutation is resolved as one. If every conflicting document of it resolves to a local version, the whole becomes
//! an unsent mutation again, on the server's versions; if one resolves to the server's, the whole loses. Either way
//! the journal keeps all versions.

mod outcome;

use std::borrow::Cow;
use std::sync::Arc;

pub(super) use outcome::store_slot;

use super::conflict::{self, Answer, CUSTOM, Conflict, Decision, Resolver, Ruling, Version};
use super::rebase;
use super::unerased::Unerased;
use crate::damage::Server;
use crate::journal::{JournalKind, RemoteVersion, Winner};
use crate::keys::{self, CollectionId, Target};
use crate::outbox::{self, Entry, PendingChange, Slot};
use crate::stored::{
    self, DocumentHead, DocumentLater, Doubt, Later, Presence, Progress, ServerVersion,
    StoredDocument,
};
use crate::tx::Tx;
use crate::{Body, ChangeKind, Place, Result, Seq, check_body, codes};
use pocket_storage::ordered::BTreeSet;

/// As far as records that were asked for by their ids speak.
pub(super) const ALL_READ: Seq = Seq::new(u64::MAX);

/// Why a mutation leaves the outbox without effect.
pub(super) struct Loss<'a> {
    pub(super) kind: JournalKind,
    pub(super) rule: &'a str,
    pub(super) code: Option<String>,
    pub(super) reason: Option<String>,
}

impl<'a> Loss<'a> {
    fn conflict(by: &'a Rule) -> Self {
        Self {
            kind: JournalKind::Conflict,
            rule: &by.name,
            code: by.failed.then(|| codes::RESOLVER_FAILED.to_owned()),
            reason: by.reason.clone(),
        }
    }
}

/// Which rule decided, and why.
#[derive(Clone, Debug, Default)]
struct Rule {
    name: Cow<'static, str>,
    reason: Option<String>,
    /// It has no answer, so the server's version stands.
    failed: bool,
}

impl Rule {
    fn named(name: &'static str) -> Self {
        Self {
            name: Cow::Borrowed(name),
            ..Self::default()
        }
    }

    fn failed(reason: String) -> Self {
        Self {
            name: Cow::Borrowed(codes::RESOLVER_FAILED),
            reason: Some(reason),
            failed: true,
        }
    }
}

/// The rule of changes to documents that the server does not show.
const NOT_READABLE: &str = "server-version-not-readable";

/// The rule of changes that a migration made.
const MIGRATION: &str = "migration";

/// What is known about one change of a mutation.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// It stands on the server's newest version, or on another pending change.
    Current,
    /// The server has another version with the same content.
    Same,
    /// The two differ, and the strategy said this.
    Decided(Decision),
    /// The two differ, and only the application can say what stands.
    Open,
}

/// Resolves mutations inside one commit.
pub(super) struct Resolution<'a> {
    pub(super) tx: &'a mut Tx,
    pub(super) target: Target,
    pub(super) resolver: Arc<dyn Resolver>,
    /// How far the feed was read; the last place there can be when the records were asked for one by one.
    pub(super) read_to: Seq,
    /// Collections that the feed does not bring.
    pub(super) left_out: BTreeSet<CollectionId>,
    /// Entries that were written into the journal.
    pub(super) journaled: Vec<u64>,
    /// What the application said to conflicts that waited for it.
    pub(super) answers: Vec<Answer>,
    /// Conflicts that only the application can decide.
    pub(super) questions: Vec<Conflict>,
    /// Documents that are to be read again, since their erases lost.
    pub(super) unerased: Unerased,
}

impl Resolution<'_> {
    /// Resolves the mutation at `place` if all is known that it takes, then what that set free.
    pub(super) async fn try_resolve(&mut self, place: Place) -> Result<()> {
        let mut next = vec![place];
        while let Some(place) = next.pop() {
            next.extend(self.step(place).await?);
        }
        Ok(())
    }

    /// Resolves one mutation; returns those to look at afterwards.
    async fn step(&mut self, place: Place) -> Result<Vec<Place>> {
        if self
            .tx
            .get(&keys::outbox(self.target, place))
            .await?
            .is_none()
        {
            return Ok(Vec::new());
        }
        let mut entry = outbox::load(self.tx, self.target, place).await?;
        let waits = !crate::mutants::active("pocket-mutant:conflict-resolved-before-outcome");
        match entry.progress {
            Progress::Pinned(_) if waits => return Ok(Vec::new()),
            Progress::Conflicted(until) if self.read_to < until || self.is_unread(&entry) => {
                // One that waits for the application has its records, however they came.
                let question = keys::question(self.target, place);
                if self.tx.get(&question).await?.is_none() {
                    return Ok(Vec::new());
                }
            }
            Progress::Pinned(_) | Progress::Conflicted(_) | Progress::Unsent => {}
        }
        let mut slots = Vec::with_capacity(entry.changes.len());
        for change in &entry.changes {
            slots.push(
                Slot::recover(self.tx, change.collection, &change.id, Server::ReadAgain).await?,
            );
        }
        for slot in &slots {
            if slot.pending().first() != Some(&place) && entry.changes.len() == 1 {
                // What it was made on comes first, and takes this along.
                return Ok(Vec::new());
            }
            for other in slot.pending().to_vec() {
                // One that is still on its way: its outcome comes first.
                if waits
                    && other != place
                    && outbox::load(self.tx, self.target, other).await?.is_pinned()
                {
                    return Ok(Vec::new());
                }
            }
        }
        let waited = match entry.progress {
            Progress::Conflicted(until) => Some(until),
            _ => None,
        };
        if entry.doubt != Doubt::None {
            return self.end_doubt(entry, slots).await;
        }
        self.fold(&mut entry, &mut slots).await?;
        self.decide(entry, slots, waited).await
    }

    /// Whether the feed, however far it was read, says nothing of a document of this mutation.
    fn is_unread(&self, entry: &Entry) -> bool {
        let mut changes = entry.changes.iter();
        self.read_to != ALL_READ && changes.any(|change| self.left_out.contains(&change.collection))
    }

    /// The chain of pending changes to one document becomes one: base of the first, body and revision of the last.
    async fn fold(&mut self, entry: &mut Entry, slots: &mut [Slot]) -> Result<()> {
        let ([change], [slot]) = (entry.changes.as_mut_slice(), slots) else {
            return Ok(());
        };
        let behind: Vec<Place> = slot
            .pending()
            .iter()
            .copied()
            .filter(|place| *place > entry.place)
            .collect();
        let mut chain = Vec::with_capacity(behind.len());
        for place in behind {
            chain.push(outbox::load(self.tx, self.target, place).await?);
        }
        let erases = |change: &PendingChange| matches!(change.kind, ChangeKind::Erase);
        let foldable = !erases(change)
            && chain.iter().all(|entry| entry.doubt == Doubt::None)
            && chain
                .iter()
                .all(|entry| matches!(entry.changes.as_slice(), [change] if !erases(change)));
        if !foldable {
            return Ok(());
        }
        for mut later in chain {
            slot.forget_place(later.place);
            outbox::stop_waiting(self.tx, self.target, later.place);
            outbox::remove(self.tx, self.target, &later, later.changes.len());
            if let Some(last) = later.changes.pop() {
                change.kind = last.kind;
                change.rev = last.rev;
                change.migrated &= last.migrated;
            }
        }
        outbox::store(self.tx, self.target, entry, 1);
        slot.store(self.tx);
        Ok(())
    }

    async fn decide(
        &mut self,
        mut entry: Entry,
        mut slots: Vec<Slot>,
        waited: Option<Seq>,
    ) -> Result<Vec<Place>> {
        let mut remotes = Vec::with_capacity(slots.len());
        let mut verdicts = Vec::with_capacity(slots.len());
        let mut rule = Rule::default();
        let mut questions = Vec::new();
        if waited.is_some() {
            self.leave_refused_bases(&mut entry, &slots).await?;
        }
        for (at, slot) in slots.iter_mut().enumerate() {
            let remote = self.remote_of(slot).await?;
            if let Some(remote) = &remote {
                self.follow_base(&mut entry, at, slot, remote).await?;
            }
            let change = &entry.changes[at];
            verdicts.push(match &remote {
                Some(remote) if stands_on_other(change, slot, entry.place, remote) => {
                    let (verdict, by, question) = self.ask(change, remote)?;
                    // What one document loses, all of them lose: its rule is the one to name.
                    let settled = verdicts.contains(&Verdict::Decided(Decision::KeepRemote));
                    if let Some(by) = by.filter(|_| !settled) {
                        rule = by;
                    }
                    questions.extend(question);
                    verdict
                }
                _ => Verdict::Current,
            });
            remotes.push(remote);
        }
        if verdicts.iter().all(|verdict| *verdict == Verdict::Current) {
            if let Some(until) = waited {
                return self.unexplained(entry, slots, remotes, until).await;
            }
            self.requeue_behind(entry.place, &slots).await?;
            return Ok(Vec::new());
        }
        if verdicts.contains(&Verdict::Decided(Decision::KeepRemote)) {
            let loss = Loss::conflict(&rule);
            return self.lose(entry, slots, remotes, loss).await;
        }
        if verdicts.contains(&Verdict::Open) {
            self.ask_application(entry, &remotes, questions);
            return Ok(Vec::new());
        }
        if entry.changes.len() > 1 {
            // What has taken effect already, as a copy of this store sent it, would take effect a second time.
            let is_there = |(change, remote): (&PendingChange, &Option<RemoteVersion>)| {
                let version = remote.as_ref().map(|remote| remote.version.rev);
                version == Some(change.rev)
            };
            let pairs = entry.changes.iter().zip(&remotes).zip(&verdicts);
            let done: Vec<bool> = pairs
                .map(|(pair, verdict)| *verdict == Verdict::Same && is_there(pair))
                .collect();
            if done.contains(&true) {
                return self.settle_in_part(entry, slots, remotes, &done).await;
            }
        }
        if let ([Verdict::Same], [slot]) = (verdicts.as_slice(), slots.as_slice()) {
            // The outcome is what the server has already: nothing to decide, nothing to send.
            let mut slot = slot.clone();
            self.drop_entry(&entry);
            slot.forget_place(entry.place);
            let next = slot.pending().first().copied();
            if let (None, [change]) = (next, entry.changes.as_slice()) {
                self.adopt(&mut slot, change.rev, remotes.pop().flatten());
            }
            self.store_slot(&slot)?;
            return Ok(next.into_iter().collect());
        }
        let merged = verdicts
            .iter()
            .any(|verdict| matches!(verdict, Verdict::Decided(Decision::Write(_))));
        if verdicts
            .iter()
            .any(|verdict| matches!(verdict, Verdict::Decided(_)))
        {
            let winner = if merged {
                Winner::Merged
            } else {
                Winner::Local
            };
            self.note(&entry, &remotes, winner, &Loss::conflict(&rule));
        }
        self.win(&mut entry, slots, remotes, verdicts).await
    }

    /// Changes that were on their way while the creation that they stand on was refused: now they stand on nothing.
    async fn leave_refused_bases(&mut self, entry: &mut Entry, slots: &[Slot]) -> Result<()> {
        for (at, slot) in slots.iter().enumerate() {
            let first = slot.pending().first() == Some(&entry.place);
            let stands = entry.changes[at].base.is_some();
            if !first || !stands || self.remote_of(slot).await?.is_some() {
                continue;
            }
            let stored = entry.changes.len();
            entry.changes[at].base = None;
            entry.changes[at].base_body = None;
            // That was in the way.
            entry.freed = true;
            outbox::store(self.tx, self.target, entry, stored);
        }
        Ok(())
    }

    /// Asks the strategy, unless both sides are the same. With the verdict comes the rule that gave it, or the conflict
    /// if only the application can decide it.
    fn ask(
        &self,
        change: &PendingChange,
        remote: &RemoteVersion,
    ) -> Result<(Verdict, Option<Rule>, Option<Conflict>)> {
        let local_body = change.kind.body();
        if remote.version.presence == Presence::Hidden && local_body.is_none() {
            // It did not take effect, and the document may still be there for others.
            let verdict = Verdict::Decided(Decision::KeepRemote);
            return Ok((verdict, Some(Rule::named(NOT_READABLE)), None));
        }
        let bodiless = rebase::is_bodiless(remote);
        // The same revision is not enough: two copies of a store may give it to different writes.
        let same = match (local_body, &remote.body) {
            (None, None) => !bodiless || change.rev == remote.version.rev,
            (Some(local), Some(remote)) => local.same_value(remote),
            (Some(_), None) => bodiless && change.rev == remote.version.rev,
            (None, Some(_)) => false,
        };
        if same {
            return Ok((Verdict::Same, None, None));
        }
        if change.migrated {
            // Nobody's edit is in it, so nothing is lost: what stands can be given its new shape again.
            let verdict = Verdict::Decided(Decision::KeepRemote);
            return Ok((verdict, Some(Rule::named(MIGRATION)), None));
        }
        // An erase beats every strategy: the server's, and one that waits here behind this change.
        if remote.version.presence == Presence::Erased || bodiless {
            let verdict = Verdict::Decided(Decision::KeepRemote);
            return Ok((verdict, Some(Rule::named("erased")), None));
        }
        let collection = self.tx.registry().name(change.collection)?;
        let strategy = self
            .tx
            .registry()
            .get_even_dropped(&collection)
            .and_then(|row| row.strategy);
        let conflict = Conflict {
            collection,
            document_id: change.id.clone(),
            local: Version {
                rev: change.rev,
                body: local_body.cloned(),
            },
            remote: Version {
                rev: remote.version.rev,
                body: remote.body.clone(),
            },
            base: change.base.map(|rev| Version {
                rev,
                body: change.base_body.clone(),
            }),
            timestamp: self.tx.now(),
        };
        let (decision, rule) = if let Some(ruling) = conflict::answer_to(&self.answers, &conflict) {
            ruled(ruling)
        } else {
            let (decision, name) = self.resolver.resolve(&conflict, strategy);
            (decision, Rule::named(name))
        };
        let limits = &self.tx.core().limits.document;
        Ok(match decision {
            Decision::Ask => (Verdict::Open, None, Some(conflict)),
            Decision::Merge => (Verdict::Decided(conflict.merged(limits)?), Some(rule), None),
            Decision::Write(Some(body)) => match check_body(body.as_bytes(), limits) {
                Ok(()) => {
                    let verdict = Verdict::Decided(Decision::Write(Some(body)));
                    (verdict, Some(rule), None)
                }
                Err(error) => {
                    let rule = Rule::failed(format!("what it wrote is no document: {error}"));
                    (Verdict::Decided(Decision::KeepRemote), Some(rule), None)
                }
            },
            decision => (Verdict::Decided(decision), Some(rule), None),
        })
    }

    /// The mutation waits until the application has said what stands. Nothing that stands on it is sent meanwhile.
    fn ask_application(
        &mut self,
        mut entry: Entry,
        remotes: &[Option<RemoteVersion>],
        questions: Vec<Conflict>,
    ) {
        let seqs = remotes.iter().flatten().map(|remote| remote.version.seq);
        let until = seqs.max().unwrap_or(Seq::ZERO);
        self.questions.extend(questions);
        outbox::wait(self.tx, self.target, &mut entry, until);
        let question = keys::question(self.target, entry.place);
        self.tx.put(question, &[&stored::encode(&(Later,))]);
    }
}

/// What the application's answer to a conflict comes to.
fn ruled(ruling: &Ruling) -> (Decision, Rule) {
    let failed = |reason: &str| (Decision::KeepRemote, Rule::failed(reason.to_owned()));
    match ruling {
        Ruling::Failed { reason } => failed(reason),
        Ruling::Stands {
            decision: Decision::Ask,
            ..
        } => failed("it answered with the question"),
        Ruling::Stands { decision, because } => {
            let rule = Rule {
                reason: because.clone(),
                ..Rule::named(CUSTOM)
            };
            (decision.clone(), rule)
        }
    }
}

/// Whether the server's version is the one that a change was made on. Two copies of a store may give the same revision to
/// different writes, so what they hold is compared too, where both are known; and no change is made on a deletion, which
/// stands nowhere.
pub(super) fn is_base(change: &PendingChange, remote: &RemoteVersion) -> bool {
    let bodies = change.base_body.as_ref().zip(remote.body.as_ref());
    change.base == Some(remote.version.rev)
        && !remote.version.presence.is_deletion()
        && bodies.is_none_or(|(base, body)| base == body)
}

/// Whether a change was made on another version than the server's newest.
fn stands_on_other(
    change: &PendingChange,
    slot: &Slot,
    place: Place,
    remote: &RemoteVersion,
) -> bool {
    if matches!(change.kind, ChangeKind::Erase) || slot.pending().first() != Some(&place) {
        return false;
    }
    match change.base {
        Some(_) => !is_base(change, remote),
        // None matches a missing document and a tombstone alike.
        None => remote.version.presence == Presence::Live,
    }
}

pub(super) fn server_document(
    version: ServerVersion,
    body: Option<Body>,
    (resync, later): (u64, DocumentLater),
) -> StoredDocument {
    let head = DocumentHead {
        rev: version.rev,
        presence: version.presence,
        server: Some(version),
        resync,
        pending: Vec::new(),
        later,
    };
    StoredDocument { head, body }
}
