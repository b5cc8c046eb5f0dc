//! Documents that live for a limited time: what devices hide, and what their sweeps delete for all.
//!
//! The book knows when the time of each version is over, and the latest moment that any clock can have shown. A deletion
//! that nobody made may only stand on a version whose time is over by the server's clock; what is here alone goes by the
//! device's own, however wrong that is.

use std::time::Duration;

use pocket_core::{
    Body, Change, ChangeKind, ClientId, CollectionConfig, CollectionName, Error, Hlc, Outcome,
    Revision, Timestamp, Ttl, Value,
};

use crate::audit::{Audit, DocKey, State, Verdict, WriteId, broken};
use crate::client::{Done, Told, Up};
use crate::counts::{Counts, Kind};
use crate::dice::Dice;
use crate::tasks::at_once;
use crate::trace::Node;
use crate::view::{self, Seen};
use crate::world::{Happening, World};

/// The field that says until when a document of the one collection lives.
pub(crate) const UNTIL: &str = "until";

/// The collection whose documents live until a time that they hold.
const DATED: &str = "notes";

/// The collection whose documents live for so long after they were written.
const AGEING: &str = "side";

/// So far are the clocks of a server and of a device that has just met it apart at the most, in milliseconds.
const APART: i64 = 2_000;

/// A device's clock is wrong when it is so many milliseconds away from the server's.
const WRONG: i64 = 60_000;

/// How long the documents of a history live.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lives {
    /// Milliseconds behind the last write, in the one collection.
    ageing: u64,
    /// Milliseconds between two sweeps of a device at the most.
    pub(crate) sweep_every: u64,
    /// In milliseconds: what is dated lives for so long at the most, unless it lives for very long.
    dated: u64,
}

impl Lives {
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        Self {
            ageing: dice.pick(&[3_000, 20_000, 90_000, 30 * 86_400_000]),
            sweep_every: dice.pick(&[500, 3_000, 15_000]),
            dated: dice.pick(&[2_000, 10_000, 40_000]),
        }
    }

    /// The setting of a collection.
    pub(crate) fn configure(self, name: &str, config: CollectionConfig) -> CollectionConfig {
        match name {
            DATED => config.ttl(Ttl::at_field(UNTIL)),
            AGEING => config.ttl(Ttl::after_update(Duration::from_millis(self.ageing))),
            _ => config,
        }
    }
}

/// What a write says of the end of a document's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// Nothing: it stays as it was.
    AsBefore,
    Never,
    /// In milliseconds since 1970.
    At(i64),
}

/// What a body says of the end of its time.
pub(crate) fn until_of(body: &Body) -> Option<i64> {
    match body.to_map().ok()?.get(UNTIL)? {
        Value::Timestamp(time) => Some(time.millis()),
        _ => None,
    }
}

/// What the book knows of times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    lives: Lives,
    /// How far what a server told of the time was ahead of virtual time, at the most: as milliseconds since 1970.
    ahead: i64,
    /// The latest time that a sweep can have been told, so far.
    server: i64,
    /// The latest that any device's clock can have shown, so far.
    anywhere: i64,
}

impl Times {
    pub(crate) const fn new(lives: Lives) -> Self {
        Self {
            lives,
            ahead: i64::MIN,
            server: i64::MIN,
            anywhere: i64::MIN,
        }
    }
}

impl Audit {
    /// When the time of a version is over, if it ever is.
    pub(crate) fn ends(&self, key: &DocKey, rev: Revision, until: Option<i64>) -> Option<i64> {
        let times = self.times.as_ref()?;
        match key.collection.as_str() {
            DATED => until,
            AGEING => {
                let ageing = i64::try_from(times.lives.ageing).unwrap_or(i64::MAX);
                Some(rev.hlc.time().millis().saturating_add(ageing))
            }
            _ => None,
        }
    }

    /// Whether the time of what a device shows may be over, as its clock can have been at `latest`.
    pub(crate) fn is_over(&self, key: &DocKey, seen: &Seen, latest: i64) -> bool {
        let ends = self.ends(key, seen.rev, seen.until);
        seen.live && ends.is_some_and(|ends| ends <= latest)
    }

