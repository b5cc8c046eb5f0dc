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

#[test]
fn a_commit_that_failed_is_to_be_sent_again() {
    for failure in [
        EngineError::NotApplied("full".to_owned()),
        EngineError::Unknown("disk".to_owned()),
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
            (Some(1), "retry-later", true)
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
    let effects = harness.say(Fetch {
        id: 3,
        documents: vec![document()],
    });
    let [Effect::Fetch { ticket, .. }] = effects[..] else {
        panic!("{effects:?}")
    };
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
