//! JSON text of values without `serde_json`, for WebAssembly: its instances and tables are forty thousand bytes that a page
//! would download. Native code uses `serde_json`, and tests that both read and write the same.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::json::float;
use super::serial::{BINARY_KEY, Keys, shown};
use super::timestamp::DATE_KEY;
use super::{Map, Timestamp, Value};

/// As many containers may lie in each other as `serde_json` takes.
const MAX_DEPTH: usize = 127;

type Result<T> = std::result::Result<T, String>;

/// Reads a text whose numbers were checked.
pub(super) fn read(text: &str, keys: Keys) -> Result<Value> {
    let mut reader = Reader { text, at: 0, keys };
    let value = reader.value(MAX_DEPTH);
    let value = value.and_then(|value| match reader.peek() {
        None => Ok(value),
        Some(_) => Err("trailing characters".to_owned()),
    });
    value.map_err(|why| format!("{why} at byte {}", reader.at))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    keys: Keys,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// The next byte that is no blank.
    fn peek(&mut self) -> Option<u8> {
        let rest = self.rest();
        let blanks = rest.trim_start_matches([' ', '\t', '\n', '\r']);
        self.at += rest.len() - blanks.len();
        blanks.as_bytes().first().copied()
    }

    /// Whether this came next; then it is passed.
    fn takes(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value> {
        if !self.rest().starts_with(word) {
            return Err("a value is expected".to_owned());
        }
        self.at += word.len();
        Ok(value)
    }

    fn value(&mut self, depth: usize) -> Result<Value> {
        let next = self.peek().ok_or("the text ends too early")?;
        match next {
            b'n' => self.word("null", Value::Null),
            b't' => self.word("true", Value::Bool(true)),
            b'f' => self.word("false", Value::Bool(false)),
            b'"' => self.string().map(Value::String),
            b'-' | b'0'..=b'9' => self.number(),
            b'[' | b'{' => {
                let depth = depth.checked_sub(1).ok_or("the text is too deep")?;
                self.at += 1;
                if next == b'[' {
                    self.array(depth)
                } else {
                    self.map(depth)
                }
            }
            _ => Err("a value is expected".to_owned()),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value> {
        let mut values = Vec::new();
        if self.takes(b']') {
            return Ok(Value::Array(values));
        }
        loop {
            values.push(self.value(depth)?);
            if self.takes(b']') {
                return Ok(Value::Array(values));
            }
            self.comma()?;
        }
    }

    fn comma(&mut self) -> Result<()> {
        let is_comma = self.takes(b',');
        is_comma
            .then_some(())
            .ok_or("a comma is expected".to_owned())
    }

    fn map(&mut self, depth: usize) -> Result<Value> {
        let mut map = Map::new();
        if self.takes(b'}') {
            return Ok(Value::Map(map));
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err("a key is expected".to_owned());
            }
            let key = self.string()?;
            if !self.takes(b':') {
                return Err("a colon is expected".to_owned());
            }
            let extension = match key.as_str() {
                DATE_KEY | BINARY_KEY if map.is_empty() => {
                    Some(extension(&key, self.value(depth)?)?)
                }
                _ => None,
            };
            if let Some(value) = extension {
                if self.takes(b'}') {
                    return Ok(value);
                }
                return Err(format!("`{key}` stands alone in its map"));
            }
            if let Some(fault) = self.keys.fault(&key) {
                return Err(format!("the key {:?} {fault}", shown(&key)));
            }
            if map.contains_key(&key) {
                return Err(format!("the key {:?} occurs twice", shown(&key)));
            }
            let value = self.value(depth)?;
            map.insert(key, value);
            if self.takes(b'}') {
                return Ok(Value::Map(map));
            }
            self.comma()?;
        }
    }

    fn number(&mut self) -> Result<Value> {
        let rest = self.rest();
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
        let len = rest.bytes().take_while(is_part).count();
        let token = &rest[..len];
        if !is_number(token) {
            return Err("that is no number".to_owned());
        }
        self.at += len;
        if token != "-0" {
            if let Ok(integer) = token.parse::<i64>() {
                return Ok(integer.into());
            }
            if let Ok(integer) = token.parse::<u64>() {
                return Ok(integer.into());
            }
        }
        let float = float(token).ok_or("that is no number")?;
        if float.is_finite() {
            Ok(Value::Float(float))
        } else {
            Err("the number is out of range".to_owned())
        }
    }

    fn string(&mut self) -> Result<String> {
        let mut read = String::new();
        self.at += 1;
        loop {
            let rest = self.rest();
            let is_special = |c: char| c == '"' || c == '\\' || c < ' ';
            let len = rest.find(is_special).ok_or("the text ends in a string")?;
            read.push_str(&rest[..len]);
            self.at += len + 1;
            match rest.as_bytes()[len] {
                b'"' => return Ok(read),
                b'\\' => read.push(self.escaped()?),
                _ => return Err("a control character in a string is not escaped".to_owned()),
            }
        }
    }

    /// What stands behind a backslash.
    fn escaped(&mut self) -> Result<char> {
        let kind = self.rest().bytes().next().unwrap_or_default();
        self.at += usize::from(kind.is_ascii());
        Ok(match kind {
            b'"' | b'\\' | b'/' => char::from(kind),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.unit()?;
                let mut units = vec![first];
                if (0xd800..0xdc00).contains(&first) && self.rest().starts_with("\\u") {
                    self.at += 2;
                    units.push(self.unit()?);
                }
                let mut decoded = char::decode_utf16(units);
                match (decoded.next(), decoded.next()) {
                    (Some(Ok(read)), None) => read,
                    _ => return Err("half of a surrogate pair".to_owned()),
                }
            }
            _ => return Err("an escape that does not exist".to_owned()),
        })
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Result<u16> {
        let digits = self.rest().get(..4).unwrap_or_default();
        let are_digits = digits.len() == 4 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let unit = are_digits.then(|| u16::from_str_radix(digits, 16).ok());
        self.at += digits.len();
        unit.flatten().ok_or("an escape has four digits".to_owned())
    }
}

/// Whether the grammar of JSON has such a number.
fn is_number(token: &str) -> bool {
    let token = token.strip_prefix('-').unwrap_or(token);
    let (mantissa, exponent) = match token.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (token, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let exponent = exponent.map(|exponent| exponent.strip_prefix(['+', '-']).unwrap_or(exponent));
    let are_digits =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    are_digits(whole)
        && (whole.len() == 1 || !whole.starts_with('0'))
        && fraction.is_none_or(are_digits)
        && exponent.is_none_or(are_digits)
}

/// What `{"$date": …}` or `{"$binary": …}` stands for.
fn extension(key: &str, value: Value) -> Result<Value> {
    match (key, value) {
        (DATE_KEY, Value::String(text)) => {
            let moment = text.parse().map(Value::Timestamp);
            moment.map_err(|error: crate::Error| error.to_string())
        }
        (DATE_KEY, Value::Integer(millis)) => {
            let millis = millis
                .as_i64()
                .ok_or("a moment's milliseconds fit in 64 bits")?;
            Ok(Value::Timestamp(Timestamp::from_millis(millis)))
        }
        (DATE_KEY, _) => Err("a moment is RFC 3339, or its milliseconds since 1970".to_owned()),
        (_, Value::String(text)) => {
            let bytes = STANDARD.decode(&text);
            let bytes = bytes.map_err(|error| {
                format!("`$binary` holds base64 with padding (RFC 4648): {error}")
            });
            Ok(Value::Binary(bytes?.into()))
        }
        _ => Err("`$binary` holds base64 with padding (RFC 4648)".to_owned()),
    }
}

/// Writes a value behind what is there.
pub(super) fn write(to: &mut String, value: &Value, keys: Keys) -> Result<()> {
    match value {
        Value::Null => to.push_str("null"),
        Value::Bool(value) => to.push_str(if *value { "true" } else { "false" }),
        Value::Integer(value) => written(write!(to, "{value}")),
        Value::Float(value) if value.is_finite() => write_float(to, *value),
        Value::Float(value) => {
            return Err(format!(
                "{value} is not finite and cannot be kept; leave it out or use null"
            ));
        }
        Value::String(value) => write_string(to, value),
        Value::Binary(value) => {
            written(write!(
                to,
                "{{\"{BINARY_KEY}\":\"{}\"}}",
                STANDARD.encode(value)
            ));
        }
        Value::Timestamp(value) => {
            let text = value.to_string();
            // Beyond the years that RFC 3339 has, it is the number of milliseconds.
            let quote = if text.ends_with('Z') { "\"" } else { "" };
            written(write!(to, "{{\"{DATE_KEY}\":{quote}{text}{quote}}}"));
        }
        Value::Array(values) => {
            to.push('[');
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    to.push(',');
                }
                write(to, value, keys)?;
            }
            to.push(']');
        }
        Value::Map(map) => {
            to.push('{');
            for (at, (key, value)) in map.iter().enumerate() {
                if let Some(fault) = keys.fault(key) {
                    return Err(format!("the key {:?} {fault}", shown(key)));
                }
                if at > 0 {
                    to.push(',');
                }
                write_string(to, key);
                to.push(':');
                write(to, value, keys)?;
            }
            to.push('}');
        }
    }
    Ok(())
}

/// Writing into memory cannot fail.
fn written(_: std::fmt::Result) {}

/// As few digits as tell it from other floats, and where `serde_json` has one, an exponent with its sign.
fn write_float(to: &mut String, value: f64) {
    let size = value.abs();
    if size == 0.0 || (1e-5..1e16).contains(&size) {
        let text = value.to_string();
        to.push_str(&text);
        if !text.contains('.') {
            to.push_str(".0");
        }
        return;
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let sign = if size < 1.0 { "" } else { "+" };
    written(write!(to, "{digits}e{sign}{exponent}"));
}

fn write_string(to: &mut String, text: &str) {
    to.push('"');
    for c in text.chars() {
        match c {
            '"' => to.push_str("\\\""),
            '\\' => to.push_str("\\\\"),
            '\u{8}' => to.push_str("\\b"),
            '\u{c}' => to.push_str("\\f"),
            '\n' => to.push_str("\\n"),
            '\r' => to.push_str("\\r"),
            '\t' => to.push_str("\\t"),
            c if c < ' ' => written(write!(to, "\\u{:04x}", u32::from(c))),
            c => to.push(c),
        }
    }
    to.push('"');
}
