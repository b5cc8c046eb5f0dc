//! A map with text keys that keeps the order in which they were written.

use std::fmt;

use super::Value;
use pocket_storage::ordered::BTreeMap;

/// Up to this many entries a walk finds a key faster than an index does.
const WALKED: usize = 16;

/// A map with text keys, in the order written. A key occurs once.
#[derive(Clone, Default)]
pub struct Map {
    entries: Vec<(String, Value)>,
    /// The place of each key, kept once there are more than [`WALKED`]; a tree and not a hash table, so that
    /// nobody can choose keys that make it slow.
    index: BTreeMap<Box<str>, usize>,
}

impl Map {
    /// An empty map.
    pub const fn new() -> Self {
        Self {
            entries: Vec::new(),
            index: BTreeMap::new(),
        }
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether there is an entry of this key.
    pub fn contains_key(&self, key: &str) -> bool {
        self.place(key).is_some()
    }

    /// The value of this key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.place(key).map(|place| &self.entries[place].1)
    }

    /// The value of this key, to change it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.place(key).map(|place| &mut self.entries[place].1)
    }

    /// Sets the value of a key and returns the former one.
    ///
    /// An existing key keeps its place, a new one goes last.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<Value>) -> Option<Value> {
        let (key, value) = (key.into(), value.into());
        if let Some(place) = self.place(&key) {
            return Some(std::mem::replace(&mut self.entries[place].1, value));
        }
        self.entries.push((key, value));
        self.index_from(self.entries.len() - 1);
        None
    }

    /// Removes a key; those behind it move up.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let place = self.place(key)?;
        let (_, value) = self.entries.remove(place);
        self.index.clear();
        self.index_from(0);
        Some(value)
    }

    /// The entries in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> + DoubleEndedIterator {
        self.entries
            .iter()
            .map(|(key, value)| (key.as_str(), value))
    }

    /// The keys in order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &str> + DoubleEndedIterator {
        self.entries.iter().map(|(key, _)| key.as_str())
    }

    /// The values in the order of their keys.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &Value> + DoubleEndedIterator {
        self.entries.iter().map(|(_, value)| value)
    }

    fn place(&self, key: &str) -> Option<usize> {
        if self.entries.len() > WALKED {
            return self.index.get(key).copied();
        }
        self.entries.iter().position(|(present, _)| present == key)
    }

    /// Brings the index up to date after the entries from `first` on are new in their places.
    fn index_from(&mut self, first: usize) {
        if self.entries.len() <= WALKED {
            return;
        }
        let first = if self.index.is_empty() { 0 } else { first };
        for (place, (key, _)) in self.entries.iter().enumerate().skip(first) {
            self.index.insert(key.as_str().into(), place);
        }
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Of several values for one key the last is taken, at the place of the first.
impl<K: Into<String>, V: Into<Value>> FromIterator<(K, V)> for Map {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::new();
        map.extend(entries);
        map
    }
}

impl<K: Into<String>, V: Into<Value>> Extend<(K, V)> for Map {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl IntoIterator for Map {
    type Item = (String, Value);
    type IntoIter = std::vec::IntoIter<(String, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}
