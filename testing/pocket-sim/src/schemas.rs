//! Programs that raise the schema version, each device at its own time: in the middle of syncing, with edits pending, with
//! crashes amid the migration, and with older programs that come back.
//!
//! The shape of a document is a number in a field, so any version tells it. What a migration made holds the writes of the
//! version it was made of and none beside: so the book knows it among all others.

use std::collections::BTreeSet;

use pocket_core::{Body, Change, Error, Integer, Map, Migrated, Migration, Outcome, Value, codes};
use pocket_storage::faulty::{CallKind, Moment};

use crate::audit::{Audit, DocKey, Verdict, broken, ids_of};
use crate::client::{COLLECTIONS, Done};
use crate::counts::{Counts, Kind};
use crate::family::Family;
use crate::trace::Node;
use crate::view::{self, Stored};
use crate::world::World;

/// The version of the newest program.
pub(crate) const NEWEST: u32 = 3;

/// How many of the smallest steps in time are behind a version that got another shape, at the most.
const STEPS: u64 = 16;

/// The field with the shape of a document; what has none has the first one.
const SHAPE: &str = "shape";

/// What holds the padding of a document, by shape.
const PADDING: [&str; NEWEST as usize] = ["padding", "filling", "stuffing"];

/// What is known of a device's program and store.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    /// The newest that it has.
    pub(crate) newest: u32,
    /// The one that is started next, if it is an older one.
    older: Option<u32>,
    /// One of the next storage calls is the last when it starts.
    crashes: bool,
    /// What its store was when it was opened last, if it was there.
    found: Option<Stored>,
    /// The version that runs, or is starting.
    pub(crate) runs: u32,
    /// The versions that its store can have been raised to, from and to.
    raised: (u32, u32),
    /// What that was before the program that is starting.
    before: (u32, u32),
}

impl Programs {
    pub(crate) const fn new(newest: u32) -> Self {
        Self {
            newest,
            older: None,
            crashes: false,
            found: None,
            runs: newest,
            raised: (1, 1),
            before: (1, 1),
        }
    }

    fn starts(&self) -> u32 {
        self.older.unwrap_or(self.newest)
    }
}

/// The shape of what a body holds.
pub(crate) fn shape_of(body: &Body) -> u32 {
    let map = body.to_map().unwrap_or_default();
    shape(&map)
}

fn shape(map: &Map) -> u32 {
    let shape = map.get(SHAPE).and_then(Value::as_integer);
    let shape = shape.and_then(Integer::as_i64).unwrap_or(1);
    u32::try_from(shape).unwrap_or(1)
}

/// The field for the padding, as a program of a version names it.
pub(crate) fn padding_of(version: u32) -> &'static str {
    PADDING[version as usize - 1]
}

/// Marks a whole document as one of a program's.
pub(crate) fn put_shape(map: &mut Map, version: u32) {
    if version > 1 {
        map.insert(SHAPE, Value::from(i64::from(version)));
    }
}

/// The migrations that a program of a version has.
pub(crate) fn migrations(version: u32) -> impl Iterator<Item = Migration> {
    (2..=version).map(|to| {
        COLLECTIONS
            .iter()
            .fold(Migration::to(to), |migration, name| {
                migration.documents(*name, move |_, document| Ok(step(to, document)))
            })
    })
}

fn step(to: u32, mut document: Map) -> Migrated {
    if shape(&document) >= to {
        return Migrated::Unchanged;
    }
    if let Some(padding) = document.remove(padding_of(to - 1)) {
        document.insert(padding_of(to), padding);
    }
    document.insert(SHAPE, Value::from(i64::from(to)));
    Migrated::Changed(document)
}

