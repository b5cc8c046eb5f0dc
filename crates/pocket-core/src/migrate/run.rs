//! Bringing a database to the schema version of the program, before it is open to anybody.
//!
//! First every document is tried, without a write: one that fails leaves the database as it was, open to older
//! programs. Then one commit raises the version, from which on older programs are refused, and notes that the migration
//! is under way; each batch of documents is one commit with the note of how far it came; the last takes the note away.
//! Whoever opens the database after a crash goes on from there.

use std::sync::Arc;

use super::reshape::{batch, slot_of, store_reshaped};
use super::{MigrationPhase, MigrationProgress, Migrations, Progress, Reshaped};
use crate::commit::Job;
use crate::keys::{self, CollectionId};
use crate::registry::Registry;
use crate::stored::{self, DatabaseHead, Later, MigrationRow};
use crate::tx::Tx;
use crate::{Database, Error, Result, codes};
use pocket_storage::ordered::BTreeSet;

/// Brings the database to version `to`, and tells `progress`.
pub(crate) async fn run(
    database: &Database,
    migrations: &Arc<Migrations>,
    to: u32,
    progress: Option<&dyn Progress>,
) -> Result<()> {
    let mut total = None;
    loop {
        let job = HeadJob { change: None };
        let head = database.submit_durably(job).await?;
        let version = head.schema_version;
        if version > to {
            return Err(newer(version, to));
        }
        let Some(row) = head.later.migration else {
            if version == to {
                return Ok(());
            }
            migrations.check_from(version, to)?;
            let counted = check(database, migrations, (version, to), progress).await?;
            total = Some(counted);
            // Another handle may write documents until the version is raised, also where there was none.
            let has_steps = !migrations.collections(version, to).is_empty();
            begin(database, version, to, has_steps).await?;
            continue;
        };
        migrations.check_resumed(row.from)?;
        let told = |phase, (documents, changed, deleted)| {
            if let Some(progress) = progress {
                progress.told(&MigrationProgress {
                    phase,
                    from: row.from,
                    to: version,
                    documents,
                    total,
                    changed,
                    deleted,
                });
            }
        };
        loop {
            let job = BatchJob {
                migrations: migrations.clone(),
                version,
            };
            let done = database.submit_durably(job).await;
            let (counts, done) = done.map_err(|error| goes_on(&error, row.from))?;
            if done {
                told(MigrationPhase::Done, counts);
                break;
            }
            told(MigrationPhase::Applying, counts);
        }
    }
}

/// A database that a newer program has raised.
pub(crate) fn newer(stored: u32, known: u32) -> Error {
    Error::new(
        codes::NEWER_FORMAT,
        format!(
            "the database has schema version {stored}, this program knows {known}; use a newer program"
        ),
    )
}

/// A database that only its application can finish.
pub(crate) fn half_done() -> Error {
    Error::new(
        codes::MIGRATION,
        "a migration of the database is half done; open it once with the program that began it",
    )
}

/// The collections with documents to migrate.
fn concerned(
    registry: &Registry,
    migrations: &Migrations,
    from: u32,
    to: u32,
) -> BTreeSet<CollectionId> {
    let named = migrations.collections(from, to);
    registry
        .iter()
        .filter(|(name, _)| named.contains(name.as_str()))
        .map(|(_, row)| row.id())
        .collect()
}

/// Tries every document, and counts them.
async fn check(
    database: &Database,
    migrations: &Migrations,
    (from, to): (u32, u32),
    progress: Option<&dyn Progress>,
) -> Result<u64> {
    let core = database.core();
    let registry = core.registry();
    let mut now = MigrationProgress {
        phase: MigrationPhase::Checking,
        from,
        to,
        documents: 0,
        total: None,
        changed: 0,
        deleted: 0,
    };
    for collection in concerned(&registry, migrations, from, to) {
        let Some((name, row)) = registry.row(collection) else {
            continue;
        };
        let mut range = keys::documents(collection);
        loop {
            let forward = pocket_storage::Direction::Forward;
            let entries = core.storage.scan(range.clone(), batch(), forward).await?;
            let Some((last, _)) = entries.last() else {
                break;
            };
            range = range.after(last.clone());
            for (key, value) in &entries {
                let slot = slot_of(&row, key, &core.open(key, value)?)?;
                let Some(body) = slot.after.as_ref().and_then(|it| it.body.as_ref()) else {
                    continue;
                };
                now.documents += 1;
                let limits = &core.limits.document;
                match migrations
                    .reshape((from, to), &name, &slot.id, body, limits)
                    .map_err(|error| stays(&error, from))?
                {
                    Reshaped::Unchanged => {}
                    Reshaped::Changed(_) => now.changed += 1,
                    Reshaped::Deleted => now.deleted += 1,
                }
            }
            if let Some(progress) = progress {
                progress.told(&now);
            }
        }
    }
    Ok(now.documents)
}

