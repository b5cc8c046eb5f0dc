use super::*;
use crate::rules::{Attempt, Rules};

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
        (AuthError::Expired, ("token-expired", 4402)),
        (AuthError::Unavailable("db".to_owned()), ("internal", 1011)),
    ] {
        let mut harness = Harness::new();
        harness.say(hello(None));
        let effects = harness.event(Event::Authenticated(Err(error_given)));
        assert_eq!(error(&effects), (expected.0.to_owned(), Some(expected.1)));
        assert!(harness.session.is_over());
    }
    for (refusal, code) in [
        (AttachRefusal::OtherUser, ("other-user", 4409)),
        (AttachRefusal::ClientCopied, ("client-copied", 4409)),
        (AttachRefusal::Crowded, ("rate-limited", 4429)),
        (AttachRefusal::Replaced, ("replaced", 4409)),
    ] {
        let mut harness = Harness::new();
        harness.say(hello(None));
        harness.event(Event::Authenticated(Ok(Access::all("ann"))));
        let effects = harness.event(Event::Attached(Err(EngineError::Refused(refusal))));
        assert_eq!(error(&effects), (code.0.to_owned(), Some(code.1)));
    }
}

#[test]
fn whoever_cannot_come_in_since_the_disk_is_full_is_told_that() {
    let mut harness = Harness::new();
    harness.say(hello(None));
    harness.event(Event::Authenticated(Ok(Access::all("ann"))));
    let full = EngineError::Full("no space".to_owned());
    let effects = harness.event(Event::Attached(Err(full)));
    assert_eq!(error(&effects), ("server-full".to_owned(), Some(1011)));
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
        matches!(effects.last(), Some(Effect::Timer(Moment(110_000)))),
        "{effects:?}"
    );
    harness.clock = 110_000;
    assert_eq!(
        error(&harness.event(Event::Timer)),
        ("idle-timeout".to_owned(), Some(4408))
    );
}

