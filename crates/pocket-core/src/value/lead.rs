//! What tells most values apart without reading them.

use super::number::Integer;
use super::token::Token;

/// What tells most values apart at a glance. Of two values with different leads, the one with the smaller lead comes first;
/// those with the same may be different all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lead {
    rank: u8,
    start: u64,
}

impl Lead {
    /// That of what begins with this token and has this rank among types. That of null is the default.
    pub(super) fn of(token: Token<'_>, rank: u8) -> Self {
        let start = match token {
            Token::Bool(value) => value.into(),
            Token::Integer(value) => float_lead(rounded(value)),
            Token::Float(value) => float_lead(value),
            Token::String(bytes) | Token::Binary(bytes) => {
                let mut start = [0; 8];
                let len = bytes.len().min(start.len());
                start[..len].copy_from_slice(&bytes[..len]);
                u64::from_be_bytes(start)
            }
            Token::Null | Token::Ext(..) | Token::Array(_) | Token::Map(_) => 0,
        };
        Self { rank, start }
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "rounding keeps the order, but for what becomes equal"
)]
fn rounded(integer: Integer) -> f64 {
    integer.as_i128() as f64
}

/// A number that orders as [`cmp_floats`](super::number::cmp_floats) does.
fn float_lead(float: f64) -> u64 {
    const SIGN: u64 = 1 << 63;
    if float.is_nan() {
        return u64::MAX;
    }
    // Makes a zero of either sign the positive one.
    let bits = (float + 0.0).to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Encoded;

    #[test]
    fn leads_that_differ_say_which_value_comes_first() {
        let mut values: Vec<Vec<u8>> = Vec::new();
        for integer in [0, 1, 7, 1 << 40, (1 << 53) + 1, i64::MAX] {
            for integer in [integer, -integer, integer.wrapping_sub(1)] {
                values.push(rmp_serde::to_vec(&integer).unwrap());
            }
        }
        values.push(rmp_serde::to_vec(&u64::MAX).unwrap());
        values.push(rmp_serde::to_vec(&i64::MIN).unwrap());
        let float = [0.0, 0.5, 1.0, 6.999, 9e15, 9_007_199_254_740_992.0, 1e300];
        for float in float.into_iter().chain([f64::MIN_POSITIVE, f64::INFINITY]) {
            values.push(rmp_serde::to_vec(&float).unwrap());
            values.push(rmp_serde::to_vec(&-float).unwrap());
        }
        values.push(rmp_serde::to_vec(&f64::NAN).unwrap());
        values.push(rmp_serde::to_vec(&-f64::NAN).unwrap());
        let texts = [
            "",
            "\0",
            "a",
            "a\0",
            "aa",
            "ab",
            "longer than",
            "longer then",
            "\u{fc}",
        ];
        for text in texts {
            values.push(rmp_serde::to_vec(text).unwrap());
            values.push(rmp_serde::to_vec(serde_bytes::Bytes::new(text.as_bytes())).unwrap());
        }
        let others = serde_json::json!([null, true, false, [], [1], [0, 2], {}, {"a": 1}]);
        let others = others.as_array().unwrap().iter();
        values.extend(others.map(|value| rmp_serde::to_vec(value).unwrap()));
        let values: Vec<_> = values
            .iter()
            .map(|value| Encoded::of(value).unwrap())
            .collect();
        let mut told = 0;
        for left in &values {
            for right in &values {
                let ordering = left.compare(*right).unwrap();
                let leads = left.lead().cmp(&right.lead());
                assert!(leads.is_eq() || leads == ordering, "{left:?} {right:?}");
                told += usize::from(leads.is_ne());
            }
        }
        let pairs = values.len() * values.len();
        assert!(told * 10 > pairs * 9, "{told} of {pairs}");
        assert_eq!(Encoded::NULL.lead(), Lead::default());
    }
}
