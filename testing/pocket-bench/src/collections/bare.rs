//! The limit of the store: bare redb with the keys and values that Pocket has.

use std::path::Path;
use std::sync::Arc;

use pocket_storage::Durability;
use redb::{ReadOnlyTable, ReadableDatabase, TableDefinition};

use super::data::{self, Proof, Ranges};
use super::{Begin, Indexes, Work, pocket, take_turns, without};
use crate::Outcome;
use crate::bare::put_all;
use crate::child::Parent;
use crate::documents::{BATCH, Task};
use crate::machine::Stopwatch;
use crate::recorder::{Recorder, Writes};
use crate::roles::{open_bare, tables};

pub(super) async fn contend(parent: &mut Parent, begin: &Begin) -> Outcome {
    let file = &begin.file;
    match begin.work {
        Work::Get { among, gets } => get(parent, file, among, gets).await,
        Work::Insert { count, indexes } => insert(parent, file, count, indexes).await,
        Work::Range {
            among,
            length,
            ranges,
        } => range(parent, file, among, length, ranges).await,
        Work::Scan { .. } => scan(parent, file).await,
        Work::Open { count } => open_again(parent, file, count).await,
        Work::FillTasks { .. }
        | Work::FillCities { .. }
        | Work::Top { .. }
        | Work::Live { .. }
        | Work::LiveMany { .. } => Err(without(begin)),
    }
}

type Table = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// The documents of a file that Pocket wrote.
struct Documents {
    table: Table,
    /// What every key of a document begins with.
    prefix: Vec<u8>,
    // Behind the table, so that it is dropped later.
    _database: redb::Database,
}

/// A key of a document begins with this and four bytes of the collection's number.
const KIND: &[u8] = b"d";

impl Documents {
    fn open(file: &Path) -> Outcome<Self> {
        let database = open_bare(file)?;
        let transaction = database.begin_read()?;
        let names = tables(&transaction)?;
        let name = names.first().ok_or("a file has no table")?;
        let table: Table = transaction.open_table(TableDefinition::new(name))?;
        let first = table.range(KIND..)?.next().ok_or("a file is empty")??;
        let prefix = first.0.value().get(..5).ok_or("a key is short")?.to_vec();
        Ok(Self {
            table,
            prefix,
            _database: database,
        })
    }

    fn get(&self, id: &str) -> Outcome<Vec<u8>> {
        let key = [&self.prefix, id.as_bytes()].concat();
        let value = self.table.get(key.as_slice())?;
        let value = value.ok_or("bare redb lacks a document")?;
        Ok(value.value().to_vec())
    }
}

async fn get(parent: &mut Parent, file: &Path, among: usize, gets: usize) -> Outcome {
    let documents = Documents::open(file)?;
    let ids = data::some_ids(0, among, gets);
    for id in &ids {
        documents.get(id)?;
    }
    let proof = Proof {
        count: ids.len(),
        hash: 0,
    };
    take_turns(parent, &proof, async |run| {
        let ids = data::some_ids(run, among, gets);
        let began = Stopwatch::start();
        for id in &ids {
            std::hint::black_box(documents.get(id)?);
        }
        Ok(vec![began.elapsed().as_secs_f64()])
    })
    .await
}

async fn insert(parent: &mut Parent, file: &Path, count: usize, indexes: Indexes) -> Outcome {
    let writes = recorded(&data::documents(count)?, indexes).await?;
    let proof = Proof { count, hash: 0 };
    take_turns(parent, &proof, async |run| {
        let file = file.with_extension(run.to_string());
        let time = put_all(&file, &writes)?;
        std::fs::remove_file(file)?;
        Ok(vec![time.as_secs_f64()])
    })
    .await
}

/// What Pocket writes for these documents, commit by commit.
async fn recorded(tasks: &[Task], indexes: Indexes) -> Outcome<Vec<Writes>> {
    let recorder = Recorder::new();
    let store = Arc::new(recorder.clone());
    let collection = pocket::open::<Task>(store, indexes, Durability::PowerLoss).await?;
    recorder.take();
    for batch in tasks.chunks(BATCH) {
        collection.insert_many(batch).await?;
    }
    Ok(recorder.take())
}

async fn range(
    parent: &mut Parent,
    file: &Path,
    among: usize,
    length: usize,
    ranges: usize,
) -> Outcome {
    let (all, documents) = (Ranges::new(among)?, Documents::open(file)?);
    let read = |run: usize| {
        let ranges = all.some(run, length, ranges);
        let began = Stopwatch::start();
        let mut count = 0;
        for (_, id) in ranges.into_iter().flatten() {
            std::hint::black_box(documents.get(id)?);
            count += 1;
        }
        Outcome::Ok((count, began.elapsed().as_secs_f64()))
    };
    let (count, _) = read(0)?;
    let proof = Proof { count, hash: 0 };
    take_turns(parent, &proof, async |run| Ok(vec![read(run)?.1])).await
}

async fn scan(parent: &mut Parent, file: &Path) -> Outcome {
    let documents = Documents::open(file)?;
    let scan = || {
        let began = Stopwatch::start();
        let (mut bytes, mut sum) = (0_usize, 0_u64);
        for entry in documents.table.range(documents.prefix.as_slice()..)? {
            let (key, value) = entry?;
            if !key.value().starts_with(&documents.prefix) {
                break;
            }
            bytes += key.value().len() + value.value().len();
            // Each byte is looked at, as by a filter.
            let values = value.value().iter();
            sum = sum.wrapping_add(values.map(|byte| u64::from(*byte)).sum());
        }
        std::hint::black_box(sum);
        Outcome::Ok((bytes, began.elapsed().as_secs_f64()))
    };
    // Not the ids that were found, but the bytes that were read.
    let (count, _) = scan()?;
    let proof = Proof { count, hash: 0 };
    take_turns(parent, &proof, async |_| Ok(vec![scan()?.1])).await
}

async fn open_again(parent: &mut Parent, file: &Path, count: usize) -> Outcome {
    let opened = |run: usize| {
        let id = data::task_id(count / 2 + run);
        let began = Stopwatch::start();
        let documents = Documents::open(file)?;
        std::hint::black_box(documents.get(&id)?);
        Outcome::Ok(began.elapsed().as_secs_f64())
    };
    opened(0)?;
    let proof = Proof { count: 1, hash: 0 };
    take_turns(parent, &proof, async |run| Ok(vec![opened(run)?])).await
}
