//! `scan`.

use std::ops::Bound;
use std::sync::Arc;

use super::support::{Outcome, join_all, noise, same, same_bytes};
use super::{Case, Place};
use crate::{
    Batch, BoxFuture, Direction, Durability, Entry, KeyRange, Result, ScanLimit, Sieve, Sifted,
    Storage,
};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "a_scan_returns_its_range_in_both_directions",
        promise: "The entries of `range` in the order of `direction`",
        run: |place| Box::pin(a_scan_returns_its_range(place)),
    },
    Case {
        name: "a_scan_stops_at_its_number_of_entries",
        promise: "A limit of no entries returns none",
        run: |place| Box::pin(a_scan_stops_at_its_number_of_entries(place)),
    },
    Case {
        name: "a_scan_stops_behind_the_entry_that_reaches_its_bytes",
        promise: "The scan ends behind the entry whose key and value bring the sum to this many bytes or more.",
        run: |place| Box::pin(a_scan_stops_at_its_bytes(place)),
    },
    Case {
        name: "a_scan_returns_one_entry_however_large",
        promise: "otherwise at least one entry is returned if the range has one, whatever its size.",
        run: |place| Box::pin(a_scan_returns_one_entry_however_large(place)),
    },
    Case {
        name: "pages_of_a_scan_meet_without_gap_or_overlap",
        promise: "The same range, beginning behind `key`.",
        run: |place| Box::pin(pages_of_a_scan_meet(place)),
    },
    Case {
        name: "a_sifted_scan_is_the_scan_without_what_the_sieve_leaves_out",
        promise: "of the entries that [`scan`](Self::scan) returns, those that `sieve` keeps.",
        run: |place| Box::pin(a_sifted_scan_is_the_scan(place)),
    },
    Case {
        name: "a_scan_reads_one_state",
        promise: "all read from one state of the store, until `limit` is reached.",
        run: |place| Box::pin(a_scan_reads_one_state(place)),
    },
];

const KEYS: [&str; 7] = ["", "a", "a\0", "aa", "ab", "b", "\u{7f}"];

async fn filled(place: &dyn Place) -> Result<Arc<dyn Storage>> {
    let store = place.open().await?;
    let mut batch = Batch::new();
    for key in KEYS.iter().rev() {
        batch.put(*key, format!("value of {key:?}"));
    }
    store.commit(batch, Durability::PowerLoss).await?;
    Ok(store)
}

async fn a_scan_returns_its_range(place: &dyn Place) -> Outcome {
    let store = filled(place).await?;
    let mut bounds = vec![Bound::Unbounded];
    for key in KEYS.iter().chain(&["Z", "a\x01", "zz"]) {
        let key = key.as_bytes().to_vec();
        bounds.extend([Bound::Included(key.clone()), Bound::Excluded(key)]);
    }
    // Every pair of bounds, inverted ones included.
    for start in &bounds {
        for end in &bounds {
            let (start, end) = (start.clone(), end.clone());
            let range = KeyRange { start, end };
            let mut expected: Vec<Vec<u8>> = KEYS
                .iter()
                .map(|key| key.as_bytes().to_vec())
                .filter(|key| range.contains(key))
                .collect();
            let found = keys(&*store, &range, Direction::Forward).await?;
            same(&format!("{range:?} forward"), &found, &expected)?;
            expected.reverse();
            let found = keys(&*store, &range, Direction::Backward).await?;
            same(&format!("{range:?} backward"), &found, &expected)?;
        }
    }
    let prefix = KeyRange::prefix("a");
    let found = keys(&*store, &prefix, Direction::Forward).await?;
    let expected = ["a", "a\0", "aa", "ab"].map(|key| key.as_bytes().to_vec());
    same("the keys that begin with a", &found, &expected.to_vec())
}

async fn keys(store: &dyn Storage, range: &KeyRange, direction: Direction) -> Result<Vec<Vec<u8>>> {
    let found = store
        .scan(range.clone(), ScanLimit::entries(100), direction)
        .await?;
    Ok(found.into_iter().map(|(key, _)| key).collect())
}

async fn a_scan_stops_at_its_number_of_entries(place: &dyn Place) -> Outcome {
    let store = filled(place).await?;
    for direction in [Direction::Forward, Direction::Backward] {
        let all = keys(&*store, &KeyRange::all(), direction).await?;
        for entries in [0, 1, 3, KEYS.len(), KEYS.len() + 1, usize::MAX] {
            let found = store
                .scan(KeyRange::all(), ScanLimit::entries(entries), direction)
                .await?;
            let found: Vec<_> = found.into_iter().map(|(key, _)| key).collect();
            let expected = all[..entries.min(all.len())].to_vec();
            same(&format!("a scan of {entries}"), &found, &expected)?;
        }
    }
    Ok(())
}

async fn a_scan_stops_at_its_bytes(place: &dyn Place) -> Outcome {
    let store = place.open().await?;
    let mut batch = Batch::new();
    for key in 0..10_u8 {
        batch.put(vec![key], vec![key; 99]);
    }
    store.commit(batch, Durability::PowerLoss).await?;
    for (bytes, expected) in [(0, 1), (1, 1), (100, 1), (101, 2), (200, 2), (999, 10)] {
        let limit = ScanLimit::entries(100).bytes(bytes);
        for direction in [Direction::Forward, Direction::Backward] {
            let found = store.scan(KeyRange::all(), limit, direction).await?;
            same(&format!("a scan of {bytes} bytes"), &found.len(), &expected)?;
        }
    }
    Ok(())
}

