//! Random operations, compared with a `BTreeMap`.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use super::support::{Failure, Outcome, Random, conflicts, noise, same};
use super::{Case, Place};
use crate::{Batch, Check, Direction, Durability, Entry, KeyRange, ScanLimit, Storage, Write};

pub(super) const CASES: &[Case] = &[Case {
    name: "random_operations_agree_with_a_sorted_map",
    promise: "An ordered map of bytes whose only write is an atomic batch with checks.",
    run: |place| Box::pin(random_operations(place)),
}];

const SEEDS: u64 = 6;
const STEPS: u32 = 250;

type Model = BTreeMap<Vec<u8>, Bytes>;

async fn random_operations(place: &dyn Place) -> Outcome {
    let mut model = Model::new();
    for seed in 0..SEEDS {
        let mut random = Random::new(seed);
        let mut store = place.open().await?;
        for step in 0..STEPS {
            let done = if random.below(50) == 0 {
                store.close().await?;
                drop(store);
                store = place.open().await?;
                compare_all(&*store, &model).await
            } else {
                one_step(&*store, &mut model, &mut random).await
            };
            done.map_err(|failure| failure.at(&format!("seed {seed}, step {step}")))?;
        }
        compare_all(&*store, &model)
            .await
            .map_err(|failure| failure.at(&format!("seed {seed}, at the end")))?;
        store.close().await?;
    }
    Ok(())
}

async fn one_step(store: &dyn Storage, model: &mut Model, random: &mut Random) -> Outcome {
    match random.below(10) {
        0 => {
            let key = any_key(random);
            let found = store.get(&key).await?;
            same("get", &found, &model.get(&key).cloned())
        }
        1 => {
            let keys: Vec<_> = (0..random.below(8)).map(|_| any_key(random)).collect();
            let found = store.get_many(&keys).await?;
            let expected: Vec<_> = keys.iter().map(|key| model.get(key).cloned()).collect();
            same("get_many", &found, &expected)
        }
        2 | 3 => {
            let range = KeyRange {
                start: any_bound(random),
                end: any_bound(random),
            };
            let limit = ScanLimit::entries(random.below(30)).bytes(random.below(20_000));
            let direction = if random.below(2) == 0 {
                Direction::Forward
            } else {
                Direction::Backward
            };
            let expected = scan_model(model, &range, limit, direction);
            let what = format!("scan {range:?} {limit:?} {direction:?}");
            same(
                &what,
                &store.scan(range, limit, direction).await?,
                &expected,
            )
        }
        _ => commit(store, model, random).await,
    }
}

async fn commit(store: &dyn Storage, model: &mut Model, random: &mut Random) -> Outcome {
    let batch = any_batch(model, random);
    let durability = match random.below(8) {
        0 => Durability::PowerLoss,
        1 => Durability::ProcessCrash,
        _ => Durability::Relaxed,
    };
    let expected = apply(model, &batch);
    let answer = store.commit(batch.clone(), durability).await;
    match (expected, answer) {
        (true, Ok(())) => Ok(()),
        (true, Err(error)) => Err(Failure::new(format!("{batch:?} answered {error}"))),
        (false, answer) => conflicts("a batch whose check fails", &answer),
    }
}

fn any_batch(model: &Model, random: &mut Random) -> Batch {
    let mut batch = Batch::new();
    for _ in 0..random.below(3) {
        let key = any_key(random);
        // Most checks hold, or nothing would ever be written.
        match (model.get(&key), random.below(8)) {
            (_, 0) => batch.check_equals(key, "a value that nobody writes"),
            (Some(value), 2..) => batch.check_equals(key, value.clone()),
            _ => batch.check_absent(key),
        };
    }
    for _ in 0..random.below(12) {
        let key = any_key(random);
        if random.below(4) == 0 {
            batch.delete(key);
            continue;
        }
        let size = match random.below(40) {
            0 => random.below(200_000),
            1..4 => random.below(6000),
            _ => random.below(300),
        };
        batch.put(key, noise(random.next(), size));
    }
    batch
}

/// Few keys, so that they meet; some share a prefix, some are long.
fn any_key(random: &mut Random) -> Vec<u8> {
    let mut key = vec![b'a'; random.below(4)];
    if random.below(20) == 0 {
        key.resize(random.below(900), 0xff);
    }
    key.push(random.below(40) as u8);
    key
}

fn any_bound(random: &mut Random) -> Bound<Vec<u8>> {
    match random.below(3) {
        0 => Bound::Unbounded,
        1 => Bound::Included(any_key(random)),
        _ => Bound::Excluded(any_key(random)),
    }
}

/// What the contract says a batch does. Says whether its checks held.
fn apply(model: &mut Model, batch: &Batch) -> bool {
    let held = batch.checks().iter().all(|check| match check {
        Check::Equals { key, value } => model.get(key) == Some(value),
        Check::Absent { key } => !model.contains_key(key),
    });
    if held {
        for write in batch.writes() {
            match write {
                Write::Put { key, value } => model.insert(key.clone(), value.clone()),
                Write::Delete { key } => model.remove(key),
            };
        }
    }
    held
}

fn scan_model(
    model: &Model,
    range: &KeyRange,
    limit: ScanLimit,
    direction: Direction,
) -> Vec<Entry> {
    let mut entries: Vec<Entry> = model
        .iter()
        .filter(|(key, _)| range.contains(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if direction == Direction::Backward {
        entries.reverse();
    }
    let mut sum = 0;
    let full = entries.iter().position(|(key, value)| {
        sum += key.len() + value.len();
        sum >= limit.bytes
    });
    entries.truncate(full.map_or(usize::MAX, |last| last + 1));
    entries.truncate(limit.entries);
    entries
}

async fn compare_all(store: &dyn Storage, model: &Model) -> Outcome {
    let limit = ScanLimit::entries(usize::MAX).bytes(usize::MAX);
    let found = store
        .scan(KeyRange::all(), limit, Direction::Forward)
        .await?;
    let expected: Vec<Entry> = model
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    same("the whole store", &found, &expected)
}
