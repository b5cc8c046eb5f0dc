//! A server that was restored from an older copy: what it lost, and what it only forgot.

use super::*;

/// Pages whose records are all that a server shows.
async fn read_again(world: &World, in_epoch: u8, head: u64, records: Vec<Record>) -> ReplicaState {
    world.page(in_epoch, (0, head, head), records).await;
    world.sweep().await
}

#[tokio::test]
async fn what_a_restored_server_lost_is_sent_to_it_as_new_edits() {
    let world = World::new().await;
    world.attach(log(&[(1, 1)], 0, 0, 0)).await;
    let doc =
        |id, seq, millis, n: i64| record(id, seq, millis, Some(format!(r#"{{"n":{n}}}"#).as_str()));
    world
        .page(
            1,
            (0, 20, 20),
            vec![
                doc("deleted-before", 5, PAST, 1),
                doc("newer-here", 12, PAST + 12, 2),
                doc("only-here", 13, PAST + 13, 3),
                record("deleted-here", 14, PAST + 14, None),
                doc("edited", 15, PAST + 15, 5),
            ],
        )
        .await;
    world.insert("own", 6).await;
    world.pin().await;
    world.settle(1, &[21]).await;
    world.update("edited", 7).await;

    // The backup was made at place 10, and the client had no number yet.
    let state = world.attach(log(&[(1, 1), (3, 11)], 11, 0, 0)).await;
    assert!(state.checkpoint.resyncing);
    assert_eq!(state.confirmed, MutationNumber::ZERO);
    let older = [
        doc("newer-here", 2, PAST, 0),
        doc("deleted-here", 3, PAST, 0),
        doc("edited", 4, PAST, 0),
    ];
    let bases: Vec<_> = older.iter().map(|record| record.rev).collect();
    world.page(3, (0, 11, 11), older.to_vec()).await;
    world.sweep().await;

    assert_eq!(world.n("deleted-before").await, None);
    assert_eq!(world.n("newer-here").await, Some(2));
    assert_eq!(world.n("only-here").await, Some(3));
    assert_eq!(world.n("deleted-here").await, None);
    assert_eq!(world.n("edited").await, Some(7));
    assert_eq!(world.n("own").await, Some(6));
    assert!(world.journal().await.is_empty(), "nothing disagrees");
    let pushed = world.pin().await;
    assert_eq!(pushed[0].number, MutationNumber::new(1));
    let change = |id: &str| {
        let mut changes = pushed.iter().flat_map(Mutation::changes);
        changes.find(|change| change.id.as_str() == id).unwrap()
    };
    assert_eq!(pushed.len(), 5);
    assert_eq!(change("newer-here").base, Some(bases[0]));
    assert_eq!(change("deleted-here").base, Some(bases[1]));
    assert!(matches!(change("deleted-here").kind, ChangeKind::Delete));
    assert_eq!(change("edited").base, Some(bases[2]));
    assert_eq!(change("only-here").base, None);
    assert_eq!(change("own").base, None);
    assert!(
        pushed
            .iter()
            .flat_map(Mutation::changes)
            .all(|change| change.rev.client == world.db.client_id())
    );
}

#[tokio::test]
async fn what_a_migration_made_of_a_version_that_a_restored_server_lost_does_not_give_way() {
    let world = World::new().await;
    world.attach(log(&[(1, 1)], 0, 0, 0)).await;
    let doc =
        |id, seq, millis, n: i64| record(id, seq, millis, Some(format!(r#"{{"n":{n}}}"#).as_str()));
    let lost = ["older-there", "not-there", "newer-there"];
    let lost = lost.into_iter().zip(12..);
    let read = lost.map(|(id, seq)| doc(id, seq, PAST + 12, 2)).collect();
    world.page(1, (0, 20, 20), read).await;
    let World { db, storage, .. } = world;
    drop(db);
    let migration = Migration::to(2).documents("docs", |_, mut document| {
        document.insert("shape", Value::from("new"));
        Ok(Migrated::Changed(document))
    });
    let db = Database::builder("test").migration(migration);
    let db = db.open(storage.clone()).await.unwrap();
    let world = World {
        docs: db.collection("docs").unwrap(),
        replica: Replica::new(&db, Target::DEFAULT),
        db,
        storage,
    };
    world.replica.load(&Scope::All).await.unwrap();
    // The backup was made at place 10; one document was written since.
    world.attach(log(&[(1, 1), (3, 11)], 11, 0, 0)).await;
    let shown = vec![
        doc("older-there", 2, PAST, 1),
        doc("newer-there", 11, FUTURE, 9),
    ];
    world.page(3, (0, 11, 11), shown).await;
    world.sweep().await;
    let journal = world.db.journal().list(None, 100).await.unwrap();
    let told: Vec<_> = journal
        .iter()
        .map(|it| it.documents[0].id.as_str())
        .collect();
    assert_eq!(
        told,
        ["newer-there"],
        "the later write stands, and it is told"
    );
    assert_eq!(world.n("newer-there").await, Some(9));
    let pushed = world.pin().await;
    let changes = pushed.iter().flat_map(Mutation::changes);
    let sent: Vec<_> = changes.map(|it| it.id.as_str()).collect();
    assert_eq!(sent, ["not-there", "older-there"]);
    // Meanwhile others wrote it: a conflict like any other.
    let conflict = |seq| Outcome::Conflict {
        seqs: vec![Seq::new(seq)],
    };
    let outcomes = vec![conflict(12), conflict(13)];
    let settled = world
        .replica
        .settle(pushed[0].number, outcomes, Arc::new(Later));
    settled.await.unwrap();
    let written = vec![
        doc("not-there", 12, FUTURE, 8),
        doc("older-there", 13, FUTURE, 8),
    ];
    world.page(3, (11, 13, 13), written).await;
    assert_eq!(
        world.journal().await.len(),
        3,
        "nothing is lost without a word"
    );
}

#[tokio::test]
async fn what_was_written_since_a_restore_meets_what_was_lost_as_a_conflict() {
    let world = World::new().await;
    world.attach(log(&[(1, 1)], 0, 0, 0)).await;
    let doc =
        |id, seq, millis, n: i64| record(id, seq, millis, Some(format!(r#"{{"n":{n}}}"#).as_str()));
    let read = vec![
        doc("lost", 15, PAST + 15, 1),
        doc("beaten", 16, PAST + 16, 2),
        doc("same", 17, PAST + 17, 3),
    ];
    world.page(1, (0, 20, 20), read).await;
    world.attach(log(&[(1, 1), (3, 11)], 13, 0, 0)).await;
    // Places of the new history are lower than those that were read: they count all the same.
    let written = vec![
        doc("lost", 11, PAST, 8),
        doc("beaten", 12, FUTURE, 9),
        doc("same", 13, FUTURE, 3),
    ];
    world.page(3, (0, 13, 13), written).await;
    world.sweep().await;
    assert_eq!(world.n("lost").await, Some(1));
    assert_eq!(world.n("beaten").await, Some(9));
    assert_eq!(world.n("same").await, Some(3));
    let winners: Vec<_> = world
        .journal()
        .await
        .into_iter()
        .map(|(winner, _)| winner)
        .collect();
    assert_eq!(winners, [Winner::Local, Winner::Remote]);
    assert_eq!(world.pin().await.len(), 1);
}

#[tokio::test]
async fn numbers_that_a_restored_server_never_gave_are_given_again() {
    let world = World::new().await;
    world.attach(log(&[(1, 1)], 0, 0, 0)).await;
    for n in 0..4 {
        world.insert(&format!("d{n}"), n).await;
    }
    world.pin().await;
    world.settle(1, &[1, 2]).await;
    let state = world.attach(log(&[(1, 1), (2, 2)], 1, 0, 1)).await;
    assert_eq!(
        (state.confirmed, state.last_number),
        (MutationNumber::new(1), MutationNumber::new(1))
    );
    assert!(state.checkpoint.resyncing);
    let pushed = &record("d0", 1, PAST, Some(r#"{"n":0}"#));
    world.page(2, (0, 1, 1), vec![pushed.clone()]).await;
    world.sweep().await;
    let pushed = world.pin().await;
    let numbers: Vec<_> = pushed
        .iter()
        .map(|mutation| mutation.number.get())
        .collect();
    assert_eq!(
        numbers,
        [2, 3, 4],
        "what it lost comes behind what it never had"
    );
    assert_eq!(pushed[2].changes()[0].id.as_str(), "d1");
}

#[tokio::test]
async fn where_old_openings_are_forgotten_a_place_before_them_is_no_fork_and_nothing_comes_back() {
    // Taken for a fork, everything that others had deleted since would have been sent again as new.
    for running in [false, true] {
        let world = World::new().await;
        world.attach(log(&[(1, 1), (2, 5)], 8, 0, 0)).await;
        let records = vec![
            record("a", 3, PAST, Some(r#"{"_id":"a"}"#)),
            record("b", 6, PAST, Some(r#"{"_id":"b"}"#)),
        ];
        world.page(2, (0, 8, 8), records).await;
        world
            .docs
            .upsert(&value(r#"{"_id":"b","mine":true}"#))
            .await
            .unwrap();
        if running {
            // It began to read everything again, and got no page before it was away for long.
            world.replica.begin_resync().await.unwrap();
        }
        let state = world.attach(log(&[(7, 50), (8, 60)], 70, 55, 0)).await;
        assert!(state.checkpoint.resyncing);
        let shown = vec![record("c", 65, PAST, Some(r#"{"_id":"c"}"#))];
        let state = read_again(&world, 8, 70, shown).await;
        assert_eq!(state.pending, 0, "running: {running}");
        let ids = world.docs.get_all().await.unwrap();
        assert_eq!(ids, [value(r#"{"_id":"c"}"#)], "running: {running}");
        assert_eq!(
            state.open_conflicts, 1,
            "the pending edit is in the journal"
        );
    }
}

#[tokio::test]
async fn a_place_behind_the_oldest_opening_that_is_remembered_is_a_fork_even_if_none_is_known() {
    let world = World::new().await;
    world.attach(log(&[(1, 1), (2, 5)], 8, 0, 0)).await;
    let records = vec![
        record("a", 3, PAST, Some(r#"{"_id":"a"}"#)),
        record("b", 6, PAST, Some(r#"{"_id":"b"}"#)),
    ];
    world.page(2, (0, 8, 8), records).await;
    // Restored from a backup whose openings of that time are forgotten by now.
    let state = world.attach(log(&[(7, 5), (8, 7)], 9, 6, 0)).await;
    assert!(state.checkpoint.resyncing);
    let state = read_again(&world, 8, 9, Vec::new()).await;
    assert_eq!(state.pending, 1, "what the server lost is sent to it");
    let left = world.docs.get_all().await.unwrap();
    assert_eq!(left, [value(r#"{"_id":"b"}"#)]);
}

/// Found by the simulator: what a restored server had lost was deleted here before it was sent, and the two cancelled each
/// other. Another device brought it back, and nobody had told it of the deletion, or of the erase.
#[tokio::test]
async fn the_end_of_what_a_restored_server_lost_is_told_although_the_rest_was_never_sent() {
    for erases in [false, true] {
        let world = World::new().await;
        world.attach(log(&[(1, 1)], 0, 0, 0)).await;
        let lost = record("lost", 13, PAST, Some(r#"{"n":3}"#));
        world.page(1, (0, 13, 13), vec![lost]).await;
        world.attach(log(&[(1, 1), (3, 11)], 11, 0, 0)).await;
        world.page(3, (0, 11, 11), Vec::new()).await;
        world.sweep().await;
        if erases {
            world.docs.hard_delete("lost").await.unwrap();
        } else {
            world.docs.delete("lost").await.unwrap();
        }
        let pushed = world.pin().await;
        let kinds: Vec<_> = pushed[0]
            .changes()
            .iter()
            .map(|change| &change.kind)
            .collect();
        let expected = if erases {
            ChangeKind::Erase
        } else {
            ChangeKind::Delete
        };
        assert_eq!(kinds, [&expected]);
    }
}

/// Found by the simulator: a creation had taken effect, and a page had shown that, when the server was restored before its
/// answer came. It counted as never sent; so its deletion cancelled it, and what the lost history had shown was back.
#[tokio::test]
async fn a_deletion_of_what_was_on_its_way_to_a_server_that_was_restored_is_told() {
    // Where no page showed it here, one may have shown it to others.
    for (shown, renews) in [(false, false), (true, false), (false, true), (true, true)] {
        let case = format!("shown: {shown}, under another id: {renews}");
        let world = World::new().await;
        world.attach(log(&[(1, 1)], 10, 0, 0)).await;
        world.page(1, (0, 10, 10), Vec::new()).await;
        world.insert("lost", 3).await;
        let sent = world.pin().await;
        if shown {
            let mut record = record("lost", 11, PAST, Some(r#"{"_id":"lost","n":3}"#));
            record.rev = sent[0].changes()[0].rev;
            world.page(1, (10, 11, 11), vec![record]).await;
        }
        if renews {
            // The copy of the server does not know the client yet.
            world.replica.renew().await.unwrap();
        }
        world.attach(log(&[(1, 1), (3, 11)], 10, 0, 0)).await;
        if renews {
            read_again(&world, 3, 10, Vec::new()).await;
        }
        world.docs.delete("lost").await.unwrap();
        assert_eq!(world.n("lost").await, None, "{case}");
        if shown && !renews {
            read_again(&world, 3, 10, Vec::new()).await;
        }
        let pushed = world.pin().await;
        let kinds: Vec<_> = pushed
            .iter()
            .flat_map(Mutation::changes)
            .map(|change| &change.kind)
            .collect();
        assert_eq!(kinds, [&ChangeKind::Delete], "{case}");
        assert_eq!(world.n("lost").await, None, "{case}");
    }
}
