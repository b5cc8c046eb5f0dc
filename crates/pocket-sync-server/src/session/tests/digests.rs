use super::*;

#[test]
fn the_first_page_that_reaches_the_head_tells_digests_and_later_ones_now_and_then() {
    let mut harness = Harness::open(2, None);
    let effects = harness.pull(None, 0, 8, 100);
    assert!(asked(&effects).1.digests);
    let effects = harness.read(&effects, 2, 2, &[(1, OTHER), (2, OTHER)]);
    let first = pages(&effects).remove(0);
    assert_eq!(first.digests().unwrap(), Some(digests()));
    let next = |harness: &mut Harness, place| {
        let effects = harness.event(Event::HeadMoved(Seq::new(place)));
        let asked = asked(&effects).1.digests;
        let effects = harness.read(&effects, place, place, &[(place, OTHER)]);
        let told = pages(&effects).remove(0).digest.is_some();
        assert_eq!(asked, told);
        told
    };
    assert!(!next(&mut harness, 3));
    harness.clock += 29_999;
    assert!(!next(&mut harness, 4));
    harness.clock += 1;
    assert!(next(&mut harness, 5));
    assert!(!next(&mut harness, 6));
    // Another pull begins anew: whoever read everything again asks whether that has helped.
    let effects = harness.pull(Some(EPOCH), 6, 8, 100);
    let effects = harness.read(&effects, 6, 6, &[]);
    assert!(pages(&effects).remove(0).digest.is_some());
}

#[test]
fn of_several_pages_the_last_one_tells_digests() {
    let mut harness = Harness::open(1_500, None);
    let effects = harness.pull(None, 0, 8, 500);
    let first: Vec<_> = (1..=1_000).map(|seq| (seq, OTHER)).collect();
    let effects = harness.read(&effects, 1_000, 1_500, &first);
    let told: Vec<_> = pages(&effects)
        .iter()
        .map(|page| page.digest.is_some())
        .collect();
    assert_eq!(told, [false, false]);
    let rest: Vec<_> = (1_001..=1_500).map(|seq| (seq, OTHER)).collect();
    let effects = harness.read(&effects, 1_500, 1_500, &rest);
    let last = pages(&effects).remove(0);
    assert!(last.digest.is_some() && last.end == last.head);
}

#[test]
fn a_joining_read_tells_none() {
    let mut harness = Harness::open(4, None);
    let effects = harness.say(Pull {
        id: 7,
        epoch: Some(EPOCH),
        after: Seq::ZERO,
        until: Some(Seq::new(4)),
        collections: vec![CollectionName::new("todos").unwrap()],
        window: 2,
        batch: 100,
        fixed_head: None,
    });
    assert!(!asked(&effects).1.digests);
}