    /// Whether the time of what a write left may be over at `latest`: of that itself, or of what it was merged into.
    pub(crate) fn may_be_over(&self, id: WriteId, latest: i64) -> bool {
        let Some(write) = self.writes.get(&id).filter(|_| self.times.is_some()) else {
            return false;
        };
        let versions = self.history.get(&write.document).into_iter().flatten();
        let mut merged = versions.filter(|(_, version)| version.ids.contains(&id));
        self.is_over_in(id, latest).is_some()
            || merged.any(|(_, version)| version.ends.is_some_and(|ends| ends <= latest))
    }

    /// A write whose time may be over, and that was made on top of this one, if it is not this one.
    fn is_over_in(&self, id: WriteId, latest: i64) -> Option<WriteId> {
        let document = &self.writes.get(&id)?.document;
        let mut later = self.writes.range(id..).filter(|(later, write)| {
            write.document == *document
                && self.is_over_by_itself(**later, latest)
                && self.made_of(**later).contains(&id)
        });
        later.next().map(|(later, _)| *later)
    }

    fn is_over_by_itself(&self, id: WriteId, latest: i64) -> bool {
        let (Some(write), Some(times)) = (self.writes.get(&id), &self.times) else {
            return false;
        };
        if !write.kind.puts() {
            return false;
        }
        if write.document.collection.as_str() == AGEING {
            // When it was stamped is not known. Some live for longer than any history takes.
            return times.lives.ageing < 86_400_000;
        }
        match write.ends {
            Ends::At(ends) => ends <= latest,
            Ends::Never => false,
            Ends::AsBefore => match &write.before {
                crate::audit::Before::Live(ids) => {
                    ids.iter().any(|id| self.is_over_by_itself(*id, latest))
                }
                crate::audit::Before::NotLive(_) => false,
            },
        }
    }

    /// What was made here, was never sent, and whose time is over: it just goes.
    pub(crate) fn went_unheard(&self, id: WriteId, latest: i64) -> bool {
        // What was rejected for the clock is as if it had not been sent.
        let over = self
            .is_over_in(id, latest)
            .and_then(|over| self.writes.get_key_value(&over));
        over.is_some_and(|(over, write)| {
            let made_of = self.made_of(*over);
            let mut versions = self.history.get(&write.document).into_iter().flatten();
            !versions.any(|(_, version)| version.ids.iter().any(|id| made_of.contains(id)))
        })
    }

    /// The writes in versions that were deleted, or made anew, when their time may have been over.
    pub(crate) fn ended_in_time(&self) -> Vec<WriteId> {
        let Some(times) = &self.times else {
            return Vec::new();
        };
        let mut ended = Vec::new();
        for versions in self.history.values() {
            let next = versions.values().skip(1);
            for (version, next) in versions.values().zip(next) {
                let latest = times.server.max(times.anywhere);
                let is_over = version.ends.is_some_and(|ends| ends <= latest);
                if version.live && is_over && version.by != next.by {
                    ended.extend(&version.ids);
                }
            }
        }
        ended
    }

    /// A deletion by a device whose user never deleted the document: what a sweep made. With the version it stands on.
    fn swept(
        &self,
        key: &DocKey,
        change: &Change,
        client: ClientId,
    ) -> Option<&crate::audit::Version> {
        let device = self.clients.get(&client)?;
        let base = change.base.filter(|_| self.times.is_some())?;
        let mut own = self.writes.values().filter(|write| {
            write.client == *device && write.document == *key && write.state != State::Refused
        });
        if !matches!(change.kind, ChangeKind::Delete) || own.any(|write| !write.kind.puts()) {
            return None;
        }
        let versions = self.history.get(key)?;
        let mut bases = versions.values().filter(|version| version.rev == base);
        bases.next()
    }

