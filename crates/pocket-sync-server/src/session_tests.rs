use pocket_core::{
    Body, Change, ChangeKind, DocumentId, DocumentLimits, Epoch, Hlc, Lineage, Map, Mutation,
    MutationContent, MutationNumber, Outcome, Record, RecordState, Revision,
};
use pocket_sync_protocol::{
    Direction, EncodedRecord, EpochStart, More, Page, Pull, decode_server, encode_client,
};

use super::*;

const CLIENT: ClientId = ClientId::from_bytes([1; 16]);
const OTHER: ClientId = ClientId::from_bytes([2; 16]);
const EPOCH: Epoch = Epoch::from_bytes([3; 16]);

/// A session, and a client and an engine that the test plays by hand.
struct Harness {
    session: Session,
    clock: u64,
}

impl Harness {
    fn new() -> Self {
        let mut harness = Self {
            session: Session::new(Arc::new(Config::default())),
            clock: 0,
        };
        let effects = harness.event(Event::Opened { token: None });
        assert!(matches!(effects[..], [Effect::Timer(Moment(10_000))]));
        harness
    }

    /// A session that is open, its log at `head`.
    fn open(head: u64, checkpoint: Option<HelloCheckpoint>) -> Self {
        let mut harness = Self::new();
        let effects = harness.say(hello(checkpoint));
        assert!(
            matches!(&effects[..], [Effect::Authenticate { token: Some(token) }] if token == "t")
        );
        let effects = harness.event(Event::Authenticated(Ok(Access::all("ann"))));
        assert!(
            matches!(&effects[..], [Effect::Attach { request, .. }] if &*request.user == "ann")
        );
        let effects = harness.event(Event::Attached(Ok(attached(head))));
        assert!(matches!(sent(&effects)[..], [ServerMessage::Welcome(_)]));
        harness
    }

    fn event(&mut self, event: Event) -> Vec<Effect> {
        let now = Now {
            moment: Moment(self.clock),
            time: Timestamp::from_millis(5),
        };
        self.session.handle(now, event)
    }

    fn say(&mut self, message: impl Into<ClientMessage>) -> Vec<Effect> {
        self.event(Event::Frame(encode_client(&message.into())))
    }

    fn pull(&mut self, epoch: Option<Epoch>, after: u64, window: u32, batch: u32) -> Vec<Effect> {
        let after = Seq::new(after);
        self.say(Pull {
            id: 7,
            epoch,
            after,
            until: None,
            collections: Vec::new(),
            window,
            batch,
        })
    }

    /// Answers a read with the records at `places`.
    fn read(
        &mut self,
        effects: &[Effect],
        end: u64,
        head: u64,
        places: &[(u64, ClientId)],
    ) -> Vec<Effect> {
        let (ticket, request) = asked(effects);
        let page = FeedPage {
            epoch: EPOCH,
            start: request.after,
            end: Seq::new(end),
            head: Seq::new(head),
            records: places
                .iter()
                .map(|(seq, client)| record(*seq, *client))
                .collect(),
        };
        self.event(Event::FeedRead {
            ticket,
            result: Ok(page),
        })
    }

    /// Pushes one document and returns the ticket of its commit.
    fn push(&mut self, number: u64) -> u64 {
        let effects = self.say(push(number));
        match &effects[..] {
            [Effect::Commit { ticket, push }] => {
                assert_eq!(push.mutations.len(), 1);
                *ticket
            }
            other => panic!("{other:?}"),
        }
    }

    fn applied(&mut self, ticket: u64, number: u64, seq: u64) -> Vec<Effect> {
        let answer = PushAnswer {
            first: MutationNumber::new(number),
            outcomes: vec![Outcome::Applied {
                first: Seq::new(seq),
            }],
            refusal: None,
            written: vec![seq..=seq],
        };
        self.event(Event::Committed {
            ticket,
            result: Ok(answer),
        })
    }
}

fn hello(checkpoint: Option<HelloCheckpoint>) -> Hello {
    Hello {
        versions: VersionRange::SUPPORTED,
        client: CLIENT,
        namespace: "default".to_owned(),
        token: Some("t".to_owned()),
        session: None,
        collections: Vec::new(),
        direction: Direction::Both,
        checkpoint,
        agent: "test".to_owned(),
    }
}

