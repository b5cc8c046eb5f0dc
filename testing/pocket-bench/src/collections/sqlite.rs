//! SQLite's side, as somebody would do it who knows it well: one table of ids and JSON, indexes on expressions, prepared
//! statements, a write-ahead log that is synced at each commit, and as much cache as Pocket's store has.

use std::path::Path;

use rand::RngExt;
use rusqlite::{CachedStatement, Connection, Row, params};
use serde::de::DeserializeOwned;

use super::data::{self, City, Kind, Proof, Ranges};
use super::pocket::{EDITS_TO_COMPARE, edit_of, watched};
use super::{Begin, Indexes, Needle, Selected, System, Work, take_turns};
use crate::Outcome;
use crate::bare::CACHE_BYTES;
use crate::child::Parent;
use crate::documents::{self, BATCH, Task};
use crate::machine::Stopwatch;

/// SQLite, with documents in one of two forms.
#[derive(Clone, Copy)]
struct Sqlite {
    binary: bool,
}

pub(super) async fn contend(parent: &mut Parent, begin: &Begin) -> Outcome {
    let sqlite = Sqlite {
        binary: begin.system == System::SqliteBinary,
    };
    let file = &begin.file;
    match begin.work {
        Work::FillTasks { count, indexes } => {
            sqlite.fill::<Task>(parent, file, count, indexes).await
        }
        Work::FillCities { count, indexes } => {
            sqlite.fill::<City>(parent, file, count, indexes).await
        }
        Work::Get { among, gets } => sqlite.get(parent, file, among, gets).await,
        Work::Insert { count, indexes } => sqlite.insert(parent, file, count, indexes).await,
        Work::Range {
            among,
            length,
            ranges,
        } => sqlite.range(parent, file, among, length, ranges).await,
        Work::Scan { by } => sqlite.scan(parent, file, by).await,
        Work::Top { times, .. } => sqlite.top(parent, file, times).await,
        Work::Live { count, edits, .. } => sqlite.live(parent, count, edits).await,
        Work::LiveMany {
            count,
            queries,
            edits,
            by,
        } => sqlite.live_many(parent, count, queries, edits, by).await,
        Work::Open { count } => sqlite.open_again(parent, file, count).await,
    }
}

fn prepare(connection: &Connection) -> Outcome {
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    // Negative: kibibytes.
    connection.pragma_update(None, "cache_size", -i64::try_from(CACHE_BYTES / 1024)?)?;
    Ok(())
}

fn open(file: &Path) -> Outcome<Connection> {
    let connection = Connection::open(file)?;
    prepare(&connection)?;
    Ok(connection)
}

impl Sqlite {
    fn create<K: Kind>(self, connection: &Connection, indexes: Indexes) -> Outcome {
        let (table, form) = (K::COLLECTION, if self.binary { "BLOB" } else { "TEXT" });
        connection.execute_batch(&format!(
            "CREATE TABLE {table} (id TEXT PRIMARY KEY, body {form} NOT NULL) WITHOUT ROWID;"
        ))?;
        for (number, fields) in indexes.fields().iter().enumerate() {
            if *fields == ["tags"] {
                // SQLite has no index on the elements of an array: this is what its users do.
                connection.execute_batch(&format!(
                    "CREATE TABLE {table}_tags (tag ANY, id TEXT, PRIMARY KEY (tag, id)) WITHOUT ROWID, STRICT;
                     CREATE TRIGGER {table}_tagged AFTER INSERT ON {table} BEGIN
                       INSERT OR IGNORE INTO {table}_tags
                         SELECT value, NEW.id FROM json_each(NEW.body, '$.tags');
                     END;"
                ))?;
                continue;
            }
            let fields = fields.iter();
            let fields: Vec<_> = fields
                .map(|field| format!("json_extract(body, '$.{field}')"))
                .collect();
            connection.execute_batch(&format!(
                "CREATE INDEX {table}_{number} ON {table} ({});",
                fields.join(", ")
            ))?;
        }
        Ok(())
    }

