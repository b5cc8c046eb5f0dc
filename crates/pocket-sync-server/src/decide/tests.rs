mod attach;
mod recorded;

use pocket_core::{Body, CollectionName, DocumentId, DocumentLimits, Map, RecordState, Revision};
use pocket_sync_protocol::BadMutation;

use super::*;
use crate::engine::AttachRequest;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

fn client(byte: u8) -> ClientId {
    ClientId::from_bytes([byte; 16])
}

fn token(byte: u8) -> SessionToken {
    SessionToken::from_bytes([byte; 16])
}

fn rev(millis: i64, by: u8) -> Revision {
    Revision::new(Hlc::from_time(Timestamp::from_millis(millis)), client(by))
}

fn change(id: &str, rev: Revision, base: Option<Revision>, kind: ChangeKind) -> Change {
    Change {
        collection: CollectionName::new("todos").unwrap(),
        id: DocumentId::new(id).unwrap(),
        rev,
        base,
        kind,
    }
}

fn put(id: &str, rev: Revision, base: Option<Revision>) -> Change {
    let body = Body::from_map(&Map::new(), &DocumentLimits::default()).unwrap();
    change(id, rev, base, ChangeKind::Put(body))
}

fn attach(
    now: Timestamp,
    known: Option<ClientRecord>,
    user: &str,
    presented: Option<SessionToken>,
    token: SessionToken,
) -> Result<ClientRecord, AttachRefusal> {
    let request = AttachRequest {
        user: user.into(),
        client: client(1),
        presented,
        unless_new: None,
    };
    super::attach(now, known, &request, token)
}

#[expect(clippy::unnecessary_wraps, reason = "a push holds results")]
fn mutation(number: u64, changes: Vec<Change>) -> PushedMutation {
    Ok(Mutation {
        number: MutationNumber::new(number),
        content: MutationContent::Changes(changes),
    })
}

fn push(by: u8, first: u64, mutations: Vec<PushedMutation>) -> PushRequest {
    PushRequest {
        user: "ann".into(),
        client: client(by),
        session: token(by),
        confirmed: MutationNumber::ZERO,
        first: MutationNumber::new(first),
        mutations,
        bytes: 0,
        authority: crate::rules::Authority::open(),
    }
}

/// A log at place 10 with clients 1 and 2, a live document and a tombstone.
fn overlay() -> Overlay {
    let mut overlay = Overlay::new(Seq::new(10), Hlc::ZERO);
    for by in [1, 2] {
        let record = attach(NOW, None, "ann", None, token(by)).unwrap();
        overlay.load_client(client(by), record);
    }
    let live = Current {
        rev: rev(500, 9),
        seq: Seq::new(4),
        live: true,
        bytes: 3,
    };
    let dead = Current {
        rev: rev(600, 9),
        seq: Seq::new(7),
        live: false,
        bytes: 0,
    };
    overlay.load(DocumentKey::of(&put("live", rev(1, 1), None)), Some(live));
    overlay.load(DocumentKey::of(&put("dead", rev(1, 1), None)), Some(dead));
    overlay
}

fn run(overlay: &mut Overlay, push: &PushRequest) -> PushAnswer {
    decide(NOW, &DecideLimits::default(), overlay, push)
}

fn applied(first: u64) -> Outcome {
    Outcome::Applied {
        first: Seq::new(first),
    }
}

fn code(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Rejected { code, .. } => code,
        other => panic!("{other:?} is no rejection"),
    }
}

#[test]
fn applied_changes_get_contiguous_places_and_one_feed_entry_each() {
    let mut overlay = overlay();
    let push = push(
        1,
        1,
        vec![
            mutation(
                1,
                vec![put("a", rev(10, 1), None), put("b", rev(11, 1), None)],
            ),
            mutation(2, vec![put("a", rev(12, 1), Some(rev(10, 1)))]),
            mutation(3, vec![put("live", rev(13, 1), Some(rev(500, 9)))]),
        ],
    );
    let answer = run(&mut overlay, &push);
    assert_eq!(answer.outcomes, [applied(11), applied(13), applied(14)]);
    assert_eq!(answer.refusal, None);
    assert_eq!(answer.written, [11..=14]);
    let writes = overlay.into_writes();
    assert_eq!(writes.head, Seq::new(14));
    let placed: Vec<_> = (writes.records.iter())
        .map(|(record, replaced, _)| {
            let replaced = replaced.map(|old| (old.seq.get(), old.live));
            (record.id.as_str(), record.seq.get(), replaced)
        })
        .collect();
    assert_eq!(
        placed,
        [
            ("b", 12, None),
            ("a", 13, None),
            ("live", 14, Some((4, true)))
        ]
    );
    assert_eq!(writes.clock, Hlc::from_time(NOW));
}

