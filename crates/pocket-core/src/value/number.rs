//! Integers of 64 bits with and without sign as one kind, and the exact order of all numbers.

use std::cmp::Ordering;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

/// A whole number from −2⁶³ to 2⁶⁴ − 1, exact.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Integer(Repr);

// Each number has one form, and the negative ones stand first: so what is derived is right.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Repr {
    Negative(i64),
    Natural(u64),
}

impl Integer {
    /// The number as `i64`, if it fits.
    pub fn as_i64(self) -> Option<i64> {
        match self.0 {
            Repr::Negative(number) => Some(number),
            Repr::Natural(number) => i64::try_from(number).ok(),
        }
    }

    /// The number as `u64`, if it is not negative.
    pub fn as_u64(self) -> Option<u64> {
        match self.0 {
            Repr::Negative(_) => None,
            Repr::Natural(number) => Some(number),
        }
    }

    /// The number as `i128`, which holds each of them.
    pub fn as_i128(self) -> i128 {
        match self.0 {
            Repr::Negative(number) => number.into(),
            Repr::Natural(number) => number.into(),
        }
    }

    /// The order of this number and a float, by value and without rounding; NaN stands last.
    pub(super) fn cmp_float(self, float: f64) -> Ordering {
        // Powers of two, exact as floats.
        const BEYOND_U64: f64 = 18_446_744_073_709_551_616.0;
        const LEAST_I64: f64 = -9_223_372_036_854_775_808.0;
        if float.is_nan() || float >= BEYOND_U64 {
            return Ordering::Less;
        }
        if float < LEAST_I64 {
            return Ordering::Greater;
        }
        let whole = float.trunc();
        let fraction = float - whole;
        self.as_i128()
            .cmp(&(whole as i128))
            .then_with(|| cmp_floats(0.0, fraction))
    }
}

/// The order of two floats by value: −0.0 equals 0.0, NaN equals itself and stands last.
pub(super) fn cmp_floats(left: f64, right: f64) -> Ordering {
    left.partial_cmp(&right)
        .unwrap_or_else(|| left.is_nan().cmp(&right.is_nan()))
}

impl From<i64> for Integer {
    fn from(number: i64) -> Self {
        Self(u64::try_from(number).map_or(Repr::Negative(number), Repr::Natural))
    }
}

impl From<u64> for Integer {
    fn from(number: u64) -> Self {
        Self(Repr::Natural(number))
    }
}

macro_rules! widen {
    ($($small:ty => $wide:ty),* $(,)?) => {$(
        impl From<$small> for Integer {
            fn from(number: $small) -> Self {
                Self::from(<$wide>::from(number))
            }
        }
    )*};
}

widen! { i8 => i64, i16 => i64, i32 => i64, u8 => u64, u16 => u64, u32 => u64 }

impl From<usize> for Integer {
    fn from(number: usize) -> Self {
        Self::from(number as u64)
    }
}

impl From<isize> for Integer {
    fn from(number: isize) -> Self {
        Self::from(number as i64)
    }
}

impl fmt::Display for Integer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Repr::Negative(number) => fmt::Display::fmt(&number, f),
            Repr::Natural(number) => fmt::Display::fmt(&number, f),
        }
    }
}

impl fmt::Debug for Integer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Integer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Repr::Negative(number) => serializer.serialize_i64(number),
            Repr::Natural(number) => serializer.serialize_u64(number),
        }
    }
}

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IntegerVisitor;

        impl Visitor<'_> for IntegerVisitor {
            type Value = Integer;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number from -2^63 to 2^64 - 1")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Integer, E> {
                Ok(number.into())
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Integer, E> {
                Ok(number.into())
            }
        }

        deserializer.deserialize_any(IntegerVisitor)
    }
}
