use super::*;

#[test]
fn what_is_missing_and_fits_one_page_travels_as_one() {
    let mut harness = Harness::open(500, None);
    let effects = harness.pull(None, 0, 2, 100);
    assert_eq!(asked(&effects).1.records, 1_000);
    let all: Vec<_> = (1..=500).map(|seq| (seq, OTHER)).collect();
    let effects = harness.read(&effects, 500, 500, &all);
    let [page] = &pages(&effects)[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(
        (page.start, page.end, page.head),
        (Seq::ZERO, Seq::new(500), Seq::new(500))
    );
    assert_eq!(places(page), (1..=500).collect::<Vec<_>>());
    assert!(!reads(&effects), "there is nothing more");
}

#[test]
fn a_longer_stretch_travels_in_batches_and_only_as_many_pages_as_the_window_has() {
    let mut harness = Harness::open(2_000, None);
    let effects = harness.pull(None, 0, 2, 100);
    let first: Vec<_> = (1..=1_000).map(|seq| (seq, OTHER)).collect();
    let effects = harness.read(&effects, 1_000, 2_000, &first);
    let two = pages(&effects);
    assert_eq!(two.len(), 2);
    assert_eq!(
        (two[0].end, two[1].start, two[1].end),
        (Seq::new(100), Seq::new(100), Seq::new(200))
    );
    for page in 3..=10 {
        let effects = harness.say(More {
            id: 7,
            applied: Seq::new(100),
        });
        assert_eq!(pages(&effects).len(), 1, "page {page}");
        assert!(
            !reads(&effects),
            "no room for another page, so nothing is read"
        );
    }
    let effects = harness.say(More {
        id: 7,
        applied: Seq::new(1_000),
    });
    assert_eq!(asked(&effects).1.after, Seq::new(1_000));
    let effects = harness.say(More {
        id: 7,
        applied: Seq::new(5_000),
    });
    assert!(effects.is_empty(), "what was never sent cannot be applied");
}

#[test]
fn nothing_is_read_or_sent_while_the_connection_is_full() {
    let mut harness = Harness::open(2_000, None);
    let effects = harness.pull(None, 0, 8, 500);
    assert!(harness.event(Event::Full).is_empty());
    // What was being read is kept.
    let first: Vec<_> = (1..=1_000).map(|seq| (seq, OTHER)).collect();
    assert!(harness.read(&effects, 1_000, 2_000, &first).is_empty());
    assert!(harness.event(Event::HeadMoved(Seq::new(2_001))).is_empty());
    let effects = harness.event(Event::Room);
    assert_eq!(pages(&effects).len(), 2);
    assert_eq!(asked(&effects).1.after, Seq::new(1_000));
}

#[test]
fn a_hostile_reader_gets_no_wider_window_by_asking_often() {
    let mut harness = Harness::open(2_000, None);
    let effects = harness.pull(None, 0, 2, 1);
    (0..50).for_each(|_| {
        drop(harness.say(More {
            id: 7,
            applied: Seq::ZERO,
        }));
    });
    let first: Vec<_> = (1..=1_000).map(|seq| (seq, OTHER)).collect();
    assert_eq!(
        pages(&harness.read(&effects, 1_000, 2_000, &first)).len(),
        2
    );
}

#[test]
fn a_live_reader_is_woken_by_the_doorbell_and_reads_from_where_it_stands() {
    let mut harness = Harness::open(3, None);
    let effects = harness.pull(Some(EPOCH), 3, 4, 100);
    let effects = harness.read(&effects, 3, 3, &[]);
    assert_eq!(
        pages(&effects).len(),
        1,
        "the first answer comes also when nothing is missing"
    );
    let effects = harness.event(Event::HeadMoved(Seq::new(4)));
    assert_eq!(asked(&effects).1.after, Seq::new(3));
    assert!(
        harness.event(Event::HeadMoved(Seq::new(5))).is_empty(),
        "one read at a time"
    );
    let effects = harness.read(&effects, 4, 4, &[(4, OTHER)]);
    assert_eq!(places(&pages(&effects)[0]), [4]);
    assert_eq!(
        asked(&effects).1.after,
        Seq::new(4),
        "the ring that came meanwhile is not lost"
    );
}

#[test]
fn own_records_are_withheld_once_their_outcome_went_out_and_the_page_covers_them() {
    let mut harness = Harness::open(3, None);
    let effects = harness.pull(Some(EPOCH), 3, 8, 100);
    harness.read(&effects, 3, 3, &[]);
    let (one, two) = (harness.push(1), harness.push(2));
    harness.applied(one, 1, 4);
    let effects = harness.event(Event::HeadMoved(Seq::new(4)));
    assert_eq!(
        asked(&effects).1.until,
        Some(Seq::new(4)),
        "no further than outcomes were told"
    );
    let effects = harness.read(&effects, 4, 5, &[(4, CLIENT)]);
    assert!(
        pages(&effects).is_empty(),
        "an empty page waits while pushes are in flight"
    );
    let effects = harness.applied(two, 2, 5);
    let page = &pages(&effects)[0];
    assert_eq!(
        (places(page).len(), page.start, page.end),
        (0, Seq::new(3), Seq::new(4))
    );
    let effects = harness.event(Event::HeadMoved(Seq::new(6)));
    let effects = harness.read(&effects, 6, 6, &[(5, CLIENT), (6, OTHER)]);
    let page = &pages(&effects)[0];
    assert_eq!(
        (places(page), page.start, page.end),
        (vec![6], Seq::new(4), Seq::new(6))
    );
}

/// Found by the simulator: while pushes are on their way the reading ends where their outcomes do. A document that was
/// hidden before that, and had changed again behind it, counted as told, and stayed with the reader.
#[test]
fn removals_count_as_told_where_the_reading_has_reached_the_head_and_not_where_it_waits_for_outcomes()
 {
    let mut harness = Harness::open(6, None);
    let push = harness.push(1);
    let effects = harness.pull(Some(EPOCH), 1, 8, 100);
    assert_eq!(asked(&effects).1.until, Some(Seq::new(6)));
    harness.read(&effects, 6, 8, &[(5, OTHER)]);
    harness.applied(push, 1, 7);
    let effects = harness.event(Event::HeadMoved(Seq::new(8)));
    let (_, request) = asked(&effects);
    assert_eq!((request.after, request.told), (Seq::new(6), Seq::ZERO));
    harness.read(&effects, 8, 8, &[(8, OTHER)]);
    let effects = harness.event(Event::HeadMoved(Seq::new(9)));
    assert_eq!(asked(&effects).1.told, Seq::new(8));
}

#[test]
fn records_of_an_earlier_session_of_the_same_client_are_sent() {
    let mut harness = Harness::open(3, None);
    let effects = harness.pull(Some(EPOCH), 0, 2, 100);
    let effects = harness.read(&effects, 3, 3, &[(2, CLIENT), (3, OTHER)]);
    assert_eq!(places(&pages(&effects)[0]), [2, 3]);
}

#[test]
fn nothing_is_withheld_during_a_first_sync() {
    let mut harness = Harness::open(0, None);
    let ticket = harness.push(1);
    harness.applied(ticket, 1, 1);
    harness.event(Event::HeadMoved(Seq::new(1)));
    let effects = harness.pull(None, 0, 2, 100);
    let effects = harness.read(&effects, 1, 1, &[(1, CLIENT)]);
    assert_eq!(places(&pages(&effects)[0]), [1]);
}

/// Found by the simulator: a document was written anew while the first page of a reading from the start was read. The page
/// told the head of before as its head and went up to it, without that document: the client removed it, and was up to date.
#[test]
fn a_first_page_during_which_the_log_moved_on_does_not_reach_the_head_it_fixes() {
    let mut harness = Harness::open(5, None);
    let effects = harness.pull(None, 0, 2, 100);
    let (ticket, request) = asked(&effects);
    // What stood at 3 and 4 stands at 6 and 7 by now.
    let page = FeedPage {
        epoch: EPOCH,
        start: request.after,
        end: Seq::new(5),
        head: Seq::new(7),
        began: Seq::new(5),
        horizon: Seq::ZERO,
        records: [2, 5].map(|seq| record(seq, OTHER)).into(),
        removals: Vec::new(),
        digests: None,
    };
    let result = Ok(page);
    let effects = harness.event(Event::FeedRead { ticket, result });
    let first = pages(&effects).remove(0);
    assert_eq!((first.end, first.head), (Seq::new(4), Seq::new(5)));
    assert_eq!(places(&first), [2]);
    let (_, request) = asked(&effects);
    assert_eq!(request.after, Seq::new(4));
    assert_eq!(
        request.live_until,
        Some(Seq::new(5)),
        "what was deleted behind the fixed head is told"
    );
    let rest = [(5, OTHER), (6, OTHER), (7, OTHER)];
    let effects = harness.read(&effects, 7, 7, &rest);
    let second = pages(&effects).remove(0);
    assert_eq!((second.end, second.head), (Seq::new(7), Seq::new(7)));
    assert_eq!(places(&second), [5, 6, 7]);
}

#[test]
fn a_newer_pull_replaces_the_older_and_late_answers_to_it_are_ignored() {
    let mut harness = Harness::open(5, None);
    let old = harness.pull(Some(EPOCH), 0, 2, 100);
    let new = harness.pull(Some(EPOCH), 4, 2, 100);
    assert!(harness.read(&old, 5, 5, &[(5, OTHER)]).is_empty());
    let effects = harness.read(&new, 5, 5, &[(5, OTHER)]);
    assert_eq!(pages(&effects)[0].start, Seq::new(4));
}

#[test]
fn a_joining_read_ends_at_its_end_and_names_its_collection() {
    let mut harness = Harness::open(9, None);
    let todos = CollectionName::new("todos").unwrap();
    let (after, until) = (Seq::ZERO, Some(Seq::new(6)));
    let collections = vec![todos.clone()];
    let pull = Pull {
        id: 8,
        epoch: Some(EPOCH),
        after,
        until,
        collections,
        window: 2,
        batch: 10,
        fixed_head: None,
    };
    let effects = harness.say(pull);
    let asked_for = asked(&effects).1.collections;
    assert!(asked_for.len() == 1 && asked_for.contains(&todos));
    let effects = harness.read(&effects, 6, 9, &[(2, OTHER)]);
    let page = &pages(&effects)[0];
    assert_eq!(
        (page.joining.as_ref(), page.end, page.head),
        (Some(&todos), Seq::new(6), Seq::new(9))
    );
    assert!(
        harness.event(Event::HeadMoved(Seq::new(10))).is_empty(),
        "the pull is over"
    );
}

#[test]
fn a_place_of_no_known_history_is_refused_and_no_push_is_taken_then() {
    let mut harness = Harness::open(5, None);
    for (epoch, after) in [
        (Some(Epoch::from_bytes([8; 16])), 1),
        (Some(EPOCH), 6),
        (None, 1),
    ] {
        let effects = harness.pull(epoch, after, 2, 100);
        assert_eq!(
            error(&effects),
            ("unknown-epoch".to_owned(), None),
            "{epoch:?} {after}"
        );
    }
    let checkpoint = HelloCheckpoint {
        epoch: EPOCH,
        seq: Seq::new(6),
        rights: None,
        fixed_head: None,
    };
    let mut harness = Harness::open(5, Some(checkpoint));
    assert_eq!(
        error(&harness.say(push(1))),
        ("unknown-epoch".to_owned(), None)
    );
}

/// While a collection does not sync, its removals are read past; whoever joins it again reads it from the start, where they
/// were taken for those of a first read and left out. Found by digests, in the simulator.
#[test]
fn a_joining_read_tells_what_was_hidden_while_the_collection_did_not_sync() {
    let mut harness = Harness::open(4, None);
    let collection = CollectionName::new("todos").unwrap();
    let effects = harness.say(Pull {
        id: 7,
        epoch: Some(EPOCH),
        after: Seq::ZERO,
        until: Some(Seq::new(4)),
        collections: vec![collection.clone()],
        window: 2,
        batch: 100,
        fixed_head: None,
    });
    let (ticket, request) = asked(&effects);
    let key = crate::decide::DocumentKey {
        collection,
        id: DocumentId::new("hidden").unwrap(),
    };
    let page = FeedPage {
        epoch: EPOCH,
        start: request.after,
        end: Seq::new(4),
        head: Seq::new(4),
        began: Seq::new(4),
        horizon: Seq::ZERO,
        records: Vec::new(),
        removals: vec![crate::engine::Removed {
            key,
            seq: Seq::new(3),
            own: false,
        }],
        digests: None,
    };
    let result = Ok(page);
    let effects = harness.event(Event::FeedRead { ticket, result });
    let told = pages(&effects).remove(0).removals().unwrap();
    assert_eq!(told.len(), 1);
}
