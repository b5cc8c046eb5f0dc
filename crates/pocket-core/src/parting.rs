//! Partings: what a restored server has lost of what was read of it.

use crate::Seq;

/// The last place that both histories have, and the resync that began with the new one. A document that no resync from
/// that one on has shown, and no outcome since has placed, lies in the old history if its place is behind.
pub(crate) type Parting = (Seq, u64);

/// Adds a parting to those that there are. Each is kept as it is: of two in one, a document that was read between them
/// would count as lost, and be sent a second time.
pub(crate) fn add(partings: &mut Vec<Parting>, parting: Parting) {
    if partings.iter().any(|other| covers(*other, parting)) {
        return;
    }
    partings.retain(|other| !covers(parting, *other));
    partings.push(parting);
}

/// Whether all that the one says is lost includes all that the other does.
fn covers(one: Parting, other: Parting) -> bool {
    one.0 <= other.0 && one.1 >= other.1
}

/// The place that a document of place `seq` and this mark has in common with the server's history only up to, if it is
/// lost there.
pub(crate) fn lost_behind(partings: &[Parting], mark: u64, seq: Seq) -> Option<Seq> {
    let lost = partings.iter();
    let lost = lost.filter(|(shared, since)| mark < *since && seq > *shared);
    lost.map(|(shared, _)| *shared).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(added: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let mut partings = Vec::new();
        for (shared, since) in added {
            add(&mut partings, (Seq::new(*shared), *since));
        }
        let plain = |(shared, since): Parting| (shared.get(), since);
        partings.into_iter().map(plain).collect()
    }

    #[test]
    fn a_parting_that_says_less_than_another_one_is_left_out() {
        assert_eq!(all(&[(5, 1), (9, 2)]), [(5, 1), (9, 2)]);
        assert_eq!(all(&[(5, 1), (3, 2)]), [(3, 2)]);
        assert_eq!(all(&[(3, 2), (5, 1)]), [(3, 2)]);
        assert_eq!(all(&[(3, 2), (3, 2)]), [(3, 2)]);
    }

    #[test]
    fn what_was_read_between_two_partings_is_not_lost_by_the_earlier_one() {
        let partings = [(Seq::new(2), 1), (Seq::new(14), 3)];
        let lost = |mark, seq| lost_behind(&partings, mark, Seq::new(seq)).map(Seq::get);
        assert_eq!(lost(0, 11), Some(2));
        assert_eq!(lost(1, 11), None);
        assert_eq!(lost(1, 15), Some(14));
        assert_eq!(lost(0, 15), Some(2));
        assert_eq!(lost(3, 15), None);
    }
}
