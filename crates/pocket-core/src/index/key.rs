//! Values as bytes that sort as the values do.
//!
//! The order is that of `docs/values.md`: comparing two encodings as bytes is comparing the values, and equal values
//! have equal bytes, so `1` and `1.0` do. No encoding is the beginning of another one, so that several may stand one
//! behind the other and compare as tuples; that also makes the inverted bytes the falling order.
//!
//! | kind | bytes |
//! |---|---|
//! | null, and a missing field | `10` |
//! | bool | `20`, then `00` or `01` |
//! | number | `30`, then the greatest 64-bit float that is not above it, its bits made to sort; from 2⁵³ on, where integers lie between floats, the distance to it in two bytes |
//! | timestamp | `40`, then the milliseconds, their sign bit flipped |
//! | string | `50`, then UTF-8 with `00` written as `00 ff`, then `00 00` |
//! | binary | `60`, then as a string |
//! | array | `70`, then its elements, then `00` |
//! | map | `80`, then key (as a string) and value of each entry, by key, then `00` |
//!
//! [`OVERFLOW`] stands before all of them.

use pocket_storage::sorting;

use crate::value::{Encoded, View};
use crate::{Integer, Result, Timestamp, Value};

/// In the place of the values of a document that has too many of them; see [`super::entry`].
pub(crate) const OVERFLOW: u8 = 0x01;

/// No encoding begins with a smaller byte …
pub(crate) const FIRST: u8 = 0x02;
/// … and each with one that is smaller than this.
pub(crate) const BEHIND: u8 = 0x90;

pub(super) const END: u8 = 0x00;
pub(super) const NULL: u8 = 0x10;
pub(super) const BOOL: u8 = 0x20;
pub(super) const NUMBER: u8 = 0x30;
pub(super) const TIMESTAMP: u8 = 0x40;
pub(super) const STRING: u8 = 0x50;
pub(super) const BINARY: u8 = 0x60;
pub(super) const ARRAY: u8 = 0x70;
pub(super) const MAP: u8 = 0x80;

/// Behind a zero byte of text or binary.
const ESCAPED: u8 = 0xff;

/// From here on not every integer is a float.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The first byte of the encoding of each value of this type.
pub(crate) fn kind(value: &Value) -> u8 {
    match value {
        Value::Null => NULL,
        Value::Bool(_) => BOOL,
        Value::Integer(_) | Value::Float(_) => NUMBER,
        Value::Timestamp(_) => TIMESTAMP,
        Value::String(_) => STRING,
        Value::Binary(_) => BINARY,
        Value::Array(_) => ARRAY,
        Value::Map(_) => MAP,
    }
}

/// Writes encodings, and stops once there are `most` bytes: what lies behind is of no use to a key that is cut there.
#[derive(Debug)]
pub(crate) struct Encoder {
    out: Vec<u8>,
    most: usize,
}