impl Audit {
    /// Whether a change holds no more than the version it was made on: what a migration makes.
    fn is_reshaped(&self, key: &DocKey, change: &Change) -> Option<&crate::audit::Version> {
        let (body, base) = (change.kind.body()?, change.base?);
        let mut versions = self.history.get(key)?.values();
        let base = versions.find(|version| version.rev == base)?;
        let ids: BTreeSet<_> = ids_of(body).into_iter().collect();
        (base.live && ids == base.ids.iter().copied().collect()).then_some(base)
    }

    /// What a migration makes is the smallest step in time, and gives way to all else.
    pub(crate) fn check_reshaped(
        &self,
        key: &DocKey,
        change: &Change,
        outcome: &Outcome,
        counts: &mut Counts,
    ) -> Verdict {
        let Some(base) = self.is_reshaped(key, change) else {
            return Ok(());
        };
        match outcome {
            Outcome::Applied { .. } => counts.add(Kind::MigratedSent),
            Outcome::Conflict { .. } => counts.add(Kind::MigratedYielded),
            Outcome::Rejected { .. } => {}
        }
        // One step for each shape, and for each version that was lost between.
        let steps = change.rev.hlc.bits().wrapping_sub(base.rev.hlc.bits());
        // A device whose clock was ahead gives all it has new times.
        let restamped = counts.of(Kind::RejectedClock) > 0;
        if restamped || (1..=STEPS).contains(&steps) {
            return Ok(());
        }
        broken(
            "schema",
            format!(
                "{key} got a new shape as {:?}, which is no small step behind {base:?}",
                change.rev
            ),
        )
    }
}

impl World {
    /// The programs of this history raise the schema version.
    pub(crate) fn has_schemas(&self) -> bool {
        self.swarm.family == Family::Schemas
    }

    /// The version of the program that a device starts with, as its store is now.
    pub(crate) fn program_that_starts(&mut self, index: usize) -> u32 {
        let client = &mut self.clients[index];
        let found = client.made.then(|| view::stored(client.disk.look()));
        let programs = &mut client.programs;
        programs.found.clone_from(&found);
        let starts = programs.starts();
        programs.runs = starts;
        if let Some(Stored::Version(version)) = found {
            programs.raised = (version, version);
        }
        programs.before = programs.raised;
        programs.raised.1 = programs.raised.1.max(starts);
        if std::mem::take(&mut client.programs.crashes) {
            let moment = self.family_dice.pick(&[Moment::Before, Moment::After]);
            let call = client.disk.faults.calls().commit + self.family_dice.between(1, 7);
            let faults = &client.disk.faults;
            faults.crash_at_kind(CallKind::Commit, call, moment);
        }
        match found {
            Some(Stored::HalfDone) => self.counts.add(Kind::MigrationResumed),
            Some(Stored::Version(version)) if version < starts => {
                self.counts.add(Kind::Migrated);
                let view = view::look(self.clients[index].disk.look(), &[]);
                if view.is_ok_and(|view| view.pending > 0) {
                    self.counts.add(Kind::MigratedPending);
                }
            }
            _ => {}
        }
        self.note(Node::Client(index), || {
            format!("starts program {starts} on {found:?}")
        });
        starts
    }

    /// A store was opened, or was not: older programs are refused, and a newer one leaves no document behind.
    pub(crate) fn check_program(&mut self, index: usize, failed: Option<&Error>) -> Verdict {
        let programs = &mut self.clients[index].programs;
        let starts = programs.starts();
        programs.older = None;
        let found = programs.found.take();
        let (least, most) = programs.before;
        let refused = failed.is_some_and(|error| error.code() == codes::NEWER_FORMAT);
        let may_be_refused = most > starts;
        let must_be_refused = found.is_some() && least > starts;
        if refused {
            self.counts.add(Kind::OldProgramRefused);
        }
        if refused && !may_be_refused || must_be_refused && failed.is_none() {
            return broken(
                "schema",
                format!("client {index} started program {starts} on {found:?}, refused: {refused}"),
            );
        }
        let raised = match found {
            Some(Stored::Version(version)) => version < starts,
            Some(Stored::HalfDone) => true,
            None => false,
        };
        if failed.is_some() || !raised {
            return Ok(());
        }
        let keys = self.keys_of(self.clients[index].shape.namespace);
        let Ok(view) = view::look(self.clients[index].disk.look(), &keys) else {
            return broken("schema", format!("client {index}'s store cannot be read"));
        };
        for (key, seen) in view.documents.iter().filter(|(_, seen)| seen.live) {
            self.counts.add(Kind::ShapeChecked);
            if seen.shape < starts {
                return broken(
                    "schema",
                    format!("client {index} has migrated to {starts}, and shows {seen:?} of {key}"),
                );
            }
        }
        Ok(())
    }

