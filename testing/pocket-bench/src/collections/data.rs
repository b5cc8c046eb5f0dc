//! What the collections hold: generated tasks, and real cities repeated under new ids.

use std::hash::{DefaultHasher, Hash, Hasher};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::documents::{self, Task};

const CITIES: &str = include_str!("../../../../examples/data/cities.jsonl");

/// A kind of documents, each with an id of its own.
pub(super) trait Kind: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The name of their collection.
    const COLLECTION: &'static str;

    fn id(&mut self) -> &mut Option<String>;

    /// The same documents at every call, one after another, without an end.
    fn endless() -> Outcome<Box<dyn Iterator<Item = Self>>>;
}

impl Kind for Task {
    const COLLECTION: &'static str = "tasks";

    fn id(&mut self) -> &mut Option<String> {
        &mut self.id
    }

    fn endless() -> Outcome<Box<dyn Iterator<Item = Self>>> {
        let numbered = (0..).zip(documents::endless_tasks());
        Ok(Box::new(numbered.map(|(number, mut task)| {
            task.id = Some(task_id(number));
            task
        })))
    }
}

/// A city of `examples/data`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct City {
    #[serde(rename = "_id", default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    name: String,
    latitude: f64,
    longitude: f64,
    countrycode: String,
    population: i64,
    timezone: String,
    admin1code: String,
    alternatenames: Vec<String>,
}

impl Kind for City {
    const COLLECTION: &'static str = "cities";

    fn id(&mut self) -> &mut Option<String> {
        &mut self.id
    }

    fn endless() -> Outcome<Box<dyn Iterator<Item = Self>>> {
        let cities = CITIES.lines().map(serde_json::from_str);
        let cities = cities.collect::<Result<Vec<Self>, _>>()?;
        let rounds = (0_usize..).flat_map(move |round| {
            let again = cities.clone().into_iter();
            again.map(move |city| Self {
                id: city.id.map(|id| format!("{id}-{round}")),
                ..city
            })
        });
        Ok(Box::new(rounds))
    }
}

/// Documents of a kind, the first `count`.
pub(super) fn documents<K: Kind>(count: usize) -> Outcome<Vec<K>> {
    Ok(K::endless()?.take(count).collect())
}

/// The id of the task of a number: as long as those that Pocket makes, and like them rising but for the end.
pub(super) fn task_id(number: usize) -> String {
    let number = number as u64;
    let mut hasher = DefaultHasher::new();
    number.hash(&mut hasher);
    let tail = hasher.finish();
    format!(
        "{:08x}-{:04x}-7{:03x}-{:04x}-{:012x}",
        0x0190_0000_u64 + (number >> 16),
        number & 0xffff,
        tail >> 52,
        0x8000 | (tail >> 36 & 0x3fff),
        tail & 0xffff_ffff_ffff,
    )
}

/// Random choices that are the same for all who do the same run of the same work.
pub(super) fn random(run: usize) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(4_400 + run as u64)
}

/// Ids of tasks, at random.
pub(super) fn some_ids(run: usize, among: usize, count: usize) -> Vec<String> {
    let mut random = random(run);
    (0..count)
        .map(|_| task_id(random.random_range(0..among)))
        .collect()
}

/// Ranges of the time at which tasks are due, of so many tasks each: the first and the last time.
pub(super) struct Ranges {
    /// By the time; ids beside them.
    sorted: Vec<(i64, String)>,
}

impl Ranges {
    pub(super) fn new(count: usize) -> Outcome<Self> {
        let tasks = Task::endless()?.take(count);
        let mut sorted: Vec<_> = tasks
            .map(|task| (task.due, task.id.unwrap_or_default()))
            .collect();
        sorted.sort();
        Ok(Self { sorted })
    }

    /// Ranges of `length` tasks each: the tasks, rising.
    pub(super) fn some(&self, run: usize, length: usize, count: usize) -> Vec<&[(i64, String)]> {
        let mut random = random(run);
        let starts = self.sorted.len().saturating_sub(length) + 1;
        (0..count)
            .map(|_| {
                let start = random.random_range(0..starts);
                let end = (start + length).min(self.sorted.len());
                &self.sorted[start..end]
            })
            .collect()
    }
}

/// What a result was, in short.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proof {
    pub(crate) count: usize,
    pub(crate) hash: u64,
}

impl Proof {
    /// Adds something of the result, in its order.
    pub(super) fn add(&mut self, part: &impl Hash) {
        let mut hasher = DefaultHasher::new();
        (self.hash, part).hash(&mut hasher);
        self.hash = hasher.finish();
        self.count += 1;
    }

    pub(super) fn of<T: Hash>(parts: impl IntoIterator<Item = T>) -> Self {
        let mut proof = Self::default();
        for part in parts {
            proof.add(&part);
        }
        proof
    }
}
