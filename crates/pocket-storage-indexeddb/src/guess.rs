//! How many pages a scan reads at once: nobody knows how large pages are before they are read, and the browser copies
//! all that are asked for at once.

/// Pages that a scan reads first.
pub(crate) const FIRST_PAGES: usize = 2;

/// Pages that a scan reads at once, at most.
const MOST_PAGES: usize = 64;

/// What a page may have that nobody has seen. Pages are split at a sixteenth of it; one of a single large value is larger.
const UNSEEN_BYTES: usize = 256 * 1024;

/// Pages that are read at once also where the limit has little left: each round costs as much as some pages.
const FEW_PAGES: usize = 6;

/// What a scan has seen of its pages.
#[derive(Debug, Default)]
pub(crate) struct Guess {
    pages: usize,
    largest: usize,
}

impl Guess {
    /// A page of so many bytes was read.
    pub(crate) fn saw(&mut self, bytes: usize) {
        self.pages += 1;
        self.largest = self.largest.max(bytes);
    }

    /// How many pages to read next, when the limit has so many bytes left.
    ///
    /// If they are no larger than the largest one so far, they overshoot the limit by one page at the most. If they are,
    /// there are at most [`FEW_PAGES`] more than the limit has room for pages of [`UNSEEN_BYTES`]: with 2 MiB left, never
    /// more than fourteen at once.
    pub(crate) fn next(&self, bytes_left: usize) -> usize {
        let as_seen = (bytes_left / self.largest.max(1)).saturating_add(1);
        let unseen = bytes_left / UNSEEN_BYTES + FEW_PAGES;
        let grown = (2 * self.pages).max(FIRST_PAGES);
        as_seen.min(unseen).min(grown).min(MOST_PAGES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;
    const MIB: usize = 1024 * KIB;

    /// Bytes that a scan with this limit reads of pages of these sizes.
    fn read(pages: &[usize], limit: usize) -> (usize, usize) {
        let mut guess = Guess::default();
        let (mut bytes, mut rounds, mut left) = (0, 0, pages);
        while bytes < limit && !left.is_empty() {
            let count = guess.next(limit - bytes).min(left.len());
            assert!(count > 0);
            let (now, later) = left.split_at(count);
            for page in now {
                guess.saw(*page);
                bytes += page;
            }
            rounds += 1;
            left = later;
        }
        (bytes, rounds)
    }

    #[test]
    fn pages_of_one_size_overshoot_the_limit_by_one_page() {
        for page in [1, 100, 4 * KIB, 16 * KIB, 100 * KIB, MIB, 17 * MIB] {
            for limit in [1, 16 * KIB, 256 * KIB, 2 * MIB, 4 * MIB] {
                let (bytes, _) = read(&vec![page; 10_000], limit);
                // The first pages are read before any was seen.
                let most = (limit + page).max(FIRST_PAGES * page);
                assert!(bytes <= most, "{page} {limit}: {bytes}");
            }
        }
    }

    #[test]
    fn large_documents_behind_small_ones_overshoot_the_limit_within_a_bound() {
        for small in 0..200 {
            let mut pages = vec![16 * KIB; small];
            pages.resize(small + 200, MIB);
            let (bytes, _) = read(&pages, 2 * MIB);
            assert!(bytes <= 14 * MIB, "{small}: {bytes}");
        }
    }

    #[test]
    fn a_scan_of_many_pages_takes_few_rounds() {
        // Without a limit of bytes they double up to the most.
        let (_, rounds) = read(&vec![16 * KIB; 6_400], usize::MAX);
        assert!(rounds < 110, "{rounds}");
        let (_, rounds) = read(&vec![16 * KIB; 10_000], 4 * MIB);
        assert!(rounds < 30, "{rounds}");
    }
}