#[test]
fn a_ping_is_answered_with_the_head_and_the_time_of_now() {
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

/// A session that is open with this access, and the time of day at which it is.
fn open_with(access: Access) -> Harness {
    let mut harness = Harness::new();
    harness.say(hello(None));
    harness.event(Event::Authenticated(Ok(access)));
    let effects = harness.event(Event::Attached(Ok(attached(0))));
    assert!(matches!(sent(&effects)[..], [ServerMessage::Welcome(_)]));
    harness
}

#[test]
fn a_session_ends_when_its_token_does() {
    // The harness's time of day is 5 ms; the token has 30 s from there.
    let access = Access::all("ann").until(Timestamp::from_millis(30_005));
    let mut harness = Harness::new();
    harness.say(hello(None));
    harness.event(Event::Authenticated(Ok(access)));
    let effects = harness.event(Event::Attached(Ok(attached(0))));
    let timer = effects
        .iter()
        .any(|effect| matches!(effect, Effect::Timer(Moment(30_000))));
    assert!(timer, "{effects:?}");
    harness.clock = 30_000;
    let now = Now {
        moment: Moment(30_000),
        time: Timestamp::from_millis(30_005),
    };
    let effects = harness.session.handle(now, Event::Timer);
    assert_eq!(error(&effects), ("token-expired".to_owned(), Some(4402)));
}

#[test]
fn a_message_behind_the_end_of_a_token_is_not_taken() {
    let mut harness = open_with(Access::all("ann").until(Timestamp::from_millis(30_005)));
    let at = |time| Now {
        moment: Moment(1),
        time: Timestamp::from_millis(time),
    };
    let frame = encode_client(&push(1).into());
    let effects = harness.session.handle(at(30_004), Event::Frame(frame));
    assert!(
        matches!(effects[..], [Effect::Commit { .. }]),
        "{effects:?}"
    );
    let frame = encode_client(&push(2).into());
    let effects = harness.session.handle(at(30_005), Event::Frame(frame));
    assert_eq!(error(&effects), ("token-expired".to_owned(), Some(4402)));
}

#[test]
fn a_token_is_checked_again_and_what_was_revoked_ends() {
    let check = |result: Result<Access, AuthError>| {
        let mut harness = open_with(Access::all("ann"));
        harness.clock = 50_000;
        harness.say(Ping { id: 1, time: None });
        harness.clock = 60_000;
        let effects = harness.event(Event::Timer);
        assert!(
            matches!(&effects[..], [Effect::Authenticate { token: Some(token) }, ..] if token.expose() == "t"),
            "{effects:?}"
        );
        (harness.event(Event::Authenticated(result)), harness)
    };
    let (effects, harness) = check(Ok(Access::all("ann")));
    assert!(sent(&effects).is_empty() && !harness.session.is_over());
    let (effects, harness) = check(Err(AuthError::Unavailable("no".to_owned())));
    assert!(effects.is_empty() && !harness.session.is_over());
    let other = [Namespace::new("other").unwrap()];
    for (result, expected) in [
        (
            Err(AuthError::Refused("gone".to_owned())),
            ("unauthorized", 4401),
        ),
        (Err(AuthError::Expired), ("token-expired", 4402)),
        (Ok(Access::all("bob")), ("forbidden", 4403)),
        (Ok(Access::all("ann").only(other)), ("forbidden", 4403)),
    ] {
        let (effects, _) = check(result);
        assert_eq!(error(&effects), (expected.0.to_owned(), Some(expected.1)));
    }
}

/// Found by the simulator: a slow attach put the next check off, and what was revoked meanwhile was sent for longer than
/// is said.
#[test]
fn the_time_to_the_next_check_of_a_token_runs_from_the_first_one() {
    let mut harness = Harness::new();
    harness.say(hello(None));
    harness.event(Event::Authenticated(Ok(Access::all("ann"))));
    harness.clock = 8_000;
    harness.event(Event::Attached(Ok(attached(0))));
    harness.clock = 50_000;
    harness.say(Ping { id: 1, time: None });
    harness.clock = 60_000;
    let effects = harness.event(Event::Timer);
    assert!(
        matches!(&effects[..], [Effect::Authenticate { .. }, ..]),
        "{effects:?}"
    );
}

#[test]
fn a_live_session_whose_rights_change_comes_back_with_the_new_ones() {
    let config = Config {
        rules: Rules::default().authorizer(Arc::new(|_: &Attempt<'_>| true)),
        ..Config::default()
    };
    let mut harness = Harness::new();
    harness.session = Session::new(Arc::new(config));
    harness.event(Event::Opened { token: None });
    harness.say(hello(None));
    harness.event(Event::Authenticated(Ok(Access::all("ann"))));
    let effects = harness.event(Event::Attached(Ok(attached(0))));
    let [ServerMessage::Welcome(welcome)] = &sent(&effects)[..] else {
        panic!("{effects:?}")
    };
    assert!(welcome.rights.is_some());
    let effects = harness.event(Event::Authenticated(Ok(Access::all("ann"))));
    assert!(sent(&effects).is_empty());
    let promoted = Access::all("ann").role("admin");
    let effects = harness.event(Event::Authenticated(Ok(promoted)));
    assert_eq!(error(&effects), ("going-away".to_owned(), Some(1001)));
}

#[test]
fn when_tokens_or_rules_change_a_session_is_asked_for_its_token_at_once() {
    let asks = |effects: &[Effect]| {
        let asked = |effect: &&Effect| matches!(effect, Effect::Authenticate { token: Some(token) } if token.expose() == "t");
        effects.iter().filter(asked).count()
    };
    let changed = || Event::RightsChanged(Rules::default());
    let mut harness = open_with(Access::all("ann"));
    assert_eq!(asks(&harness.event(changed())), 1);
    let effects = harness.event(Event::Authenticated(Ok(Access::all("ann"))));
    assert!(sent(&effects).is_empty() && !harness.session.is_over());
    // Who comes in meanwhile may have been looked up in the old tokens.
    let mut harness = Harness::new();
    harness.say(hello(None));
    assert_eq!(asks(&harness.event(changed())), 0);
    harness.event(Event::Authenticated(Ok(Access::all("ann"))));
    assert_eq!(
        asks(&harness.event(Event::Attached(Ok(attached(0))))),
        1,
        "behind the welcome"
    );
    let gone = Err(AuthError::Refused("gone".to_owned()));
    let effects = harness.event(Event::Authenticated(gone));
    assert_eq!(error(&effects), ("unauthorized".to_owned(), Some(4401)));
}

/// Two checks at once had no order, so that an answer from before a change could undo what the one from behind it said.
#[test]
fn what_is_told_of_a_token_from_before_a_change_does_not_count() {
    let asks = |effects: &[Effect]| matches!(effects, [Effect::Authenticate { .. }]);
    let gone = || Err(AuthError::Refused("gone".to_owned()));
    for (first, second, stays) in [
        (Ok(Access::all("ann")), gone(), false),
        (gone(), Ok(Access::all("ann")), true),
    ] {
        let mut harness = open_with(Access::all("ann"));
        assert!(asks(&harness.event(Event::RightsChanged(Rules::default()))));
        // Further ones while it is being asked: one question more behind it, however many they are.
        for _ in 0..2 {
            let effects = harness.event(Event::RightsChanged(Rules::default()));
            assert!(effects.is_empty(), "{effects:?}");
        }
        let effects = harness.event(Event::Authenticated(first));
        assert!(asks(&effects), "{effects:?}");
        let effects = harness.event(Event::Authenticated(second));
        assert!(!asks(&effects));
        assert_eq!(harness.session.is_over(), !stays);
    }
}

#[test]
fn a_live_session_under_new_rules_comes_back_if_they_change_its_rights() {
    struct Named(&'static str);
    impl crate::Authorizer for Named {
        fn authorize(&self, _: &Attempt<'_>) -> bool {
            true
        }
        fn version(&self) -> String {
            self.0.to_owned()
        }
    }
    let rules = |name| Rules::default().authorizer(Arc::new(Named(name)));
    let config = Config {
        rules: rules("one"),
        ..Config::default()
    };
    let mut harness = Harness::new();
    harness.session = Session::new(Arc::new(config));
    harness.event(Event::Opened { token: None });
    harness.say(hello(None));
    harness.event(Event::Authenticated(Ok(Access::all("ann"))));
    harness.event(Event::Attached(Ok(attached(0))));
    harness.event(Event::RightsChanged(rules("one")));
    let effects = harness.event(Event::Authenticated(Ok(Access::all("ann"))));
    assert!(sent(&effects).is_empty() && !harness.session.is_over());
    // While nobody can tell who has a token new rules hold all the same: they did not for as long as that took.
    let of = |effects: &[Effect]| match effects {
        [Effect::Commit { push, .. }] => push.authority.clone(),
        other => panic!("{other:?}"),
    };
    let before = of(&harness.say(push(1)));
    harness.event(Event::RightsChanged(rules("one")));
    let away = Err(AuthError::Unavailable("down".to_owned()));
    harness.event(Event::Authenticated(away));
    assert_ne!(of(&harness.say(push(2))), before, "the rules of now");
    let effects = harness.event(Event::RightsChanged(rules("two")));
    assert_eq!(error(&effects), ("going-away".to_owned(), Some(1001)));
}

#[test]
fn what_went_wrong_inside_is_not_told_to_the_other_side() {
    let secret = "ldap://10.0.0.7 refused cn=pocket";
    let texts = |effects: &[Effect]| format!("{:?} {effects:?}", sent(effects));
    let mut told = Vec::new();
    let mut harness = Harness::new();
    harness.say(hello(None));
    let away = Err(AuthError::Unavailable(secret.to_owned()));
    let effects = harness.event(Event::Authenticated(away));
    assert_eq!(error(&effects), ("internal".to_owned(), Some(1011)));
    told.push(texts(&effects));
    let failures: [fn(String) -> EngineError; 4] = [
        EngineError::NotApplied,
        EngineError::Full,
        EngineError::Unknown,
        EngineError::Fatal,
    ];
    for failure in failures.map(|failure| failure(secret.to_owned())) {
        let mut harness = Harness::new();
        harness.say(hello(None));
        harness.event(Event::Authenticated(Ok(Access::all("ann"))));
        told.push(texts(&harness.event(Event::Attached(Err(failure.clone())))));
        let mut harness = Harness::open(5, None);
        let ticket = harness.push(1);
        let result = Err(failure.clone());
        told.push(texts(&harness.event(Event::Committed { ticket, result })));
        let mut harness = Harness::open(5, None);
        let (ticket, _) = asked(&harness.pull(None, 0, 1, 1));
        let result = Err(failure.clone());
        told.push(texts(&harness.event(Event::FeedRead { ticket, result })));
        let mut harness = Harness::open(5, None);
        let name = CollectionName::new("todos").unwrap();
        let effects = harness.say(Fetch {
            id: 3,
            documents: vec![(name, DocumentId::new("d1").unwrap())],
        });
        let [Effect::Fetch { ticket, .. }] = effects[..] else {
            panic!("{effects:?}")
        };
        let result = Err(failure);
        told.push(texts(&harness.event(Event::Fetched { ticket, result })));
    }
    assert_eq!(told.len(), 17);
    for text in told {
        assert!(text.contains("Error("), "{text}");
        assert!(
            !text.contains("ldap") && !text.contains("10.0.0.7"),
            "{text}"
        );
    }
}
