//! Entries read back into values, which only tests need: readers look at the documents.

use bytes::Bytes;

use crate::index::entry::Part;
use crate::index::key::{
    ARRAY, BINARY, BOOL, Decoder, END, MAP, NULL, NUMBER, Piece, STRING, TIMESTAMP,
};
use crate::stored::damaged;
use crate::{Integer, Map, Result, Timestamp, Value};

impl Part<'_> {
    /// The value, if all of it is there. It equals that of the document; an integer may come back as a float.
    pub(super) fn value(&self) -> Result<Option<Value>> {
        self.is_whole.then(|| self.decoder().value()).transpose()
    }
}

impl Decoder<'_> {
    /// The next value: one that equals the encoded one. Whether it was an integer or a float of the same value, and in
    /// which order its keys were written, is not kept.
    pub(crate) fn value(&mut self) -> Result<Value> {
        self.read().ok_or_else(|| damaged("an entry of an index"))
    }

    fn read(&mut self) -> Option<Value> {
        let kind = self.byte()?;
        self.read_of(kind)
    }

    fn read_of(&mut self, kind: u8) -> Option<Value> {
        Some(match kind {
            NULL => Value::Null,
            BOOL => Value::Bool(self.byte()? == 1),
            NUMBER => {
                let (below, distance) = self.number()?;
                if distance == 0 {
                    Value::Float(below)
                } else {
                    let exact = below as i128 + i128::from(distance);
                    let natural = u64::try_from(exact).map(Integer::from);
                    Value::Integer(
                        natural
                            .or_else(|_| i64::try_from(exact).map(Integer::from))
                            .ok()?,
                    )
                }
            }
            TIMESTAMP => {
                let flipped = u64::from_be_bytes(self.take()?);
                Value::Timestamp(Timestamp::from_millis((flipped ^ (1 << 63)).cast_signed()))
            }
            STRING => Value::String(String::from_utf8(self.text()?).ok()?),
            BINARY => Value::Binary(Bytes::from(self.text()?)),
            ARRAY => {
                let mut values = Vec::new();
                loop {
                    match self.byte()? {
                        END => break Value::Array(values),
                        kind => values.push(self.read_of(kind)?),
                    }
                }
            }
            MAP => {
                let mut map = Map::new();
                loop {
                    match self.byte()? {
                        END => break Value::Map(map),
                        STRING => {
                            let key = String::from_utf8(self.text()?).ok()?;
                            map.insert(key, self.read()?);
                        }
                        _ => return None,
                    }
                }
            }
            _ => return None,
        })
    }

    fn text(&mut self) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        while let Piece::Byte(byte) = self.piece()? {
            text.push(byte);
        }
        Some(text)
    }
}
