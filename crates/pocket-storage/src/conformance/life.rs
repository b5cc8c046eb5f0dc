//! Closing and opening again.

use super::support::{Outcome, closed, join_all, noise, poll_once, put, same, value_of};
use super::{Case, Place};
use crate::{Batch, Direction, Durability, KeyRange, Result, ScanLimit};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "a_closed_store_answers_closed",
        promise: "Every later call answers [`Closed`](crate::StorageError::Closed). Closing twice is allowed.",
        run: |place| Box::pin(a_closed_store_answers_closed(place)),
    },
    Case {
        name: "closing_finishes_the_commits_under_way",
        promise: "Ends the store: finishes what is under way and releases files and locks.",
        run: |place| Box::pin(closing_finishes_what_is_under_way(place)),
    },
    Case {
        name: "a_store_that_was_dropped_opens_again",
        promise: "Dropping a store without closing it releases them, too, at the latest when the last handle is gone.",
        run: |place| Box::pin(a_dropped_store_opens_again(place)),
    },
    Case {
        name: "an_acknowledged_commit_is_there_after_opening_again",
        promise: "When the call returns `Ok`, the batch survives what `durability` names, or the strongest level \
                  the backend has.",
        run: |place| Box::pin(acknowledged_is_there_again(place)),
    },
    Case {
        name: "relaxed_commits_before_a_durable_one_are_there_after_opening_again",
        promise: "A commit of a stronger level makes every commit before it as durable as itself.",
        run: |place| Box::pin(relaxed_before_durable(place)),
    },
];

async fn a_closed_store_answers_closed(place: &dyn Place) -> Outcome {
    let store = place.open().await?;
    put(&*store, b"key", b"value").await?;
    store.close().await?;
    store.close().await?;
    closed("get", &store.get(b"key").await)?;
    closed("get_many", &store.get_many(&[b"key".to_vec()]).await)?;
    let limit = ScanLimit::entries(1);
    let scanned = store.scan(KeyRange::all(), limit, Direction::Forward).await;
    closed("scan", &scanned)?;
    let answer = put(&*store, b"key", b"other").await;
    closed("commit", &answer)?;
    closed(
        "an empty commit",
        &store.commit(Batch::new(), Durability::PowerLoss).await,
    )?;
    drop(store);
    let store = place.open().await?;
    let found = value_of(&*store, b"key").await?;
    same("the value", &found, &Some(b"value".to_vec()))
}

async fn closing_finishes_what_is_under_way(place: &dyn Place) -> Outcome {
    let store = place.open().await?;
    let mut waiting = Vec::new();
    for number in 0..50_u8 {
        let mut batch = Batch::new();
        batch.put(vec![number], noise(u64::from(number), 2000));
        let mut commit = store.commit(batch, Durability::Relaxed);
        match poll_once(&mut commit).await {
            Some(answer) => answer?,
            None => waiting.push(commit),
        }
    }
    store.close().await?;
    join_all(waiting)
        .await
        .into_iter()
        .collect::<Result<()>>()?;
    drop(store);
    let store = place.open().await?;
    for number in 0..50_u8 {
        let expected = Some(noise(u64::from(number), 2000));
        same("a value", &value_of(&*store, &[number]).await?, &expected)?;
    }
    Ok(())
}

async fn a_dropped_store_opens_again(place: &dyn Place) -> Outcome {
    for round in 0..3_u8 {
        let store = place.open().await?;
        for before in 0..round {
            let found = value_of(&*store, &[before]).await?;
            same("a value", &found, &Some(vec![before; 100]))?;
        }
        put(&*store, &[round], &[round; 100]).await?;
        drop(store);
    }
    Ok(())
}

async fn acknowledged_is_there_again(place: &dyn Place) -> Outcome {
    for round in 0..5_u8 {
        let store = place.open().await?;
        let entries = store
            .scan(
                KeyRange::all(),
                ScanLimit::entries(1000),
                Direction::Forward,
            )
            .await?;
        same("entries", &entries.len(), &(usize::from(round) * 20))?;
        for (key, value) in entries {
            let expected = noise(u64::from(key[0]) * 256 + u64::from(key[1]), 300);
            same("a value", &value.to_vec(), &expected)?;
        }
        for number in 0..20_u8 {
            let value = noise(u64::from(round) * 256 + u64::from(number), 300);
            let durability = if number % 2 == 0 {
                Durability::ProcessCrash
            } else {
                Durability::PowerLoss
            };
            let mut batch = Batch::new();
            batch.put(vec![round, number], value);
            store.commit(batch, durability).await?;
        }
        store.close().await?;
    }
    Ok(())
}

async fn relaxed_before_durable(place: &dyn Place) -> Outcome {
    let store = place.open().await?;
    for number in 0..20_u8 {
        let mut batch = Batch::new();
        batch.put(vec![number], vec![number]);
        store.commit(batch, Durability::Relaxed).await?;
    }
    store.commit(Batch::new(), Durability::PowerLoss).await?;
    drop(store);
    let store = place.open().await?;
    for number in 0..20_u8 {
        let found = value_of(&*store, &[number]).await?;
        same("a value", &found, &Some(vec![number]))?;
    }
    Ok(())
}
