//! What a deletion of an expired document meets elsewhere.

use super::*;

#[tokio::test]
async fn an_edit_that_prolongs_the_life_stands_against_a_deletion_that_has_not_seen_it() {
    for sent in [false, true] {
        let device = Device::new().await;
        device.clock.set(2_000);
        assert_eq!(device.expire().await, 1);
        // Another device had written it in time. By its rule, this one would win every conflict.
        if sent {
            let (first, _) = device.sent().await;
            let conflict = Outcome::Conflict {
                seqs: vec![Seq::new(2)],
            };
            device.answer(first.unwrap(), conflict).await;
        }
        device.arrive(2, Some(until("a", 5_000)), 1_500).await;
        assert_eq!(ids(&device.docs).await, ["a"], "sent: {sent}");
        assert_eq!(device.left().await, (0, 0));
        assert_eq!(device.expire().await, 0);
        device.clock.set(5_000);
        assert_eq!(device.expire().await, 1);
        let (_, changes) = device.sent().await;
        assert_eq!(changes[0].base.unwrap().hlc, Hlc::from_time(seconds(1_500)));
    }
}

#[tokio::test]
async fn a_deletion_behind_what_lost_does_not_move_onto_a_version_whose_time_is_not_over() {
    let clock = Clock::at(NOW);
    let device = Device::on(Arc::new(MemoryStorage::new()), clock).await;
    device.attach(device.clock.now()).await;
    // Made here in one transaction, whose other document was written once more.
    let mut tx = device.db.transaction();
    tx.insert(&device.docs, &until("a", 2_000)).unwrap();
    tx.insert(&device.docs, &until("b", 9_000)).unwrap();
    tx.commit().await.unwrap();
    let other = until("c", 9_000);
    let mut tx = device.db.transaction();
    tx.update(&device.docs, "b", &json!({"n": 2})).unwrap();
    tx.insert(&device.docs, &other).unwrap();
    tx.commit().await.unwrap();
    device.clock.set(2_000);
    assert_eq!(device.expire().await, 1);
    let (first, _) = device.sent().await;
    // Another device had made the document before, and it lives longer. The server takes the rest as it is.
    let refused = Outcome::Rejected {
        code: "forbidden".into(),
        reason: "not yours".into(),
        server_time: None,
    };
    device.arrive(1, Some(until("a", 9_000)), NOW).await;
    device.answer(first.unwrap(), refused).await;
    let (_, changes) = device.sent().await;
    let theirs = Revision::new(Hlc::from_time(seconds(NOW)), ClientId::from_bytes([9; 16]));
    let deletes =
        |change: &&Change| change.kind == ChangeKind::Delete && change.base == Some(theirs);
    assert_eq!(changes.iter().find(deletes), None);
}

/// The answer to every conflict is what is here, word for word.
struct Again;

impl Resolver for Again {
    fn resolve(
        &self,
        conflict: &Conflict,
        _: Option<ConflictStrategy>,
    ) -> (Decision, &'static str) {
        (Decision::Write(conflict.local.body.clone()), "custom")
    }
}

