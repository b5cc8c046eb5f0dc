//! Rules of a server: teams that may read documents, a collection for some, erasing for some; and rights that change.
//!
//! A document may name a team; then only who is in it reads it. The book knows who held which rights when, and judges
//! each record that leaves the server and each change that takes effect by its own reading of the documents.

use std::collections::BTreeSet;

use pocket_core::{Body, Change, ChangeKind, ClientId, Record, RecordState};
use pocket_sync_protocol::{ServerMessage, WireLimits, decode_server};
use pocket_sync_server::Authorizer;
use pocket_sync_server::auth::Access;
use pocket_sync_server::rules::{Attempt, Audience, Document, Operation};

use crate::audit::{Audit, DocKey, Verdict, Version, broken, doc_key};
use crate::counts::Kind;
use crate::dice::Dice;
use crate::trace::Node;
use crate::world::World;

/// Who may read a document.
pub(crate) type Team = u8;

/// How many teams there are.
pub(crate) const TEAMS: u64 = 3;

/// How often a session's rights are looked at again, in milliseconds.
pub(crate) const RECHECK: u64 = 5_000;

/// A record leaves at the latest so many milliseconds after its right was looked at.
const SENDING: u64 = 500;

/// A change takes effect at the latest so many milliseconds after its right was looked at: it may wait for others, and
/// for a slow disk.
const COMMITTING: u64 = 60_000;

/// The collection that only some may use.
const GUARDED: &str = "side";

/// The team a document names.
pub(crate) fn team_of(body: &Body) -> Option<Team> {
    let map = body.to_map().ok()?;
    map.get("team")?.as_integer()?.as_i64()?.try_into().ok()
}

/// What a user may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rights {
    teams: BTreeSet<Team>,
    guarded: bool,
    erases: bool,
}

impl Rights {
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        let teams = (0..TEAMS).filter_map(|team| u8::try_from(team).ok());
        Self {
            teams: teams.filter(|_| dice.chance(0.6)).collect(),
            guarded: dice.chance(0.8),
            erases: dice.chance(0.7),
        }
    }

    /// As a token says it.
    pub(crate) fn access(&self, user: &str) -> Access {
        let mut access = Access::all(user);
        for team in &self.teams {
            access = access.label(&label(*team));
        }
        if self.guarded {
            access = access.role("guard");
        }
        if self.erases {
            access = access.role("eraser");
        }
        access
    }

    fn reads(&self, collection: &str, team: Option<Team>) -> bool {
        (self.guarded || collection != GUARDED)
            && team.is_none_or(|team| self.teams.contains(&team))
    }
}

fn label(team: Team) -> String {
    format!("team:{team}")
}

/// The rules, as a server asks them.
#[derive(Debug)]
pub(crate) struct TeamRules;

impl Authorizer for TeamRules {
    fn authorize(&self, attempt: &Attempt<'_>) -> bool {
        let has = |role: &str| attempt.access.roles.contains(role);
        let enters = has("guard") || attempt.collection.as_str() != GUARDED;
        enters && (attempt.operation != Operation::Erase || has("eraser"))
    }

    fn audience(&self, document: &Document<'_>) -> Audience {
        team_of(document.body)
            .map_or_else(Audience::everyone, |team| Audience::labels([label(team)]))
    }
}

/// Who held which rights when.
#[derive(Debug, Default)]
pub(crate) struct RightsBook {
    /// For each user, since when he has which.
    users: Vec<Vec<(u64, Rights)>>,
    /// The user of each device.
    devices: Vec<usize>,
    pub(crate) now: u64,
}

impl RightsBook {
    pub(crate) fn new(users: &[Rights]) -> Self {
        Self {
            users: users
                .iter()
                .map(|rights| vec![(0, rights.clone())])
                .collect(),
            ..Self::default()
        }
    }

    /// The next device belongs to a user.
    pub(crate) fn add_device(&mut self, user: usize) {
        self.devices.push(user);
    }

    pub(crate) fn change(&mut self, user: usize, rights: Rights) {
        self.users[user].push((self.now, rights));
    }

    /// Whether a user's rights were ever other ones.
    pub(crate) fn changed(&self, user: usize) -> bool {
        self.users[user].len() > 1
    }

    /// Whether a user may read what a team may.
    pub(crate) fn reads(&self, user: usize, collection: &str, team: Option<Team>) -> bool {
        let rights = self.users[user].last();
        rights.is_some_and(|(_, rights)| rights.reads(collection, team))
    }

    /// Whether a user might read that at some moment since `from`.
    fn read_since(&self, from: u64, user: usize, collection: &str, team: Option<Team>) -> bool {
        let rights = &self.users[user];
        rights.iter().enumerate().any(|(place, (_, rights_then))| {
            let ended = rights.get(place + 1).map(|(since, _)| *since);
            ended.is_none_or(|ended| ended >= from) && rights_then.reads(collection, team)
        })
    }
}

impl Audit {
    /// Whether a device's user may read a version; everybody may where there are no rules.
    pub(crate) fn may_read(&self, device: usize, key: &DocKey, version: &Version) -> bool {
        self.may_read_of(device, key, version.team)
    }

    /// Whether a device's user may read what a team has of a document.
    pub(crate) fn may_read_of(&self, device: usize, key: &DocKey, team: Option<Team>) -> bool {
        self.rights.as_ref().is_none_or(|rights| {
            rights.reads(rights.devices[device], key.collection.as_str(), team)
        })
    }

    /// Whether it has always been clear what a device's user may read of a document: all of it.
    pub(crate) fn always_read(&self, device: usize, key: &DocKey) -> bool {
        let Some(rights) = &self.rights else {
            return true;
        };
        let mut versions = self.history.get(key).into_iter().flatten();
        !rights.changed(rights.devices[device])
            && versions.all(|(_, version)| self.may_read(device, key, version))
    }

