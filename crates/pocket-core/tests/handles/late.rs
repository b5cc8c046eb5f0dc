//! Messages that are late, lost or told twice.

use super::support::{handles, items, ready, result};

#[tokio::test]
async fn behind_a_gap_it_is_read_again_and_what_comes_late_is_left_aside() {
    let [mut a, b] = handles().await;
    let mut changes = b.docs.changes();
    let mut live = b.docs.find().live();
    live.next().await.unwrap().unwrap();
    a.put("a", 1).await;
    let first = a.told_once();
    a.put("b", 2).await;
    let second = a.told_once();
    a.put("c", 3).await;
    let third = a.told_once();
    b.hear(&second).await;
    assert_eq!(items(&mut changes), ["lagged 2-4"]);
    live.next().await.unwrap().unwrap();
    assert_eq!(result(&live), "a1 b2 c3", "the store has all three");
    for late in [&first, &third, &second] {
        b.hear(late).await;
    }
    assert_eq!(items(&mut changes), Vec::<String>::new());
    assert!(ready(&mut live).is_none());
    a.put("d", 4).await;
    b.hear(&a.told_once()).await;
    assert_eq!(
        items(&mut changes),
        ["+d4"],
        "it goes on as if nothing had been"
    );
    assert_eq!(ready(&mut live).unwrap().changes.len(), 1);
}

#[tokio::test]
async fn a_message_told_twice_is_told_once() {
    let [mut a, b] = handles().await;
    let mut changes = b.docs.changes();
    a.put("a", 1).await;
    let message = a.told_once();
    b.hear(&message).await;
    b.hear(&message).await;
    assert_eq!(items(&mut changes), ["+a1"]);
}

#[tokio::test]
async fn own_commits_on_top_of_one_whose_message_comes_late_say_so_once() {
    let [mut a, mut b] = handles().await;
    let mut changes = b.docs.changes();
    let mut live = b.docs.find().live();
    live.next().await.unwrap().unwrap();
    a.put("a", 1).await;
    b.put("b", 2).await;
    assert_eq!(items(&mut changes), ["lagged 2-2", "+b2"]);
    live.next().await.unwrap().unwrap();
    assert_eq!(result(&live), "a1 b2");
    b.hear(&a.told_once()).await;
    assert_eq!(items(&mut changes), Vec::<String>::new());
    assert!(ready(&mut live).is_none());
    // At the other handle it follows on what is known there.
    let mut there = a.docs.changes();
    a.hear(&b.told_once()).await;
    assert_eq!(items(&mut there), ["+b2"]);
}

#[tokio::test]
async fn a_query_that_read_ahead_of_a_message_shows_it_once() {
    let [mut a, b] = handles().await;
    a.put("a", 1).await;
    let mut live = b.docs.find().live();
    let step = live.next().await.unwrap().unwrap();
    assert_eq!(step.changes.len(), 1, "the store has it");
    b.hear(&a.told_once()).await;
    assert!(ready(&mut live).is_none());
    a.put("a", 2).await;
    b.hear(&a.told_once()).await;
    assert_eq!(ready(&mut live).unwrap().changes.len(), 1);
    assert_eq!(result(&live), "a2");
}

#[tokio::test]
async fn whoever_catches_up_hears_of_nothing_where_nothing_was_missed() {
    let [mut a, b] = handles().await;
    let mut changes = b.docs.changes();
    let mut live = b.docs.find().live();
    live.next().await.unwrap().unwrap();
    b.db.catch_up().await.unwrap();
    a.put("a", 1).await;
    b.hear(&a.told_once()).await;
    b.db.catch_up().await.unwrap();
    assert_eq!(items(&mut changes), ["+a1"]);
    assert_eq!(ready(&mut live).unwrap().changes.len(), 1);
    assert!(ready(&mut live).is_none());
    a.put("a", 2).await;
    b.db.catch_up().await.unwrap();
    assert_eq!(items(&mut changes), ["lagged 3-3"]);
    live.next().await.unwrap().unwrap();
    assert_eq!(result(&live), "a2");
}

#[tokio::test]
async fn three_handles_write_in_turns_and_all_hear_of_all() {
    let mut handles = handles::<3>().await;
    let mut changes: Vec<_> = handles.iter().map(|handle| handle.docs.changes()).collect();
    for round in 0..4 {
        for (writer, number) in (0..3).zip(round * 3..) {
            handles[writer].put("a", number).await;
            let message = handles[writer].told_once();
            for (reader, handle) in handles.iter().enumerate() {
                if reader != writer {
                    handle.hear(&message).await;
                }
            }
        }
    }
    for changes in &mut changes {
        let items = items(changes);
        assert_eq!(items.len(), 12);
        assert_eq!((items[0].as_str(), items[11].as_str()), ("+a0", "=a11"));
    }
    let conflicts: Vec<_> = handles.iter().map(|handle| handle.calls().1).collect();
    assert_eq!(
        conflicts[1..],
        [4, 4],
        "each commit took effect at its first attempt"
    );
}