/// Found by the simulator: the answer to a conflict came to the version that had expired, under a later revision. The
/// deletion stood on that, and kept its own revision, which was before it.
#[tokio::test]
async fn a_deletion_gives_way_to_the_same_content_under_a_later_revision_and_is_made_again() {
    let clock = Clock::at(NOW);
    let device = Device::on(Arc::new(MemoryStorage::new()), clock).await;
    device.attach(device.clock.now()).await;
    let mut tx = device.db.transaction();
    tx.insert(&device.docs, &until("a", 2_000)).unwrap();
    tx.insert(&device.docs, &until("b", 9_000)).unwrap();
    tx.commit().await.unwrap();
    let mut tx = device.db.transaction();
    tx.update(&device.docs, "b", &json!({"n": 2})).unwrap();
    tx.insert(&device.docs, &until("c", 9_000)).unwrap();
    tx.commit().await.unwrap();
    device.clock.set(2_000);
    assert_eq!(device.expire().await, 1);
    let (first, changes) = device.sent().await;
    assert_eq!(changes.len(), 5);
    // Another device had made the document before.
    device.arrive(1, Some(until("a", 3_000)), NOW).await;
    let met = |seq| Outcome::Conflict {
        seqs: vec![Seq::new(seq)],
    };
    let settle = |first: Option<MutationNumber>, outcomes| {
        let rule = Arc::new(Again);
        device.replica.settle(first.unwrap(), outcomes, rule)
    };
    settle(first, vec![met(1), met(1), met(1)]).await.unwrap();
    let (first, changes) = device.sent().await;
    assert_eq!(changes.len(), 5);
    let own = changes[0].rev;
    // The server takes both writes, and not the deletion of a version that it never had.
    let taken = |seq| Outcome::Applied {
        first: Seq::new(seq),
    };
    settle(first, vec![taken(2), taken(4), met(2)])
        .await
        .unwrap();
    let page = IncomingPage {
        kind: PageKind::Feed,
        epoch: EPOCH,
        start: Seq::new(1),
        end: Seq::new(5),
        head: Seq::new(5),
        records: Vec::new(),
        removals: Vec::new(),
    };
    device.replica.apply(page, Arc::new(Again)).await.unwrap();
    assert_eq!(device.left().await, (0, 1));
    // It is back, hidden, and the next sweep deletes it.
    assert_eq!(device.docs.get("a").await.unwrap(), None);
    assert_eq!(device.expire().await, 1);
    let (_, changes) = device.sent().await;
    assert_eq!(changes[0].base, Some(own));
    assert_eq!(changes[0].rev.hlc.bits(), own.hlc.bits() + 1);
}

#[tokio::test]
async fn what_is_made_anew_behind_a_deletion_that_gave_way_meets_a_conflict_of_its_own() {
    let device = Device::new().await;
    device.clock.set(2_000);
    assert_eq!(device.expire().await, 1);
    let (first, _) = device.sent().await;
    // Behind the deletion on its way; this device has not read that another one prolonged the life.
    device.docs.insert(&numbered("a", 9_000)).await.unwrap();
    let conflict = Outcome::Conflict {
        seqs: vec![Seq::new(2)],
    };
    device.answer(first.unwrap(), conflict).await;
    device.arrive(2, Some(until("a", 5_000)), 1_500).await;
    // The rule of this device keeps what is local, and the journal what is not.
    assert_eq!(device.left().await, (1, 1));
    let entries = device.db.journal().list(None, 10).await.unwrap();
    let remote = entries[0].documents[0].remote.as_ref().unwrap();
    let theirs = Body::from_serialize(&until("a", 5_000), &DocumentLimits::default());
    assert_eq!(remote.body.as_ref(), Some(&theirs.unwrap().1));
}

#[tokio::test]
async fn an_edit_made_elsewhere_in_time_wins_over_the_deletion_that_came_first() {
    // This device is the one that edited; another one deleted what expired, and was faster.
    let device = Device::new().await;
    device.docs.upsert(&until("a", 5_000)).await.unwrap();
    let (first, _) = device.sent().await;
    let deleted = Hlc::from_bits(Hlc::from_time(seconds(NOW)).bits() + 1);
    let conflict = Outcome::Conflict {
        seqs: vec![Seq::new(2)],
    };
    device.answer(first.unwrap(), conflict).await;
    device.arrive_at(2, None, deleted).await;
    let (_, changes) = device.sent().await;
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].base, None);
    assert!(matches!(changes[0].kind, ChangeKind::Put(_)));
    device.clock.set(4_000);
    assert_eq!(ids(&device.docs).await, ["a"]);
}

#[tokio::test]
async fn devices_that_delete_the_same_document_agree_without_a_word() {
    let device = Device::new().await;
    device.clock.set(2_000);
    assert_eq!(device.expire().await, 1);
    let deleted = Hlc::from_bits(Hlc::from_time(seconds(NOW)).bits() + 1);
    device.arrive_at(2, None, deleted).await;
    assert_eq!(device.left().await, (0, 0));
    assert!(ids(&device.docs).await.is_empty());
    assert_eq!(device.expire().await, 0);
}
