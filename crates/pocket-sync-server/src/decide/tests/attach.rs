//! Which session tokens begin a session.

use super::*;

#[test]
fn the_last_issued_and_the_last_presented_session_token_are_good_and_no_other() {
    let first = attach(NOW, None, "ann", None, token(1)).unwrap();
    // The welcome was lost: the client comes again as it came before.
    let second = attach(NOW, Some(first), "ann", None, token(2)).unwrap();
    // The welcome arrived.
    let third = attach(NOW, Some(second), "ann", Some(token(2)), token(3)).unwrap();
    assert!(attach(NOW, Some(third.clone()), "ann", Some(token(2)), token(4)).is_ok());
    assert!(attach(NOW, Some(third.clone()), "ann", Some(token(3)), token(4)).is_ok());
    for presented in [None, Some(token(1)), Some(token(9))] {
        let refused = attach(NOW, Some(third.clone()), "ann", presented, token(4));
        assert_eq!(
            refused.unwrap_err(),
            AttachRefusal::ClientCopied,
            "{presented:?}"
        );
    }
    assert_eq!(
        attach(NOW, Some(third), "bob", Some(token(3)), token(4)).unwrap_err(),
        AttachRefusal::OtherUser
    );
}

/// A hello that the network had held up came behind the one of the connection that replaced its own. The server forgot
/// the token it had given to that one, and took the client for its own copy for ever.
#[test]
fn a_hello_of_the_past_does_not_make_the_client_a_copy() {
    let first = attach(NOW, None, "ann", None, token(1)).unwrap();
    let second = attach(NOW, Some(first), "ann", Some(token(1)), token(2)).unwrap();
    // The client stores the second token; then arrives what it had sent before.
    let late = attach(NOW, Some(second.clone()), "ann", Some(token(1)), token(3)).unwrap();
    let back = attach(NOW, Some(late), "ann", Some(token(2)), token(4)).unwrap();
    assert!(back.outstanding.is_empty());
    for copy in [token(1), token(3)] {
        assert_eq!(
            attach(NOW, Some(back.clone()), "ann", Some(copy), token(5)).unwrap_err(),
            AttachRefusal::ClientCopied
        );
    }
    let mut record = second;
    for number in 10..100 {
        record = attach(NOW, Some(record), "ann", Some(token(1)), token(number)).unwrap();
    }
    assert_eq!(
        record.outstanding.len(),
        8,
        "what is remembered has a bound"
    );
}

/// The server forgot a client; the welcome that told so got lost, and the next one called it known. So it went on under
/// its old id, gave its numbers anew, and what had taken effect before took effect twice.
#[test]
fn a_forgotten_client_that_missed_its_welcome_is_refused_the_next_time() {
    let anew = attach(NOW, None, "ann", Some(token(1)), token(2)).unwrap();
    let refused = attach(NOW, Some(anew.clone()), "ann", Some(token(1)), token(3));
    assert_eq!(refused.unwrap_err(), AttachRefusal::ClientCopied);
    assert!(attach(NOW, Some(anew), "ann", Some(token(2)), token(3)).is_ok());
}

#[test]
fn after_the_first_push_of_a_session_older_tokens_are_those_of_a_copy() {
    let known = attach(NOW, None, "ann", None, token(1)).unwrap();
    let mut overlay = Overlay::new(Seq::ZERO, Hlc::ZERO);
    overlay.load_client(client(1), known);
    run(
        &mut overlay,
        &push(1, 1, vec![mutation(1, vec![put("a", rev(1, 1), None)])]),
    );
    let record = overlay.into_writes().clients.remove(0).1;
    assert_eq!(
        attach(NOW, Some(record.clone()), "ann", None, token(2)).unwrap_err(),
        AttachRefusal::ClientCopied
    );
    assert!(attach(NOW, Some(record), "ann", Some(token(1)), token(2)).is_ok());
}

#[test]
fn where_too_many_came_in_only_who_is_known_does() {
    let wait = std::time::Duration::from_secs(36);
    let request = AttachRequest {
        user: "ann".into(),
        client: client(1),
        presented: None,
        unless_new: Some(wait),
    };
    let refused = super::super::attach(NOW, None, &request, token(1));
    assert_eq!(refused.unwrap_err(), AttachRefusal::TooManyNew(wait));
    let known = attach(NOW, None, "ann", None, token(1)).unwrap();
    assert!(super::super::attach(NOW, Some(known), &request, token(2)).is_ok());
}
