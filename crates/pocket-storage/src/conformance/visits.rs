//! `visit`, of backends that have it.

use std::sync::{Arc, Mutex, PoisonError};

use super::support::{Outcome, holds, put, same, value_of};
use super::{Case, Place};
use crate::{Direction, Entry, KeyRange, Result, ScanLimit, Sieve, Sifted, Storage, View};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "a_visit_reads_what_was_acknowledged_as_other_reads_do",
        promise: "The state holds every commit that was acknowledged before the call.",
        run: |place| Box::pin(a_visit_reads_what_was_acknowledged(place)),
    },
    Case {
        name: "a_visit_is_made_once_or_not_at_all",
        promise: "False where the backend cannot do that; then nobody was called.",
        run: |place| Box::pin(a_visit_is_made_once_or_not_at_all(place)),
    },
];

/// What a visitor brings back; none when nobody was called.
async fn visited<T: Send + 'static>(
    store: &dyn Storage,
    read: impl FnOnce(&dyn View) -> Result<T> + Send + 'static,
) -> Result<Option<T>> {
    let found = Arc::new(Mutex::new(None));
    let kept = found.clone();
    let visitor = move |view: Box<dyn View>| {
        let read = read(&*view);
        *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(read);
    };
    store.visit(Box::new(visitor)).await?;
    let found = found.lock().unwrap_or_else(PoisonError::into_inner).take();
    found.transpose()
}

/// Keeps keys that end so.
struct Ending(u8);

impl Sieve for Ending {
    fn keeps(&self, key: &[u8], _: &[u8]) -> bool {
        key.last() == Some(&self.0)
    }
}

fn keys(entries: &[Entry]) -> Vec<Vec<u8>> {
    entries.iter().map(|(key, _)| key.clone()).collect()
}

async fn a_visit_reads_what_was_acknowledged(place: &dyn Place) -> Outcome {
    let store = place.open().await?;
    for round in 0..3_u8 {
        for number in 0..10_u8 {
            put(&*store, &[number], &[round, number]).await?;
        }
        let read = move |view: &dyn View| {
            let all = KeyRange::all();
            let forward = view.scan(&all, ScanLimit::entries(3), Direction::Forward)?;
            let back = view.scan(&all, ScanLimit::entries(2), Direction::Backward)?;
            let last: Vec<_> = back.iter().map(|(key, _)| key.clone()).collect();
            // What is asked next follows from what was found.
            let values = view.get_many(&[last, vec![vec![77]]].concat())?;
            let sifted = view.sift(&all, ScanLimit::entries(9), Direction::Forward, &Ending(4))?;
            Ok((forward, values, sifted))
        };
        let Some((forward, values, sifted)) = visited(&*store, read).await? else {
            return Ok(());
        };
        same(
            "the first keys",
            &keys(&forward),
            &vec![vec![0], vec![1], vec![2]],
        )?;
        let values: Vec<_> = values.iter().map(Option::as_deref).collect();
        let expected = [Some(&[round, 9][..]), Some(&[round, 8]), None];
        same(
            "values of keys that were found",
            &values,
            &expected.to_vec(),
        )?;
        let Sifted {
            entries,
            looked_at,
            last,
            ..
        } = sifted;
        same("what a sieve keeps", &keys(&entries), &vec![vec![4]])?;
        same("how far it looked", &(looked_at, last), &(9, Some(vec![8])))?;
    }
    Ok(())
}

async fn a_visit_is_made_once_or_not_at_all(place: &dyn Place) -> Outcome {
    let store = place.open().await?;
    put(&*store, b"key", b"value").await?;
    let calls = Arc::new(Mutex::new(0));
    let called = calls.clone();
    let visitor = move |view: Box<dyn View>| {
        drop(view);
        *called.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    };
    let made = store.visit(Box::new(visitor)).await?;
    let calls = *calls.lock().unwrap_or_else(PoisonError::into_inner);
    same("calls", &calls, &i32::from(made))?;
    // No state that was read keeps the store from going on or from closing.
    put(&*store, b"key", b"other").await?;
    same(
        "the value",
        &value_of(&*store, b"key").await?,
        &Some(b"other".to_vec()),
    )?;
    store.close().await?;
    let closed = visited(&*store, |_| Ok(())).await;
    holds(
        !matches!(closed, Ok(Some(()))),
        "a closed store was visited",
    )
}
