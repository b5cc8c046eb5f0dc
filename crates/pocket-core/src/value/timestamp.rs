//! Moments in milliseconds, their text (RFC 3339) and their bytes (MessagePack extension −1).

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::{Error, Result};

/// The key of a timestamp in JSON.
pub(super) const DATE_KEY: &str = "$date";

/// The extension type of timestamps in MessagePack.
pub(super) const EXT_TYPE: i8 = -1;

const NANOS_PER_MILLI: u32 = 1_000_000;

/// A moment: milliseconds since 1970 in UTC, 292 million years either way.
///
/// Its text is RFC 3339 in UTC with three digits of milliseconds, as JavaScript's `toISOString`
/// writes it. RFC 3339 knows the years 0000 to 9999; a moment beyond them is displayed as its bare
/// number of milliseconds, and is that number in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment this many milliseconds after the beginning of 1970 in UTC.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the beginning of 1970 in UTC.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Its calendar date, in the years RFC 3339 can write.
    fn calendar(self) -> Option<OffsetDateTime> {
        let nanos = i128::from(self.0) * i128::from(NANOS_PER_MILLI);
        let date = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?;
        (0..=9999).contains(&date.year()).then_some(date)
    }

    /// The shortest of the three forms of the MessagePack specification that holds it.
    pub(super) fn to_ext(self) -> ExtBytes {
        let seconds = self.0.div_euclid(1_000);
        let nanos = self.0.rem_euclid(1_000) as u32 * NANOS_PER_MILLI;
        let mut ext = ExtBytes {
            bytes: [0; 12],
            len: 12,
        };
        match (u32::try_from(seconds), u64::try_from(seconds)) {
            (Ok(seconds), _) if nanos == 0 => {
                ext.bytes[..4].copy_from_slice(&seconds.to_be_bytes());
                ext.len = 4;
            }
            (_, Ok(seconds)) if seconds < 1 << 34 => {
                let packed = u64::from(nanos) << 34 | seconds;
                ext.bytes[..8].copy_from_slice(&packed.to_be_bytes());
                ext.len = 8;
            }
            _ => {
                ext.bytes[..4].copy_from_slice(&nanos.to_be_bytes());
                ext.bytes[4..].copy_from_slice(&seconds.to_be_bytes());
            }
        }
        ext
    }

    /// From the payload of an extension −1, of any of the three forms.
    pub(super) fn from_ext(bytes: &[u8]) -> Result<Self, &'static str> {
        let (seconds, nanos) = if let Some((seconds, [])) = bytes.split_first_chunk::<4>() {
            (i64::from(u32::from_be_bytes(*seconds)), 0)
        } else if let Some((packed, [])) = bytes.split_first_chunk::<8>() {
            let packed = u64::from_be_bytes(*packed);
            (
                (packed & ((1 << 34) - 1)).cast_signed(),
                (packed >> 34) as u32,
            )
        } else if let Some((nanos, seconds)) = bytes.split_last_chunk::<8>()
            && let Ok(nanos) = nanos.try_into()
        {
            (i64::from_be_bytes(*seconds), u32::from_be_bytes(nanos))
        } else {
            return Err("a timestamp has 4, 8 or 12 bytes");
        };
        if nanos >= 1_000 * NANOS_PER_MILLI {
            return Err("a timestamp's nanoseconds are less than a second");
        }
        if nanos % NANOS_PER_MILLI != 0 {
            return Err("a timestamp is kept to the millisecond; round it before");
        }
        let millis = i64::from(nanos / NANOS_PER_MILLI);
        // In i128: just below −2⁶³ ms the seconds alone overflow while the sum does not.
        i64::try_from(i128::from(seconds) * 1_000 + i128::from(millis))
            .map(Self)
            .map_err(|_| "a timestamp's milliseconds fit in 64 bits")
    }
}

pub(super) struct ExtBytes {
    pub(super) bytes: [u8; 12],
    pub(super) len: usize,
}

/// RFC 3339 in the years 0000 to 9999, the number of milliseconds beyond them.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(date) = self.calendar() else {
            return write!(f, "{}", self.0);
        };
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            date.year(),
            u8::from(date.month()),
            date.day(),
            date.hour(),
            date.minute(),
            date.second(),
            date.millisecond()
        )
    }
}

