//! `get` and `get_many`.

use super::support::{Outcome, join_all, noise, put, same, same_bytes, too_large, value_of};
use super::{Case, Place};
use crate::{
    Batch, BoxFuture, Direction, Durability, KeyRange, MAX_KEY_BYTES, MAX_VALUE_BYTES, ScanLimit,
};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "an_empty_store_answers_nothing",
        promise: "The value of `key`, or `None`.",
        run: |place| Box::pin(an_empty_store_answers_nothing(place)),
    },
    Case {
        name: "a_read_sees_every_commit_before_it",
        promise: "Sees every commit that was acknowledged before the call.",
        run: |place| Box::pin(a_read_sees_every_commit_before_it(place)),
    },
    Case {
        name: "any_bytes_are_keys_and_values",
        promise: "An ordered map of bytes whose only write is an atomic batch with checks.",
        run: |place| Box::pin(any_bytes_are_keys_and_values(place)),
    },
    Case {
        name: "get_many_answers_in_the_order_asked",
        promise: "The values of `keys`, in their order",
        run: |place| Box::pin(get_many_answers_in_the_order_asked(place)),
    },
    Case {
        name: "get_many_reads_one_state",
        promise: "all read from one state of the store.",
        run: |place| Box::pin(get_many_reads_one_state(place)),
    },
    Case {
        name: "the_longest_key_is_accepted_and_a_longer_one_refused",
        promise: "The longest key a store must accept, in bytes.",
        run: |place| Box::pin(the_longest_key(place)),
    },
    Case {
        name: "the_largest_value_is_accepted_and_a_larger_one_refused",
        promise: "The largest value a store must accept, in bytes: a body of 16 MiB and its envelope.",
        run: |place| Box::pin(the_largest_value(place)),
    },
    Case {
        name: "values_of_every_size_come_back_whole",
        promise: "Stores a value, replacing what was there.",
        run: |place| Box::pin(values_of_every_size(place)),
    },
];

async fn an_empty_store_answers_nothing(place: &dyn Place) -> Outcome {
    let store = place.open().await?;
    same("get", &store.get(b"a").await?, &None)?;
    same("get of the empty key", &store.get(b"").await?, &None)?;
    let many = store.get_many(&[b"a".to_vec(), Vec::new()]).await?;
    same("get_many", &many, &vec![None, None])?;
    same("get_many of no keys", &store.get_many(&[]).await?.len(), &0)?;
    let all = store
        .scan(KeyRange::all(), ScanLimit::entries(9), Direction::Forward)
        .await?;
    same("scan", &all.len(), &0)
}

async fn a_read_sees_every_commit_before_it(place: &dyn Place) -> Outcome {
    let store = place.open().await?;
    for (round, durability) in [
        Durability::Relaxed,
        Durability::ProcessCrash,
        Durability::PowerLoss,
    ]
    .into_iter()
    .enumerate()
    {
        let value = format!("round {round}");
        let mut batch = Batch::new();
        batch.put("key", value.clone());
        store.commit(batch, durability).await?;
        let expected = Some(value.into_bytes());
        same("get", &value_of(&*store, b"key").await?, &expected)?;
        let many = store.get_many(&[b"key".to_vec()]).await?;
        let many: Vec<_> = many.into_iter().map(|v| v.map(|v| v.to_vec())).collect();
        same("get_many", &many, &vec![expected])?;
    }
    Ok(())
}

async fn any_bytes_are_keys_and_values(place: &dyn Place) -> Outcome {
    let store = place.open().await?;
    let mut keys: Vec<Vec<u8>> = vec![Vec::new(), vec![0], vec![0, 0], vec![0xff], vec![0xff; 3]];
    keys.extend((0..=255).map(|byte| vec![b'k', byte]));
    let mut batch = Batch::new();
    for (index, key) in keys.iter().enumerate() {
        // An empty value is a value.
        batch.put(key.clone(), noise(index as u64, index % 3));
    }
    store.commit(batch, Durability::PowerLoss).await?;
    for (index, key) in keys.iter().enumerate() {
        let expected = Some(noise(index as u64, index % 3));
        same(
            &format!("{key:?}"),
            &value_of(&*store, key).await?,
            &expected,
        )?;
    }
    let all = store
        .scan(KeyRange::all(), ScanLimit::entries(999), Direction::Forward)
        .await?;
    keys.sort();
    let found: Vec<Vec<u8>> = all.into_iter().map(|(key, _)| key).collect();
    same("the order of all keys", &found, &keys)
}

async fn get_many_answers_in_the_order_asked(place: &dyn Place) -> Outcome {
    let store = place.open().await?;
    for key in [b"a", b"b", b"c"] {
        put(&*store, key, key).await?;
    }
    let asked = ["c", "missing", "a", "c"].map(|key| key.as_bytes().to_vec());
    let found = store.get_many(&asked).await?;
    let found: Vec<_> = found.into_iter().map(|v| v.map(|v| v.to_vec())).collect();
    let expected = [Some("c"), None, Some("a"), Some("c")]
        .map(|value| value.map(|value| value.as_bytes().to_vec()));
    same("get_many", &found, &expected.to_vec())
}

