//! Damage in the outbox: one such entry used to end sync for good.

use super::{ALL, World, told};
use pocket_core::{ChangeKind, MutationContent, MutationNumber, Outcome, Seq, Value, codes};
use serde_json::json;

use super::{of_server, value};

const OUTBOX: u8 = b'o';
const BODY: u8 = b'b';

/// The end of the key of a mutation.
fn place(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// The end of the key of the own body of its first change.
fn body(number: u64, which: u8) -> Vec<u8> {
    [number.to_be_bytes().as_slice(), &[0, 0, 0, 0, which]].concat()
}

#[tokio::test]
async fn a_damaged_mutation_that_was_never_sent_is_made_anew_and_sent_in_its_place() {
    let world = World::synced().await;
    world.put("a", 10).await;
    world.docs.delete("b").await.unwrap();
    world.put("new", 50).await;
    world.docs.hard_delete("c").await.unwrap();
    let whole: Vec<_> = {
        let twin = World::synced().await;
        twin.put("a", 10).await;
        twin.docs.delete("b").await.unwrap();
        twin.put("new", 50).await;
        twin.docs.hard_delete("c").await.unwrap();
        let sent = twin.pin().await;
        sent.iter()
            .flat_map(|it| {
                told(it)
                    .into_iter()
                    .map(|(id, n, base)| (id.to_owned(), n, base))
            })
            .collect()
    };
    world.damage(OUTBOX, b"").await;
    let sent = world.pin().await;
    let sent_as: Vec<_> = sent
        .iter()
        .flat_map(|it| {
            told(it)
                .into_iter()
                .map(|(id, n, base)| (id.to_owned(), n, base))
        })
        .collect();
    assert_eq!(sent_as, whole);
    let applied = (5..).take(4).map(|seq| Outcome::Applied {
        first: Seq::new(seq),
    });
    world.settle(1, applied.collect()).await;
    assert_eq!(world.replica.state().await.unwrap().pending, 0);
    assert_eq!(world.indexed().await, [4, 10, 50]);
}

#[tokio::test]
async fn a_damaged_mutation_on_its_way_is_sent_again_as_it_was_under_its_number() {
    let world = World::synced().await;
    world.put("a", 10).await;
    let mut transaction = world.db.transaction();
    for (id, n) in [("b", 20), ("c", 30)] {
        let document = value(&format!(r#"{{"_id":"{id}","n":{n}}}"#));
        transaction.upsert(&world.docs, &document).unwrap();
    }
    transaction.commit().await.unwrap();
    let sent = world.pin().await;
    // Edits behind them, which wait.
    world.put("a", 11).await;
    world.put("c", 31).await;
    world.damage(OUTBOX, &place(1)).await;
    world.damage(OUTBOX, &place(2)).await;
    let again = world.replica.resend(MutationNumber::new(1), ALL).await;
    assert_eq!(again.unwrap().mutations, sent);
    assert_eq!(told(&world.pin().await[0])[0].1, Some(11));
}

#[tokio::test]
async fn damaged_bodies_of_changes_come_from_the_documents() {
    let world = World::synced().await;
    world.put("a", 10).await;
    world.put("new", 50).await;
    let (own, base) = (body(1, 0), body(1, 1));
    world.damage(BODY, &own).await;
    world.damage(BODY, &base).await;
    world.damage(BODY, &body(2, 0)).await;
    let sent = world.pin().await;
    let of_a = Some(of_server()[0].rev);
    assert_eq!(told(&sent[0]), [("a", Some(10), of_a)]);
    assert_eq!(told(&sent[1]), [("new", Some(50), None)]);
}

#[tokio::test]
async fn an_edit_behind_a_damaged_mutation_merges_into_it() {
    let world = World::synced().await;
    world.put("a", 10).await;
    world.damage(OUTBOX, &place(1)).await;
    world.docs.update("a", &json!({ "n": 12 })).await.unwrap();
    let sent = world.pin().await;
    assert_eq!(sent.len(), 1);
    assert_eq!(told(&sent[0]), [("a", Some(12), Some(of_server()[0].rev))]);
}

#[tokio::test]
async fn where_mutation_and_document_are_damaged_sync_names_the_document_until_somebody_replaces_it()
 {
    let world = World::synced().await;
    world.put("a", 10).await;
    world.put("b", 20).await;
    world.damage(OUTBOX, &place(1)).await;
    world.damage(b'd', b"a").await;
    let error = world.replica.pin(ALL).await.unwrap_err();
    assert_eq!(error.code(), codes::CORRUPT);
    let message = error.to_string();
    assert!(message.contains("place 1 of the outbox"), "{message}");
    assert!(message.contains("document \"a\" of `docs`"), "{message}");
    world.put("a", 11).await;
    world.read_again(of_server()).await;
    let mut sent = world.pin().await;
    sent.sort_by_key(|it| told(it)[0].0.to_owned());
    let of = |n: usize| Some(of_server()[n].rev);
    assert_eq!(told(&sent[0]), [("a", Some(11), of(0))]);
    assert_eq!(told(&sent[1]), [("b", Some(20), of(1))]);
    assert_eq!(sent.len(), 2);
}

#[tokio::test]
async fn of_a_damaged_mutation_on_its_way_that_nothing_tells_only_the_number_travels() {
    let world = World::synced().await;
    world.put("a", 10).await;
    world.pin().await;
    world.damage(OUTBOX, &place(1)).await;
    world.damage(b'd', b"a").await;
    world.docs.hard_delete("a").await.unwrap();
    let again = world.replica.resend(MutationNumber::new(1), ALL).await;
    let again = again.unwrap().mutations;
    assert_eq!(again[0].content, MutationContent::Withdrawn);
    let first = Seq::ZERO;
    world.settle(1, vec![Outcome::Applied { first }]).await;
    world.read_again(of_server()).await;
    let sent = world.pin().await;
    let MutationContent::Changes(changes) = &sent[0].content else {
        panic!("it is withdrawn");
    };
    assert_eq!(changes[0].kind, ChangeKind::Erase);
    assert_eq!(world.replica.state().await.unwrap().pending, 1);
}

#[tokio::test]
async fn a_device_leaves_its_server_over_damage_in_the_outbox() {
    for wipes in [true, false] {
        let world = World::synced().await;
        world.put("a", 10).await;
        world.put("new", 50).await;
        world.damage(OUTBOX, b"").await;
        if wipes {
            world.damage(BODY, b"").await;
            world.replica.wipe().await.unwrap();
            assert_eq!(world.docs.find().count().await.unwrap(), 0);
        } else {
            world.replica.detach().await.unwrap();
            let all: Vec<Value> = world.docs.find().all().await.unwrap();
            assert_eq!(all.len(), 5);
            assert_eq!(world.replica.state().await.unwrap().pending, 5);
        }
    }
}

/// It failed, and so a device could leave its server only with `wipe`, or after somebody had given the document up.
#[tokio::test]
async fn a_device_leaves_its_server_where_a_mutation_and_all_that_it_may_be_about_are_damaged() {
    let world = World::synced().await;
    world.put("a", 10).await;
    world.pin().await;
    world.put("b", 20).await;
    world.damage(OUTBOX, &place(1)).await;
    world.damage(b'd', b"a").await;
    let state = world.replica.detach().await.unwrap();
    assert_eq!(state.pending, 4, "of `a`, `b`, `c` and `d`");
    // The body that the mutation brought can be read still, for whoever looks into the store.
    let kept = world.holds(BODY, &body(1, 0)).await;
    assert!(kept);
    // Nothing is sent to the next server before somebody has said what `a` is; then all is.
    let message = world.replica.pin(ALL).await.unwrap_err().to_string();
    assert!(message.contains("document \"a\" of `docs`"), "{message}");
    assert!(message.contains("put another in its place"), "{message}");
    world.put("a", 11).await;
    let mut sent: Vec<_> = world.pin().await;
    sent.sort_by_key(|it| told(it)[0].0.to_owned());
    let sent: Vec<_> = sent.iter().flat_map(told).collect();
    let all = [
        ("a", Some(11), None),
        ("b", Some(20), None),
        ("c", Some(3), None),
        ("d", Some(4), None),
    ];
    assert_eq!(sent, all);
    assert!(!world.holds(BODY, &body(1, 0)).await);
}