#[test]
fn a_number_sent_again_gets_its_recorded_outcome_and_takes_no_effect() {
    let mut overlay = overlay();
    let first = push(
        1,
        1,
        vec![
            mutation(1, vec![put("a", rev(10, 1), None)]),
            mutation(2, vec![put("live", rev(11, 1), None)]),
        ],
    );
    let answer = run(&mut overlay, &first);
    assert_eq!(
        answer.outcomes,
        [
            applied(11),
            Outcome::Conflict {
                seqs: vec![Seq::new(4)]
            }
        ]
    );
    let again = run(&mut overlay, &first);
    assert_eq!(again.outcomes, answer.outcomes);
    assert!(
        again.written.is_empty(),
        "nothing of it was written by this sending"
    );
    assert_eq!(overlay.into_writes().head, Seq::new(11));
}

#[test]
fn a_missing_number_stops_the_push_and_names_what_is_expected() {
    let mut overlay = overlay();
    let answer = run(
        &mut overlay,
        &push(1, 3, vec![mutation(3, vec![put("a", rev(10, 1), None)])]),
    );
    assert_eq!(answer.refusal, Some(Refusal::Gap(MutationNumber::new(1))));
    assert!(answer.outcomes.is_empty());
    assert_eq!(overlay.into_writes().head, Seq::new(10));
}

#[test]
fn a_confirmed_number_is_never_answered_again() {
    let mut overlay = overlay();
    let first = push(1, 1, vec![mutation(1, vec![put("a", rev(10, 1), None)])]);
    run(&mut overlay, &first);
    let mut second = push(1, 2, vec![mutation(2, vec![put("b", rev(11, 1), None)])]);
    second.confirmed = MutationNumber::new(1);
    assert_eq!(run(&mut overlay, &second).outcomes, [applied(12)]);
    let late = run(&mut overlay, &first);
    assert_eq!(
        late.refusal,
        Some(Refusal::UnknownNumber(MutationNumber::new(1)))
    );
    assert!(late.outcomes.is_empty());
    let record = &overlay.into_writes().clients[0].1;
    assert_eq!(
        (
            record.confirmed.get(),
            record.last.get(),
            record.outcomes.len()
        ),
        (1, 2, 1)
    );
}

#[test]
fn confirming_more_than_there_is_confirms_what_there_is() {
    let mut overlay = overlay();
    let mut push = push(1, 1, vec![mutation(1, vec![put("a", rev(10, 1), None)])]);
    push.confirmed = MutationNumber::new(u64::MAX);
    assert_eq!(run(&mut overlay, &push).outcomes, [applied(11)]);
    assert_eq!(
        overlay.into_writes().clients[0].1.confirmed,
        MutationNumber::ZERO
    );
}

#[test]
fn bases_are_compared_by_revision_and_none_matches_missing_and_deleted_alike() {
    let cases = [
        ("missing", None, true),
        ("missing", Some(rev(500, 9)), false),
        ("dead", None, true),
        // Not even the deletion's own revision, which names nothing that a change could be made on.
        ("dead", Some(rev(600, 9)), false),
        ("dead", Some(rev(500, 9)), false),
        ("live", None, false),
        ("live", Some(rev(500, 9)), true),
        ("live", Some(rev(499, 9)), false),
        ("live", Some(rev(500, 8)), false),
    ];
    for (id, base, stands) in cases {
        for kind in [put(id, rev(900, 1), base).kind, ChangeKind::Delete] {
            let mut overlay = overlay();
            let push = push(
                1,
                1,
                vec![mutation(1, vec![change(id, rev(900, 1), base, kind)])],
            );
            let outcome = run(&mut overlay, &push).outcomes.remove(0);
            assert_eq!(
                matches!(outcome, Outcome::Applied { .. }),
                stands,
                "{id} on {base:?}: {outcome:?}"
            );
        }
    }
}