/// Reads RFC 3339. An offset is converted to UTC; digits below the millisecond must be zeros, and
/// leap seconds are refused, because neither can be kept.
impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let shown: String = text.chars().take(40).collect();
        let date = OffsetDateTime::parse(text, &Rfc3339).map_err(|error| {
            Error::validation(format!(
                "{shown:?} is no moment ({error}); write it as 2024-02-29T12:00:00.000Z"
            ))
        })?;
        let nanos = date.unix_timestamp_nanos();
        if nanos.rem_euclid(NANOS_PER_MILLI.into()) != 0 {
            return Err(Error::validation(format!(
                "{shown:?} cannot be kept: moments are kept to the millisecond, without leap \
                 seconds; round it before"
            )));
        }
        let millis = nanos.div_euclid(NANOS_PER_MILLI.into());
        Ok(Self(
            i64::try_from(millis).expect("ten thousand years are less than 2^63 ms"),
        ))
    }
}

/// `{"$date":"<RFC 3339>"}` for people, extension −1 for machines.
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            let ext = self.to_ext();
            let payload = serde_bytes::Bytes::new(&ext.bytes[..ext.len]);
            return serializer.serialize_newtype_struct(
                rmp_serde::MSGPACK_EXT_STRUCT_NAME,
                &(EXT_TYPE, payload),
            );
        }
        let mut map = serializer.serialize_map(Some(1))?;
        match self.calendar() {
            Some(_) => map.serialize_entry(DATE_KEY, &self.to_string())?,
            None => map.serialize_entry(DATE_KEY, &self.0)?,
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TimestampVisitor)
    }
}

struct TimestampVisitor;

impl<'de> Visitor<'de> for TimestampVisitor {
    type Value = Timestamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a timestamp")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, ext: D) -> Result<Timestamp, D::Error> {
        ext.deserialize_tuple(2, ExtVisitor)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Timestamp, A::Error> {
        match map.next_key::<String>()? {
            Some(key) if key == DATE_KEY => read_date(&mut map),
            _ => Err(de::Error::custom(
                "a timestamp is {\"$date\":\"2024-02-29T12:00:00.000Z\"}",
            )),
        }
    }
}

/// Reads the rest of `{"$date": …}` behind its key.
pub(super) fn read_date<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Timestamp, A::Error> {
    let DateText(timestamp) = map.next_value()?;
    match map.next_key::<de::IgnoredAny>()? {
        None => Ok(timestamp),
        Some(_) => Err(de::Error::custom("`$date` stands alone in its map")),
    }
}

/// What stands behind `$date`.
struct DateText(Timestamp);

impl<'de> Deserialize<'de> for DateText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DateTextVisitor;

        impl Visitor<'_> for DateTextVisitor {
            type Value = DateText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a moment as RFC 3339, or its milliseconds since 1970")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<DateText, E> {
                text.parse().map(DateText).map_err(de::Error::custom)
            }

            fn visit_i64<E: de::Error>(self, millis: i64) -> Result<DateText, E> {
                Ok(DateText(Timestamp(millis)))
            }

            fn visit_u64<E: de::Error>(self, millis: u64) -> Result<DateText, E> {
                let millis = i64::try_from(millis)
                    .map_err(|_| de::Error::custom("a moment's milliseconds fit in 64 bits"))?;
                self.visit_i64(millis)
            }
        }

        deserializer.deserialize_any(DateTextVisitor)
    }
}

/// Reads an extension as `rmp-serde` shows it: its type, then its bytes.
pub(super) struct ExtVisitor;

impl<'de> Visitor<'de> for ExtVisitor {
    type Value = Timestamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a MessagePack extension of type -1")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Timestamp, A::Error> {
        let kind: i8 = seq
            .next_element()?
            .ok_or_else(|| de::Error::invalid_length(0, &self))?;
        if kind != EXT_TYPE {
            return Err(de::Error::custom(format!(
                "MessagePack extension {kind} is unknown; only -1 (timestamp) is used"
            )));
        }
        let payload: serde_bytes::ByteBuf = seq
            .next_element()?
            .ok_or_else(|| de::Error::invalid_length(1, &self))?;
        Timestamp::from_ext(&payload).map_err(de::Error::custom)
    }
}
