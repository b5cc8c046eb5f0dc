//! Sorting: that of the standard library, and in WebAssembly one instance of it for all types.
//!
//! [`places`] and [`arrange`] sort by what is beside the elements, such as keys that were read once.
//!
//! Each type that is sorted makes an instance of three to five thousand bytes, which a page has to download. So there the
//! places of elements are sorted, and the elements put there.

use std::cmp::Ordering;

/// Sorts; what is equal keeps its order.
pub fn sort_by<T>(items: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    if cfg!(target_arch = "wasm32") {
        sort_places(items, compare);
    } else {
        items.sort_by(compare);
    }
}

/// Sorts by a part; what is equal keeps its order.
pub fn sort_by_key<T, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
    sort_by(items, |left, right| key(left).cmp(&key(right)));
}

/// Sorts; what is equal may change places.
pub fn sort_unstable_by<T>(items: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    if cfg!(target_arch = "wasm32") {
        sort_places(items, compare);
    } else {
        items.sort_unstable_by(compare);
    }
}

/// Sorts; what is equal may change places.
pub fn sort_unstable<T: Ord>(items: &mut [T]) {
    sort_unstable_by(items, T::cmp);
}

fn sort_places<T>(items: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    let places = places(items.len(), &|left, right| {
        compare(&items[left], &items[right])
    });
    arrange(items, places);
}

/// Which element comes to each place when elements are sorted, told which of two comes first; what is equal keeps its
/// order.
#[inline(never)]
pub fn places(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut places: Vec<usize> = (0..count).collect();
    places.sort_by(|left, right| compare(*left, *right));
    places
}

/// Puts elements where [`places`] said.
///
/// # Panics
/// When `places` does not name each element once.
pub fn arrange<T>(items: &mut [T], mut places: Vec<usize>) {
    // Along each circle of elements that take each other's places.
    for start in 0..items.len() {
        let mut at = start;
        loop {
            let from = std::mem::replace(&mut places[at], at);
            if from == start {
                break;
            }
            items.swap(at, from);
            at = from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_places_give_what_a_stable_sort_gives() {
        let mut number = 7_u32;
        for count in 0..200 {
            let mut items: Vec<(u32, usize)> = (0..count)
                .map(|at| {
                    number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (number >> 28, at)
                })
                .collect();
            let mut expected = items.clone();
            expected.sort_by_key(|(key, _)| *key);
            sort_places(&mut items, |left, right| left.0.cmp(&right.0));
            assert_eq!(items, expected);
        }
    }
}