    /// The deletion of what has expired stands on what has expired, by the server's clock, and gives way to all else.
    pub(crate) fn check_sweep(
        &self,
        key: &DocKey,
        change: &Change,
        client: ClientId,
        outcome: &Outcome,
        counts: &mut Counts,
    ) -> Verdict {
        let (Some(base), Some(times)) = (self.swept(key, change, client), &self.times) else {
            return Ok(());
        };
        match outcome {
            Outcome::Applied { .. } => counts.add(Kind::ExpiredDeleted),
            Outcome::Conflict { .. } => counts.add(Kind::SweepYielded),
            Outcome::Rejected { .. } => {}
        }
        // What nobody else had heard of goes by the clock of its device; behind other changes, that is sent with it.
        let is_own = base.rev.client == client;
        if !is_own && base.ends.is_none_or(|ends| ends > times.server) {
            return broken(
                "expiry",
                format!(
                    "nobody deleted {key}, and a sweep of client {:?} did on {base:?}; the server's clock was never behind {}",
                    self.clients.get(&client),
                    times.server
                ),
            );
        }
        // A device whose clock was ahead gives all it has new times.
        let restamped = counts.of(Kind::RejectedClock) > 0;
        // A step that the device took before, behind a version of the same time, is not taken twice.
        let stood = |bits: u64| {
            let rev = Revision::new(Hlc::from_bits(bits), client);
            self.place_of(key, rev).is_some()
        };
        let (from, to) = (base.rev.hlc.bits() + 1, change.rev.hlc.bits());
        let is_smallest = from <= to && to - from < 16 && (from..to).all(stood);
        if !restamped && !is_smallest {
            return broken(
                "expiry",
                format!(
                    "a sweep deleted {key} as {:?}, which is not the smallest step behind {base:?}",
                    change.rev
                ),
            );
        }
        Ok(())
    }
}

impl World {
    /// How long a document is to live from now on, as a write on it says.
    pub(crate) fn ends_of(&mut self, collection: &CollectionName, whole: bool) -> Ends {
        let Some(lives) = self.swarm.lives else {
            return Ends::AsBefore;
        };
        if collection.as_str() != DATED {
            return Ends::AsBefore;
        }
        let says = whole || self.family_dice.chance(0.4);
        if !says {
            return Ends::AsBefore;
        }
        let short = self.family_dice.chance(0.6);
        if short {
            let millis = self.family_dice.below(lives.dated);
            return Ends::At(self.clock.time_of_day(0) + i64::try_from(millis).unwrap_or(0));
        }
        if whole && self.family_dice.chance(0.5) {
            return Ends::Never;
        }
        Ends::At(self.clock.time_of_day(0) + 3_650 * 86_400_000)
    }

    /// The latest that a device's clock can have shown, as it is or set right by the server's.
    pub(crate) fn latest_at(&self, index: usize) -> i64 {
        let (least, most) = self.clients[index].skew.range();
        let own = self.clock.time_of_day(most);
        let ahead = self.audit.times.map_or(i64::MIN, |times| times.ahead);
        let set_right = ahead.saturating_add(self.passed() + most - least);
        own.max(set_right)
    }

    /// Virtual milliseconds since the beginning, as times are counted.
    fn passed(&self) -> i64 {
        i64::try_from(self.now()).unwrap_or(i64::MAX)
    }

    /// A server told its time; that is what sweeps go by, and what sets devices' clocks right.
    pub(crate) fn told_time(&mut self, told: Told) {
        let at = i64::try_from(told.at).unwrap_or(i64::MAX);
        let ahead = told.server_time.millis() - at;
        if let Some(times) = &mut self.audit.times {
            times.ahead = ahead.max(times.ahead);
        }
    }

    /// Notes the latest that anybody can have been told, or have seen on a clock.
    pub(crate) fn note_time(&mut self) {
        let passed = self.passed();
        let devices = 0..self.clients.len();
        let anywhere = devices.map(|index| self.latest_at(index)).max();
        if let Some(times) = &mut self.audit.times {
            times.server = times.ahead.saturating_add(passed);
            times.anywhere = anywhere.unwrap_or(i64::MIN).max(times.anywhere);
        }
    }

    /// What the time is, as a device was told.
    fn told_now(&self, index: usize) -> Option<i64> {
        let told = self.clients[index].up()?.told?;
        Some(told.server_time.millis() + i64::try_from(self.now() - told.at).ok()?)
    }

