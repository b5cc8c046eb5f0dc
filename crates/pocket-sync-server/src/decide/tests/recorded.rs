//! What is kept of outcomes until they are confirmed.

use super::*;

#[test]
fn a_client_that_confirms_nothing_is_held_up() {
    let limits = DecideLimits {
        unconfirmed: 2,
        ..DecideLimits::default()
    };
    let mut overlay = overlay();
    let of = |number| mutation(number, vec![put(&format!("d{number}"), rev(10, 1), None)]);
    let mut push = push(1, 1, vec![of(1), of(2), of(3)]);
    let answer = decide(NOW, &limits, &mut overlay, &push);
    assert_eq!(
        (answer.outcomes.len(), answer.refusal),
        (2, Some(Refusal::Unconfirmed))
    );
    (push.first, push.confirmed, push.mutations) =
        (MutationNumber::new(3), MutationNumber::new(2), vec![of(3)]);
    assert_eq!(
        decide(NOW, &limits, &mut overlay, &push).outcomes,
        [applied(13)]
    );
}

/// A client's row grew with what it was told until it was too large for the store: then its commit failed, and with it all
/// pushes of other clients that had joined it.
#[test]
fn a_client_that_confirms_nothing_is_held_up_by_the_bytes_of_its_outcomes_too() {
    let limits = DecideLimits {
        unconfirmed_bytes: 20_000,
        ..DecideLimits::default()
    };
    let mut overlay = overlay();
    let conflicting = |number: u64| {
        let change = |place: u64| put(&format!("d{place}"), rev(10, 1), Some(rev(9, 9)));
        mutation(number, (0..1_000).map(change).collect())
    };
    let mutations = (1..=4).map(conflicting).collect();
    let mut push = push(1, 1, mutations);
    let answer = decide(NOW, &limits, &mut overlay, &push);
    assert_eq!(
        (answer.outcomes.len(), answer.refusal),
        (3, Some(Refusal::Unconfirmed))
    );
    // What is confirmed is kept no longer, and makes room.
    (push.first, push.confirmed) = (MutationNumber::new(4), MutationNumber::new(3));
    push.mutations = vec![conflicting(4)];
    let answer = decide(NOW, &limits, &mut overlay, &push);
    assert_eq!((answer.outcomes.len(), answer.refusal), (1, None));
    // The same goes for what was recorded before this commit.
    let (client, record) = overlay.into_writes().clients.remove(0);
    let mut overlay = super::overlay();
    overlay.load_client(client, record);
    (push.first, push.confirmed) = (MutationNumber::new(5), MutationNumber::new(3));
    push.mutations = (5..=7).map(conflicting).collect();
    let answer = decide(NOW, &limits, &mut overlay, &push);
    assert_eq!(
        (answer.outcomes.len(), answer.refusal),
        (2, Some(Refusal::Unconfirmed))
    );
}

#[test]
fn a_reason_is_recorded_as_long_as_it_is_told() {
    let mut overlay = overlay();
    let bad = BadMutation {
        number: MutationNumber::new(1),
        code: rejection::VALIDATION,
        reason: format!("a{}", "ä".repeat(1_000)),
    };
    let answer = run(&mut overlay, &push(1, 1, vec![Err(bad)]));
    let [Outcome::Rejected { reason, .. }] = &answer.outcomes[..] else {
        panic!("{answer:?}")
    };
    assert_eq!(reason.len(), MAX_REASON_BYTES - 1, "no letter is cut");
    let (_, record) = &overlay.into_writes().clients[0];
    assert_eq!(record.outcomes, answer.outcomes);
}