async fn a_scan_returns_one_entry_however_large(place: &dyn Place) -> Outcome {
    let store = place.open().await?;
    let large = noise(3, 6 * 1024 * 1024);
    let mut batch = Batch::new();
    batch
        .put("1", "small")
        .put("2", large.clone())
        .put("3", "small");
    store.commit(batch, Durability::PowerLoss).await?;
    let from_two = KeyRange::all().after("1");
    let limit = ScanLimit::entries(10);
    let found = store.scan(from_two, limit, Direction::Forward).await?;
    same("entries within 4 MiB", &found.len(), &1)?;
    same_bytes("the large one", Some(&found[0].1), &large)?;
    let limit = limit.bytes(usize::MAX);
    let found = store
        .scan(KeyRange::all(), limit, Direction::Backward)
        .await?;
    same("entries without a bound", &found.len(), &3)?;
    same_bytes("the large one", Some(&found[1].1), &large)
}

async fn pages_of_a_scan_meet(place: &dyn Place) -> Outcome {
    let store = place.open().await?;
    let mut batch = Batch::new();
    for number in 0..1000_u32 {
        batch.put(number.to_be_bytes(), number.to_string());
    }
    store.commit(batch, Durability::PowerLoss).await?;
    let mut found: Vec<Entry> = Vec::new();
    let mut range = KeyRange::all();
    loop {
        let limit = ScanLimit::entries(64);
        let page = store.scan(range.clone(), limit, Direction::Forward).await?;
        let Some((last, _)) = page.last() else { break };
        range = range.after(last.clone());
        found.extend(page);
    }
    let mut backward: Vec<Entry> = Vec::new();
    let mut range = KeyRange::all();
    loop {
        let limit = ScanLimit::entries(1000).bytes(500);
        let page = store
            .scan(range.clone(), limit, Direction::Backward)
            .await?;
        let Some((last, _)) = page.last() else { break };
        range = range.before(last.clone());
        backward.extend(page);
    }
    backward.reverse();
    same("entries", &found.len(), &1000)?;
    same("the pages backward", &backward, &found)
}

/// Keeps the entries whose value has one of these lengths.
struct OfLength(&'static [usize]);

impl Sieve for OfLength {
    fn keeps(&self, _: &[u8], value: &[u8]) -> bool {
        self.0.contains(&value.len())
    }
}

async fn a_sifted_scan_is_the_scan(place: &dyn Place) -> Outcome {
    let store = place.open().await?;
    let mut batch = Batch::new();
    for key in 0..40_u8 {
        batch.put(vec![key], vec![key; usize::from(key % 4)]);
    }
    store.commit(batch, Durability::PowerLoss).await?;
    let ranges = [
        KeyRange::all(),
        KeyRange::prefix([7]),
        KeyRange::all().after([3]).before([30]),
        KeyRange::all().after([30]).before([3]),
        KeyRange::all().after([200]),
    ];
    let limits = [
        ScanLimit::entries(0),
        ScanLimit::entries(5),
        ScanLimit::entries(100),
        ScanLimit::entries(100).bytes(0),
        ScanLimit::entries(100).bytes(23),
    ];
    for lengths in [&[][..], &[2], &[0, 3], &[0, 1, 2, 3]] {
        for range in &ranges {
            for limit in limits {
                for direction in [Direction::Forward, Direction::Backward] {
                    let all = store.scan(range.clone(), limit, direction).await?;
                    let expected = Sifted::of(all, &OfLength(lengths));
                    let sieve = Arc::new(OfLength(lengths));
                    let found = store.sift(range.clone(), limit, direction, sieve).await?;
                    let what = format!("{lengths:?} of {range:?}, {limit:?}, {direction:?}");
                    same(&what, &found, &expected)?;
                }
            }
        }
    }
    Ok(())
}

/// Each commit moves one token to the next of many keys; a scan must always find exactly one.
async fn a_scan_reads_one_state(place: &dyn Place) -> Outcome {
    let store = place.open().await?;
    let mut batch = Batch::new();
    for key in 0..200_u8 {
        batch.put(vec![key], vec![u8::from(key == 0); 100]);
    }
    store.commit(batch, Durability::Relaxed).await?;
    let writer = async {
        for round in 0..200_u8 {
            // Alternately forth and back by a long way, so that a scan without a snapshot sees it twice or never.
            let (from, to) = (place_of(round), place_of(round + 1));
            let mut batch = Batch::new();
            batch
                .put(vec![from], vec![0; 100])
                .put(vec![to], vec![1; 100]);
            store.commit(batch, Durability::Relaxed).await?;
        }
        Ok(())
    };
    let reader = async {
        for round in 0..100 {
            let direction = if round % 2 == 0 {
                Direction::Forward
            } else {
                Direction::Backward
            };
            let limit = ScanLimit::entries(1000);
            let found = store.scan(KeyRange::all(), limit, direction).await?;
            same("entries", &found.len(), &200)?;
            let tokens = found.iter().filter(|(_, value)| value[0] == 1).count();
            same("tokens", &tokens, &1)?;
        }
        Ok(())
    };
    let futures: Vec<BoxFuture<'_, Outcome>> = vec![Box::pin(writer), Box::pin(reader)];
    join_all(futures).await.into_iter().collect()
}

fn place_of(round: u8) -> u8 {
    if round.is_multiple_of(2) {
        round / 2
    } else {
        199 - round / 2
    }
}
