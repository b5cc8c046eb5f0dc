//! What the server was sent, what it answered, and which version stood at which place.

use pocket_core::{
    Body, Change, ChangeKind, ClientId, Mutation, MutationContent, MutationNumber, Outcome, Record,
    RecordState, Seq,
};
use pocket_sync_protocol::PushedMutation;
use pocket_sync_server::decide::{PushAnswer, PushRequest};

use super::{Audit, DocKey, Pushed, Verdict, Version, WriteId, broken, doc_key, ids_of};
use crate::counts::{Counts, Kind};
use crate::expiry::until_of;
use crate::rights::{Team, team_of};
use crate::schemas::shape_of;

impl Audit {
    /// A push reached the engine: its content must be the one its numbers always had.
    pub(crate) fn received(
        &mut self,
        namespace: usize,
        push: &PushRequest,
        counts: &mut Counts,
    ) -> Verdict {
        for (place, mutation) in (0_u64..).zip(&push.mutations) {
            let number = push.first.plus(place);
            let hash = hash_mutation(mutation);
            if hash.is_none() {
                counts.add(Kind::Withdrawn);
            }
            let changes = mutation.iter().flat_map(Mutation::changes);
            let mut documents = Vec::new();
            for change in changes.clone() {
                let key = doc_key(namespace, &change.collection, &change.id);
                let ids = change.kind.body().map(ids_of).unwrap_or_default();
                let live = change.kind.body().is_some();
                self.sent
                    .extend(self.writes_in(&key, live, &ids, change.rev));
                self.documents.insert(key.clone());
                documents.push(key);
            }
            let fresh = Pushed {
                hash,
                outcome: None,
                decided: 0,
                documents,
                changes: changes.clone().cloned().collect(),
            };
            let known = self
                .pushed
                .entry((namespace, push.client, number))
                .or_insert(fresh);
            if known.hash.is_none() {
                known.changes = changes.clone().cloned().collect();
            }
            known.hash = known.hash.or(hash);
            // Two copies may give the same number, as long as one of them only is answered.
            if hash.is_some() && known.hash != hash && !self.doubles && !self.clients_forgotten {
                let changes: Vec<_> = changes.collect();
                return broken(
                    "P2",
                    format!(
                        "client {:?} sent another content under number {number}: {changes:?}",
                        self.clients.get(&push.client)
                    ),
                );
            }
        }
        Ok(())
    }