    /// A device gets the next program; some crash amid the migration.
    pub(crate) fn upgrade(&mut self, index: usize) {
        let crashes = self.family_dice.chance(0.5);
        let programs = &mut self.clients[index].programs;
        if programs.newest < NEWEST {
            programs.newest += 1;
            programs.crashes = crashes;
            self.counts.add(Kind::Upgraded);
            let newest = programs.newest;
            self.note(Node::Client(index), || format!("gets program {newest}"));
            self.kill_client(index, false);
        }
    }

    /// Somebody starts the program of before once more.
    pub(crate) fn start_old_program(&mut self, index: usize) {
        let programs = &mut self.clients[index].programs;
        if programs.newest > 1 {
            programs.older = Some(programs.newest - 1);
            self.counts.add(Kind::OldProgram);
            self.kill_client(index, false);
        }
    }

    /// A program brings what arrived in an older shape to its own.
    pub(crate) fn reshape(&mut self, index: usize) {
        let Some(up) = self.clients[index].up_mut() else {
            return;
        };
        if std::mem::replace(&mut up.at_chores, true) {
            return;
        }
        let db = up.db.clone();
        self.note(Node::Client(index), || "reshapes what it has".to_owned());
        self.clients[index].spawn(async move {
            let mut changed = 0;
            for name in COLLECTIONS {
                let reshaped = match db.collection::<Value>(name) {
                    Ok(documents) => documents.reshape_all().await,
                    Err(error) => Err(error),
                };
                match reshaped {
                    Ok(report) => changed += report.changed,
                    Err(error) => return Done::Chores(Err(error)),
                }
            }
            Done::Chores(Ok(changed))
        });
        self.run_client(index);
    }

    /// Everybody has the newest program by now, and brings what there is to its shape: so all documents have that.
    pub(crate) fn check_schemas(&mut self) -> Verdict {
        for index in 0..self.clients.len() {
            let programs = &mut self.clients[index].programs;
            (programs.newest, programs.older) = (NEWEST, None);
            self.kill_client(index, false);
        }
        self.until_rest(crate::history::REST)?;
        for index in 0..self.clients.len() {
            self.reshape(index);
        }
        self.until_rest(crate::history::REST)?;
        for (key, versions) in &self.audit.history {
            let stands = versions.values().next_back().filter(|version| version.live);
            // Whoever has switched sync of this one off once more keeps what he makes of it.
            let late = key.collection.as_str() == "late";
            let is_local = late && self.clients.iter().any(|client| client.toggled);
            let left = stands.filter(|version| version.shape < NEWEST && !is_local);
            if let Some(version) = left {
                return broken(
                    "schema",
                    format!("all have reshaped what they have, and {key} is {version:?}"),
                );
            }
        }
        Ok(())
    }

    /// What only got another shape is nobody's work: no journal tells of it.
    pub(crate) fn check_reshaped_journals(&self) -> Verdict {
        for index in 0..self.clients.len() {
            let journal = self.journal_of(index)?;
            if let Some((key, rule)) = journal.workless.first() {
                return broken(
                    "schema",
                    format!(
                        "client {index} has a journal entry ({rule}) for {key}, which only got another shape"
                    ),
                );
            }
        }
        Ok(())
    }
}
