//! `commit`.

use super::support::{
    Failure, Outcome, closed, conflicts, holds, join_all, poll_once, put, same, value_of,
};
use super::{Case, Place};
use crate::{Batch, BoxFuture, Durability, Result, StorageError};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "of_two_writes_to_one_key_the_later_stands",
        promise: "then the writes are applied in order, so of two writes to one key the later stands.",
        run: |place| Box::pin(the_later_write_stands(place)),
    },
    Case {
        name: "deleting_nothing_is_allowed",
        promise: "Removes a key; nothing happens if it holds nothing.",
        run: |place| Box::pin(deleting_nothing_is_allowed(place)),
    },
    Case {
        name: "checks_hold_or_the_batch_is_a_conflict",
        promise: "A check of the batch did not hold; nothing was written.",
        run: |place| Box::pin(checks_hold_or_conflict(place)),
    },
    Case {
        name: "checks_look_at_the_state_before_the_batch",
        promise: "All checks are evaluated on the state before the batch",
        run: |place| Box::pin(checks_look_at_the_state_before(place)),
    },
    Case {
        name: "an_empty_batch_is_allowed",
        promise: "An empty batch. Committing it is allowed",
        run: |place| Box::pin(an_empty_batch_is_allowed(place)),
    },
    Case {
        name: "of_waiting_commits_with_one_check_exactly_one_succeeds",
        promise: "Applies `batch` all or not at all.",
        run: |place| Box::pin(exactly_one_succeeds(place)),
    },
    Case {
        name: "waiting_commits_are_applied_in_the_order_of_their_first_polls",
        promise: "Commits take effect in the order in which their futures were first polled.",
        run: |place| Box::pin(in_the_order_of_first_polls(place)),
    },
    Case {
        name: "a_conflict_among_waiting_commits_leaves_the_others_standing",
        promise: "[`Conflict`](crate::StorageError::Conflict), [`Full`](crate::StorageError::Full), \
                  [`TooLarge`](crate::StorageError::TooLarge) and [`Closed`](crate::StorageError::Closed): \
                  nothing was written.",
        run: |place| Box::pin(a_conflict_leaves_the_others(place)),
    },
    Case {
        name: "compare_and_set_loses_no_increment",
        promise: "Read again, try again.",
        run: |place| Box::pin(compare_and_set(place)),
    },
    Case {
        name: "a_dropped_commit_is_stored_or_not_stored",
        promise: "A future that is dropped before it is done leaves the batch either stored or not stored, never half.",
        run: |place| Box::pin(a_dropped_commit(place)),
    },
    Case {
        name: "commits_of_all_durabilities_are_accepted",
        promise: "A commit that asks for more gets this.",
        run: |place| Box::pin(commits_of_all_durabilities(place)),
    },
];

async fn the_later_write_stands(place: &dyn Place) -> Outcome {
    let store = place.open().await?;
    put(&*store, b"gone", b"before").await?;
    let mut batch = Batch::new();
    batch.put("twice", "first").put("twice", "second");
    batch.put("gone", "after").delete("gone");
    batch.delete("back").put("back", "here");
    store.commit(batch, Durability::PowerLoss).await?;
    let found = value_of(&*store, b"twice").await?;
    same("put, put", &found, &Some(b"second".to_vec()))?;
    same("put, delete", &value_of(&*store, b"gone").await?, &None)?;
    let found = value_of(&*store, b"back").await?;
    same("delete, put", &found, &Some(b"here".to_vec()))
}

async fn deleting_nothing_is_allowed(place: &dyn Place) -> Outcome {
    let store = place.open().await?;
    put(&*store, b"b", b"stays").await?;
    let mut batch = Batch::new();
    batch.delete("a").delete("c").delete("a");
    store.commit(batch, Durability::PowerLoss).await?;
    let found = value_of(&*store, b"b").await?;
    same("the key between", &found, &Some(b"stays".to_vec()))
}