fn attached(head: u64) -> Attached {
    let log = LogState {
        lineage: Lineage::from_bytes([9; 16]),
        epochs: [EpochStart {
            epoch: EPOCH,
            first: Seq::new(1),
        }]
        .into(),
        epoch: EPOCH,
        head: Seq::new(head),
        horizon: Seq::ZERO,
    };
    Attached {
        log,
        session: SessionToken::from_bytes([4; 16]),
        last: MutationNumber::ZERO,
        time: Timestamp::from_millis(5),
    }
}

fn push(number: u64) -> Push {
    let change = Change {
        collection: CollectionName::new("todos").unwrap(),
        id: DocumentId::new("a").unwrap(),
        rev: Revision::new(Hlc::from_bits(number), CLIENT),
        base: None,
        kind: ChangeKind::Put(body()),
    };
    let number = MutationNumber::new(number);
    let mutation = Mutation {
        number,
        content: MutationContent::Changes(vec![change]),
    };
    let id = u32::try_from(number.get()).unwrap();
    Push::build(id, CLIENT, number, MutationNumber::ZERO, &[mutation]).unwrap()
}

fn body() -> Body {
    Body::from_map(&Map::new(), &DocumentLimits::default()).unwrap()
}

fn record(seq: u64, client: ClientId) -> EncodedRecord {
    EncodedRecord::encode(&Record {
        collection: CollectionName::new("todos").unwrap(),
        id: DocumentId::new(&format!("d{seq}")).unwrap(),
        rev: Revision::new(Hlc::from_bits(seq), client),
        seq: Seq::new(seq),
        state: RecordState::Live(body()),
    })
}

fn sent(effects: &[Effect]) -> Vec<ServerMessage> {
    let limits = crate::Limits::default().frames();
    let frames = effects.iter().filter_map(|effect| match effect {
        Effect::Send(frame) => Some(decode_server(frame, &limits).unwrap()),
        _ => None,
    });
    frames.collect()
}

fn pages(effects: &[Effect]) -> Vec<Page> {
    let pages = sent(effects)
        .into_iter()
        .filter_map(|message| match message {
            ServerMessage::Page(page) => Some(page),
            _ => None,
        });
    pages.collect()
}

fn places(page: &Page) -> Vec<u64> {
    page.records()
        .unwrap()
        .iter()
        .map(|record| record.seq.get())
        .collect()
}

