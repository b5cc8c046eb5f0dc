//! Documents from a seeded generator: about 200 bytes of MessagePack with the id that Pocket makes.

use pocket_core::{Body, DocumentLimits};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::Outcome;

/// Documents of one local insert.
pub(crate) const BATCH: usize = 1_000;

/// Bytes of the ids that Pocket makes: a UUID as text.
pub(crate) const ID_BYTES: usize = 36;

const WORDS: &[&str] = &[
    "bread", "milk", "paint", "fence", "letter", "answer", "garden", "invoice", "train", "window",
    "review", "summer", "ticket", "engine", "harbour", "lamp", "friday", "draft", "kitchen", "map",
];

/// A document, as an application might have it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Task {
    /// None where Pocket makes it.
    #[serde(rename = "_id", default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    pub(crate) title: String,
    done: bool,
    priority: u8,
    pub(crate) due: i64,
    effort: f64,
    tags: Vec<String>,
    note: String,
}

/// The same `count` documents at every call.
pub(crate) fn tasks(count: usize) -> Vec<Task> {
    endless_tasks().take(count).collect()
}

/// The same documents at every call, one after another.
pub(crate) fn endless_tasks() -> impl Iterator<Item = Task> {
    let mut random = ChaCha8Rng::seed_from_u64(7_700);
    std::iter::repeat_with(move || task(&mut random))
}

/// A time at which a task may be due, in milliseconds.
pub(crate) fn due(random: &mut impl RngExt) -> i64 {
    random.random_range(1_700_000_000_000..1_800_000_000_000)
}

fn task(random: &mut ChaCha8Rng) -> Task {
    Task {
        id: None,
        title: words(random, 3),
        done: random.random_range(0..4) == 0,
        priority: random.random_range(1..6),
        due: due(random),
        effort: f64::from(random.random_range(1_u32..400)) / 8.0,
        tags: vec![words(random, 1), words(random, 1)],
        note: words(random, 8),
    }
}

fn words(random: &mut ChaCha8Rng, count: usize) -> String {
    let words: Vec<&str> = (0..count)
        .map(|_| WORDS[random.random_range(0..WORDS.len())])
        .collect();
    words.join(" ")
}

/// The MessagePack bodies of documents, as Pocket stores and sends them.
pub(crate) fn bodies(tasks: &[Task]) -> Outcome<Vec<Body>> {
    let limits = DocumentLimits::default();
    let body = |task| Ok(Body::from_serialize(task, &limits)?.1);
    tasks.iter().map(body).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_the_same_each_time_and_about_200_bytes_with_their_id() {
        let tasks = tasks(1_000);
        assert_eq!(tasks, super::tasks(1_000));
        assert_ne!(tasks[0], tasks[1]);
        let bytes: usize = bodies(&tasks)
            .expect("good documents")
            .iter()
            .map(Body::len)
            .sum();
        let average = bytes / 1_000 + ID_BYTES;
        assert!((180..=220).contains(&average), "{average} bytes");
    }
}
