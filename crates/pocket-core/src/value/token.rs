//! The pieces of MessagePack, read one at a time and without allocation.

use super::number::Integer;
use crate::{Error, Result};

/// One piece: a whole scalar, or the head of an array or map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token<'a> {
    Null,
    Bool(bool),
    Integer(Integer),
    Float(f64),
    /// Text; that it is UTF-8 is not checked here.
    String(&'a [u8]),
    Binary(&'a [u8]),
    Ext(i8, &'a [u8]),
    /// An array of this many values.
    Array(u32),
    /// A map of this many entries.
    Map(u32),
}

impl Token<'_> {
    /// How many values stand behind this head, keys too.
    #[inline]
    pub(super) fn inside(self) -> u64 {
        match self {
            Token::Array(len) => len.into(),
            Token::Map(len) => 2 * u64::from(len),
            _ => 0,
        }
    }
}

/// Reads pieces from the front.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    #[inline]
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes have been read.
    #[inline]
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The bytes from `start` to where it is.
    #[inline]
    pub(super) fn since(&self, start: usize) -> &'a [u8] {
        &self.bytes[start..self.at]
    }

    /// The next piece. What it claims to hold of text or bytes is there.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Token<'a>> {
        let [marker] = self.array()?;
        Ok(match marker {
            0x00..=0x7f => Token::Integer(u64::from(marker).into()),
            0xe0..=0xff => Token::Integer(i64::from(marker.cast_signed()).into()),
            0x80..=0x8f => Token::Map(u32::from(marker & 0x0f)),
            0x90..=0x9f => Token::Array(u32::from(marker & 0x0f)),
            0xa0..=0xbf => Token::String(self.take(usize::from(marker & 0x1f))?),
            0xc0 => Token::Null,
            0xc1 => {
                return Err(malformed("0xc1 has no meaning in MessagePack", self.at - 1));
            }
            0xc2 | 0xc3 => Token::Bool(marker == 0xc3),
            0xc4..=0xc6 => {
                let len = self.length(marker - 0xc4)?;
                Token::Binary(self.take(len as usize)?)
            }
            0xc7..=0xc9 => {
                let len = self.length(marker - 0xc7)?;
                self.ext(len as usize)?
            }
            0xca => Token::Float(f32::from_be_bytes(self.array()?).into()),
            0xcb => Token::Float(f64::from_be_bytes(self.array()?)),
            0xcc => Token::Integer(u64::from(u8::from_be_bytes(self.array()?)).into()),
            0xcd => Token::Integer(u64::from(u16::from_be_bytes(self.array()?)).into()),
            0xce => Token::Integer(u64::from(u32::from_be_bytes(self.array()?)).into()),
            0xcf => Token::Integer(u64::from_be_bytes(self.array()?).into()),
            0xd0 => Token::Integer(i64::from(i8::from_be_bytes(self.array()?)).into()),
            0xd1 => Token::Integer(i64::from(i16::from_be_bytes(self.array()?)).into()),
            0xd2 => Token::Integer(i64::from(i32::from_be_bytes(self.array()?)).into()),
            0xd3 => Token::Integer(i64::from_be_bytes(self.array()?).into()),
            0xd4..=0xd8 => self.ext(1 << (marker - 0xd4))?,
            0xd9..=0xdb => {
                let len = self.length(marker - 0xd9)?;
                Token::String(self.take(len as usize)?)
            }
            0xdc | 0xdd => Token::Array(self.length(marker - 0xdc + 1)?),
            0xde | 0xdf => Token::Map(self.length(marker - 0xde + 1)?),
        })
    }

    /// Passes over a text, which must be next, and tells whether it is this one.
    #[inline]
    pub(super) fn is_next_text(&mut self, text: &[u8]) -> Result<bool> {
        // A short one, as keys are.
        if let Some(marker @ 0xa0..=0xbf) = self.bytes.get(self.at) {
            self.at += 1;
            return Ok(self.take(usize::from(marker & 0x1f))? == text);
        }
        let at = self.at;
        match self.next()? {
            Token::String(next) => Ok(next == text),
            _ => Err(malformed("a key is no text", at)),
        }
    }

    /// Passes over one value with all it holds, and tells whether it is this text.
    #[inline]
    pub(super) fn is_text(&mut self, text: &[u8]) -> Result<bool> {
        if let Some(0xa0..=0xbf) = self.bytes.get(self.at) {
            return self.is_next_text(text);
        }
        let token = self.next()?;
        self.skip_many(token.inside())?;
        Ok(token == Token::String(text))
    }

    /// Passes over one value with all it holds.
    pub(super) fn skip(&mut self) -> Result<()> {
        self.skip_many(1)
    }

    /// Passes over so many values, keys too, with all they hold.
    #[inline]
    pub(super) fn skip_many(&mut self, mut pending: u64) -> Result<()> {
        while pending > 0 {
            pending -= 1;
            // What most values are is passed over by the first byte alone.
            let len = match self.bytes.get(self.at) {
                Some(0x00..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff) => 1,
                Some(marker @ 0xa0..=0xbf) => 1 + usize::from(marker & 0x1f),
                Some(0xcc | 0xd0) => 2,
                Some(0xcd | 0xd1) => 3,
                Some(0xca | 0xce | 0xd2) => 5,
                Some(0xcb | 0xcf | 0xd3) => 9,
                _ => {
                    pending += self.next()?.inside();
                    continue;
                }
            };
            self.take(len)?;
        }
        Ok(())
    }

    fn ext(&mut self, len: usize) -> Result<Token<'a>> {
        let [kind] = self.array()?;
        Ok(Token::Ext(kind.cast_signed(), self.take(len)?))
    }

    /// A length of one, two or four bytes.
    fn length(&mut self, size: u8) -> Result<u32> {
        Ok(match size {
            0 => u32::from(u8::from_be_bytes(self.array()?)),
            1 => u32::from(u16::from_be_bytes(self.array()?)),
            _ => u32::from_be_bytes(self.array()?),
        })
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.take(N)?;
        Ok(bytes.try_into().expect("as many were taken"))
    }

    #[inline]
    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let Some(taken) = rest.get(..len) else {
            return Err(malformed("the bytes end in the middle of a value", self.at));
        };
        self.at += len;
        Ok(taken)
    }
}

pub(super) fn malformed(what: &str, at: usize) -> Error {
    Error::validation(format!("bad MessagePack: {what} (byte {at})"))
}