#[test]
fn an_erase_is_always_applied_and_leaves_no_body() {
    for id in ["missing", "dead", "live"] {
        let mut overlay = overlay();
        let answer = run(
            &mut overlay,
            &push(
                1,
                1,
                vec![mutation(
                    1,
                    vec![change(id, rev(900, 1), None, ChangeKind::Erase)],
                )],
            ),
        );
        assert_eq!(answer.outcomes, [applied(11)]);
        assert_eq!(
            overlay.into_writes().records[0].0.state,
            RecordState::Erased
        );
    }
}

#[test]
fn a_transaction_with_one_stale_base_takes_no_effect_at_all() {
    let mut overlay = overlay();
    let changes = vec![
        put("a", rev(10, 1), None),
        put("live", rev(11, 1), None),
        put("dead", rev(12, 1), Some(rev(1, 1))),
    ];
    let answer = run(&mut overlay, &push(1, 1, vec![mutation(1, changes)]));
    assert_eq!(
        answer.outcomes,
        [Outcome::Conflict {
            seqs: vec![Seq::new(4), Seq::new(7)]
        }]
    );
    let writes = overlay.into_writes();
    assert!(writes.records.is_empty());
    assert_eq!((writes.head, writes.clients.len()), (Seq::new(10), 1));
}

#[test]
fn pushes_of_one_commit_see_each_other() {
    let mut overlay = overlay();
    assert_eq!(
        run(
            &mut overlay,
            &push(1, 1, vec![mutation(1, vec![put("a", rev(10, 1), None)])])
        )
        .outcomes,
        [applied(11)]
    );
    let second = run(
        &mut overlay,
        &push(2, 1, vec![mutation(1, vec![put("a", rev(20, 2), None)])]),
    );
    assert_eq!(
        second.outcomes,
        [Outcome::Conflict {
            seqs: vec![Seq::new(11)]
        }]
    );
}

#[test]
fn what_breaks_a_rule_is_rejected_alone_and_the_queue_goes_on() {
    let mut overlay = overlay();
    let many = (0..1_001)
        .map(|n| put(&format!("d{n}"), rev(10, 1), None))
        .collect();
    let bad = BadMutation {
        number: MutationNumber::new(4),
        code: "bad-id",
        reason: "empty".into(),
    };
    let push = push(
        1,
        1,
        vec![
            mutation(1, vec![put("a", rev(10, 2), None)]),
            mutation(
                2,
                vec![put("a", rev(10, 1), None), put("a", rev(11, 1), None)],
            ),
            mutation(3, many),
            Err(bad),
            mutation(5, vec![put("a", rev(10, 1), None)]),
        ],
    );
    let answer = run(&mut overlay, &push);
    let codes: Vec<&str> = answer.outcomes[..4].iter().map(code).collect();
    assert_eq!(
        codes,
        ["validation", "validation", "too-many-changes", "bad-id"]
    );
    assert_eq!(answer.outcomes[4], applied(11));
    assert_eq!(
        run(&mut overlay, &push).outcomes,
        answer.outcomes,
        "rejections are recorded too"
    );
}

#[test]
fn a_revision_more_than_a_minute_ahead_is_rejected_with_the_servers_time() {
    let at = |ahead: i64| {
        vec![mutation(
            1,
            vec![put("a", rev(NOW.millis() + ahead, 1), None)],
        )]
    };
    assert_eq!(
        run(&mut overlay(), &push(1, 1, at(60_000))).outcomes,
        [applied(11)]
    );
    let outcome = run(&mut overlay(), &push(1, 1, at(60_001)))
        .outcomes
        .remove(0);
    assert_eq!(code(&outcome), "clock");
    assert!(matches!(outcome, Outcome::Rejected { server_time: Some(time), .. } if time == NOW));
}

