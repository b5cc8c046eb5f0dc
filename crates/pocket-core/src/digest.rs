//! Digests: whether two sides hold the same versions of documents, told in a few bytes.
//!
//! A digest is a sum over a set, so it is kept up to date by adding what comes and subtracting what goes, in any order:
//! the incremental hash of Bellare and Micciancio, "A New Paradigm for Collision-Free Hashing" (1997), with addition
//! modulo 2¹²⁸. It finds what was lost or missed by mistake. It is no proof against somebody who chooses revisions so
//! that two sets have one sum.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::{DocumentId, Revision};

/// What a set of live documents comes to: how many there are, and a sum over their ids and revisions.
///
/// A difference of two digests is a digest as well, so both numbers wrap around.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Digest {
    documents: u64,
    sum: u128,
}

impl Digest {
    /// The bytes of a digest.
    pub const BYTES: usize = 24;

    /// That of no document.
    pub const EMPTY: Self = Self {
        documents: 0,
        sum: 0,
    };

    /// That of one document: the first sixteen bytes of the SHA-256 of the revision's clock (8 bytes, big-endian), the
    /// client that wrote it (16 bytes) and the id.
    pub fn of(id: &DocumentId, rev: Revision) -> Self {
        let mut hash = Sha256::new();
        hash.update(rev.hlc.bits().to_be_bytes());
        hash.update(rev.client.as_bytes());
        hash.update(id.as_str().as_bytes());
        let hash: [u8; 32] = hash.finalize().into();
        let mut first = [0; 16];
        first.copy_from_slice(&hash[..16]);
        Self {
            documents: 1,
            sum: u128::from_be_bytes(first),
        }
    }

    /// With the documents of `other` beside its own.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            documents: self.documents.wrapping_add(other.documents),
            sum: self.sum.wrapping_add(other.sum),
        }
    }

    /// Without the documents of `other`.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            documents: self.documents.wrapping_sub(other.documents),
            sum: self.sum.wrapping_sub(other.sum),
        }
    }

    /// How many documents there are.
    pub const fn documents(self) -> u64 {
        self.documents
    }

    /// The number of documents, then the sum, both big-endian.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.documents.to_be_bytes());
        bytes[8..].copy_from_slice(&self.sum.to_be_bytes());
        bytes
    }

    /// What [`to_bytes`](Self::to_bytes) made.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let (mut documents, mut sum) = ([0; 8], [0; 16]);
        documents.copy_from_slice(&bytes[..8]);
        sum.copy_from_slice(&bytes[8..]);
        Self {
            documents: u64::from_be_bytes(documents),
            sum: u128::from_be_bytes(sum),
        }
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:032x}", self.documents, self.sum)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.to_bytes())
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = serde_bytes::ByteBuf::deserialize(deserializer)?;
        let bytes = <[u8; Self::BYTES]>::try_from(bytes.as_slice())
            .map_err(|_| serde::de::Error::invalid_length(bytes.len(), &"24 bytes"))?;
        Ok(Self::from_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{ClientId, Hlc};

    fn of(id: &str, clock: u64) -> Digest {
        let rev = Revision::new(Hlc::from_bits(clock), ClientId::from_bytes([7; 16]));
        Digest::of(&DocumentId::new(id).unwrap(), rev)
    }

    #[test]
    fn the_digest_of_a_document_is_the_one_that_is_written_down() {
        // Anybody's SHA-256 of 8 bytes of clock, 16 of client and the id gives this.
        let digest = format!("{:?}", of("todo-1", 1 << 16));
        assert_eq!(digest, "1:f9b01c999870fdbd4bdfce855098a4fb");
    }

    #[test]
    fn another_id_or_another_revision_is_another_digest() {
        assert_ne!(of("a", 1), of("b", 1));
        assert_ne!(of("a", 1), of("a", 2));
        assert_ne!(of("a", 1).plus(of("a", 1)), of("a", 1));
    }

    proptest! {
        #[test]
        fn order_does_not_matter_and_what_went_leaves_no_trace(
            mut documents in proptest::collection::vec(("[a-z]{1,8}", any::<u64>()), 1..20),
            gone in any::<prop::sample::Index>(),
        ) {
            let sum = |documents: &[(String, u64)]| {
                documents
                    .iter()
                    .fold(Digest::EMPTY, |sum, (id, clock)| sum.plus(of(id, *clock)))
            };
            let all = sum(&documents);
            prop_assert_eq!(all.documents(), documents.len() as u64);
            let (id, clock) = documents.remove(gone.index(documents.len()));
            documents.reverse();
            prop_assert_eq!(all.minus(of(&id, clock)), sum(&documents));
            prop_assert_eq!(Digest::from_bytes(all.to_bytes()), all);
        }
    }
}