    /// Whether the rights of a device's user were ever other ones.
    pub(crate) fn rights_changed(&self, device: usize) -> bool {
        let rights = self.rights.as_ref();
        rights.is_some_and(|rights| rights.changed(rights.devices[device]))
    }

    /// P10: nobody writes over what he may not read, or into a collection he may not use.
    pub(crate) fn check_right(
        &self,
        namespace: usize,
        seq: u64,
        change: &Change,
        client: ClientId,
    ) -> Verdict {
        let (Some(rights), Some(device)) = (&self.rights, self.clients.get(&client)) else {
            return Ok(());
        };
        let key = doc_key(namespace, &change.collection, &change.id);
        let before = self
            .history
            .get(&key)
            .and_then(|versions| versions.range(..seq).next_back());
        // A deletion leaves an id that is free for who makes a document anew, and for all changes once it may be forgotten.
        let forgets = self.horizons.contains_key(&namespace);
        let creates = matches!(change.kind, ChangeKind::Put(_)) && change.base.is_none();
        // So does one that nobody was told of: what was made on nothing found none of what it deleted.
        let is_free = |version: &Version| {
            let gone = !version.live
                || change.base.is_none() && self.untold_deletion(&key, version).is_some();
            gone && (forgets || creates)
        };
        let before = before.filter(|(_, version)| !is_free(version));
        let team = before.and_then(|(_, version)| version.team);
        let from = rights.now.saturating_sub(RECHECK + COMMITTING);
        if rights.read_since(from, rights.devices[*device], key.collection.as_str(), team) {
            return Ok(());
        }
        broken(
            "P10",
            format!(
                "client {device} wrote {key} at place {seq} over {before:?}, which his user may not read"
            ),
        )
    }

    /// P10: nobody is sent what he may not read.
    fn check_record(&self, device: usize, namespace: usize, record: &Record) -> Verdict {
        let Some(rights) = &self.rights else {
            return Ok(());
        };
        let key = doc_key(namespace, &record.collection, &record.id);
        let team = match &record.state {
            RecordState::Live(body) => team_of(body),
            _ => {
                let before = self.history.get(&key);
                let mut before = before
                    .into_iter()
                    .flat_map(|versions| versions.range(..=record.seq.get()).rev());
                match before.find(|(_, version)| version.live) {
                    Some((_, version)) => version.team,
                    // What it deleted was written by a commit that nobody was told of.
                    None => return Ok(()),
                }
            }
        };
        let from = rights.now.saturating_sub(RECHECK + SENDING);
        if rights.read_since(from, rights.devices[device], key.collection.as_str(), team) {
            return Ok(());
        }
        broken(
            "P10",
            format!(
                "client {device} is sent {record:?}, for team {team:?}, which his user may not read"
            ),
        )
    }

    /// P10: who is told that he may not see a document any more saw it once, or wrote it, on whatever device.
    fn check_removal(&self, device: usize, key: &DocKey) -> Verdict {
        let Some(rights) = &self.rights else {
            return broken(
                "P10",
                format!("client {device} is told to let go of {key} without rules"),
            );
        };
        let user = rights.devices[device];
        let mut versions = self.history.get(key).into_iter().flatten();
        let known = versions.any(|(_, version)| {
            let writer = self.clients.get(&version.rev.client);
            writer.is_some_and(|writer| rights.devices[*writer] == user)
                || rights.read_since(0, user, key.collection.as_str(), version.team)
        });
        // Versions whose outcome nobody heard of, and lost ones, are not in the book.
        if known || self.forks.count > 0 || self.may_have_moved(key) {
            return Ok(());
        }
        broken(
            "P10",
            format!("client {device} is told of {key}, of which he never might read anything"),
        )
    }
}

impl World {
    /// A user gets other rights. His sessions hear of it when they look again, or when they come back.
    pub(crate) fn change_rights(&mut self, index: usize) {
        let user = self.clients[index].shape.user;
        let fresh = Rights::draw(&mut self.fault_dice);
        let now = self.now();
        let Some(rights) = &mut self.audit.rights else {
            return;
        };
        rights.now = now;
        rights.change(user, fresh.clone());
        self.counts.add(Kind::RightsChanged);
        self.note(Node::World, || format!("user {user} gets {fresh:?}"));
        self.server.tokens.set_rights(user, fresh);
    }

    /// Counts what has a kind of its own where there are rules.
    pub(crate) fn count_with_rules(&mut self, kind: Kind, count: usize) {
        if self.audit.rights.is_some() {
            self.counts.add_many(kind, count);
        }
    }

    /// What leaves the server for a device, judged before it is on its way.
    pub(crate) fn check_delivery(&mut self, device: usize, namespace: usize, frame: &bytes::Bytes) {
        let now = self.now();
        match &mut self.audit.rights {
            Some(rights) => rights.now = now,
            None => return,
        }
        let message = decode_server(frame, &WireLimits::default());
        let (records, removals) = match &message {
            Ok(ServerMessage::Page(page)) => (page.records(), page.removals()),
            Ok(ServerMessage::Records(answer)) => (answer.records(), Ok(Vec::new())),
            _ => return,
        };
        for record in records.unwrap_or_default() {
            self.counts.add(Kind::DeliveryChecked);
            let verdict = self.audit.check_record(device, namespace, &record);
            self.check(verdict);
        }
        for (collection, id, _) in removals.unwrap_or_default() {
            self.counts.add(Kind::RemovalSent);
            let key = doc_key(namespace, &collection, &id);
            let verdict = self.audit.check_removal(device, &key);
            self.check(verdict);
        }
    }
}