async fn checks_hold_or_conflict(place: &dyn Place) -> Outcome {
    let store = place.open().await?;
    put(&*store, b"full", b"value").await?;
    put(&*store, b"empty", b"").await?;
    let checks = [
        ("equal", true, "full", Some("value")),
        ("other", false, "full", Some("valuE")),
        ("shorter", false, "full", Some("valu")),
        ("missing", false, "none", Some("")),
        ("absent", true, "none", None),
        ("present", false, "full", None),
        ("an empty value", true, "empty", Some("")),
        ("empty is present", false, "empty", None),
    ];
    for (name, succeeds, key, value) in checks {
        // Once alone, once behind a check that holds.
        for behind in [false, true] {
            let mut batch = Batch::new();
            if behind {
                batch.check_equals("full", "value");
            }
            match value {
                Some(value) => batch.check_equals(key, value),
                None => batch.check_absent(key),
            };
            batch.put("written", name).delete("empty");
            batch.put("empty", "");
            let answer = store.commit(batch, Durability::PowerLoss).await;
            let written = value_of(&*store, b"written").await?;
            if succeeds {
                answer.map_err(|error| Failure::from(error).at(name))?;
                same(name, &written, &Some(name.as_bytes().to_vec()))?;
                let mut batch = Batch::new();
                batch.delete("written");
                store.commit(batch, Durability::Relaxed).await?;
            } else {
                conflicts(name, &answer)?;
                same(name, &written, &None)?;
            }
            let found = value_of(&*store, b"empty").await?;
            same("the empty value", &found, &Some(Vec::new()))?;
        }
    }
    Ok(())
}

async fn checks_look_at_the_state_before(place: &dyn Place) -> Outcome {
    let store = place.open().await?;
    let mut batch = Batch::new();
    batch.put("key", "1").check_absent("key");
    store.commit(batch, Durability::PowerLoss).await?;
    let mut batch = Batch::new();
    batch.put("key", "2").check_equals("key", "2");
    let answer = store.commit(batch, Durability::PowerLoss).await;
    conflicts("a check of the batch's own write", &answer)?;
    let mut batch = Batch::new();
    batch.delete("key").check_equals("key", "1").put("key", "3");
    store.commit(batch, Durability::PowerLoss).await?;
    let found = value_of(&*store, b"key").await?;
    same("the value", &found, &Some(b"3".to_vec()))
}

async fn an_empty_batch_is_allowed(place: &dyn Place) -> Outcome {
    let store = place.open().await?;
    for durability in [Durability::Relaxed, Durability::PowerLoss] {
        store.commit(Batch::new(), durability).await?;
        let mut only_checks = Batch::new();
        only_checks.check_absent("key");
        store.commit(only_checks, durability).await?;
    }
    put(&*store, b"key", b"").await?;
    let mut only_checks = Batch::new();
    only_checks.check_absent("key");
    let answer = store.commit(only_checks, Durability::Relaxed).await;
    conflicts("a batch of one check", &answer)
}

async fn exactly_one_succeeds(place: &dyn Place) -> Outcome {
    let store = place.open().await?;
    let commits: Vec<BoxFuture<'_, Result<()>>> = (0..20_u8)
        .map(|number| {
            let mut batch = Batch::new();
            batch.check_absent("winner").put("winner", vec![number]);
            batch.put(vec![number], "won");
            store.commit(batch, Durability::ProcessCrash)
        })
        .collect();
    let answers = join_all(commits).await;
    for (number, answer) in (0..20_u8).zip(&answers) {
        let mark = value_of(&*store, &[number]).await?;
        match answer {
            Ok(()) => {
                same("its mark", &mark, &Some(b"won".to_vec()))?;
                let winner = value_of(&*store, b"winner").await?;
                same("the winner", &winner, &Some(vec![number]))?;
            }
            answer => {
                conflicts("a loser", answer)?;
                same("its mark", &mark, &None)?;
            }
        }
    }
    let winners = answers.iter().filter(|answer| answer.is_ok()).count();
    same("winners", &winners, &1)
}

async fn in_the_order_of_first_polls(place: &dyn Place) -> Outcome {
    let store = place.open().await?;
    let mut waiting = Vec::new();
    for number in 0..100_u8 {
        let mut batch = Batch::new();
        // Each builds on the one before, although nobody waits in between.
        match number.checked_sub(1) {
            Some(before) => batch.check_equals("newest", vec![before]),
            None => batch.check_absent("newest"),
        };
        batch.put("newest", vec![number]);
        let mut commit = store.commit(batch, Durability::Relaxed);
        if let Some(answer) = poll_once(&mut commit).await {
            answer?;
        } else {
            waiting.push(commit);
        }
    }
    join_all(waiting)
        .await
        .into_iter()
        .collect::<Result<()>>()?;
    let newest = value_of(&*store, b"newest").await?;
    same("the newest", &newest, &Some(vec![99]))
}

