//! What the store must hold, so that damage which sled does not see is found.
//!
//! sled takes a log that ends early for one that was never written, and may pass over a damaged part of it. So
//! each commit stores how many commits there were, how many entries there are, and the sum of their hashes;
//! and a small file beside the log remembers a number of commits that were synced at some time. A log that
//! knows of fewer was cut; entries that do not give the sum were lost.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use pocket_storage::blocking::sync_directory;
use pocket_storage::{Result, StorageError};

/// The sums that each commit stores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) commits: u64,
    entries: u64,
    hashes: u64,
}

impl Sums {
    pub(crate) fn add(&mut self, hash: u64) {
        self.entries = self.entries.wrapping_add(1);
        self.hashes = self.hashes.wrapping_add(hash);
    }

    pub(crate) fn remove(&mut self, hash: u64) {
        self.entries = self.entries.wrapping_sub(1);
        self.hashes = self.hashes.wrapping_sub(hash);
    }

    pub(crate) fn same_entries(&self, other: &Self) -> bool {
        (self.entries, self.hashes) == (other.entries, other.hashes)
    }

    pub(crate) fn encode(&self) -> [u8; 24] {
        let mut bytes = [0; 24];
        for (chunk, number) in
            bytes
                .chunks_exact_mut(8)
                .zip([self.commits, self.entries, self.hashes])
        {
            chunk.copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (commits, rest) = bytes.split_first_chunk::<8>()?;
        let (entries, rest) = rest.split_first_chunk::<8>()?;
        Some(Self {
            commits: u64::from_be_bytes(*commits),
            entries: u64::from_be_bytes(*entries),
            hashes: u64::from_be_bytes(rest.try_into().ok()?),
        })
    }
}

/// A hash of an entry. Each step can be undone, so a change of one word always shows.
pub(crate) fn hash(key: &[u8], value: &[u8]) -> u64 {
    [key, value].iter().fold(0, |hash, bytes| {
        let length = mix(hash, bytes.len() as u64);
        bytes.chunks(8).fold(length, |hash, chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            mix(hash, u64::from_le_bytes(word))
        })
    })
}

fn mix(hash: u64, word: u64) -> u64 {
    let mixed = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 32)
}

/// The file beside the log.
pub(crate) struct Witness {
    directory: PathBuf,
    /// The number of commits at which the file is written again: after 1, 2, 4, 8… since the store was opened.
    next: u64,
    opened_at: u64,
}

impl Witness {
    /// Writes the file of a store that is made.
    pub(crate) fn create(directory: &Path) -> io::Result<()> {
        write(directory, 0)
    }

    /// Compares the file with the log.
    pub(crate) fn check(directory: &Path, commits: u64) -> Result<Self> {
        let path = directory.join(NAME);
        let text = fs::read_to_string(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::InvalidData => missing(&path),
            _ => StorageError::Backend(format!("cannot read {}: {error}", path.display())),
        })?;
        let at_least: u64 = text.trim().parse().map_err(|_| missing(&path))?;
        if commits < at_least {
            return Err(StorageError::Corrupt(format!(
                "the log was cut: it knows of {commits} commits, {at_least} were synced"
            )));
        }
        Ok(Self {
            directory: directory.to_owned(),
            next: commits + 1,
            opened_at: commits,
        })
    }

    /// Called after a commit was synced.
    pub(crate) fn synced(&mut self, commits: u64) -> io::Result<()> {
        if commits < self.next {
            return Ok(());
        }
        self.next = commits + (commits - self.opened_at);
        write(&self.directory, commits)
    }

    /// Writes what was synced, whatever it is.
    pub(crate) fn note(&self, commits: u64) -> io::Result<()> {
        write(&self.directory, commits)
    }
}

const NAME: &str = "pocket.commits";

fn write(directory: &Path, commits: u64) -> io::Result<()> {
    let unfinished = directory.join("pocket.commits.new");
    let mut file = File::create(&unfinished)?;
    writeln!(file, "{commits}")?;
    file.sync_all()?;
    fs::rename(unfinished, directory.join(NAME))?;
    sync_directory(directory)
}

fn missing(path: &Path) -> StorageError {
    StorageError::Corrupt(format!("{} is missing or damaged", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_come_back_as_they_were_stored_and_forget_what_was_removed() {
        let mut sums = Sums {
            commits: 7,
            ..Sums::default()
        };
        sums.add(hash(b"a", b"1"));
        let one = sums;
        sums.add(hash(b"b", b"2"));
        sums.remove(hash(b"b", b"2"));
        assert_eq!(sums, one);
        assert_eq!(Sums::decode(&sums.encode()), Some(sums));
        assert_eq!(Sums::decode(&sums.encode()[..23]), None);
    }

    #[test]
    fn a_flipped_bit_and_a_moved_border_change_the_hash() {
        let whole = b"some value that is longer than two words";
        let expected = hash(b"key", whole);
        for position in 0..whole.len() * 8 {
            let mut flipped = *whole;
            flipped[position / 8] ^= 1 << (position % 8);
            assert_ne!(hash(b"key", &flipped), expected);
        }
        assert_ne!(hash(b"ab", b"c"), hash(b"a", b"bc"));
        assert_ne!(hash(b"a", b"\0"), hash(b"a", b""));
    }
}