fn asked(effects: &[Effect]) -> (u64, ReadRequest) {
    let reads: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Read { ticket, request } => Some((*ticket, request.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(reads.len(), 1, "{effects:?}");
    reads.into_iter().next().unwrap()
}

fn reads(effects: &[Effect]) -> bool {
    effects
        .iter()
        .any(|effect| matches!(effect, Effect::Read { .. }))
}

fn error(effects: &[Effect]) -> (String, Option<u16>) {
    let code = sent(effects).iter().find_map(|message| match message {
        ServerMessage::Error(error) => Some(error.code.clone()),
        _ => None,
    });
    let close = effects.iter().find_map(|effect| match effect {
        Effect::Close { code, .. } => Some(*code),
        _ => None,
    });
    (code.expect("an error was sent"), close)
}

#[test]
fn a_hello_becomes_a_welcome_that_tells_where_the_server_stands() {
    let mut harness = Harness::new();
    harness.say(hello(None));
    assert!(
        !harness.session.wants_frames(),
        "nothing is read before the welcome"
    );
    harness.event(Event::Authenticated(Ok(Access::all("ann"))));
    let effects = harness.event(Event::Attached(Ok(attached(12))));
    let [ServerMessage::Welcome(welcome)] = &sent(&effects)[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(
        (welcome.user.as_str(), welcome.head, welcome.version),
        ("ann", Seq::new(12), 1)
    );
    assert_eq!(welcome.session, SessionToken::from_bytes([4; 16]));
    assert!(harness.session.wants_frames());
}

#[test]
fn whoever_may_not_come_in_is_told_why_and_closed_with_a_code() {
    let refused = AuthError::Refused("no".to_owned());
    for (error_given, expected) in [
        (refused, ("unauthorized", 4401)),
        (AuthError::Expired, ("token-expired", 4401)),
        (AuthError::Unavailable("db".to_owned()), ("internal", 1011)),
    ] {
        let mut harness = Harness::new();
        harness.say(hello(None));
        let effects = harness.event(Event::Authenticated(Err(error_given)));
        assert_eq!(error(&effects), (expected.0.to_owned(), Some(expected.1)));
        assert!(harness.session.is_over());
    }
    for (refusal, code) in [
        (AttachRefusal::OtherUser, "other-user"),
        (AttachRefusal::ClientCopied, "client-copied"),
    ] {
        let mut harness = Harness::new();
        harness.say(hello(None));
        harness.event(Event::Authenticated(Ok(Access::all("ann"))));
        let effects = harness.event(Event::Attached(Err(EngineError::Refused(refusal))));
        assert_eq!(error(&effects), (code.to_owned(), Some(4409)));
    }
}

#[test]
fn a_namespace_that_is_not_the_users_is_forbidden() {
    let mut harness = Harness::new();
    harness.say(hello(None));
    let access = Access::all("ann").only([Namespace::new("other").unwrap()]);
    let effects = harness.event(Event::Authenticated(Ok(access)));
    assert_eq!(error(&effects), ("forbidden".to_owned(), Some(4403)));
}

#[test]
fn a_hello_of_other_versions_is_told_both() {
    let mut harness = Harness::new();
    let versions = VersionRange { min: 7, max: 9 };
    let effects = harness.say(Hello {
        versions,
        ..hello(None)
    });
    assert_eq!(error(&effects), ("version-mismatch".to_owned(), Some(4406)));
}

#[test]
fn a_bad_frame_is_answered_with_an_error_and_a_close() {
    for harness in [Harness::new(), Harness::open(0, None)] {
        let mut harness = harness;
        let effects = harness.event(Event::Frame(Bytes::from_static(b"\xc1nonsense")));
        assert_eq!(error(&effects), ("bad-frame".to_owned(), Some(4400)));
        assert!(harness.session.is_over() && !harness.session.wants_frames());
        assert!(
            harness.say(hello(None)).is_empty(),
            "what comes later is not looked at"
        );
    }
}

#[test]
fn a_connection_begins_with_exactly_one_hello() {
    let mut early = Harness::new();
    assert_eq!(
        error(&early.say(push(1))),
        ("unexpected-message".to_owned(), Some(4400))
    );
    let mut twice = Harness::open(0, None);
    assert_eq!(
        error(&twice.say(hello(None))),
        ("unexpected-message".to_owned(), Some(4400))
    );
}

#[test]
fn silence_ends_the_handshake_after_ten_seconds_and_a_session_after_sixty() {
    let mut harness = Harness::new();
    harness.clock = 10_000;
    assert_eq!(
        error(&harness.event(Event::Timer)),
        ("handshake-timeout".to_owned(), Some(4408))
    );

    let mut harness = Harness::open(0, None);
    harness.clock = 50_000;
    harness.say(Ping { id: 1, time: None });
    harness.clock = 60_000;
    let effects = harness.event(Event::Timer);
    assert!(
        matches!(effects[..], [Effect::Timer(Moment(110_000))]),
        "{effects:?}"
    );
    harness.clock = 110_000;
    assert_eq!(
        error(&harness.event(Event::Timer)),
        ("idle-timeout".to_owned(), Some(4408))
    );
}

#[test]
fn a_ping_is_answered_with_the_head() {
    let mut harness = Harness::open(3, None);
    harness.event(Event::HeadMoved(Seq::new(8)));
    let effects = harness.say(Ping { id: 5, time: None });
    let expected = Pong {
        id: 5,
        head: Seq::new(8),
        time: Timestamp::from_millis(5),
    };
    assert_eq!(sent(&effects), [ServerMessage::Pong(expected)]);
}

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
fn a_hostile_reader_gets_no_wider_window_by_asking_often() {
    let mut harness = Harness::open(2_000, None);
    let effects = harness.pull(None, 0, 2, 1);
    (0..50).for_each(|_| {
        drop(harness.say(More {
            id: 7,
            applied: Seq::ZERO,
        }))
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
    };
    let effects = harness.say(pull);
    assert_eq!(&*asked(&effects).1.collections, [todos.clone()]);
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
