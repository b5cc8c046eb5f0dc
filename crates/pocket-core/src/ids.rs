//! Newtypes for the names and numbers that have a meaning of their own.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::lock::lock;
use crate::{Error, Result};

/// The longest document id, in bytes of UTF-8.
pub const MAX_ID_BYTES: usize = 256;

/// The longest collection name, in bytes.
pub const MAX_COLLECTION_BYTES: usize = 64;

/// The id of a document: 1 to 256 bytes of UTF-8 without NUL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentId(Arc<str>);

impl DocumentId {
    /// Checks `id` and takes it.
    ///
    /// # Errors
    /// `bad-id` when it is empty, longer than 256 bytes or contains NUL.
    pub fn new(id: &str) -> Result<Self> {
        if id.is_empty() || id.len() > MAX_ID_BYTES || id.contains('\0') {
            return Err(Error::bad_id(id));
        }
        Ok(Self(id.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a collection: `[A-Za-z_][A-Za-z0-9_-]{0,63}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CollectionName(Arc<str>);

impl CollectionName {
    /// Checks `name` and takes it. Names that begin with `_` are reserved for the system.
    ///
    /// # Errors
    /// `bad-collection-name` when it does not match or is reserved.
    pub fn new(name: &str) -> Result<Self> {
        let mut bytes = name.bytes();
        let head = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic());
        let tail = bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        if !head || !tail || name.len() > MAX_COLLECTION_BYTES {
            return Err(Error::bad_collection_name(name));
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text_newtype {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                Self::new(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

text_newtype!(DocumentId);
text_newtype!(CollectionName);

macro_rules! random_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// From its sixteen bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// Its sixteen bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                let bad = || Error::validation(format!("`{text}` is not 32 hexadecimal digits"));
                if text.len() != 32 || !text.is_ascii() {
                    return Err(bad());
                }
                let mut bytes = [0; 16];
                for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
                    let digits = std::str::from_utf8(digits).map_err(|_| bad())?;
                    *byte = u8::from_str_radix(digits, 16).map_err(|_| bad())?;
                }
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_bytes(&self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                    return text.parse().map_err(serde::de::Error::custom);
                }
                let bytes = serde_bytes::ByteArray::<16>::deserialize(deserializer)?;
                Ok(Self(bytes.into_array()))
            }
        }
    };
}

random_newtype!(
    /// Who wrote a revision: one local store of one user. Random, made with the store.
    ClientId
);
random_newtype!(
    /// The name of a server's log, made with it and kept for ever.
    Lineage
);
random_newtype!(
    /// One opening of a server's log. A restored backup lacks the epochs that came after it.
    Epoch
);
random_newtype!(
    /// What a server gives a client to present next time; a copy of the client's store betrays itself by it.
    SessionToken
);

macro_rules! number_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            /// Before the first.
            pub const ZERO: Self = Self(0);

            /// From its number.
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// Its number.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The one `count` later; stays at the largest number there is.
            #[must_use]
            pub const fn plus(self, count: u64) -> Self {
                Self(self.0.saturating_add(count))
            }

            /// The next one.
            #[must_use]
            pub const fn next(self) -> Self {
                self.plus(1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number_newtype!(
    /// A place in a server's order. The first change of a log has 1; 0 stands before it.
    Seq
);
number_newtype!(
    /// The number of a sent mutation, contiguous per client from 1. It never changes its content.
    MutationNumber
);
number_newtype!(
    /// The place of a mutation in the local outbox.
    Place
);
number_newtype!(
    /// The number of a local commit, rising.
    CommitSequence
);

/// The last id that was made, so that ids rise within a millisecond and when the clock jumps back.
#[derive(Debug, Default)]
pub(crate) struct LastUuid(std::sync::Mutex<u128>);

/// Random bytes of one id.
const RANDOM: usize = 10;

/// New ids: UUIDs of version 7 (RFC 9562) whose time is that of `env`, each greater than the last one.
pub(crate) fn uuids_v7(
    env: &dyn crate::Env,
    last: &LastUuid,
    count: usize,
) -> Result<Vec<DocumentId>> {
    let millis = u64::try_from(env.now().millis()).unwrap_or(0);
    // One call for all: it may be one of the operating system.
    let mut random = vec![0; RANDOM * count];
    env.random(&mut random);
    let mut last = lock(&last.0);
    let (random, _) = random.as_chunks::<RANDOM>();
    let ids = random.iter().map(|random| {
        let fresh = uuid::Builder::from_unix_timestamp_millis(millis, random)
            .into_uuid()
            .as_u128();
        // Counting up in the last 62 bits keeps version and variant; RFC 9562 calls this a fixed random counter.
        *last = if fresh > *last {
            fresh
        } else {
            last.saturating_add(1)
        };
        let mut text = uuid::Uuid::encode_buffer();
        let id = uuid::Uuid::from_u128(*last).hyphenated();
        DocumentId::new(id.encode_lower(&mut text))
    });
    ids.collect()
}