    /// Inserts documents, all in one transaction.
    fn put<K: Kind>(
        self,
        connection: &mut Connection,
        documents: impl IntoIterator<Item = K>,
    ) -> Outcome {
        let transaction = connection.transaction()?;
        {
            let form = if self.binary { "jsonb(?2)" } else { "?2" };
            let mut insert = transaction.prepare_cached(&format!(
                "INSERT INTO {} (id, body) VALUES (?1, {form})",
                K::COLLECTION
            ))?;
            for mut document in documents {
                let id = document.id().take();
                insert.execute(params![id, serde_json::to_string(&document)?])?;
            }
        }
        Ok(transaction.commit()?)
    }

    /// How a body is selected as text.
    fn body(self) -> &'static str {
        if self.binary { "json(body)" } else { "body" }
    }

    async fn fill<K: Kind>(
        self,
        parent: &mut Parent,
        file: &Path,
        count: usize,
        indexes: Indexes,
    ) -> Outcome {
        let mut connection = open(file)?;
        self.create::<K>(&connection, indexes)?;
        let mut documents = K::endless()?.take(count).peekable();
        while documents.peek().is_some() {
            self.put(&mut connection, documents.by_ref().take(100 * BATCH))?;
        }
        let count = connection.query_row(
            &format!("SELECT count(*) FROM {}", K::COLLECTION),
            [],
            |row| row.get::<_, u32>(0),
        )?;
        let count = usize::try_from(count)?;
        // As SQLite's documentation advises: so that the planner knows the indexes.
        connection.execute_batch("PRAGMA optimize = 0x10002; PRAGMA wal_checkpoint(TRUNCATE)")?;
        connection.close().map_err(|(_, error)| error)?;
        let proof = Proof { count, hash: 0 };
        take_turns(parent, &proof, async |_| Ok(Vec::new())).await
    }

    fn by_id(self, connection: &Connection) -> Outcome<CachedStatement<'_>> {
        Ok(connection.prepare_cached(&format!(
            "SELECT id, {} FROM tasks WHERE id = ?1",
            self.body()
        ))?)
    }

    async fn get(self, parent: &mut Parent, file: &Path, among: usize, gets: usize) -> Outcome {
        let connection = open(file)?;
        let mut by_id = self.by_id(&connection)?;
        let mut proof = Proof::default();
        for id in data::some_ids(0, among, gets) {
            let task: Task = by_id.query_row([&id], |row| Ok(read(row)))??;
            proof.add(&(task.id, task.due));
        }
        take_turns(parent, &proof, async |run| {
            let ids = data::some_ids(run, among, gets);
            let began = Stopwatch::start();
            for id in &ids {
                let task: Task = by_id.query_row([id], |row| Ok(read(row)))??;
                std::hint::black_box(task);
            }
            Ok(vec![began.elapsed().as_secs_f64()])
        })
        .await
    }

    async fn insert(
        self,
        parent: &mut Parent,
        file: &Path,
        count: usize,
        indexes: Indexes,
    ) -> Outcome {
        let documents: Vec<Task> = data::documents(count)?;
        let proof = Proof { count, hash: 0 };
        take_turns(parent, &proof, async |run| {
            let file = file.with_extension(run.to_string());
            let mut connection = open(&file)?;
            self.create::<Task>(&connection, indexes)?;
            // Taking ids out of the documents is not part of the work.
            let batches: Vec<Vec<Task>> = documents.chunks(BATCH).map(<[Task]>::to_vec).collect();
            let began = Stopwatch::start();
            for batch in batches {
                self.put(&mut connection, batch)?;
            }
            let time = began.elapsed();
            let stored: u32 =
                connection.query_row("SELECT count(*) FROM tasks", [], |row| row.get(0))?;
            if usize::try_from(stored)? != count {
                return Err("SQLite lost what was inserted".into());
            }
            connection.close().map_err(|(_, error)| error)?;
            std::fs::remove_file(file)?;
            Ok(vec![time.as_secs_f64()])
        })
        .await
    }

    async fn range(
        self,
        parent: &mut Parent,
        file: &Path,
        among: usize,
        length: usize,
        ranges: usize,
    ) -> Outcome {
        let all = Ranges::new(among)?;
        let connection = open(file)?;
        let mut ranged = connection.prepare(&format!(
            "SELECT id, {} FROM tasks WHERE json_extract(body, '$.due') BETWEEN ?1 AND ?2
             ORDER BY json_extract(body, '$.due'), id",
            self.body()
        ))?;
        let mut read_range = |range: &[(i64, String)]| {
            let (low, high) = (range.first(), range.last());
            let [low, high] = [low, high].map(|end| end.map_or(0, |(due, _)| *due));
            all_of::<Task>(ranged.query([low, high])?)
        };
        let mut proof = Proof::default();
        for range in all.some(0, length, ranges) {
            for task in read_range(range)? {
                proof.add(&(task.id, task.due));
            }
        }
        take_turns(parent, &proof, async |run| {
            let ranges = all.some(run, length, ranges);
            let began = Stopwatch::start();
            for range in ranges {
                std::hint::black_box(read_range(range)?);
            }
            Ok(vec![began.elapsed().as_secs_f64()])
        })
        .await
    }

    async fn scan(self, parent: &mut Parent, file: &Path, by: Needle) -> Outcome {
        let condition = match by {
            Needle::Fields => {
                "json_extract(body, '$.countrycode') = 'JP'
                 AND json_extract(body, '$.population') >= 300000"
            }
            Needle::Element => {
                "EXISTS (SELECT 1 FROM json_each(body, '$.alternatenames') WHERE value = 'Mogadiscio')"
            }
        };
        let sql = format!(
            "SELECT id, {} FROM cities WHERE {condition} ORDER BY id",
            self.body()
        );
        self.cities(parent, file, &sql, 1).await
    }

    async fn top(self, parent: &mut Parent, file: &Path, times: usize) -> Outcome {
        let sql = format!(
            "SELECT id, {} FROM cities ORDER BY json_extract(body, '$.population') DESC, id LIMIT 20",
            self.body()
        );
        self.cities(parent, file, &sql, times).await
    }

    async fn cities(self, parent: &mut Parent, file: &Path, sql: &str, times: usize) -> Outcome {
        let connection = open(file)?;
        let mut query = connection.prepare(sql)?;
        let mut found: Vec<City> = all_of(query.query([])?)?;
        let proof = Proof::of(found.iter_mut().map(|city| city.id().take()));
        take_turns(parent, &proof, async |_| {
            let began = Stopwatch::start();
            for _ in 0..times {
                std::hint::black_box(all_of::<City>(query.query([])?)?);
            }
            Ok(vec![began.elapsed().as_secs_f64()])
        })
        .await
    }

    fn in_memory(self, count: usize, indexes: Indexes) -> Outcome<Connection> {
        let mut connection = Connection::open_in_memory()?;
        prepare(&connection)?;
        self.create::<Task>(&connection, indexes)?;
        self.put(&mut connection, Task::endless()?.take(count))?;
        connection.execute_batch("PRAGMA optimize = 0x10002")?;
        Ok(connection)
    }

    /// SQLite tells nobody what a change does to a result, so its users ask again: here only for the ids, from an index.
    async fn live(self, parent: &mut Parent, count: usize, edits: usize) -> Outcome {
        let connection = self.in_memory(count, Indexes::Due)?;
        let mut update = connection.prepare(UPDATE)?;
        let mut sorted =
            connection.prepare("SELECT id FROM tasks ORDER BY json_extract(body, '$.due'), id")?;
        let mut list = Vec::new();
        let mut edit = |run: usize, edits: usize, list: &mut Vec<String>| {
            let mut random = data::random(run);
            let mut seconds = Vec::with_capacity(edits);
            for _ in 0..edits {
                let id = data::task_id(random.random_range(0..count));
                let due = documents::due(&mut random);
                let began = Stopwatch::start();
                update.execute(params![id, due])?;
                *list = (sorted.query_map([], |row| row.get(0))?).collect::<Result<_, _>>()?;
                seconds.push(began.elapsed().as_secs_f64());
            }
            Outcome::Ok(seconds)
        };
        edit(0, EDITS_TO_COMPARE, &mut list)?;
        let proof = Proof::of(list.iter().map(String::as_str));
        take_turns(parent, &proof, async |run| {
            edit(run + 1, fewer(edits), &mut list)
        })
        .await
    }

    /// Nobody tells which of the queries a change concerns, so all are asked again.
    async fn live_many(
        self,
        parent: &mut Parent,
        count: usize,
        queries: usize,
        edits: usize,
        by: Selected,
    ) -> Outcome {
        let connection = self.in_memory(count, Indexes::Three)?;
        let watched = watched(count, queries, by)?;
        let mut update = connection.prepare(UPDATE)?;
        let mut query = connection.prepare(match by {
            Selected::Equality => {
                "SELECT id FROM tasks WHERE json_extract(body, '$.title') = ?1
                 ORDER BY json_extract(body, '$.due'), id"
            }
            Selected::Range => {
                "SELECT id FROM tasks WHERE json_extract(body, '$.due') BETWEEN ?1 AND ?2
                 ORDER BY json_extract(body, '$.due'), id"
            }
        })?;
        let mut results = || {
            let results = watched.iter().map(|one| {
                let read = |row: &Row<'_>| row.get::<_, String>(0);
                let rows = match by {
                    Selected::Equality => query.query_map([&one.title], read)?,
                    Selected::Range => query.query_map([one.range.0, one.range.1], read)?,
                };
                Ok(rows.collect::<Result<Vec<_>, _>>()?)
            });
            results.collect::<Outcome<Vec<_>>>()
        };
        let proof = Proof::of(results()?.iter().flatten().map(String::as_str));
        take_turns(parent, &proof, async |run| {
            let mut random = data::random(run + 1);
            let edits = fewer(edits);
            let mut seconds = Vec::with_capacity(edits);
            for _ in 0..edits {
                let (id, due) = edit_of(&watched, by, &mut random);
                let began = Stopwatch::start();
                update.execute(params![id, due])?;
                std::hint::black_box(results()?);
                seconds.push(began.elapsed().as_secs_f64());
            }
            Ok(seconds)
        })
        .await
    }

    async fn open_again(self, parent: &mut Parent, file: &Path, count: usize) -> Outcome {
        let opened = |run: usize| {
            let id = data::task_id(count / 2 + run);
            let began = Stopwatch::start();
            let connection = open(file)?;
            let mut by_id = self.by_id(&connection)?;
            let task: Task = by_id.query_row([&id], |row| Ok(read(row)))??;
            let time = began.elapsed().as_secs_f64();
            drop(by_id);
            connection.close().map_err(|(_, error)| error)?;
            Outcome::Ok((time, task))
        };
        let (_, task) = opened(0)?;
        let proof = Proof::of([(task.id, task.due)]);
        take_turns(parent, &proof, async |run| Ok(vec![opened(run)?.0])).await
    }
}

/// Asking for everything again takes so long that the middle of fewer edits has to do.
fn fewer(edits: usize) -> usize {
    (edits / 25).max(5)
}

const UPDATE: &str = "UPDATE tasks SET body = json_set(body, '$.due', ?2) WHERE id = ?1";

/// A document of a row of id and text.
fn read<K: Kind + DeserializeOwned>(row: &Row<'_>) -> Outcome<K> {
    let mut document: K = serde_json::from_str(row.get_ref(1)?.as_str()?)?;
    *document.id() = row.get(0)?;
    Ok(document)
}

fn all_of<K: Kind>(mut rows: rusqlite::Rows<'_>) -> Outcome<Vec<K>> {
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(read(row)?);
    }
    Ok(all)
}