async fn a_conflict_leaves_the_others(place: &dyn Place) -> Outcome {
    let store = place.open().await?;
    let commits: Vec<BoxFuture<'_, Result<()>>> = (0..60_u8)
        .map(|number| {
            let mut batch = Batch::new();
            if number % 3 == 1 {
                batch.check_equals("nobody", "wrote this");
            }
            batch.put(vec![number], vec![number]);
            store.commit(batch, Durability::PowerLoss)
        })
        .collect();
    for (number, answer) in (0..60_u8).zip(join_all(commits).await) {
        let found = value_of(&*store, &[number]).await?;
        if number % 3 == 1 {
            conflicts("the one with the check", &answer)?;
            same("its value", &found, &None)?;
        } else {
            answer?;
            same("its value", &found, &Some(vec![number]))?;
        }
    }
    Ok(())
}

async fn compare_and_set(place: &dyn Place) -> Outcome {
    let store = place.open().await?;
    put(&*store, b"count", &0_u64.to_be_bytes()).await?;
    let increment = || async {
        for _ in 0..10 {
            loop {
                let found = store.get(b"count").await?.unwrap_or_default();
                let number = <[u8; 8]>::try_from(&*found)
                    .map(u64::from_be_bytes)
                    .map_err(|_| Failure::new("the counter is no number"))?;
                let mut batch = Batch::new();
                batch.check_equals("count", found);
                batch.put("count", (number + 1).to_be_bytes().to_vec());
                match store.commit(batch, Durability::Relaxed).await {
                    Ok(()) => break,
                    Err(StorageError::Conflict) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    };
    let increments: Vec<BoxFuture<'_, Outcome>> = (0..8)
        .map(|_| Box::pin(increment()) as BoxFuture<'_, Outcome>)
        .collect();
    join_all(increments)
        .await
        .into_iter()
        .collect::<Outcome>()?;
    let found = value_of(&*store, b"count").await?;
    same("the count", &found, &Some(80_u64.to_be_bytes().to_vec()))
}

async fn a_dropped_commit(place: &dyn Place) -> Outcome {
    let store = place.open().await?;
    for number in 0..20_u8 {
        let mut batch = Batch::new();
        batch.put(vec![b'a', number], vec![number; 3000]);
        batch.put(vec![b'b', number], vec![number; 3000]);
        let mut commit = store.commit(batch, Durability::PowerLoss);
        let _ = poll_once(&mut commit).await;
        drop(commit);
    }
    // Acknowledged behind them, so each of them is decided.
    put(&*store, b"last", b"").await?;
    for number in 0..20_u8 {
        let both = store
            .get_many(&[vec![b'a', number], vec![b'b', number]])
            .await?;
        same("the right of a pair", &both[1], &both[0])?;
    }
    let mut never_polled = Batch::new();
    never_polled.put("never", "");
    drop(store.commit(never_polled, Durability::PowerLoss));
    put(&*store, b"last", b"").await?;
    same(
        "a commit never polled",
        &value_of(&*store, b"never").await?,
        &None,
    )
}

async fn commits_of_all_durabilities(place: &dyn Place) -> Outcome {
    let store = place.open().await?;
    let strongest = store.capabilities().durability;
    let all = [
        Durability::Relaxed,
        Durability::ProcessCrash,
        Durability::PowerLoss,
    ];
    holds(all.contains(&strongest), "an unknown capability")?;
    for durability in all {
        let mut batch = Batch::new();
        batch.put("key", format!("{durability:?}"));
        store.commit(batch, durability).await?;
    }
    store.close().await?;
    let mut batch = Batch::new();
    batch.put("key", "closed");
    closed("commit", &store.commit(batch, Durability::Relaxed).await)?;
    drop(store);
    let store = place.open().await?;
    let found = value_of(&*store, b"key").await?;
    same("the value", &found, &Some(b"PowerLoss".to_vec()))
}
