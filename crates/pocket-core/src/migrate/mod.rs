//! Migrations: documents of an older shape become those of a newer one, once, in order, whatever happens meanwhile.
//!
//! `docs/decisions/0008-a-migration-gives-way.md` says what they are to other devices.

mod reshape;
mod run;
mod version;

use std::fmt;
use std::sync::Arc;

use pocket_storage::ordered::BTreeSet;
use pocket_storage::sorting;
use pocket_storage::{MaybeSend, MaybeSync};

use crate::document::with_id;
use crate::{Body, CollectionName, DocumentId, DocumentLimits, Error, Map, Result, Value, codes};

pub(crate) use reshape::store_reshaped;
pub use reshape::{ReshapeFailure, ReshapeReport};
pub(crate) use run::{half_done, newer, run};
pub(crate) use version::SchemaVersion;

/// What a migration makes of a document.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Migrated {
    /// It has the new shape already.
    Unchanged,
    /// The document in its new shape. Fields that are the same as before keep their bytes; `_id` may be left out and
    /// cannot be another one.
    Changed(Map),
    /// It goes.
    Deleted,
}

/// The steps from one version of an application's schema to the next.
///
/// ```
/// use pocket_core::{Migrated, Migration};
///
/// let to_2 = Migration::to(2).documents("todos", |_id, mut todo| {
///     let Some(done) = todo.remove("done") else {
///         return Ok(Migrated::Unchanged);
///     };
///     todo.insert("completed", done);
///     Ok(Migrated::Changed(todo))
/// });
/// # drop(to_2);
/// ```
#[derive(Clone)]
#[must_use]
pub struct Migration {
    version: u32,
    steps: Vec<(String, Arc<dyn Step>)>,
}

/// A function of an application.
trait Step: MaybeSend + MaybeSync {
    fn run(&self, id: &DocumentId, document: Map) -> Result<Migrated, String>;
}

impl<F> Step for F
where
    F: Fn(&DocumentId, Map) -> Result<Migrated, String> + MaybeSend + MaybeSync,
{
    fn run(&self, id: &DocumentId, document: Map) -> Result<Migrated, String> {
        self(id, document)
    }
}

impl Migration {
    /// What leads from the version before to this one. Versions begin at 1, so the first migration is that to 2.
    pub fn to(version: u32) -> Self {
        Self {
            version,
            steps: Vec::new(),
        }
    }

    /// What becomes of each document of a collection.
    ///
    /// The function gets the document with `_id` and must give the same answer whenever it gets the same document: it
    /// runs once to see whether every document can be migrated, and again to do it; on other devices, too. It should
    /// recognise a document that has the new shape: those arrive from devices that were faster. An error stops the
    /// migration, with its text.
    pub fn documents(
        mut self,
        collection: impl Into<String>,
        step: impl Fn(&DocumentId, Map) -> Result<Migrated, String> + MaybeSend + MaybeSync + 'static,
    ) -> Self {
        self.steps.push((collection.into(), Arc::new(step)));
        self
    }
}

impl fmt::Debug for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let collections: Vec<_> = self.steps.iter().map(|(name, _)| name).collect();
        f.debug_struct("Migration")
            .field("version", &self.version)
            .field("documents", &collections)
            .finish()
    }
}

/// How far a migration has come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigrationProgress {
    /// What is being done.
    pub phase: MigrationPhase,
    /// The version the database had.
    pub from: u32,
    /// The version it will have.
    pub to: u32,
    /// Documents looked at in this phase, those before a crash included.
    pub documents: u64,
    /// Documents there are to look at, once that is known.
    pub total: Option<u64>,
    /// Of these, how many got another shape.
    pub changed: u64,
    /// Of these, how many were deleted.
    pub deleted: u64,
}

/// What a migration is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MigrationPhase {
    /// Each document is tried, without a write. Should one fail, the database stays as it was.
    Checking,
    /// Documents get their new shape, a batch at a time. A crash costs the batch it hits.
    Applying,
    /// All have it.
    Done,
}

/// Hears how far a migration has come.
pub(crate) trait Progress: MaybeSend + MaybeSync {
    fn told(&self, progress: &MigrationProgress);
}

impl<F: Fn(&MigrationProgress) + MaybeSend + MaybeSync> Progress for F {
    fn told(&self, progress: &MigrationProgress) {
        self(progress);
    }
}

/// What a document becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reshaped {
    Unchanged,
    Changed(Body),
    Deleted,
}

/// The migrations that a program knows, by version.
#[derive(Clone, Debug, Default)]
pub(crate) struct Migrations(Vec<Migration>);

