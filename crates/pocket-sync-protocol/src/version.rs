//! Protocol versions and how two sides agree on one.

use crate::ProtocolError;

/// The WebSocket subprotocol; its number changes only when the handshake itself does.
pub const SUBPROTOCOL: &str = "pocket.v1";

/// The newest protocol version this crate speaks.
pub const PROTOCOL_VERSION: u16 = 1;

/// The oldest protocol version this crate speaks.
pub const OLDEST_PROTOCOL_VERSION: u16 = 1;

/// The protocol versions one side speaks, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRange {
    /// The oldest.
    pub min: u16,
    /// The newest.
    pub max: u16,
}

impl VersionRange {
    /// What this crate speaks.
    pub const SUPPORTED: Self = Self {
        min: OLDEST_PROTOCOL_VERSION,
        max: PROTOCOL_VERSION,
    };

    /// The newest version that both sides speak.
    ///
    /// # Errors
    /// `version-mismatch`, with both ranges in the message, when there is none.
    pub fn agree(self, other: Self) -> Result<u16, ProtocolError> {
        let newest = self.max.min(other.max);
        if newest < self.min || newest < other.min {
            return Err(ProtocolError::VersionMismatch {
                ours: self,
                theirs: other,
            });
        }
        Ok(newest)
    }

    /// Whether `version` is one of these.
    pub fn contains(self, version: u16) -> bool {
        (self.min..=self.max).contains(&version)
    }
}

impl Default for VersionRange {
    fn default() -> Self {
        Self::SUPPORTED
    }
}

impl std::fmt::Display for VersionRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.min == self.max {
            write!(f, "{}", self.min)
        } else {
            write!(f, "{} to {}", self.min, self.max)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sides_agree_on_the_newest_common_version() {
        let old = VersionRange { min: 1, max: 3 };
        let new = VersionRange { min: 2, max: 5 };
        assert_eq!(old.agree(new).unwrap(), 3);
        assert_eq!(new.agree(old).unwrap(), 3);
    }

    #[test]
    fn sides_without_a_common_version_name_both_ranges() {
        let old = VersionRange { min: 1, max: 1 };
        let new = VersionRange { min: 2, max: 5 };
        let error = old.agree(new).unwrap_err();
        assert_eq!(error.code(), crate::codes::VERSION_MISMATCH);
        assert!(error.to_string().contains("2 to 5"), "{error}");
        assert!(VersionRange { min: 3, max: 1 }.agree(new).is_err());
    }
}
