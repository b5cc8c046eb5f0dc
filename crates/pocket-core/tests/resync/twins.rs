//! One revision for two writes, and one write that took effect under two ids: what copies of a store, clocks that are set
//! back and servers that are restored more than once come to. All found by the simulator.

use super::*;

fn doc(id: &str, seq: u64, millis: i64, n: i64) -> Record {
    record(id, seq, millis, Some(format!(r#"{{"n":{n}}}"#).as_str()))
}

fn with_rev(record: Record, rev: Revision) -> Record {
    Record { rev, ..record }
}

impl World {
    async fn rev(&self, id: &str) -> Revision {
        self.docs.get_document(id).await.unwrap().unwrap().rev
    }

    async fn insert_both(&self, one: &str, other: &str) {
        let mut tx = self.db.transaction();
        for id in [one, other] {
            let document = value(&format!(r#"{{"_id":"{id}","n":1}}"#));
            tx.insert(&self.docs, &document).unwrap();
        }
        tx.commit().await.unwrap();
    }

    async fn settle_as(&self, first: u64, outcomes: Vec<Outcome>) {
        let first = MutationNumber::new(first);
        let settled = self.replica.settle(first, outcomes, Arc::new(super::Later));
        settled.await.unwrap();
    }
}

fn clock_refusal(server_time: i64) -> Outcome {
    Outcome::Rejected {
        code: "clock".to_owned(),
        reason: String::new(),
        server_time: Some(Timestamp::from_millis(server_time)),
    }
}

/// The first edit was lost to that of the copy, which bore its revision; the second stood on that revision, and was sent
/// over what the copy had written.
#[tokio::test]
async fn an_edit_is_not_sent_over_the_write_of_a_copy_that_bears_the_revision_of_its_base() {
    let world = World::new().await;
    world.attach(log(&[(1, 1)], 0, 0, 0)).await;
    world.page(1, (0, 1, 1), vec![doc("one", 1, PAST, 0)]).await;
    world.update("one", 1).await;
    let base = world.rev("one").await;
    world.pin().await;
    world.update("one", 2).await;
    world.replica.renew().await.unwrap();
    world.attach(log(&[(1, 1)], 2, 0, 0)).await;
    let theirs = with_rev(doc("one", 2, PAST, 7), base);
    world.page(1, (0, 2, 2), vec![theirs]).await;
    world.sweep().await;

    assert!(world.pin().await.is_empty(), "nothing goes over it");
    assert_eq!(world.n("one").await, Some(7));
    let lost = (Winner::Remote, "outcome-unknown".to_owned());
    assert_eq!(world.journal().await, [lost.clone(), lost]);
}

/// Found by the simulator: a device that was restored gave an insert the revision of its own erase, of which it knew no longer.
/// The insert lost to the erase, and the edit behind it was sent as if the erase were what it was made on: what was erased
/// came back, and no journal told of it.
#[tokio::test]
async fn an_edit_was_not_made_on_a_deletion_that_bears_the_revision_of_its_base() {
    for (state, by) in [
        (RecordState::Erased, (Winner::Remote, "erased")),
        (RecordState::Deleted, (Winner::Local, "last-write-wins")),
    ] {
        let world = World::new().await;
        world.attach(log(&[(1, 1)], 0, 0, 0)).await;
        world.insert("one", 1).await;
        let base = world.rev("one").await;
        world.pin().await;
        world.replica.renew().await.unwrap();
        world.update("one", 2).await;
        world.attach(log(&[(1, 1)], 2, 0, 0)).await;
        let theirs = Record {
            state,
            ..with_rev(doc("one", 2, PAST, 7), base)
        };
        world.page(1, (0, 2, 2), vec![theirs]).await;
        world.sweep().await;

        let lost = (Winner::Remote, "outcome-unknown".to_owned());
        let met = (by.0, by.1.to_owned());
        assert_eq!(world.journal().await, [lost, met]);
        let sent = world.pin().await;
        let bases = sent.iter().flat_map(Mutation::changes);
        let bases: Vec<_> = bases.map(|change| change.base).collect();
        let (left, expected) = match by.0 {
            Winner::Local => (Some(2), vec![None]),
            _ => (None, Vec::new()),
        };
        assert_eq!((world.n("one").await, bases), (left, expected));
    }
}

/// The device showed its own write for ever, as it took the record for that.
#[tokio::test]
async fn a_record_replaces_what_is_shown_under_its_revision_but_is_another_write() {
    let world = World::new().await;
    world.attach(log(&[(1, 1)], 0, 0, 0)).await;
    world.insert("one", 1).await;
    let rev = world.rev("one").await;
    world.pin().await;
    world.settle(1, &[1]).await;
    world.page(1, (0, 1, 1), Vec::new()).await;
    let theirs = with_rev(doc("one", 2, PAST, 7), rev);
    world.page(1, (1, 2, 2), vec![theirs]).await;
    assert_eq!(world.n("one").await, Some(7));
}

/// Both documents had taken effect as they were, from the copy; the transaction was sent again, on its own versions.
#[tokio::test]
async fn a_transaction_that_a_copy_sent_before_does_not_take_effect_twice() {
    let world = World::new().await;
    world.attach(log(&[(1, 1)], 0, 0, 0)).await;
    world.insert_both("one", "two").await;
    let (one, two) = (world.rev("one").await, world.rev("two").await);
    world.pin().await;
    let seqs = vec![Seq::new(1), Seq::new(2)];
    world.settle_as(1, vec![Outcome::Conflict { seqs }]).await;
    let theirs = vec![
        with_rev(doc("one", 1, PAST, 1), one),
        with_rev(doc("two", 2, PAST, 1), two),
    ];
    let state = world.page(1, (0, 2, 2), theirs).await.state;
    assert_eq!((state.pending, state.waiting), (0, 0));
    assert!(world.pin().await.is_empty());
    assert!(world.journal().await.is_empty(), "nothing disagrees");
}

/// Found by the simulator: a page that did not reach the head showed what somebody had made of the one document, and left out
/// the other, which had changed again behind it. The transaction lost, and of the other its first version was shown.
#[tokio::test]
async fn a_doubt_about_a_transaction_waits_until_both_of_its_documents_can_be_seen() {
    let world = World::new().await;
    world.attach(log(&[(1, 1)], 0, 0, 0)).await;
    let both = vec![doc("one", 1, PAST, 1), doc("two", 2, PAST, 1)];
    world.page(1, (0, 2, 2), both).await;
    let mut tx = world.db.transaction();
    for id in ["one", "two"] {
        tx.update(&world.docs, id, &json!({"n": 2})).unwrap();
    }
    tx.commit().await.unwrap();
    // A copy sent it: it stands at 3 and 4, and somebody changed the one again at 5, and the other at 6.
    world.replica.renew().await.unwrap();
    world.attach(log(&[(1, 1)], 5, 0, 0)).await;
    let one = doc("one", 5, FUTURE, 3);
    let state = world.page(1, (2, 5, 6), vec![one]).await.state;
    assert_eq!(state.pending, 1, "it is in doubt");
    assert_eq!(world.n("two").await, Some(2));
    let two = doc("two", 6, FUTURE, 3);
    let state = world.page(1, (5, 6, 6), vec![two]).await.state;
    assert_eq!(state.pending, 0);
    assert_eq!(world.n("one").await, Some(3));
    assert_eq!(world.n("two").await, Some(3));
}

/// Of a transaction that took effect before the server forgot this client, one document was deleted since. That one
/// counted as never sent, and came back by itself.
#[tokio::test]
async fn a_part_of_a_sent_transaction_is_not_sent_anew_once_the_other_is_seen_to_have_taken_effect()
{
    let world = World::new().await;
    world.attach(log(&[(1, 1)], 0, 0, 0)).await;
    world.insert_both("stays", "deleted").await;
    let stays = world.rev("stays").await;
    world.pin().await;
    world.replica.renew().await.unwrap();
    world.attach(log(&[(1, 1)], 3, 3, 0)).await;
    let shown = with_rev(doc("stays", 1, PAST, 1), stays);
    world.page(1, (0, 3, 3), vec![shown]).await;
    world.sweep().await;

    assert!(world.pin().await.is_empty());
    assert_eq!(world.n("stays").await, Some(1));
    assert_eq!(world.n("deleted").await, None);
    assert_eq!(
        world.journal().await,
        [(Winner::Remote, "outcome-unknown".to_owned())],
        "it is kept all the same"
    );
}

/// What a session pushed is not sent back in it. The page behind it was applied, the outcome was not, and another id could
/// never learn what stood there.
#[tokio::test]
async fn another_id_reads_everything_again_if_anything_was_sent_under_the_old_one() {
    for sent in [false, true] {
        let world = World::new().await;
        world.attach(log(&[(1, 1)], 0, 0, 0)).await;
        world.page(1, (0, 1, 1), vec![doc("one", 1, PAST, 0)]).await;
        world.update("one", 1).await;
        if sent {
            world.pin().await;
        }
        let state = world.replica.renew().await.unwrap();
        assert_eq!(state.checkpoint.resyncing, sent);
    }
}

/// Two devices had written at the same time; a third brought back the version of one after a first restore and that of
/// the other after a second one, both times under one revision.
#[tokio::test]
async fn what_another_device_wrote_is_brought_back_under_a_later_revision_and_own_writes_under_theirs()
 {
    let world = World::new().await;
    world.attach(log(&[(1, 1)], 0, 0, 0)).await;
    world.insert("own", 1).await;
    let own = world.rev("own").await;
    world.pin().await;
    world.settle(1, &[11]).await;
    let theirs = doc("theirs", 12, PAST, 2);
    world.page(1, (0, 12, 12), vec![theirs.clone()]).await;
    world.attach(log(&[(1, 1), (3, 11)], 11, 0, 1)).await;
    world.page(3, (0, 11, 11), Vec::new()).await;
    world.sweep().await;
    let pushed = world.pin().await;
    let rev_of = |id: &str| {
        let mut changes = pushed.iter().flat_map(Mutation::changes);
        changes.find(|change| change.id.as_str() == id).unwrap().rev
    };
    assert_eq!(rev_of("own"), own);
    assert_eq!(rev_of("theirs").client, world.db.client_id());
    assert!(rev_of("theirs").hlc > theirs.rev.hlc);
    assert_eq!(rev_of("theirs").hlc.time(), theirs.rev.hlc.time());
}

/// A deletion of the lost history was known, and the edit that had not seen it brought the document back.
#[tokio::test]
async fn an_edit_does_not_undo_a_deletion_that_was_read_before_the_server_lost_it() {
    let world = World::new().await;
    world.attach(log(&[(1, 1)], 0, 0, 0)).await;
    world.page(1, (0, 5, 5), vec![doc("one", 5, PAST, 0)]).await;
    world.update("one", 1).await;
    world.pin().await;
    let deleted = record("one", 12, PAST + 1, None);
    world.page(1, (5, 12, 12), vec![deleted]).await;
    world.attach(log(&[(1, 1), (3, 11)], 11, 0, 0)).await;
    world.page(3, (0, 11, 11), Vec::new()).await;
    world.sweep().await;
    assert!(world.pin().await.is_empty());
    assert_eq!(world.n("one").await, None);
    assert_eq!(world.journal().await.len(), 1, "the edit is kept");
}

/// While the feed was read the document stood behind the place that the reading had come to; the server was restored to
/// between the two, where it stood before that place, and was never shown.
#[tokio::test]
async fn a_reading_that_was_under_way_is_begun_anew_when_the_server_loses_what_was_still_to_come() {
    for (head, again) in [(28, false), (36, true)] {
        let world = World::new().await;
        world.attach(log(&[(1, 1)], 0, 0, 0)).await;
        world
            .page(1, (0, 28, head), vec![doc("one", 20, PAST, 1)])
            .await;
        let state = world.attach(log(&[(1, 1), (3, 33)], 33, 0, 0)).await;
        assert_eq!(state.checkpoint.resyncing, again);
    }
}

/// The clock was set back for each refusal, and gave the next change the revision that the one before it had got.
#[tokio::test]
async fn changes_that_a_server_refuses_for_their_time_never_share_a_revision() {
    let world = World::new().await;
    world.attach(log(&[(1, 1)], 0, 0, 0)).await;
    // The server accepted this before its own clock went back.
    world
        .page(1, (0, 1, 1), vec![doc("ahead", 1, FUTURE, 0)])
        .await;
    world.insert("one", 1).await;
    world.pin().await;
    world.insert("two", 2).await;
    world.pin().await;
    world.settle_as(1, vec![clock_refusal(PAST)]).await;
    let first = world.pin().await[0].changes()[0].rev;
    world.settle_as(2, vec![clock_refusal(PAST)]).await;
    let second = world.pin().await[0].changes()[0].rev;
    assert!(first < second, "{first} and {second}");
}

/// As above, by a server whose clock is right again: the clock of the device had run ahead once more in between.
#[tokio::test]
async fn a_clock_that_is_set_back_twice_does_not_give_what_is_on_its_way_away() {
    let world = World::new().await;
    world.attach(log(&[(1, 1)], 0, 0, 0)).await;
    let told = Attachment {
        server_time: Timestamp::from_millis(FUTURE),
        ..attachment(log(&[(1, 1)], 0, 0, 3))
    };
    world.replica.attach(&told).await.unwrap();
    world.insert("one", 1).await;
    world.pin().await;
    world.insert("two", 2).await;
    world.pin().await;
    world.settle_as(1, vec![clock_refusal(PAST)]).await;
    let first = world.pin().await[0].changes()[0].rev;
    assert!(first.hlc.time() < Timestamp::from_millis(FUTURE));
    world.replica.attach(&told).await.unwrap();
    world.settle_as(2, vec![clock_refusal(PAST)]).await;
    let second = world.pin().await[0].changes()[0].rev;
    assert!(first < second, "{first} and {second}");
}

/// Found by the simulator: the refusal was told so late that the server's clock had moved on, and accepted what was written
/// behind it. That set the clock of the device back to there, and it gave what it sends anew the revision of a later edit.
#[tokio::test]
async fn a_refusal_that_was_told_late_does_not_give_away_what_the_server_accepts_by_now() {
    let world = World::new().await;
    world.attach(log(&[(1, 1)], 0, 0, 0)).await;
    // Of this the clock of the device counts on: its own time stands still beside it.
    world
        .page(1, (0, 1, 1), vec![doc("ahead", 1, FUTURE, 0)])
        .await;
    world.insert("one", 1).await;
    world.insert("other", 1).await;
    let accepted = with_rev(doc("other", 2, FUTURE, 1), world.rev("other").await);
    assert_eq!(world.pin().await.len(), 2);
    world.insert("later", 1).await;
    let later = world.rev("later").await;
    world.pin().await;
    let told = Attachment {
        server_time: Timestamp::from_millis(FUTURE + 1),
        ..attachment(log(&[(1, 1)], 2, 0, 3))
    };
    world.replica.attach(&told).await.unwrap();
    world.page(1, (1, 2, 2), vec![accepted]).await;
    world.settle_as(1, vec![clock_refusal(PAST)]).await;
    let again = world.pin().await[0].changes()[0].clone();
    assert_eq!(again.id.as_str(), "one");
    assert!(again.rev > later, "{} and {later}", again.rev);
}

/// The server was restored while the collection did not sync, and has another version at the place of the lost one. When
/// sync was on again, the two counted as one.
#[tokio::test]
async fn a_collection_that_did_not_sync_while_the_server_was_restored_learns_of_it_when_it_does_again()
 {
    let world = World::new().await;
    world.attach(log(&[(1, 1)], 0, 0, 0)).await;
    let lost = doc("one", 12, PAST, 1);
    world.page(1, (0, 12, 12), vec![lost]).await;
    let switch = async |sync| {
        let config = CollectionConfig::new("docs").sync(sync);
        world.db.create_collection(config).await.unwrap();
        world.replica.load(&Scope::All).await.unwrap()
    };
    switch(false).await;
    world.attach(log(&[(1, 1), (3, 11)], 11, 0, 0)).await;
    world.page(3, (0, 11, 11), Vec::new()).await;
    world.sweep().await;
    assert!(switch(true).await.checkpoint.resyncing);
    let theirs = doc("one", 12, PAST + 1_000, 2);
    world.page(3, (0, 12, 12), vec![theirs]).await;
    world.sweep().await;
    assert_eq!(world.n("one").await, Some(2));
    assert_eq!(world.journal().await.len(), 1, "what was lost is kept");
}