impl Migrations {
    /// Puts them in order. With the version the program says it has, if it does, comes the one it has.
    pub(crate) fn checked(
        mut migrations: Vec<Migration>,
        version: Option<u32>,
    ) -> Result<(Self, u32)> {
        sorting::sort_by_key(&mut migrations, |migration| migration.version);
        let wrong = |message: String| Err(Error::new(codes::CONFIG, message));
        for migration in &migrations {
            for (collection, _) in &migration.steps {
                CollectionName::new(collection)?;
            }
        }
        let versions: Vec<u32> = migrations.iter().map(|it| it.version).collect();
        let (Some(first), Some(last)) = (versions.first(), versions.last()) else {
            return Ok((Self::default(), version.unwrap_or(1)));
        };
        if *first < 2 {
            return wrong(format!(
                "there is no migration to version {first}; the first is to 2"
            ));
        }
        if let Some(version) = version.filter(|version| version != last) {
            return wrong(format!(
                "the schema version is {version}, but the last migration leads to {last}; add the one that is \
                 missing (it may be empty), or leave the version out"
            ));
        }
        for pair in versions.windows(2) {
            if pair[1] != pair[0] + 1 {
                return wrong(format!(
                    "after the migration to version {} comes the one to {}, not to {}; each version has one",
                    pair[0],
                    pair[0] + 1,
                    pair[1]
                ));
            }
        }
        let last = *last;
        Ok((Self(migrations), last))
    }

    /// Whether they lead from this version on to that of the program.
    pub(crate) fn check_from(&self, stored: u32, to: u32) -> Result<()> {
        let missing = match self.0.first() {
            _ if stored == to => return Ok(()),
            Some(first) if first.version > stored + 1 => format!(
                "the migrations of this program begin with the one to {}; open them once with a program that has the \
                 one to {}",
                first.version,
                stored + 1
            ),
            Some(_) => return Ok(()),
            None => format!(
                "this program has {to} and no migration; add those to each version from {} to {to}, without a step \
                 where documents stay as they are",
                stored + 1
            ),
        };
        Err(Error::new(
            codes::MIGRATION,
            format!("the documents have schema version {stored}, and {missing}"),
        ))
    }

    /// Whether a migration that was begun at this version can go on.
    fn check_resumed(&self, from: u32) -> Result<()> {
        let first = self.0.first().map(|first| first.version);
        if first.is_some_and(|first| first <= from + 1) {
            return Ok(());
        }
        Err(Error::new(
            codes::MIGRATION,
            format!(
                "a migration from schema version {from} is half done, and this program does not have all of it; open \
                 the database once with the program that began it"
            ),
        ))
    }

    /// The collections whose documents change between two versions.
    fn collections(&self, from: u32, to: u32) -> BTreeSet<&str> {
        let between = self.between(from, to);
        between
            .flat_map(|migration| migration.steps.iter().map(|(name, _)| name.as_str()))
            .collect()
    }

    fn between(&self, from: u32, to: u32) -> impl Iterator<Item = &Migration> {
        let migrations = self.0.iter();
        migrations.filter(move |migration| migration.version > from && migration.version <= to)
    }

    /// What a document of version `from` is at version `to`.
    pub(crate) fn reshape(
        &self,
        (from, to): (u32, u32),
        collection: &CollectionName,
        id: &DocumentId,
        body: &Body,
        limits: &DocumentLimits,
    ) -> Result<Reshaped> {
        let mut map: Option<Map> = None;
        for migration in self.between(from, to) {
            let failed = |why: &dyn fmt::Display| {
                Error::new(
                    codes::MIGRATION,
                    format!(
                        "the migration to schema version {} fails at document {id:?} of `{collection}`: {why}",
                        migration.version
                    ),
                )
            };
            let steps = migration.steps.iter();
            for (_, step) in steps.filter(|(name, _)| name == collection.as_str()) {
                let document = match &map {
                    Some(map) => with_id(id, map.clone()),
                    None => with_id(id, body.to_map()?),
                };
                match step.run(id, document).map_err(|why| failed(&why))? {
                    Migrated::Unchanged => {}
                    Migrated::Deleted => return Ok(Reshaped::Deleted),
                    Migrated::Changed(mut changed) => {
                        let named = changed.remove("_id");
                        if named.is_some_and(|named| named != Value::from(id.as_str())) {
                            return Err(failed(&"it gives the document another `_id`"));
                        }
                        // Told here, with its name, and not when all steps are done.
                        Body::from_map(&changed, limits).map_err(|error| failed(&error))?;
                        map = Some(changed);
                    }
                }
            }
        }
        let Some(map) = map else {
            return Ok(Reshaped::Unchanged);
        };
        let reshaped = body.with_fields(&map, limits)?;
        Ok(if reshaped == *body {
            Reshaped::Unchanged
        } else {
            Reshaped::Changed(reshaped)
        })
    }
}
