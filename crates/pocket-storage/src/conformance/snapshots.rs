//! `snapshot`, of backends that have it.

use super::support::{Outcome, join_all, put, same, same_bytes, value_of};
use super::{Case, Place};
use crate::{
    Batch, BoxFuture, Direction, Durability, Entry, KeyRange, Result, ScanLimit, Snapshot,
};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "a_snapshot_shows_one_state_while_commits_go_on",
        promise: "One state of the store, to be read in parts while commits go on",
        run: |place| Box::pin(a_snapshot_shows_one_state(place)),
    },
    Case {
        name: "a_snapshot_holds_what_was_acknowledged_and_whole_batches",
        promise: "It holds every commit that was acknowledged before the call, and of each later one nothing or, if it was \
                  under way, all.",
        run: |place| Box::pin(a_snapshot_holds_whole_batches(place)),
    },
    Case {
        name: "a_snapshot_keeps_no_store_from_closing",
        promise: "finishes what is under way and releases files and locks.",
        run: |place| Box::pin(a_snapshot_keeps_no_store_from_closing(place)),
    },
];

/// All entries, a few at a time.
async fn all(snapshot: &dyn Snapshot) -> Result<Vec<Entry>> {
    let mut range = KeyRange::all();
    let mut all = Vec::new();
    loop {
        let limit = ScanLimit::entries(3);
        let part = snapshot.scan(range.clone(), limit, Direction::Forward);
        let part = part.await?;
        let Some((last, _)) = part.last() else {
            return Ok(all);
        };
        range = range.after(last.clone());
        all.extend(part);
    }
}

async fn a_snapshot_shows_one_state(place: &dyn Place) -> Outcome {
    let store = place.open().await?;
    for number in 0..10_u8 {
        put(&*store, &[number], b"before").await?;
    }
    let Some(snapshot) = store.snapshot().await? else {
        return Ok(());
    };
    let first = snapshot.scan(KeyRange::all(), ScanLimit::entries(2), Direction::Forward);
    same("entries of a part", &first.await?.len(), &2)?;
    for number in 0..10_u8 {
        let mut batch = Batch::new();
        match number {
            3 | 7 => batch.delete([number]),
            _ => batch.put([number], vec![number; 100_000]),
        };
        batch.put([number + 100], &b"new"[..]);
        store.commit(batch, Durability::PowerLoss).await?;
    }
    let found = all(&*snapshot).await?;
    let keys: Vec<_> = found.iter().map(|(key, _)| key.clone()).collect();
    same("the keys", &keys, &(0..10).map(|n| vec![n]).collect())?;
    for (key, value) in &found {
        same_bytes(&format!("the value of {key:?}"), Some(value), b"before")?;
    }
    let keys = [vec![7], vec![100], vec![3], vec![7, 0]];
    let values = snapshot.get_many(&keys).await?;
    same("values of single keys", &values.len(), &4)?;
    for (place, expected) in [(0, true), (1, false), (2, true), (3, false)] {
        let expected = expected.then_some(&b"before"[..]);
        same(
            "a value of a single key",
            &values[place].as_deref(),
            &expected,
        )?;
    }
    let back = snapshot.scan(KeyRange::all(), ScanLimit::entries(1), Direction::Backward);
    same("the last key", &back.await?[0].0, &vec![9])?;
    let later = store.snapshot().await?;
    drop(snapshot);
    let count = match later {
        Some(later) => all(&*later).await?.len(),
        None => 0,
    };
    same("entries of a later one", &count, &18)
}

async fn a_snapshot_holds_whole_batches(place: &dyn Place) -> Outcome {
    const PAIRS: u8 = 40;
    let store = place.open().await?;
    if store.snapshot().await?.is_none() {
        return Ok(());
    }
    for acknowledged in (0..PAIRS).step_by(8) {
        let commits = (acknowledged..acknowledged + 8).map(|number| {
            let mut batch = Batch::new();
            batch.put([0, number], vec![number; 2_000]);
            batch.put([1, number], vec![number; 2_000]);
            store.commit(batch, Durability::Relaxed)
        });
        let commits = async {
            let answers = join_all(commits.collect()).await;
            answers.into_iter().collect::<Result<Vec<()>>>()
        };
        let taken = async { store.snapshot().await };
        let commits: BoxFuture<'_, Result<Option<Box<dyn Snapshot>>>> =
            Box::pin(async { commits.await.map(|_| None) });
        let answers = join_all(vec![commits, Box::pin(taken)]).await;
        let answers: Vec<_> = answers.into_iter().collect::<Result<_>>()?;
        for snapshot in answers.into_iter().flatten() {
            let found = all(&*snapshot).await?;
            let half = |side| -> Vec<_> {
                let keys = found.iter().map(|(key, _)| key);
                let of_it = keys.filter(|key| key[0] == side);
                of_it.map(|key| key[1]).collect()
            };
            same("the other half of each batch", &half(1), &half(0))?;
            let before: Vec<_> = (0..acknowledged).collect();
            let kept = half(0)[..usize::from(acknowledged).min(half(0).len())].to_vec();
            same("what was acknowledged before", &kept, &before)?;
        }
    }
    Ok(())
}

async fn a_snapshot_keeps_no_store_from_closing(place: &dyn Place) -> Outcome {
    let store = place.open().await?;
    put(&*store, b"key", b"value").await?;
    let snapshot = store.snapshot().await?;
    store.close().await?;
    drop(store);
    let store = place.open().await?;
    let found = value_of(&*store, b"key").await?;
    same("the value", &found, &Some(b"value".to_vec()))?;
    put(&*store, b"key", b"other").await?;
    drop(snapshot);
    Ok(())
}
