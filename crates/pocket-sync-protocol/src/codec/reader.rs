//! A cursor over a frame. Every length is held against what is really there.

use bytes::{Buf, Bytes};
use rmp::Marker;
use rmp::decode::{read_int, read_marker};

use crate::ProtocolError;

type Result<T> = std::result::Result<T, ProtocolError>;

/// Elements for which memory is set aside at once, before they are known to be there.
const SET_ASIDE: usize = 1_024;

/// Reads values one after the other. Text and bytes are slices of the frame.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    frame: &'a Bytes,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(frame: &'a Bytes) -> Self {
        Self { frame, rest: frame }
    }

    /// The entries of a map of fields. `field` reads a value it knows and says whether it did.
    ///
    /// Unknown fields are skipped, unless their name begins with `!`.
    pub(super) fn fields(
        &mut self,
        what: &str,
        mut field: impl FnMut(&str, &mut Self) -> Result<bool>,
    ) -> Result<()> {
        for _ in 0..self.map(what)? {
            let name = self.text("a field's name")?;
            if field(name, self)? {
                continue;
            }
            if name.starts_with('!') {
                return Err(ProtocolError::CriticalField { field: shown(name) });
            }
            self.skip()?;
        }
        Ok(())
    }

    /// The last element of an array: nil, or the map of fields that later versions add.
    pub(super) fn later(&mut self) -> Result<()> {
        if self.nil() {
            Ok(())
        } else {
            self.fields("later fields", |_, _| Ok(false))
        }
    }

    pub(super) fn map(&mut self, what: &str) -> Result<u32> {
        match self.marker(what)? {
            Marker::FixMap(len) => Ok(u32::from(len)),
            Marker::Map16 => self
                .number::<2>(what)
                .map(|b| u32::from(u16::from_be_bytes(b))),
            Marker::Map32 => self.number::<4>(what).map(u32::from_be_bytes),
            _ => Err(self.bad(what, "a map")),
        }
    }

    /// The length of an array, each of whose elements takes at least one byte that is there.
    pub(super) fn array(&mut self, what: &str) -> Result<usize> {
        let len = match self.marker(what)? {
            Marker::FixArray(len) => u32::from(len),
            Marker::Array16 => u32::from(u16::from_be_bytes(self.number::<2>(what)?)),
            Marker::Array32 => u32::from_be_bytes(self.number::<4>(what)?),
            _ => return Err(self.bad(what, "an array")),
        };
        usize::try_from(len)
            .ok()
            .filter(|len| *len <= self.rest.len())
            .ok_or_else(|| self.bad(what, "an array that ends within the frame"))
    }

    /// An array of exactly `len` elements.
    pub(super) fn fixed(&mut self, what: &str, len: usize) -> Result<()> {
        let found = self.array(what)?;
        if found == len {
            return Ok(());
        }
        Err(ProtocolError::bad_frame(format!(
            "{what} has {found} elements instead of {len}"
        )))
    }

    /// All elements of an array.
    pub(super) fn list<T>(
        &mut self,
        what: &str,
        mut element: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let len = self.array(what)?;
        let mut list = Vec::with_capacity(len.min(SET_ASIDE));
        for _ in 0..len {
            list.push(element(self)?);
        }
        Ok(list)
    }

    /// A value, or nil.
    pub(super) fn optional<T>(
        &mut self,
        value: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<Option<T>> {
        if self.nil() {
            Ok(None)
        } else {
            value(self).map(Some)
        }
    }

    /// Whether nil stands here; then it is passed.
    pub(super) fn nil(&mut self) -> bool {
        let nil = self.rest.first() == Some(&Marker::Null.to_u8());
        if nil {
            self.rest.advance(1);
        }
        nil
    }

    pub(super) fn bool(&mut self, what: &str) -> Result<bool> {
        match self.marker(what)? {
            Marker::True => Ok(true),
            Marker::False => Ok(false),
            _ => Err(self.bad(what, "a boolean")),
        }
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64> {
        read_int(&mut self.rest).map_err(|_| self.bad(what, "an unsigned integer"))
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32> {
        read_int(&mut self.rest).map_err(|_| self.bad(what, "an unsigned integer of 32 bits"))
    }

    pub(super) fn u16(&mut self, what: &str) -> Result<u16> {
        read_int(&mut self.rest).map_err(|_| self.bad(what, "an unsigned integer of 16 bits"))
    }

    pub(super) fn i64(&mut self, what: &str) -> Result<i64> {
        read_int(&mut self.rest).map_err(|_| self.bad(what, "an integer"))
    }

    pub(super) fn usize(&mut self, what: &str) -> Result<usize> {
        // On a small machine a larger limit or size means the largest it can have.
        self.u64(what)
            .map(|number| usize::try_from(number).unwrap_or(usize::MAX))
    }

    pub(super) fn text(&mut self, what: &str) -> Result<&'a str> {
        let len = match self.marker(what)? {
            Marker::FixStr(len) => u32::from(len),
            Marker::Str8 => u32::from(u8::from_be_bytes(self.number::<1>(what)?)),
            Marker::Str16 => u32::from(u16::from_be_bytes(self.number::<2>(what)?)),
            Marker::Str32 => u32::from_be_bytes(self.number::<4>(what)?),
            _ => return Err(self.bad(what, "text")),
        };
        std::str::from_utf8(self.take(what, len)?).map_err(|_| self.bad(what, "UTF-8"))
    }

    /// Text of at most this many bytes.
    pub(super) fn short_text(&mut self, what: &str, max: usize) -> Result<String> {
        let text = self.text(what)?;
        if text.len() > max {
            return Err(ProtocolError::bad_frame(format!(
                "{what} has {} bytes, {max} are allowed",
                text.len()
            )));
        }
        Ok(text.to_owned())
    }

    pub(super) fn bin(&mut self, what: &str) -> Result<Bytes> {
        self.slice(what).map(|bytes| self.frame.slice_ref(bytes))
    }

    pub(super) fn sixteen(&mut self, what: &str) -> Result<[u8; 16]> {
        self.slice(what)?
            .try_into()
            .map_err(|_| self.bad(what, "16 bytes"))
    }

    /// Passes one value, whatever it is, without recursion.
    pub(super) fn skip(&mut self) -> Result<()> {
        let what = "a value";
        // Each value takes at least one byte, so this ends with the frame at the latest.
        let mut left: u64 = 1;
        while left > 0 {
            left -= 1;
            match self.marker(what)? {
                Marker::FixPos(_)
                | Marker::FixNeg(_)
                | Marker::Null
                | Marker::True
                | Marker::False => {}
                Marker::U8 | Marker::I8 => self.pass(what, 1)?,
                Marker::U16 | Marker::I16 | Marker::FixExt1 => self.pass(what, 2)?,
                Marker::FixExt2 => self.pass(what, 3)?,
                Marker::U32 | Marker::I32 | Marker::F32 => self.pass(what, 4)?,
                Marker::FixExt4 => self.pass(what, 5)?,
                Marker::U64 | Marker::I64 | Marker::F64 => self.pass(what, 8)?,
                Marker::FixExt8 => self.pass(what, 9)?,
                Marker::FixExt16 => self.pass(what, 17)?,
                Marker::FixStr(len) => self.pass(what, u32::from(len))?,
                Marker::Str8 | Marker::Bin8 => {
                    let [len] = self.number::<1>(what)?;
                    self.pass(what, u32::from(len))?;
                }
                Marker::Str16 | Marker::Bin16 => {
                    let len = u16::from_be_bytes(self.number::<2>(what)?);
                    self.pass(what, u32::from(len))?;
                }
                Marker::Str32 | Marker::Bin32 => {
                    let len = u32::from_be_bytes(self.number::<4>(what)?);
                    self.pass(what, len)?;
                }
                Marker::Ext8 => {
                    let [len] = self.number::<1>(what)?;
                    self.pass(what, u32::from(len))?;
                    self.pass(what, 1)?;
                }
                Marker::Ext16 => {
                    let len = u16::from_be_bytes(self.number::<2>(what)?);
                    self.pass(what, u32::from(len))?;
                    self.pass(what, 1)?;
                }
                Marker::Ext32 => {
                    let len = u32::from_be_bytes(self.number::<4>(what)?);
                    self.pass(what, len)?;
                    self.pass(what, 1)?;
                }
                Marker::FixArray(len) => left += u64::from(len),
                Marker::Array16 => left += u64::from(u16::from_be_bytes(self.number::<2>(what)?)),
                Marker::Array32 => left += u64::from(u32::from_be_bytes(self.number::<4>(what)?)),
                Marker::FixMap(len) => left += 2 * u64::from(len),
                Marker::Map16 => left += 2 * u64::from(u16::from_be_bytes(self.number::<2>(what)?)),
                Marker::Map32 => left += 2 * u64::from(u32::from_be_bytes(self.number::<4>(what)?)),
                Marker::Reserved => return Err(self.bad(what, "MessagePack")),
            }
        }
        Ok(())
    }

    /// The end of the frame.
    pub(super) fn end(&self) -> Result<()> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(ProtocolError::bad_frame(format!(
            "{} bytes behind the end",
            self.rest.len()
        )))
    }

    fn slice(&mut self, what: &str) -> Result<&'a [u8]> {
        let len = match self.marker(what)? {
            Marker::Bin8 => u32::from(u8::from_be_bytes(self.number::<1>(what)?)),
            Marker::Bin16 => u32::from(u16::from_be_bytes(self.number::<2>(what)?)),
            Marker::Bin32 => u32::from_be_bytes(self.number::<4>(what)?),
            _ => return Err(self.bad(what, "bytes")),
        };
        self.take(what, len)
    }

    fn pass(&mut self, what: &str, len: u32) -> Result<()> {
        self.take(what, len).map(|_| ())
    }

    fn take(&mut self, what: &str, len: u32) -> Result<&'a [u8]> {
        let taken = usize::try_from(len)
            .ok()
            .and_then(|len| self.rest.split_at_checked(len));
        let (taken, rest) = taken.ok_or_else(|| self.bad(what, "more bytes than are there"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        let (bytes, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or_else(|| self.bad(what, "more bytes"))?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn marker(&mut self, what: &str) -> Result<Marker> {
        read_marker(&mut self.rest).map_err(|_| self.bad(what, "more bytes"))
    }

    #[cold]
    fn bad(&self, what: &str, wanted: &str) -> ProtocolError {
        let place = self.frame.len() - self.rest.len();
        ProtocolError::bad_frame(format!("{what} needs {wanted}, before byte {place}"))
    }
}

/// A field that must be there.
pub(super) fn required<T>(value: Option<T>, message: &str, field: &str) -> Result<T> {
    value.ok_or_else(|| ProtocolError::bad_frame(format!("`{message}` lacks the field `{field}`")))
}

/// Text from outside, short enough for an error.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}
