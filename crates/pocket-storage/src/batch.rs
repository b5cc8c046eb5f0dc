//! A batch: checks and writes as a value.

use bytes::Bytes;

use crate::{MAX_KEY_BYTES, MAX_VALUE_BYTES, Result, StorageError};

/// A condition that must hold for a batch to be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// The key holds exactly this value.
    Equals {
        /// The key looked at.
        key: Vec<u8>,
        /// The value it must hold.
        value: Bytes,
    },
    /// The key holds nothing.
    Absent {
        /// The key looked at.
        key: Vec<u8>,
    },
}

/// One write of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Stores a value, replacing what was there.
    Put {
        /// The key written.
        key: Vec<u8>,
        /// The value it holds afterwards.
        value: Bytes,
    },
    /// Removes a key; nothing happens if it holds nothing.
    Delete {
        /// The key removed.
        key: Vec<u8>,
    },
}

/// Checks and writes that a store applies all or not at all.
///
/// All checks are evaluated on the state before the batch; then the writes are applied in order, so of two
/// writes to one key the later stands. A batch is a value: it can be printed, replayed and simulated, and no
/// transaction is ever held open over an `.await`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub(crate) checks: Vec<Check>,
    pub(crate) writes: Vec<Write>,
}

impl Batch {
    /// An empty batch. Committing it is allowed and, with [`Durability::PowerLoss`](crate::Durability),
    /// makes everything committed before it durable.
    pub fn new() -> Self {
        Self::default()
    }

    /// Requires that `key` holds exactly `value`.
    pub fn check_equals(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Bytes>) -> &mut Self {
        self.checks.push(Check::Equals {
            key: key.into(),
            value: value.into(),
        });
        self
    }

    /// Requires that `key` holds nothing.
    pub fn check_absent(&mut self, key: impl Into<Vec<u8>>) -> &mut Self {
        self.checks.push(Check::Absent { key: key.into() });
        self
    }

    /// Makes room for so many further writes.
    pub fn reserve(&mut self, writes: usize) -> &mut Self {
        self.writes.reserve(writes);
        self
    }

    /// Stores `value` under `key`.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Bytes>) -> &mut Self {
        self.writes.push(Write::Put {
            key: key.into(),
            value: value.into(),
        });
        self
    }

    /// Removes `key`.
    pub fn delete(&mut self, key: impl Into<Vec<u8>>) -> &mut Self {
        self.writes.push(Write::Delete { key: key.into() });
        self
    }

    /// The conditions, in the order they were added.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// The writes, in the order they are applied.
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// The writes, in the order they are applied, for a store that keeps them.
    pub fn into_writes(self) -> Vec<Write> {
        self.writes
    }

    /// Whether the batch has neither checks nor writes.
    pub fn is_empty(&self) -> bool {
        self.checks.is_empty() && self.writes.is_empty()
    }

    /// Bytes of all keys and values to be written.
    pub fn write_bytes(&self) -> usize {
        self.writes
            .iter()
            .map(|write| match write {
                Write::Put { key, value } => key.len() + value.len(),
                Write::Delete { key } => key.len(),
            })
            .sum()
    }
    /// Whether a store may accept the batch: no key and no value is over its limit.
    ///
    /// # Errors
    /// [`StorageError::TooLarge`] names the first that is.
    pub fn check_sizes(&self) -> Result<()> {
        for check in &self.checks {
            match check {
                Check::Equals { key, value } => check_sizes(key, Some(value))?,
                Check::Absent { key } => check_sizes(key, None)?,
            }
        }
        for write in &self.writes {
            match write {
                Write::Put { key, value } => check_sizes(key, Some(value))?,
                Write::Delete { key } => check_sizes(key, None)?,
            }
        }
        Ok(())
    }
}

fn check_sizes(key: &[u8], value: Option<&Bytes>) -> Result<()> {
    let value_bytes = value.map_or(0, Bytes::len);
    for (what, bytes, limit) in [
        ("key", key.len(), MAX_KEY_BYTES),
        ("value", value_bytes, MAX_VALUE_BYTES),
    ] {
        if bytes > limit {
            return Err(StorageError::TooLarge { what, bytes, limit });
        }
    }
    Ok(())
}