impl Encoder {
    /// One that writes at most `most` bytes.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            out: Vec::new(),
            most,
        }
    }

    /// What was written.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.out.truncate(self.most);
        self.out
    }

    fn is_full(&self) -> bool {
        self.out.len() >= self.most
    }

    /// A value.
    pub(crate) fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.null(),
            Value::Bool(value) => self.bool(*value),
            Value::Integer(number) => self.integer(*number),
            Value::Float(number) => self.float(*number),
            Value::Timestamp(moment) => self.timestamp(*moment),
            Value::String(text) => self.string(text.as_bytes()),
            Value::Binary(bytes) => self.binary(bytes),
            Value::Array(values) => {
                self.begin_array();
                for value in values {
                    if self.is_full() {
                        return;
                    }
                    self.value(value);
                }
                self.end();
            }
            Value::Map(map) => {
                let mut entries: Vec<_> = map.iter().collect();
                sorting::sort_unstable_by(&mut entries, |left, right| left.0.cmp(right.0));
                self.begin_map();
                for (key, value) in entries {
                    if self.is_full() {
                        return;
                    }
                    self.string(key.as_bytes());
                    self.value(value);
                }
                self.end();
            }
        }
    }

    /// A value as it lies in a body.
    ///
    /// # Errors
    /// `corrupt` when the bytes are damaged.
    pub(crate) fn encoded(&mut self, value: Encoded<'_>) -> Result<()> {
        match value.view()? {
            View::Null => self.null(),
            View::Bool(value) => self.bool(value),
            View::Integer(number) => self.integer(number),
            View::Float(number) => self.float(number),
            View::Timestamp(moment) => self.timestamp(moment),
            View::String(text) => self.string(text),
            View::Binary(bytes) => self.binary(bytes),
            View::Array(elements) => {
                self.begin_array();
                for element in elements {
                    if self.is_full() {
                        return Ok(());
                    }
                    self.encoded(element?)?;
                }
                self.end();
            }
            View::Map(entries) => {
                let mut entries = entries.collect::<Result<Vec<_>>>()?;
                sorting::sort_unstable_by(&mut entries, |left, right| left.0.cmp(right.0));
                self.begin_map();
                for (key, value) in entries {
                    if self.is_full() {
                        return Ok(());
                    }
                    self.string(key);
                    self.encoded(value)?;
                }
                self.end();
            }
        }
        Ok(())
    }

    fn null(&mut self) {
        self.out.push(NULL);
    }

    fn bool(&mut self, value: bool) {
        self.out.extend_from_slice(&[BOOL, value.into()]);
    }

    fn integer(&mut self, integer: Integer) {
        let exact = integer.as_i128();
        #[expect(clippy::cast_precision_loss, reason = "the distance is written too")]
        let near = exact as f64;
        let below = if near as i128 > exact {
            near.next_down()
        } else {
            near
        };
        // Floats of this size lie at most 2048 apart.
        let distance = exact - below as i128;
        self.number(below, u16::try_from(distance).unwrap_or(u16::MAX));
    }

    fn float(&mut self, float: f64) {
        self.number(float, 0);
    }

    fn number(&mut self, below: f64, distance: u16) {
        // One zero, and one NaN, which no document holds but a query may: it stands last.
        let below = if below == 0.0 {
            0.0
        } else if below.is_nan() {
            f64::NAN.abs()
        } else {
            below
        };
        self.out.push(NUMBER);
        self.out
            .extend_from_slice(&sortable(below.to_bits()).to_be_bytes());
        if below.abs() >= EXACT {
            self.out.extend_from_slice(&distance.to_be_bytes());
        }
    }

    fn timestamp(&mut self, moment: Timestamp) {
        self.out.push(TIMESTAMP);
        let flipped = moment.millis().cast_unsigned() ^ (1 << 63);
        self.out.extend_from_slice(&flipped.to_be_bytes());
    }

    fn string(&mut self, text: &[u8]) {
        self.out.push(STRING);
        self.escaped(text);
        self.out.extend_from_slice(&[0, END]);
    }

    fn binary(&mut self, bytes: &[u8]) {
        self.out.push(BINARY);
        self.escaped(bytes);
        self.out.extend_from_slice(&[0, END]);
    }

    /// The beginning that all strings with this beginning share.
    pub(crate) fn beginning_of_strings(&mut self, text: &str) {
        self.out.push(STRING);
        self.escaped(text.as_bytes());
    }

    fn escaped(&mut self, bytes: &[u8]) {
        let room = self.most.saturating_sub(self.out.len());
        let bytes = &bytes[..bytes.len().min(room)];
        for (place, part) in bytes.split(|byte| *byte == 0).enumerate() {
            if place > 0 {
                self.out.extend_from_slice(&[0, ESCAPED]);
            }
            self.out.extend_from_slice(part);
        }
    }

    fn begin_array(&mut self) {
        self.out.push(ARRAY);
    }

    fn begin_map(&mut self) {
        self.out.push(MAP);
    }

    fn end(&mut self) {
        self.out.push(END);
    }
}

/// The bits of a float, so that they sort as it does.
fn sortable(bits: u64) -> u64 {
    if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    }
}

fn float_of(sortable: u64) -> f64 {
    f64::from_bits(if sortable >> 63 == 1 {
        sortable ^ (1 << 63)
    } else {
        !sortable
    })
}

/// The whole encoding of a value.
pub(crate) fn encode(value: &Value) -> Vec<u8> {
    let mut encoder = Encoder::new(usize::MAX);
    encoder.value(value);
    encoder.finish()
}

/// What a text is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Byte(u8),
    End,
}

/// Reads encodings from the front of bytes, inverted or not.
#[derive(Clone, Debug)]
pub(crate) struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
    inverted: bool,
}

impl<'a> Decoder<'a> {
    /// One that begins at the front of `bytes`.
    pub(crate) fn new(bytes: &'a [u8], inverted: bool) -> Self {
        Self {
            bytes,
            at: 0,
            inverted,
        }
    }

    /// How many bytes have been read.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// Passes over one value. `None` when the bytes end before it does.
    pub(crate) fn skip(&mut self) -> Option<()> {
        let mut open = 0_u32;
        loop {
            match self.byte()? {
                // Between entries of a map stands nothing that could be taken for an end: keys begin as strings do.
                END => open = open.checked_sub(1)?,
                NULL | OVERFLOW => {}
                BOOL => drop(self.byte()?),
                NUMBER => drop(self.number()?),
                TIMESTAMP => drop(self.take::<8>()?),
                STRING | BINARY => while self.piece()? != Piece::End {},
                ARRAY | MAP => open += 1,
                _ => return None,
            }
            if open == 0 {
                return Some(());
            }
        }
    }

    pub(super) fn number(&mut self) -> Option<(f64, u16)> {
        let below = float_of(u64::from_be_bytes(self.take()?));
        let distance = if below.abs() >= EXACT {
            u16::from_be_bytes(self.take()?)
        } else {
            0
        };
        Some((below, distance))
    }

    pub(super) fn piece(&mut self) -> Option<Piece> {
        Some(match self.byte()? {
            0 if self.byte()? == ESCAPED => Piece::Byte(0),
            0 => Piece::End,
            byte => Piece::Byte(byte),
        })
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut bytes: [u8; N] = *self.bytes.get(self.at..)?.first_chunk()?;
        self.at += N;
        if self.inverted {
            bytes = bytes.map(|byte| !byte);
        }
        Some(bytes)
    }
}
