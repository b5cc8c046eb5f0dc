//! The map: entries in rows of bounded length, one row behind another.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::ops::{Bound, Index, RangeBounds};
use std::vec;

/// The most entries of a row. What lies behind an entry in its row moves when one comes or goes.
const MOST: usize = 128;

/// What owned iteration gives.
pub type IntoIter<K, V> = vec::IntoIter<(K, V)>;

/// An ordered map with the methods of [`std::collections::BTreeMap`] that are in use.
#[derive(Clone)]
pub struct BTreeMap<K, V> {
    /// No row is empty.
    rows: Vec<Vec<(K, V)>>,
    len: usize,
}

/// The place of an entry: its row, and where it stands there. Behind the last one it is the row behind the last.
pub type Position = (usize, usize);

impl<K, V> BTreeMap<K, V> {
    /// An empty map.
    pub const fn new() -> Self {
        Self {
            rows: Vec::new(),
            len: 0,
        }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Removes all.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// All entries, by key.
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter {
            rows: &self.rows,
            front: (0, 0),
            back: (self.rows.len(), 0),
            left: self.len,
        }
    }

    /// All keys, rising.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> + ExactSizeIterator + Clone {
        self.iter().map(|(key, _)| key)
    }

    /// All values, by key.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> + ExactSizeIterator + Clone {
        self.iter().map(|(_, value)| value)
    }

    /// All entries, by key.
    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = (&K, &mut V)> {
        let entries = self.rows.iter_mut().flatten();
        entries.map(|(key, value)| (&*key, value))
    }

    /// All values, by key.
    pub fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut V> {
        self.rows.iter_mut().flatten().map(|(_, value)| value)
    }

    /// All keys, rising.
    pub fn into_keys(self) -> impl DoubleEndedIterator<Item = K> + ExactSizeIterator {
        self.into_iter().map(|(key, _)| key)
    }

    /// All values, by key.
    pub fn into_values(self) -> impl DoubleEndedIterator<Item = V> + ExactSizeIterator {
        self.into_iter().map(|(_, value)| value)
    }

    /// The first entry.
    pub fn first_key_value(&self) -> Option<(&K, &V)> {
        self.iter().next()
    }

    /// The last entry.
    pub fn last_key_value(&self) -> Option<(&K, &V)> {
        self.iter().next_back()
    }

    /// Takes the first entry out.
    pub fn pop_first(&mut self) -> Option<(K, V)> {
        (!self.is_empty()).then(|| self.take((0, 0)))
    }

    /// Takes the last entry out.
    pub fn pop_last(&mut self) -> Option<(K, V)> {
        let row = self.rows.len().checked_sub(1)?;
        let at = self.rows[row].len() - 1;
        Some(self.take((row, at)))
    }

    /// Keeps what `keep` says.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        for row in &mut self.rows {
            row.retain_mut(|(key, value)| keep(key, value));
        }
        self.rows.retain(|row| !row.is_empty());
        self.len = self.rows.iter().map(Vec::len).sum();
    }

    /// Takes an entry out.
    fn take(&mut self, (row, at): Position) -> (K, V) {
        let taken = self.rows[row].remove(at);
        if self.rows[row].is_empty() {
            self.rows.remove(row);
        }
        self.len -= 1;
        taken
    }

    /// Puts an entry in, where it belongs, and gives its value.
    fn put(&mut self, (row, at): Position, key: K, value: V) -> &mut V {
        if self.rows.is_empty() {
            self.rows.push(Vec::new());
        }
        self.len += 1;
        let (mut row, mut at) = (row, at);
        if self.rows[row].len() == MOST {
            let half = self.rows[row].split_off(MOST / 2);
            self.rows.insert(row + 1, half);
            if at > MOST / 2 {
                (row, at) = (row + 1, at - MOST / 2);
            }
        }
        self.rows[row].insert(at, (key, value));
        &mut self.rows[row][at].1
    }
}

impl<K: Ord, V> BTreeMap<K, V> {
    /// Where a key is, or where it belongs.
    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<Position, Position>
    where
        K: Borrow<Q>,
    {
        // The last row that does not begin behind the key, then the place in it.
        let row = bisect(self.rows.len(), &|row| {
            self.rows[row][0].0.borrow().cmp(key)
        });
        let row = row.unwrap_or_else(|behind| behind.saturating_sub(1));
        let entries = self.rows.get(row).map_or(&[][..], Vec::as_slice);
        match bisect(entries.len(), &|at| entries[at].0.borrow().cmp(key)) {
            Ok(at) => Ok((row, at)),
            Err(at) => Err((row, at)),
        }
    }

