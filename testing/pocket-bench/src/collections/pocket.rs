//! Pocket's side.

use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::SelectAll;
use pocket_core::{
    Collection, CollectionConfig, Database, IndexConfig, LiveQuery, LiveStep, Order, Query,
};
use pocket_storage::{Durability, Storage};
use pocket_storage_memory::MemoryStorage;
use pocket_storage_redb::RedbStorage;
use rand::RngExt;
use serde::Serialize;

use super::data::{self, City, Kind, Proof, Ranges};
use super::{Begin, Indexes, Needle, Selected, Work, take_turns};
use crate::Outcome;
use crate::child::Parent;
use crate::documents::{self, BATCH, Task};
use crate::machine::Stopwatch;

/// What an update of a task sets.
#[derive(Serialize)]
struct Due {
    due: i64,
}

pub(super) async fn contend(parent: &mut Parent, begin: &Begin) -> Outcome {
    let file = &begin.file;
    match begin.work {
        Work::FillTasks { count, indexes } => fill::<Task>(parent, file, count, indexes).await,
        Work::FillCities { count, indexes } => fill::<City>(parent, file, count, indexes).await,
        Work::Get { among, gets } => get(parent, file, among, gets).await,
        Work::Insert { count, indexes } => insert(parent, file, count, indexes).await,
        Work::Range {
            among,
            length,
            ranges,
        } => range(parent, file, among, length, ranges).await,
        Work::Scan { by } => scan(parent, file, by).await,
        Work::Top { indexes, times } => top(parent, file, indexes, times).await,
        Work::Live {
            count,
            edits,
            watched,
        } => live(parent, count, edits, watched).await,
        Work::LiveMany {
            count,
            queries,
            edits,
            by,
        } => live_many(parent, count, queries, edits, by).await,
        Work::Open { count } => open_again(parent, file, count).await,
    }
}

pub(super) async fn open<K: Kind>(
    store: Arc<dyn Storage>,
    indexes: Indexes,
    durability: Durability,
) -> Outcome<Collection<K>> {
    let config = CollectionConfig::new(K::COLLECTION);
    let config = indexes.fields().iter().fold(config, |config, fields| {
        let mut fields = fields.iter();
        let first = IndexConfig::new(*fields.next().unwrap_or(&"_id"));
        config.index(fields.fold(first, |index, field| index.then(*field, Order::Ascending)))
    });
    let database = Database::builder("bench")
        .collection(config)
        .durability(durability)
        .open_shared(store)
        .await?;
    Ok(database.collection(K::COLLECTION)?)
}

async fn open_file<K: Kind>(file: &Path, indexes: Indexes) -> Outcome<Collection<K>> {
    let store = Arc::new(RedbStorage::open(file)?);
    open(store, indexes, Durability::PowerLoss).await
}

/// Inserts the first `count` documents in batches, without keeping them all.
async fn put<K: Kind>(collection: &Collection<K>, count: usize) -> Outcome {
    let mut documents = K::endless()?.take(count).peekable();
    while documents.peek().is_some() {
        let batch: Vec<K> = documents.by_ref().take(BATCH).collect();
        collection.insert_many(&batch).await?;
    }
    Ok(())
}

async fn fill<K: Kind>(
    parent: &mut Parent,
    file: &Path,
    count: usize,
    indexes: Indexes,
) -> Outcome {
    let store = Arc::new(RedbStorage::open(file)?);
    let collection: Collection<K> = open(store, indexes, Durability::Relaxed).await?;
    put(&collection, count).await?;
    let count = usize::try_from(collection.count().await?)?;
    collection.database().close().await?;
    let proof = Proof { count, hash: 0 };
    take_turns(parent, &proof, async |_| Ok(Vec::new())).await
}

async fn get(parent: &mut Parent, file: &Path, among: usize, gets: usize) -> Outcome {
    let tasks: Collection<Task> = open_file(file, Indexes::Due).await?;
    let mut proof = Proof::default();
    for id in data::some_ids(0, among, gets) {
        let task = tasks.get(&id).await?.ok_or("a task is missing")?;
        proof.add(&(task.id, task.due));
    }
    take_turns(parent, &proof, async |run| {
        let ids = data::some_ids(run, among, gets);
        let began = Stopwatch::start();
        for id in &ids {
            std::hint::black_box(tasks.get(id).await?);
        }
        Ok(vec![began.elapsed().as_secs_f64()])
    })
    .await
}