/// Writers set two keys to one number in one batch while readers look at both.
async fn get_many_reads_one_state(place: &dyn Place) -> Outcome {
    let store = place.open().await?;
    let keys = [b"left".to_vec(), b"right".to_vec()];
    let writer = async {
        for round in 0..100_u8 {
            let mut batch = Batch::new();
            // Large values make a store that reads one key after the other show it.
            batch.put(keys[0].clone(), vec![round; 5000]);
            batch.put(keys[1].clone(), vec![round; 5000]);
            store.commit(batch, Durability::Relaxed).await?;
        }
        Ok(())
    };
    let reader = async {
        for _ in 0..200 {
            let both = store.get_many(&keys).await?;
            same_bytes_of_both(&both)?;
        }
        Ok(())
    };
    let futures: Vec<BoxFuture<'_, Outcome>> = vec![Box::pin(writer), Box::pin(reader)];
    join_all(futures).await.into_iter().collect()
}

fn same_bytes_of_both(both: &[Option<bytes::Bytes>]) -> Outcome {
    let number = |value: &Option<bytes::Bytes>| value.as_ref().map(|value| value[0]);
    same("the right of a pair", &number(&both[1]), &number(&both[0]))
}

async fn the_longest_key(place: &dyn Place) -> Outcome {
    let store = place.open().await?;
    let longest = noise(1, MAX_KEY_BYTES);
    let mut batch = Batch::new();
    batch
        .check_absent(longest.clone())
        .put(longest.clone(), "here");
    store.commit(batch, Durability::PowerLoss).await?;
    let found = value_of(&*store, &longest).await?;
    same("its value", &found, &Some(b"here".to_vec()))?;

    let mut longer = longest;
    longer.push(0);
    for check in [true, false] {
        let mut batch = Batch::new();
        batch.put("beside", "");
        if check {
            batch.check_absent(longer.clone());
        } else {
            batch.put(longer.clone(), "");
        }
        let answer = store.commit(batch, Durability::PowerLoss).await;
        too_large("a longer key", &answer)?;
    }
    same(
        "the put beside",
        &value_of(&*store, b"beside").await?,
        &None,
    )?;
    same("get", &value_of(&*store, &longer).await?, &None)
}

async fn the_largest_value(place: &dyn Place) -> Outcome {
    let store = place.open().await?;
    let largest = noise(2, MAX_VALUE_BYTES);
    put(&*store, b"large", &largest).await?;
    put(&*store, b"small", b"small").await?;
    same_bytes("get", store.get(b"large").await?.as_ref(), &largest)?;
    let many = store
        .get_many(&[b"small".to_vec(), b"large".to_vec()])
        .await?;
    same_bytes("get_many", many[1].as_ref(), &largest)?;

    let mut larger = largest.clone();
    larger.push(0);
    let mut batch = Batch::new();
    batch.put("beside", "").put("large", larger);
    let answer = store.commit(batch, Durability::PowerLoss).await;
    too_large("a larger value", &answer)?;
    same(
        "the put beside",
        &value_of(&*store, b"beside").await?,
        &None,
    )?;

    store.close().await?;
    drop(store);
    let store = place.open().await?;
    same_bytes(
        "get after reopen",
        store.get(b"large").await?.as_ref(),
        &largest,
    )?;
    let mut batch = Batch::new();
    batch.check_equals("large", largest).delete("large");
    store.commit(batch, Durability::PowerLoss).await?;
    same(
        "get after delete",
        &value_of(&*store, b"large").await?,
        &None,
    )?;
    let left = store
        .scan(KeyRange::all(), ScanLimit::entries(9), Direction::Forward)
        .await?;
    same("entries left", &left.len(), &1)
}

/// Sizes around the borders at which engines change how they store a value, growing and shrinking.
async fn values_of_every_size(place: &dyn Place) -> Outcome {
    let store = place.open().await?;
    let mut sizes = vec![0, 1, 2];
    for power in 6..=20 {
        let border = 1 << power;
        sizes.extend([border - 1, border, border + 1]);
    }
    let shrinking: Vec<usize> = sizes.iter().rev().copied().collect();
    for (round, sizes) in [sizes, shrinking].into_iter().enumerate() {
        for size in sizes {
            let value = noise(size as u64 + round as u64, size);
            let mut batch = Batch::new();
            batch.put("key", value.clone());
            store.commit(batch, Durability::Relaxed).await?;
            let found = store.get(b"key").await?;
            same_bytes(&format!("{size} bytes"), found.as_ref(), &value)?;
            let all = store
                .scan(KeyRange::all(), ScanLimit::entries(9), Direction::Backward)
                .await?;
            same("entries", &all.len(), &1)?;
            same_bytes("the entry", Some(&all[0].1), &value)?;
        }
    }
    Ok(())
}