    /// A device sweeps, as its sync client has it do now and then.
    pub(crate) fn sweep(&mut self, index: usize) {
        let now = self.now();
        let device = self.clock.time_of_day(self.clients[index].skew.now());
        let server = self.clock.time_of_day(self.server.skew.now());
        let Some(up) = self.clients[index].up_mut() else {
            return;
        };
        if std::mem::replace(&mut up.at_chores, true) {
            return;
        }
        let (replica, told) = (up.replica.clone(), up.told);
        self.counts.add(match told {
            Some(_) => Kind::Swept,
            None => Kind::SweptAlone,
        });
        if (device - server).abs() > WRONG {
            self.counts.add(Kind::SweptByWrongClock);
        }
        self.note(Node::Client(index), || format!("sweeps, told: {told:?}"));
        self.clients[index].spawn(async move {
            let swept = match told {
                Some(told) => {
                    let passed = i64::try_from(now - told.at).unwrap_or(0);
                    let time = Timestamp::from_millis(told.server_time.millis() + passed);
                    replica.acting_as(told.client).expire(time).await
                }
                None => replica.database().expire().await,
            };
            Done::Chores(swept)
        });
        self.run_client(index);
    }

    /// A device did what it does now and then.
    pub(crate) fn chores_done(&mut self, index: usize, done: &Result<u64, Error>) {
        if let Some(up) = self.clients[index].up_mut() {
            up.at_chores = false;
        }
        let kind = if self.swarm.lives.is_some() {
            Kind::ExpiredSwept
        } else {
            Kind::Reshaped
        };
        if let Ok(count) = done {
            self.counts
                .add_many(kind, usize::try_from(*count).unwrap_or(0));
        }
        self.note(Node::Client(index), || format!("chores: {done:?}"));
    }

    /// All devices have met the server anew: what is over is hidden, all else is not; and once each has swept, it is gone.
    pub(crate) fn check_expiry(&mut self) -> Verdict {
        for index in 0..self.clients.len() {
            self.clients[index].disk.hurry();
            self.kill_client(index, false);
        }
        self.until_rest(crate::history::REST)?;
        for index in 0..self.clients.len() {
            self.check_hidden(index)?;
        }
        let told = (0..self.clients.len()).filter_map(|index| self.told_now(index));
        let until = told.min().unwrap_or(i64::MIN) - APART;
        for index in 0..self.clients.len() {
            self.sweep(index);
        }
        self.until_rest(crate::history::REST)?;
        for (key, versions) in &self.audit.history {
            let stands = versions.values().next_back().filter(|version| version.live);
            let left = stands.filter(|version| version.ends.is_some_and(|ends| ends <= until));
            if let Some(version) = left {
                return broken(
                    "expiry",
                    format!("all have swept at {until}, and {key} is there still: {version:?}"),
                );
            }
        }
        Ok(())
    }

    /// Readers see what is not over, and nothing else.
    fn check_hidden(&mut self, index: usize) -> Verdict {
        let Some(now) = self.told_now(index) else {
            return broken(
                "P4",
                format!("client {index} is at rest, and met no server"),
            );
        };
        let client = &self.clients[index];
        let Some(db) = client.up().map(|up: &Up| up.db.clone()) else {
            return Ok(());
        };
        let keys = self.keys_of(client.shape.namespace);
        let Ok(view) = view::look(client.disk.look(), &keys) else {
            return Ok(());
        };
        for (key, seen) in view.documents.iter().filter(|(_, seen)| seen.live) {
            let found = db
                .collection::<Value>(key.collection.as_str())
                .and_then(|documents| at_once(documents.get(key.id.as_str())));
            let shows = matches!(found, Ok(Some(_)));
            let ends = self.audit.ends(key, seen.rev, seen.until);
            let is_over = ends.is_some_and(|ends| ends <= now - APART);
            let is_close = ends.is_some_and(|ends| (ends - now).abs() <= APART);
            self.counts.add(Kind::ExpiryChecked);
            if shows == is_over && !is_close {
                return broken(
                    "expiry",
                    format!(
                        "client {index} shows {key}: {shows}, at {now}, which lives until {ends:?}"
                    ),
                );
            }
        }
        Ok(())
    }

    /// What a device does now and then, beside what its user does.
    pub(crate) fn chore(&mut self, index: usize) {
        if self.calm {
            return;
        }
        let every = self.swarm.lives.map_or(10_000, |lives| lives.sweep_every);
        let pause = 1 + self.family_dice.below(every);
        self.schedule(pause, Happening::Chore { client: index });
        if self.swarm.lives.is_some() {
            self.sweep(index);
        } else {
            self.reshape(index);
        }
    }
}