    /// Whether the key is there.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.find(key).is_ok()
    }

    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let (row, at) = self.find(key).ok()?;
        Some(&self.rows[row][at].1)
    }

    /// The value of a key.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let (row, at) = self.find(key).ok()?;
        Some(&mut self.rows[row][at].1)
    }

    /// Sets the value of a key and gives the one before. A key that is there stays.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok((row, at)) => Some(std::mem::replace(&mut self.rows[row][at].1, value)),
            Err(place) => {
                self.put(place, key, value);
                None
            }
        }
    }

    /// Takes the value of a key out.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let place = self.find(key).ok()?;
        Some(self.take(place).1)
    }

    /// Moves all of the other one here; what it has under a key that is here stands instead.
    pub fn append(&mut self, other: &mut Self) {
        self.extend(std::mem::take(other));
    }

    /// The place of a key, to be filled if it is empty.
    pub fn entry(&mut self, key: K) -> Entry<'_, K, V> {
        Entry {
            place: self.find(&key),
            map: self,
            key,
        }
    }

    /// The entries of a range, by key.
    ///
    /// # Panics
    /// Where the range ends before it begins.
    pub fn range<Q: Ord + ?Sized, R: RangeBounds<Q>>(
        &self,
        range: R,
    ) -> impl DoubleEndedIterator<Item = (&K, &V)> + Clone + use<'_, K, V, Q, R>
    where
        K: Borrow<Q>,
    {
        let place = |key: &Q, is_behind: bool| match self.find(key) {
            Ok((row, at)) => (row, at + usize::from(is_behind)),
            Err(place) => place,
        };
        let front = match range.start_bound() {
            Bound::Included(key) => place(key, false),
            Bound::Excluded(key) => place(key, true),
            Bound::Unbounded => (0, 0),
        };
        let back = match range.end_bound() {
            Bound::Included(key) => place(key, true),
            Bound::Excluded(key) => place(key, false),
            Bound::Unbounded => (self.rows.len(), 0),
        };
        assert!(front <= back, "the range ends before it begins");
        let between = self.rows.get(front.0..back.0).unwrap_or_default();
        let whole: usize = between.iter().map(Vec::len).sum();
        Iter {
            rows: &self.rows,
            front,
            back,
            left: whole + back.1 - front.1,
        }
    }
}

/// The place that is equal, or that where such a one belongs. Here and not in a map, it exists once for all of them.
#[inline(never)]
fn bisect(len: usize, compare: &dyn Fn(usize) -> Ordering) -> Result<usize, usize> {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = usize::midpoint(low, high);
        match compare(middle) {
            Ordering::Less => low = middle + 1,
            Ordering::Greater => high = middle,
            Ordering::Equal => return Ok(middle),
        }
    }
    Err(low)
}

/// A place for a value.
#[derive(Debug)]
pub struct Entry<'a, K, V> {
    map: &'a mut BTreeMap<K, V>,
    key: K,
    place: Result<Position, Position>,
}

impl<'a, K, V> Entry<'a, K, V> {
    /// The value that is there, or else this one.
    pub fn or_insert(self, value: V) -> &'a mut V {
        self.or_insert_with(|| value)
    }

    /// The value that is there, or else a new one.
    pub fn or_default(self) -> &'a mut V
    where
        V: Default,
    {
        self.or_insert_with(V::default)
    }

    /// The value that is there, or else what `value` gives.
    pub fn or_insert_with(self, value: impl FnOnce() -> V) -> &'a mut V {
        match self.place {
            Ok((row, at)) => &mut self.map.rows[row][at].1,
            Err(place) => self.map.put(place, self.key, value()),
        }
    }

    /// With the value changed, if one is there.
    #[must_use]
    pub fn and_modify(self, change: impl FnOnce(&mut V)) -> Self {
        if let Ok((row, at)) = self.place {
            change(&mut self.map.rows[row][at].1);
        }
        self
    }
}

/// Entries by key, from both ends.
#[derive(Debug)]
pub struct Iter<'a, K, V> {
    rows: &'a [Vec<(K, V)>],
    front: Position,
    back: Position,
    left: usize,
}

impl<K, V> Clone for Iter<'_, K, V> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        if self.front.1 == self.rows[self.front.0].len() {
            self.front = (self.front.0 + 1, 0);
        }
        let (key, value) = &self.rows[self.front.0][self.front.1];
        self.front.1 += 1;
        Some((key, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<K, V> DoubleEndedIterator for Iter<'_, K, V> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        if self.back.1 == 0 {
            self.back.0 -= 1;
            self.back.1 = self.rows[self.back.0].len();
        }
        self.back.1 -= 1;
        let (key, value) = &self.rows[self.back.0][self.back.1];
        Some((key, value))
    }
}

impl<K, V> ExactSizeIterator for Iter<'_, K, V> {}

impl<K, V> Default for BTreeMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for BTreeMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for BTreeMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other)
    }
}

impl<K: Eq, V: Eq> Eq for BTreeMap<K, V> {}

impl<K: Borrow<Q> + Ord, Q: Ord + ?Sized, V> Index<&Q> for BTreeMap<K, V> {
    type Output = V;

    fn index(&self, key: &Q) -> &V {
        self.get(key).expect("the key is there")
    }
}

impl<K: Ord, V> Extend<(K, V)> for BTreeMap<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for BTreeMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::new();
        map.extend(entries);
        map
    }
}

impl<K, V> IntoIterator for BTreeMap<K, V> {
    type Item = (K, V);
    type IntoIter = IntoIter<K, V>;

    fn into_iter(mut self) -> IntoIter<K, V> {
        let mut all = Vec::new();
        if let [row] = &mut *self.rows {
            all = std::mem::take(row);
        } else {
            self.rows
                .into_iter()
                .for_each(|mut row| all.append(&mut row));
        }
        all.into_iter()
    }
}

impl<'a, K, V> IntoIterator for &'a BTreeMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Iter<'a, K, V> {
        self.iter()
    }
}