#[test]
fn the_servers_clock_does_not_follow_its_own_jump_back_nor_its_clients() {
    let mut overlay = Overlay::new(Seq::ZERO, Hlc::from_time(Timestamp::from_millis(5_000_000)));
    overlay.load_client(client(1), attach(NOW, None, "ann", None, token(1)).unwrap());
    let push = push(
        1,
        1,
        vec![mutation(1, vec![put("a", rev(5_060_000, 1), None)])],
    );
    assert_eq!(run(&mut overlay, &push).outcomes, [applied(1)]);
    assert_eq!(overlay.into_writes().clock.time().millis(), 5_000_000);
}

#[test]
fn withdrawn_and_empty_mutations_use_up_their_number_without_effect() {
    let mut overlay = overlay();
    let withdrawn = Ok(Mutation {
        number: MutationNumber::new(1),
        content: MutationContent::Withdrawn,
    });
    let answer = run(
        &mut overlay,
        &push(
            1,
            1,
            vec![
                withdrawn,
                mutation(2, vec![]),
                mutation(3, vec![put("a", rev(1, 1), None)]),
            ],
        ),
    );
    assert_eq!(answer.outcomes, [applied(0), applied(0), applied(11)]);
    assert_eq!(answer.written, [11..=11]);
}

#[test]
fn an_older_session_and_another_user_are_refused_and_leave_no_mark() {
    for (user, session, refusal) in [
        ("ann", token(7), Refusal::Replaced),
        ("bob", token(1), Refusal::OtherUser),
    ] {
        let mut overlay = overlay();
        let mut push = push(1, 1, vec![mutation(1, vec![put("a", rev(1, 1), None)])]);
        (push.user, push.session) = (user.into(), session);
        assert_eq!(run(&mut overlay, &push).refusal, Some(refusal));
        assert!(overlay.into_writes().is_empty());
    }
}

#[test]
fn a_namespace_grows_up_to_its_quota_and_may_always_shrink() {
    let limits = |documents, bytes| DecideLimits {
        quota: Quota { documents, bytes },
        ..DecideLimits::default()
    };
    let outcomes = |limits: &DecideLimits, mutations: Vec<PushedMutation>| {
        let mut overlay = overlay();
        overlay.set_usage(Usage {
            documents: 1,
            bytes: 3,
        });
        let answer = decide(NOW, limits, &mut overlay, &push(1, 1, mutations));
        let codes: Vec<String> = answer
            .outcomes
            .iter()
            .map(|outcome| match outcome {
                Outcome::Rejected { code, .. } => code.clone(),
                other => format!("{other:?}"),
            })
            .map(|outcome| outcome.split(' ').next().unwrap_or_default().to_owned())
            .collect();
        (codes, overlay.into_writes().usage.unwrap())
    };
    let live = Some(rev(500, 9));
    let gone = change("live", rev(701, 1), live, ChangeKind::Delete);
    // One more fits, a second does not; a deletion makes room for it; an edit of what is there needs none.
    let (codes, usage) = outcomes(
        &limits(Some(2), None),
        vec![
            mutation(1, vec![put("a", rev(700, 1), None)]),
            mutation(2, vec![put("b", rev(700, 1), None)]),
            mutation(3, vec![gone.clone()]),
            mutation(4, vec![put("b", rev(702, 1), None)]),
            mutation(5, vec![put("a", rev(703, 1), Some(rev(700, 1)))]),
            mutation(6, vec![put("c", rev(704, 1), None)]),
        ],
    );
    assert_eq!(
        codes,
        ["Applied", "quota", "Applied", "Applied", "Applied", "quota"]
    );
    // Each is an empty map, one byte, under an id of one.
    let expected = Usage {
        documents: 2,
        bytes: 4,
    };
    assert_eq!(usage, expected);
    // A transaction is taken whole or not at all, and one that makes its own room is taken.
    let both = vec![gone, put("new", rev(702, 1), None)];
    let two = vec![put("a", rev(700, 1), None), put("b", rev(700, 1), None)];
    let (codes, usage) = outcomes(
        &limits(None, Some(4)),
        vec![mutation(1, two), mutation(2, both)],
    );
    assert_eq!(codes, ["quota", "Applied"]);
    assert_eq!((usage.documents, usage.bytes), (1, 4));
}