async fn insert(parent: &mut Parent, file: &Path, count: usize, indexes: Indexes) -> Outcome {
    let documents: Vec<Task> = data::documents(count)?;
    let proof = Proof { count, hash: 0 };
    take_turns(parent, &proof, async |run| {
        let file = file.with_extension(run.to_string());
        let tasks: Collection<Task> = open_file(&file, indexes).await?;
        let began = Stopwatch::start();
        for batch in documents.chunks(BATCH) {
            tasks.insert_many(batch).await?;
        }
        let time = began.elapsed();
        if tasks.count().await? != count as u64 {
            return Err("Pocket lost what was inserted".into());
        }
        tasks.database().close().await?;
        std::fs::remove_file(file)?;
        Ok(vec![time.as_secs_f64()])
    })
    .await
}

fn ranged(tasks: &Collection<Task>, range: &[(i64, String)]) -> Query<Task> {
    let (low, high) = (range.first(), range.last());
    let [low, high] = [low, high].map(|end| end.map_or(0, |(due, _)| *due));
    let query = tasks.find().where_field("due").between(low, high);
    query.sort("due", Order::Ascending)
}

async fn range(
    parent: &mut Parent,
    file: &Path,
    among: usize,
    length: usize,
    ranges: usize,
) -> Outcome {
    let all = Ranges::new(among)?;
    let tasks: Collection<Task> = open_file(file, Indexes::Due).await?;
    let mut proof = Proof::default();
    for range in all.some(0, length, ranges) {
        for task in ranged(&tasks, range).all().await? {
            proof.add(&(task.id, task.due));
        }
    }
    take_turns(parent, &proof, async |run| {
        let ranges = all.some(run, length, ranges);
        let began = Stopwatch::start();
        for range in ranges {
            std::hint::black_box(ranged(&tasks, range).all().await?);
        }
        Ok(vec![began.elapsed().as_secs_f64()])
    })
    .await
}

fn ids(documents: &[City]) -> Proof {
    Proof::of(documents.iter().map(|city| city.clone().id().take()))
}

async fn scan(parent: &mut Parent, file: &Path, by: Needle) -> Outcome {
    let cities: Collection<City> = open_file(file, Indexes::None).await?;
    let query = match by {
        Needle::Fields => cities
            .find()
            .where_field("countrycode")
            .eq("JP")
            .where_field("population")
            .gte(300_000),
        Needle::Element => cities
            .find()
            .where_field("alternatenames")
            .contains("Mogadiscio"),
    };
    let proof = ids(&query.all().await?);
    take_turns(parent, &proof, async |_| {
        let began = Stopwatch::start();
        std::hint::black_box(query.all().await?);
        Ok(vec![began.elapsed().as_secs_f64()])
    })
    .await
}

async fn top(parent: &mut Parent, file: &Path, indexes: Indexes, times: usize) -> Outcome {
    let cities: Collection<City> = open_file(file, indexes).await?;
    let query = cities.find().sort("population", Order::Descending);
    let query = query.limit(20);
    let proof = ids(&query.all().await?);
    take_turns(parent, &proof, async |_| {
        let began = Stopwatch::start();
        for _ in 0..times {
            std::hint::black_box(query.all().await?);
        }
        Ok(vec![began.elapsed().as_secs_f64()])
    })
    .await
}

/// Edits before anything is measured, after which results are compared.
pub(super) const EDITS_TO_COMPARE: usize = 20;

async fn in_memory(count: usize, indexes: Indexes) -> Outcome<Collection<Task>> {
    let store = Arc::new(MemoryStorage::new());
    let tasks = open(store, indexes, Durability::PowerLoss).await?;
    put(&tasks, count).await?;
    Ok(tasks)
}

async fn step(live: &mut LiveQuery<Task>) -> Outcome<LiveStep<Task>> {
    Ok(live.next().await.ok_or("a live query ended")??)
}

async fn live(parent: &mut Parent, count: usize, edits: usize, watched: bool) -> Outcome {
    let tasks = in_memory(count, Indexes::Due).await?;
    let mut live = watched.then(|| tasks.find().sort("due", Order::Ascending).live());
    let mut result = match &mut live {
        Some(live) => Some(step(live).await?.result),
        None => None,
    };
    let mut edit = async |run: usize, edits: usize| {
        let mut random = data::random(run);
        let mut seconds = Vec::with_capacity(edits);
        for _ in 0..edits {
            let id = data::task_id(random.random_range(0..count));
            let due = documents::due(&mut random);
            let began = Stopwatch::start();
            tasks.update(&id, &Due { due }).await?;
            if let Some(live) = &mut live {
                let step = step(live).await?;
                result = Some(step.result);
            }
            seconds.push(began.elapsed().as_secs_f64());
        }
        Outcome::Ok((seconds, result.clone()))
    };
    let proof = if let (_, Some(result)) = edit(0, EDITS_TO_COMPARE).await? {
        Proof::of(result.documents().map(|document| document.id.as_str()))
    } else {
        let now = tasks.find().sort("due", Order::Ascending);
        let now = now.documents().await?;
        Proof::of(now.iter().map(|document| document.id.as_str()))
    };
    take_turns(parent, &proof, async |run| {
        let (seconds, result) = edit(run + 1, edits).await?;
        if result.is_some_and(|result| result.len() != count) {
            return Err("a live query lost documents".into());
        }
        Ok(seconds)
    })
    .await
}

