use super::*;

#[test]
fn pushes_are_committed_in_order_and_the_reader_is_held_up_when_too_many_are_in_flight() {
    let mut harness = Harness::open(0, None);
    let tickets: Vec<u64> = (1..=8).map(|number| harness.push(number)).collect();
    assert!(!harness.session.wants_frames());
    let effects = harness.say(push(9));
    assert_eq!(error(&effects), ("retry-later".to_owned(), None));
    let effects = harness.applied(tickets[0], 1, 1);
    let [ServerMessage::Outcomes(outcomes)] = &sent(&effects)[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(
        (outcomes.id, outcomes.first, outcomes.gap),
        (1, MutationNumber::new(1), None)
    );
    assert!(harness.session.wants_frames());
}

#[test]
fn a_gap_is_told_with_the_number_that_is_expected() {
    let mut harness = Harness::open(0, None);
    let ticket = harness.push(5);
    let first = MutationNumber::new(5);
    let refusal = Some(Refusal::Gap(MutationNumber::new(2)));
    let answer = PushAnswer {
        first,
        refusal,
        ..PushAnswer::default()
    };
    let effects = harness.event(Event::Committed {
        ticket,
        result: Ok(answer),
    });
    let [ServerMessage::Outcomes(outcomes)] = &sent(&effects)[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(
        (outcomes.outcomes.len(), outcomes.gap),
        (0, Some(MutationNumber::new(2)))
    );
}

/// Numbers pushed once more with nothing in them are answered with what is recorded: a small push got an answer larger than any
/// message may be.
#[test]
fn outcomes_that_do_not_fit_into_a_message_are_told_when_they_are_pushed_again() {
    let conflict = |places: u64| Outcome::Conflict {
        seqs: (0..places).map(|place| Seq::new(1 << 40 | place)).collect(),
    };
    let reason = Outcome::Rejected {
        code: "validation".to_owned(),
        reason: "r".repeat(512),
        server_time: None,
    };
    // By their values, and by their bytes.
    for (outcome, count) in [(conflict(1_000), 4_000), (reason, 10_000)] {
        let mut harness = Harness::open(0, None);
        let ticket = harness.push(1);
        let answer = PushAnswer {
            first: MutationNumber::new(1),
            outcomes: vec![outcome.clone(); count],
            written: vec![1..=5],
            refusal: Some(Refusal::Unconfirmed),
            ..PushAnswer::default()
        };
        let effects = harness.event(Event::Committed {
            ticket,
            result: Ok(answer),
        });
        // Decoding checks the limits of a frame.
        let [ServerMessage::Outcomes(told), ServerMessage::Error(error)] = &sent(&effects)[..]
        else {
            panic!("{} effects", effects.len())
        };
        assert!((90..count).contains(&told.outcomes.len()));
        assert!(told.outcomes.iter().all(|told| *told == outcome));
        assert_eq!((error.id, error.code.as_str()), (Some(1), "retry-later"));
        assert!(!harness.session.is_over());
    }
}

#[test]
fn a_commit_that_failed_is_to_be_sent_again() {
    for (failure, code) in [
        (EngineError::NotApplied("busy".to_owned()), "retry-later"),
        (EngineError::Unknown("disk".to_owned()), "retry-later"),
        (EngineError::Full("no space".to_owned()), "server-full"),
    ] {
        let mut harness = Harness::open(0, None);
        let ticket = harness.push(1);
        let effects = harness.event(Event::Committed {
            ticket,
            result: Err(failure),
        });
        let [ServerMessage::Error(error)] = &sent(&effects)[..] else {
            panic!("{effects:?}")
        };
        assert_eq!(
            (error.id, error.code.as_str(), error.retryable),
            (Some(1), code, true)
        );
        assert_eq!(error.retry_after, Some(Duration::from_secs(1)));
        assert!(!harness.session.is_over());
    }
}

#[test]
fn a_fetch_is_answered_with_records_and_too_many_are_refused() {
    let mut harness = Harness::open(5, None);
    let document = || {
        (
            CollectionName::new("todos").unwrap(),
            DocumentId::new("d1").unwrap(),
        )
    };
    // Each is read once, however often it is named.
    let effects = harness.say(Fetch {
        id: 3,
        documents: vec![document(); 1_000],
    });
    let [
        Effect::Fetch {
            ticket,
            ref documents,
            ..
        },
    ] = effects[..]
    else {
        panic!("{effects:?}")
    };
    assert_eq!(documents.len(), 1);
    assert!(!harness.session.wants_frames());
    let fetched = Fetched {
        epoch: EPOCH,
        head: Seq::new(5),
        records: vec![record(1, OTHER)],
    };
    let effects = harness.event(Event::Fetched {
        ticket,
        result: Ok(fetched),
    });
    let [ServerMessage::Records(records)] = &sent(&effects)[..] else {
        panic!("{effects:?}")
    };
    assert_eq!((records.id, records.records().unwrap().len()), (3, 1));
    let effects = harness.say(Fetch {
        id: 4,
        documents: (0..1_001).map(|_| document()).collect(),
    });
    assert_eq!(error(&effects), ("too-large".to_owned(), None));
}

#[test]
fn a_shutdown_finishes_what_is_in_flight_and_says_come_back() {
    let mut harness = Harness::open(5, None);
    let ticket = harness.push(1);
    assert!(harness.event(Event::Shutdown).is_empty());
    assert!(harness.say(push(2)).is_empty(), "nothing new is begun");
    let effects = harness.applied(ticket, 1, 6);
    assert!(matches!(
        &sent(&effects)[..],
        [ServerMessage::Outcomes(_), ServerMessage::Error(_)]
    ));
    assert_eq!(error(&effects), ("going-away".to_owned(), Some(1001)));
}

#[test]
fn a_newer_session_of_the_same_client_ends_the_older() {
    let mut harness = Harness::open(5, None);
    assert_eq!(
        error(&harness.event(Event::Replaced)),
        ("replaced".to_owned(), Some(4409))
    );
    let mut harness = Harness::open(5, None);
    let ticket = harness.push(1);
    let answer = PushAnswer {
        refusal: Some(Refusal::Replaced),
        ..PushAnswer::default()
    };
    let effects = harness.event(Event::Committed {
        ticket,
        result: Ok(answer),
    });
    assert_eq!(error(&effects), ("replaced".to_owned(), Some(4409)));
}

#[test]
fn too_many_requests_are_answered_with_how_long_to_wait() {
    let mut harness = Harness::open(5, None);
    let fetch = |id| Fetch {
        id,
        documents: Vec::new(),
    };
    let mut told = Vec::new();
    for id in 0..520 {
        let effects = harness.say(fetch(id));
        if let [Effect::Fetch { ticket, .. }] = effects[..] {
            let fetched = Fetched {
                epoch: EPOCH,
                head: Seq::new(5),
                records: Vec::new(),
            };
            let result = Ok(fetched);
            harness.event(Event::Fetched { ticket, result });
        } else if let [ServerMessage::Error(error)] = &sent(&effects)[..] {
            told.push((error.id, error.code.clone(), error.retry_after, error.fatal));
        }
    }
    assert_eq!(told.len(), 20, "the burst is 500");
    let wait = Some(Duration::from_millis(10));
    assert_eq!(told[0], (Some(500), "rate-limited".to_owned(), wait, false));
    // A ping is answered all the same: it tells where the head is, and nobody sends one again.
    let effects = harness.say(Ping { id: 1, time: None });
    assert!(matches!(sent(&effects)[..], [ServerMessage::Pong(_)]));
    // A push that came too early leaves nothing behind: the same is taken a moment later.
    let effects = harness.say(push(1));
    assert!(matches!(&sent(&effects)[..], [ServerMessage::Error(error)] if error.retryable));
    harness.clock = 20;
    harness.push(1);
    // Whoever goes on without listening is closed.
    let mut last = Vec::new();
    for id in 0..1_000 {
        last = harness.say(Ping { id, time: None });
        if harness.session.is_over() {
            break;
        }
    }
    assert_eq!(error(&last), ("rate-limited".to_owned(), Some(4429)));
}

#[test]
fn the_answer_to_a_page_is_not_counted_but_one_to_none_is() {
    let mut harness = Harness::open(2_000, None);
    let effects = harness.pull(None, 0, 1, 1);
    let places: Vec<_> = (1..=1_000).map(|place| (place, OTHER)).collect();
    let mut effects = harness.read(&effects, 1_000, 2_000, &places);
    for _ in 0..900 {
        let page = pages(&effects).remove(0);
        effects = harness.say(More {
            id: page.id,
            applied: page.end,
        });
    }
    assert_eq!(pages(&effects).len(), 1, "nothing was refused");
    let more = More {
        id: 7,
        applied: Seq::new(1),
    };
    let ended = (0..1_000).any(|_| {
        harness.say(more);
        harness.session.is_over()
    });
    assert!(ended);
}
