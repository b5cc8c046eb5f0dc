//! JSON text of values, exact in both directions.

use super::Value;
use super::serial::RawValue;
use crate::{Error, Result};

impl Value {
    /// Reads JSON text, with `{"$binary": …}` and `{"$date": …}` for bytes and moments.
    ///
    /// A number with a fraction or an exponent is the nearest float, each other one an integer; `-0` is the float.
    ///
    /// # Errors
    /// `validation` when the text is no JSON, is deeper than 128 levels or has anything behind its value; for
    /// integers below −2⁶³ or above 2⁶⁴ − 1, numbers beyond floats or so small that the nearest float is zero, keys that occur twice, contain NUL or
    /// begin with `$`.
    pub fn from_json_str(text: &str) -> Result<Self> {
        check_numbers(text)?;
        serde_json::from_str(text).map_err(|error| Error::validation(format!("bad JSON: {error}")))
    }

    /// As [`from_json_str`](Value::from_json_str), but keys may be anything: for filters, whose operators begin with `$`.
    pub(crate) fn raw_from_json_str(text: &str) -> Result<Self> {
        check_numbers(text)?;
        serde_json::from_str(text)
            .map(|RawValue(value)| value)
            .map_err(|error| Error::validation(format!("bad JSON: {error}")))
    }

    /// The value as JSON text without blanks.
    ///
    /// [`from_json_str`](Value::from_json_str) reads [the same](Value::is_same) value from it: floats bit for
    /// bit and written as such (`1.0`), keys in their order.
    ///
    /// # Errors
    /// `validation` for floats that are not finite and for keys that could not be read back.
    pub fn to_json_string(&self) -> Result<String> {
        serde_json::to_string(self).map_err(Error::validation)
    }
}

/// Refuses numbers that `serde_json` would make others of without a word: integers that do not fit, and fractions so
/// small that nothing of them is left.
fn check_numbers(text: &str) -> Result<()> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let rest = &bytes[at..];
        let len = match byte {
            b'"' => string_len(rest),
            b'-' | b'0'..=b'9' => {
                let len = rest
                    .iter()
                    .take_while(|byte| is_number_part(**byte))
                    .count();
                check_number(&text[at..at + len], at)?;
                len
            }
            _ => 1,
        };
        at += len;
    }
    Ok(())
}

/// The length of a string with its quotes; all that is left when it does not end.
fn string_len(rest: &[u8]) -> usize {
    let mut at = 1;
    while let Some(&byte) = rest.get(at) {
        at += match byte {
            b'"' => return at + 1,
            b'\\' => 2,
            _ => 1,
        };
    }
    rest.len()
}

fn is_number_part(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')
}

fn check_number(token: &str, at: usize) -> Result<()> {
    let digits = token.strip_prefix('-').unwrap_or(token);
    let is_integer = digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_integer
        && !digits.is_empty()
        && token.parse::<i64>().is_err()
        && token.parse::<u64>().is_err()
    {
        let shown: String = token.chars().take(40).collect();
        return Err(Error::validation(format!(
            "bad JSON: the integer {shown} at byte {at} does not fit in 64 bits; write it as a string or, to \
             round it, as a float"
        )));
    }
    if !is_integer && is_lost(token) {
        let shown: String = token.chars().take(40).collect();
        return Err(Error::validation(format!(
            "bad JSON: the number {shown} at byte {at} is nearer to zero than any float; write it as a string, or 0"
        )));
    }
    Ok(())
}

/// Whether a decimal is not zero, but the float nearest to it is.
fn is_lost(token: &str) -> bool {
    let digits = token.split(['e', 'E']).next().unwrap_or(token);
    let is_zero = !digits.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    !is_zero && token.parse().is_ok_and(|float: f64| float == 0.0)
}
