//! The one order over all values, and the stricter "the same".

use std::cmp::Ordering;

use pocket_storage::sorting;

use super::number::cmp_floats;
use super::{Map, Value};

impl Value {
    /// Whether both are written alike: same kinds, same float bits, same order of keys.
    ///
    /// `1` and `1.0` are equal but not the same; nor are two maps whose keys stand in another order.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(left), Self::Bool(right)) => left == right,
            (Self::Integer(left), Self::Integer(right)) => left == right,
            (Self::Float(left), Self::Float(right)) => left.to_bits() == right.to_bits(),
            (Self::String(left), Self::String(right)) => left == right,
            (Self::Binary(left), Self::Binary(right)) => left == right,
            (Self::Timestamp(left), Self::Timestamp(right)) => left == right,
            (Self::Array(left), Self::Array(right)) => {
                left.len() == right.len()
                    && left
                        .iter()
                        .zip(right)
                        .all(|(left, right)| left.is_same(right))
            }
            (Self::Map(left), Self::Map(right)) => left.is_same(right),
            _ => false,
        }
    }

    /// The place of its type in the order.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Integer(_) | Self::Float(_) => 2,
            Self::Timestamp(_) => 3,
            Self::String(_) => 4,
            Self::Binary(_) => 5,
            Self::Array(_) => 6,
            Self::Map(_) => 7,
        }
    }
}

impl Map {
    /// Whether both are written alike, keys in the same order; see [`Value::is_same`].
    pub fn is_same(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self
                .iter()
                .zip(other.iter())
                .all(|(left, right)| left.0 == right.0 && left.1.is_same(right.1))
    }

    fn sorted(&self) -> Vec<(&str, &Value)> {
        let mut entries: Vec<_> = self.iter().collect();
        sorting::sort_unstable_by(&mut entries, |left, right| left.0.cmp(right.0));
        entries
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(left), Self::Bool(right)) => left.cmp(right),
            (Self::Integer(left), Self::Integer(right)) => left.cmp(right),
            (Self::Integer(left), Self::Float(right)) => left.cmp_float(*right),
            (Self::Float(left), Self::Integer(right)) => right.cmp_float(*left).reverse(),
            (Self::Float(left), Self::Float(right)) => cmp_floats(*left, *right),
            (Self::Timestamp(left), Self::Timestamp(right)) => left.cmp(right),
            (Self::String(left), Self::String(right)) => left.cmp(right),
            (Self::Binary(left), Self::Binary(right)) => left.cmp(right),
            (Self::Array(left), Self::Array(right)) => left.cmp(right),
            (Self::Map(left), Self::Map(right)) => left.cmp(right),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Value {}

/// As two arrays of pairs would compare, each sorted by key.
impl Ord for Map {
    fn cmp(&self, other: &Self) -> Ordering {
        self.sorted().cmp(&other.sorted())
    }
}

impl PartialOrd for Map {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Equal if both have the same keys with equal values, whatever their order.
impl PartialEq for Map {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self
                .iter()
                .all(|(key, value)| other.get(key).is_some_and(|other| value == other))
    }
}

impl Eq for Map {}
