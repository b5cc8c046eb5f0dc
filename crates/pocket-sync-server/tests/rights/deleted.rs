//! Ids whose document is gone: whoever may create such a document may have them again.

use super::*;

/// A deletion was somebody's for as long as it was remembered: others were refused the id, and behind a change of rules,
/// which nobody can apply to what is gone, everybody was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_whose_document_was_deleted_is_free_for_who_may_create_it() {
    let storage = Arc::new(MemoryStorage::new());
    let live = running(&storage).await;
    let mut root = User::join(&live, "root").await;
    let mut ann = User::join(&live, "ann").await;
    let mut bob = User::join(&live, "bob").await;
    for (name, number) in [("a", 1), ("b", 3), ("c", 5)] {
        root.write(name, None, to("user", "ann")).await;
        let rev = root.rev(number);
        root.write(name, Some(rev), ChangeKind::Delete).await;
    }
    // By the rules that the deletions were written under.
    assert_eq!(bob.read_after(0).await, seen(&[], &[]));
    assert_eq!(bob.write("a", None, to("user", "bob")).await, applied(7));
    // Who could read what was deleted is told nothing of the new one, but that the old one is no longer there.
    assert_eq!(ann.read_after(0).await, seen(&[], &[]));
    assert_eq!(ann.fetch(&["a"]).await, Vec::<String>::new());
    live.stop().await;

    // By others, of which the deletions know nothing.
    let rules = RULES
        .replace("erase", "# erase")
        .parse::<RulesFile>()
        .unwrap();
    let other = server(&storage).authorizer(rules).build().unwrap();
    let other = Running::of(other).await;
    let mut bob = User::join_as(&other, "bob", 140).await;
    assert_eq!(bob.write("b", None, to("user", "bob")).await, applied(8));
    assert_eq!(bob.read_after(0).await, seen(&["a", "b"], &[]));
    let mut ann = User::join_as(&other, "ann", 141).await;
    // What is there again is somebody's.
    for kind in [to("user", "ann"), ChangeKind::Delete] {
        assert_eq!(code(&ann.write("b", None, kind).await), "forbidden");
    }
    // What the rules refuse without a deletion they refuse over one, and in the same words.
    let fresh = ann.write("hidden/x", None, to("user", "ann")).await;
    assert_eq!(code(&fresh), "applied");
    let refusals = ["unknown/c", "unknown/x"].map(|name| (name, to("user", "ann")));
    for (name, kind) in refusals {
        assert_eq!(code(&ann.write(name, None, kind).await), "forbidden");
    }
    // A change that stands on something is told nothing of what stands there.
    let mut root = User::join_as(&other, "root", 142).await;
    let deletion = Revision::new(Hlc::from_bits(6), common::client(b'r'));
    for base in [deletion, root.rev(9)] {
        let outcome = ann.write("c", Some(base), to("user", "ann")).await;
        assert_eq!(code(&outcome), "forbidden", "{base:?}");
    }
    assert_eq!(
        code(&root.write("c", None, to("user", "ann")).await),
        "applied"
    );
    assert_eq!(ann.read_after(0).await.records, ["c"]);
    other.stop().await;
}

/// A device that had not heard of the deletion must let go of its copy, although somebody else has the id by now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_missed_a_deletion_lets_go_of_the_document_whoever_has_its_id_now() {
    let storage = Arc::new(MemoryStorage::new());
    let live = running(&storage).await;
    let mut root = User::join(&live, "root").await;
    root.write("a", None, to("user", "ann")).await;
    let mut ann = User::join(&live, "ann").await;
    assert_eq!(ann.read_after(0).await, seen(&["a"], &[]));
    let rights = ann.peer.welcome.as_ref().unwrap().rights.clone();
    let epoch = ann.peer.epoch();
    drop(ann);
    let rev = root.rev(1);
    root.write("a", Some(rev), ChangeKind::Delete).await;
    let mut bob = User::join(&live, "bob").await;
    assert_eq!(bob.write("a", None, to("user", "bob")).await, applied(3));

    for place in [live, running(&storage).await] {
        let checkpoint = HelloCheckpoint {
            epoch,
            seq: Seq::new(1),
            rights: rights.clone(),
            fixed_head: None,
        };
        let mut again = Peer::dial(place.address, 150).await;
        again.say(hello(&again, "ann", Some(checkpoint))).await;
        assert!(matches!(again.receive().await, ServerMessage::Welcome(_)));
        again.pull(Some(epoch), 1).await;
        let mut told = Seen::default();
        told.add(&again.page().await);
        assert_eq!(told, seen(&[], &["a"]));
        place.stop().await;
    }
}