    /// The engine answered: an outcome never changes, and a place belongs to one change.
    pub(crate) fn decided(
        &mut self,
        namespace: usize,
        push: &PushRequest,
        answer: &PushAnswer,
        counts: &mut Counts,
    ) -> Verdict {
        for ((place, outcome), mutation) in (0_u64..).zip(&answer.outcomes).zip(&push.mutations) {
            let number = answer.first.plus(place);
            let Some(known) = self.pushed.get_mut(&(namespace, push.client, number)) else {
                return broken("P2", format!("an outcome for number {number}, never sent"));
            };
            let hash = hash_mutation(mutation);
            if self.clients_forgotten
                && (known.hash != hash || known.outcome.as_ref() != Some(outcome))
            {
                // Given anew since. That nothing takes effect twice shows in the revisions.
                known.outcome = None;
            }
            match &known.outcome {
                Some(before) if before != outcome => {
                    return broken(
                        "P2",
                        format!("number {number} became {outcome:?} after it was {before:?}"),
                    );
                }
                Some(_) if hash.is_some() && known.hash.is_some() && hash != known.hash => {
                    return broken(
                        "P2",
                        format!(
                            "number {number} of client {:?} was answered as if it were what another change got: {outcome:?}",
                            self.clients.get(&push.client)
                        ),
                    );
                }
                Some(_) => counts.add(Kind::PushRepeated),
                None => {
                    self.outcomes += 1;
                    known.decided = self.outcomes;
                    // It may have arrived before it was taken back, and then has a place.
                    let taken_back = hash.is_none().then(|| known.changes.clone());
                    known.hash = hash.or(known.hash);
                    known.outcome = Some(outcome.clone());
                    count_outcome(outcome, counts);
                    if let (true, Ok(mutation)) = (self.times.is_some() || self.schemas, mutation) {
                        for change in mutation.changes() {
                            self.check_made_by_nobody(
                                namespace,
                                change,
                                push.client,
                                outcome,
                                counts,
                            )?;
                        }
                    }
                    if let (Outcome::Applied { first }, Ok(mutation)) = (outcome, mutation) {
                        let told = *first != Seq::ZERO && !self.doubles;
                        let taken_back = taken_back.filter(|_| told);
                        let changes = taken_back.as_deref().unwrap_or(mutation.changes());
                        for (offset, change) in (0_u64..).zip(changes) {
                            let seq = first.get() + offset;
                            self.check_right(namespace, seq, change, push.client)?;
                            if self.forks.count > 0 {
                                self.count_return(namespace, change, counts);
                            }
                            self.applied(namespace, seq, change, push.client, number)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// What a sweep or a migration made keeps to what is said of it.
    fn check_made_by_nobody(
        &self,
        namespace: usize,
        change: &Change,
        client: ClientId,
        outcome: &Outcome,
        counts: &mut Counts,
    ) -> Verdict {
        let key = doc_key(namespace, &change.collection, &change.id);
        self.check_sweep(&key, change, client, outcome, counts)?;
        if self.schemas {
            self.check_reshaped(&key, change, outcome, counts)?;
        }
        Ok(())
    }

    fn applied(
        &mut self,
        namespace: usize,
        seq: u64,
        change: &Change,
        client: ClientId,
        number: MutationNumber,
    ) -> Verdict {
        let key = doc_key(namespace, &change.collection, &change.id);
        let version = Version {
            rev: change.rev,
            live: change.kind.body().is_some(),
            erased: matches!(change.kind, ChangeKind::Erase),
            ids: change.kind.body().map(ids_of).unwrap_or_default(),
            team: self.team_at(&key, seq, change.kind.body()),
            ends: change
                .kind
                .body()
                .and_then(|body| self.ends(&key, change.rev, until_of(body))),
            shape: change.kind.body().map_or(0, shape_of),
            by: Some((client, number, change.base)),
        };
        self.stands_at(key, seq, version)
    }

    /// A feed showed a record.
    pub(crate) fn served(&mut self, namespace: usize, record: &Record) -> Verdict {
        let key = doc_key(namespace, &record.collection, &record.id);
        let version = Version {
            rev: record.rev,
            live: record.state.body().is_some(),
            erased: matches!(record.state, RecordState::Erased),
            ids: record.state.body().map(ids_of).unwrap_or_default(),
            team: self.team_at(&key, record.seq.get(), record.state.body()),
            ends: record
                .state
                .body()
                .and_then(|body| self.ends(&key, record.rev, until_of(body))),
            shape: record.state.body().map_or(0, shape_of),
            by: None,
        };
        self.stands_at(key, record.seq.get(), version)
    }

    /// What a restored server had lost is there again.
    fn count_return(&self, namespace: usize, change: &Change, counts: &mut Counts) {
        let key = doc_key(namespace, &change.collection, &change.id);
        let ids = change.kind.body().map(ids_of).unwrap_or_default();
        let is_there = |id: &WriteId| {
            let mut versions = self.history.get(&key).into_iter().flatten();
            versions.any(|(_, version)| version.ids.contains(id))
        };
        if ids
            .iter()
            .any(|id| self.forks.ids.contains(id) && !is_there(id))
        {
            counts.add(Kind::BroughtBack);
        }
    }

    /// The team that may read what stands at a place: a deletion keeps that of what it deleted.
    fn team_at(&self, key: &DocKey, seq: u64, body: Option<&Body>) -> Option<Team> {
        match body {
            Some(body) => team_of(body),
            None => {
                let before = self.history.get(key)?.range(..seq).next_back();
                before.and_then(|(_, version)| version.team)
            }
        }
    }

    fn stands_at(&mut self, key: DocKey, seq: u64, version: Version) -> Verdict {
        let place = (key.namespace, seq);
        let owner = self.places.entry(place).or_insert_with(|| key.clone());
        if *owner != key {
            return broken(
                "P2",
                format!("place {seq} is taken by {owner} and by {key}"),
            );
        }
        self.documents.insert(key.clone());
        let versions = self.history.entry(key.clone()).or_default();
        // A copy of a device that the server has forgotten sends what that one sent, and nobody can tell.
        let forgotten = self.doubles && self.clients_forgotten;
        let base = |version: &Version| version.by.and_then(|(_, _, base)| base);
        let same = |(other, known): (&u64, &Version)| {
            // What swept two versions of one millisecond, and had dropped the first deletion in between, is one step behind
            // both: two deletions, which hold nothing.
            let dropped = self.may_have_forgotten;
            let swept = dropped && !known.live && !version.live && base(known) != base(&version);
            let sent_twice = forgotten && known.ids == version.ids;
            *other != seq && known.rev == version.rev && !sent_twice && !swept
        };
        if versions.iter().any(same) {
            return broken(
                "P2",
                format!("{key} has one version at two places, {seq} and before: {version:?}"),
            );
        }
        match versions.get_mut(&seq) {
            None => {
                versions.insert(seq, version);
            }
            Some(known) => {
                if known.rev != version.rev
                    || known.live != version.live
                    || known.ids != version.ids
                {
                    return broken(
                        "P3",
                        format!("{key} at place {seq} was {known:?}, and now is {version:?}"),
                    );
                }
                match (&known.by, &version.by) {
                    (Some(one), Some(other)) if one != other => {
                        return broken("P2", format!("{key} at place {seq} was written twice"));
                    }
                    (None, Some(_)) => known.by = version.by,
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

fn count_outcome(outcome: &Outcome, counts: &mut Counts) {
    counts.add(match outcome {
        Outcome::Applied { .. } => Kind::Applied,
        Outcome::Conflict { .. } => Kind::Conflict,
        Outcome::Rejected { code, .. } if code == "clock" => Kind::RejectedClock,
        Outcome::Rejected { code, .. } if code == "forbidden" => Kind::RejectedForbidden,
        Outcome::Rejected { .. } => Kind::RejectedOther,
    });
}

/// Of what a mutation says; none of a withdrawn one, of which only the number travels.
fn hash_mutation(mutation: &PushedMutation) -> Option<u64> {
    match mutation {
        Ok(mutation) if matches!(mutation.content, MutationContent::Withdrawn) => None,
        Ok(mutation) => Some(hash_changes(mutation.changes())),
        Err(bad) => Some(u64::from(crc32fast::hash(bad.code.as_bytes()))),
    }
}

fn hash_changes(changes: &[Change]) -> u64 {
    let mut hash = crc32fast::Hasher::new();
    for change in changes {
        hash.update(change.collection.as_str().as_bytes());
        hash.update(change.id.as_str().as_bytes());
        hash.update(&change.rev.hlc.bits().to_le_bytes());
        if let Some(base) = change.base {
            hash.update(&base.hlc.bits().to_le_bytes());
            hash.update(base.client.as_bytes());
        }
        match &change.kind {
            ChangeKind::Put(body) => hash.update(body.as_bytes()),
            ChangeKind::Delete => hash.update(b"delete"),
            ChangeKind::Erase => hash.update(b"erase"),
        }
    }
    u64::from(hash.finalize())
}
