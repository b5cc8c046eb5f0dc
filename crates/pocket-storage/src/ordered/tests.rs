//! Both against the standard library's: the same calls give the same answers.

use std::collections;
use std::ops::Bound;

use super::map::BTreeMap;
use super::set::BTreeSet;

/// Numbers in no order, the same every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

fn same(ours: &BTreeMap<u64, u64>, std: &collections::BTreeMap<u64, u64>) {
    assert_eq!(ours.len(), std.len());
    assert!(ours.iter().eq(std));
    assert!(ours.iter().rev().eq(std.iter().rev()));
    assert!(ours.keys().eq(std.keys()) && ours.values().eq(std.values()));
    assert_eq!(ours.first_key_value(), std.first_key_value());
    assert_eq!(ours.last_key_value(), std.last_key_value());
    assert_eq!(format!("{ours:?}"), format!("{std:?}"));
    assert!(ours.clone().into_iter().eq(std.clone()));
}

#[test]
fn a_map_answers_as_that_of_the_standard_library_whatever_comes_and_goes() {
    for seed in 1..40 {
        let mut numbers = Numbers(seed);
        let (mut ours, mut std) = (BTreeMap::new(), collections::BTreeMap::new());
        // Few keys meet each other often, many fill several rows.
        let keys = [8, 100, 5_000][seed as usize % 3];
        for step in 0..3_000 {
            let key = numbers.below(keys);
            match numbers.below(12) {
                0..=5 => assert_eq!(ours.insert(key, step), std.insert(key, step)),
                6 | 7 => assert_eq!(ours.remove(&key), std.remove(&key)),
                8 => {
                    *ours
                        .entry(key)
                        .and_modify(|value| *value += 1)
                        .or_insert(step) += 1;
                    *std.entry(key)
                        .and_modify(|value| *value += 1)
                        .or_insert(step) += 1;
                }
                9 => {
                    *ours.entry(key).or_default() += 1;
                    *std.entry(key).or_default() += 1;
                }
                10 if step % 8 == 0 => {
                    assert_eq!(ours.pop_first(), std.pop_first());
                    assert_eq!(ours.pop_last(), std.pop_last());
                }
                _ => {
                    assert_eq!(ours.get(&key), std.get(&key));
                    assert_eq!(ours.get_mut(&key), std.get_mut(&key));
                    assert_eq!(ours.contains_key(&key), std.contains_key(&key));
                }
            }
            if step % 300 == 0 {
                same(&ours, &std);
            }
        }
        same(&ours, &std);
        for value in ours.values_mut() {
            *value += 7;
        }
        for (key, value) in ours.iter_mut() {
            *value += key;
        }
        for (key, value) in &mut std {
            *value += key + 7;
        }
        ours.retain(|key, value| (*key + *value) % 3 != 0);
        std.retain(|key, value| (*key + *value) % 3 != 0);
        same(&ours, &std);
        let (mut more, mut std_more) = (ours.clone(), std.clone());
        for value in more.values_mut() {
            *value += 1;
        }
        more.insert(keys, 0);
        for value in std_more.values_mut() {
            *value += 1;
        }
        std_more.insert(keys, 0);
        ours.append(&mut more);
        std.append(&mut std_more);
        same(&ours, &std);
        assert!(more.is_empty());
        ours.clear();
        assert!(ours.is_empty() && ours.iter().next().is_none());
    }
}

#[test]
fn a_range_has_the_entries_between_its_bounds_from_both_ends() {
    for count in [0, 1, 127, 128, 129, 1_000_u64] {
        let ours: BTreeMap<u64, u64> = (0..count).map(|at| (at * 2, at)).collect();
        let std: collections::BTreeMap<u64, u64> = (0..count).map(|at| (at * 2, at)).collect();
        let mut numbers = Numbers(count + 1);
        for _ in 0..300 {
            let low = numbers.below(count * 2 + 3);
            let high = low + 1 + numbers.below(count * 2 + 3);
            let bounds = |key, kind| match kind {
                0 => Bound::Included(key),
                1 => Bound::Excluded(key),
                _ => Bound::Unbounded,
            };
            let range = (
                bounds(low, numbers.below(3)),
                bounds(high, numbers.below(3)),
            );
            assert!(ours.range(range).eq(std.range(range)), "{range:?}");
            assert!(ours.range(range).rev().eq(std.range(range).rev()));
            let (mut ours, mut std) = (ours.range(range), std.range(range));
            // Both ends meet in the middle, and then there is nothing.
            while let (Some(front), back) = (ours.next(), ours.next_back()) {
                assert_eq!((Some(front), back), (std.next(), std.next_back()));
            }
            assert_eq!((ours.next(), ours.next_back()), (None, None));
        }
    }
}

#[test]
fn a_set_answers_as_that_of_the_standard_library() {
    let mut numbers = Numbers(5);
    for _ in 0..50 {
        let all =
            |numbers: &mut Numbers| -> Vec<u64> { (0..300).map(|_| numbers.below(200)).collect() };
        let (left, right) = (all(&mut numbers), all(&mut numbers));
        let mut ours: BTreeSet<u64> = left.iter().copied().collect();
        let mut std: collections::BTreeSet<u64> = left.iter().copied().collect();
        let our_other: BTreeSet<u64> = right.iter().copied().collect();
        let std_other: collections::BTreeSet<u64> = right.iter().copied().collect();
        assert!(
            ours.intersection(&our_other)
                .eq(std.intersection(&std_other))
        );
        assert!(ours.difference(&our_other).eq(std.difference(&std_other)));
        assert_eq!(ours.is_subset(&our_other), std.is_subset(&std_other));
        assert_eq!(ours.is_disjoint(&our_other), std.is_disjoint(&std_other));
        let part: BTreeSet<u64> = ours.iter().copied().filter(|at| at % 2 == 0).collect();
        assert!(part.is_subset(&ours) && ours.is_superset(&part));
        let odd: BTreeSet<u64> = ours.iter().copied().filter(|at| at % 2 == 1).collect();
        assert!(odd.is_disjoint(&part) && !ours.is_subset(&part));
        for element in right {
            assert_eq!(ours.contains(&element), std.contains(&element));
            if element % 2 == 0 {
                assert_eq!(ours.remove(&element), std.remove(&element));
            } else {
                assert_eq!(ours.insert(element), std.insert(element));
            }
        }
        ours.retain(|element| element % 5 != 0);
        std.retain(|element| element % 5 != 0);
        assert_eq!((ours.first(), ours.last()), (std.first(), std.last()));
        assert_eq!(ours.pop_first(), std.pop_first());
        assert_eq!(ours, std.iter().copied().collect());
        assert_eq!(format!("{ours:?}"), format!("{std:?}"));
        assert!((&ours).into_iter().eq(&std) && ours.into_iter().eq(std));
    }
    assert_eq!(BTreeSet::from([3, 1, 3]).len(), 2);
}