/// What each of many queries selects: for each the numbers of its tasks, a title, and a range of time.
pub(super) struct Watched {
    pub(super) numbers: Vec<usize>,
    pub(super) title: String,
    pub(super) range: (i64, i64),
}

/// The tasks that queries select by equality or by range.
pub(super) fn watched(count: usize, queries: usize, by: Selected) -> Outcome<Vec<Watched>> {
    let tasks: Vec<Task> = data::documents(count)?;
    let numbered = tasks.iter().enumerate();
    Ok(match by {
        Selected::Equality => {
            let mut titles = std::collections::BTreeMap::<&str, Vec<usize>>::new();
            for (number, task) in numbered {
                titles.entry(&task.title).or_default().push(number);
            }
            let queries = titles.into_iter().take(queries);
            queries
                .map(|(title, numbers)| Watched {
                    numbers,
                    title: title.to_owned(),
                    range: (0, 0),
                })
                .collect()
        }
        Selected::Range => {
            let mut sorted: Vec<(i64, usize)> =
                numbered.map(|(number, task)| (task.due, number)).collect();
            sorted.sort_unstable();
            let each = (count / queries).max(1);
            let queries = sorted.chunks(each).take(queries);
            queries
                .map(|tasks| Watched {
                    numbers: tasks.iter().map(|(_, number)| *number).collect(),
                    title: String::new(),
                    range: (
                        tasks.first().map_or(0, |first| first.0),
                        tasks.last().map_or(0, |last| last.0),
                    ),
                })
                .collect()
        }
    })
}

async fn live_many(
    parent: &mut Parent,
    count: usize,
    queries: usize,
    edits: usize,
    by: Selected,
) -> Outcome {
    let tasks = in_memory(count, Indexes::Three).await?;
    let watched = watched(count, queries, by)?;
    let mut all = SelectAll::new();
    let mut proof = Proof::default();
    for one in &watched {
        let query = tasks.find();
        let query = match by {
            Selected::Equality => query.where_field("title").eq(one.title.as_str()),
            Selected::Range => query.where_field("due").between(one.range.0, one.range.1),
        };
        let mut live = query.sort("due", Order::Ascending).live();
        let first = step(&mut live).await?;
        for document in first.result.documents() {
            proof.add(&document.id.as_str());
        }
        all.push(live);
    }
    take_turns(parent, &proof, async |run| {
        let mut random = data::random(run + 1);
        let mut seconds = Vec::with_capacity(edits);
        for _ in 0..edits {
            let (id, due) = edit_of(&watched, by, &mut random);
            let began = Stopwatch::start();
            tasks.update(&id, &Due { due }).await?;
            let step = all.next().await.ok_or("live queries ended")??;
            seconds.push(began.elapsed().as_secs_f64());
            if !(step.changes.iter()).any(|change| change.document().id.as_str() == id) {
                return Err("a live query told of another edit".into());
            }
        }
        Ok(seconds)
    })
    .await
}

/// A task that one of the queries selects, and another time for it that leaves it there.
pub(super) fn edit_of(
    watched: &[Watched],
    by: Selected,
    random: &mut impl RngExt,
) -> (String, i64) {
    let one = &watched[random.random_range(0..watched.len())];
    let number = one.numbers[random.random_range(0..one.numbers.len())];
    let due = match by {
        Selected::Equality => documents::due(random),
        Selected::Range => random.random_range(one.range.0..=one.range.1),
    };
    (data::task_id(number), due)
}

async fn open_again(parent: &mut Parent, file: &Path, count: usize) -> Outcome {
    let opened = async |run: usize| {
        let id = data::task_id(count / 2 + run);
        let began = Stopwatch::start();
        let tasks: Collection<Task> = open_file(file, Indexes::Due).await?;
        let task = tasks.get(&id).await?.ok_or("a task is missing")?;
        let time = began.elapsed().as_secs_f64();
        tasks.database().close().await?;
        Outcome::Ok((time, task))
    };
    let (_, task) = opened(0).await?;
    let proof = Proof::of([(task.id, task.due)]);
    take_turns(parent, &proof, async |run| Ok(vec![opened(run).await?.0])).await
}