fn stays(error: &Error, version: u32) -> Error {
    if error.code() != codes::MIGRATION {
        return error.clone();
    }
    Error::new(
        codes::MIGRATION,
        format!("{error}; nothing was changed, the database stays at version {version}"),
    )
}

fn goes_on(error: &Error, version: u32) -> Error {
    if error.code() != codes::MIGRATION {
        return error.clone();
    }
    Error::new(
        codes::MIGRATION,
        format!(
            "{error}; the migration from version {version} is half done and goes on when the database is opened again"
        ),
    )
}

/// Raises the version; from here on programs that know less are refused.
async fn begin(database: &Database, from: u32, to: u32, has_steps: bool) -> Result<()> {
    let row = MigrationRow {
        from,
        after: serde_bytes::ByteBuf::new(),
        counts: (0, 0, 0),
        later: Later,
    };
    let change = Some((from, to, has_steps.then_some(row)));
    database.submit_durably(HeadJob { change }).await?;
    Ok(())
}

async fn load(tx: &mut Tx) -> Result<DatabaseHead> {
    let payload = tx.get(keys::DATABASE).await?;
    stored::decode(&payload.ok_or_else(|| stored::damaged("the database has no head"))?)
}

fn store(tx: &mut Tx, head: &DatabaseHead) {
    tx.put(keys::DATABASE.to_vec(), &[&stored::encode(head)]);
}

/// Reads the head of the database, and raises its version if it is still the first of these.
struct HeadJob {
    change: Option<(u32, u32, Option<MigrationRow>)>,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for HeadJob {
    type Output = DatabaseHead;

    async fn run(&mut self, tx: &mut Tx) -> Result<DatabaseHead> {
        let mut head = load(tx).await?;
        if let Some((from, to, row)) = &self.change
            && head.schema_version == *from
            && head.later.migration.is_none()
        {
            head.schema_version = *to;
            head.later.migration.clone_from(row);
            store(tx, &head);
        }
        Ok(head)
    }
}

/// Migrates the next documents, and notes how far that came.
struct BatchJob {
    migrations: Arc<Migrations>,
    /// The version that this is about.
    version: u32,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for BatchJob {
    /// What was done so far, and whether that is all.
    type Output = ((u64, u64, u64), bool);

    fn runs_alone(&self) -> bool {
        true
    }

    /// The database is not open yet, so nobody could mend what breaks a unique index.
    fn keeps_duplicates(&self) -> bool {
        true
    }

    async fn run(&mut self, tx: &mut Tx) -> Result<Self::Output> {
        let mut head = load(tx).await?;
        let to = head.schema_version;
        let Some(row) = head.later.migration.as_mut().filter(|_| to == self.version) else {
            // Another handle was here, and has done it.
            return Ok(((0, 0, 0), true));
        };
        let from = row.from;
        let concerned = concerned(tx.registry(), &self.migrations, from, to);
        let position = Some(row.after.to_vec()).filter(|after| !after.is_empty());
        let reached = position.as_deref().and_then(keys::document_collection);
        for collection in concerned {
            if reached.is_some_and(|reached| collection < reached) {
                continue;
            }
            let range = keys::documents(collection);
            let range = match &position {
                Some(after) if reached == Some(collection) => range.after(after.clone()),
                _ => range,
            };
            let entries = tx.scan(range, batch()).await?;
            let Some((last, _)) = entries.last() else {
                continue;
            };
            row.after = serde_bytes::ByteBuf::from(last.clone());
            let (name, settings) = tx
                .registry()
                .row(collection)
                .ok_or_else(|| stored::damaged("a collection has no row"))?;
            for (key, payload) in &entries {
                let slot = slot_of(&settings, key, payload)?;
                let Some(body) = slot.after.as_ref().and_then(|it| it.body.as_ref()) else {
                    continue;
                };
                let limits = &tx.core().limits.document;
                let reshaped =
                    self.migrations
                        .reshape((from, to), &name, &slot.id, body, limits)?;
                row.counts.0 += 1;
                row.counts.1 += u64::from(matches!(reshaped, Reshaped::Changed(_)));
                row.counts.2 += u64::from(reshaped == Reshaped::Deleted);
                store_reshaped(tx, &name, &settings, slot, reshaped).await?;
            }
            let counts = row.counts;
            store(tx, &head);
            return Ok((counts, false));
        }
        let counts = row.counts;
        head.later.migration = None;
        store(tx, &head);
        Ok((counts, true))
    }
}
