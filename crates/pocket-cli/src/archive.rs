//! The file that `pocket backup` writes and `pocket restore` reads: every entry of a store, whichever its backend.
//!
//! ```text
//! POCKET-BACKUP 1\n
//! {"role":"server","storage":"redb","made":"2026-01-31T12:00:00Z"}\n
//! E [bytes of the key: u32][bytes of the value: u32] key value      (again and again, keys ascending)
//! . [number of entries: u64][SHA-256 of everything before the dot: 32 bytes]
//! ```
//!
//! Numbers are little endian. Nothing follows. The second line is one JSON object; a reader leaves alone fields that it
//! does not know.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Seek, Write};

use bytes::Bytes;
use pocket_core::storage::{
    Batch, Direction, Durability, Entry, KeyRange, MAX_KEY_BYTES, MAX_VALUE_BYTES, ScanLimit,
    Snapshot, Storage, StorageError,
};
use pocket_core::{Sums, Value, codes as core_codes};
use sha2::{Digest, Sha256};

use crate::args::StorageKind;
use crate::directory::Role;
use crate::failure::{Failure, Result};
use crate::output::{json, object};

/// The first line without its number.
const MAGIC: &str = "POCKET-BACKUP ";

/// The version of the form.
const FORMAT: &str = "1";

/// The longest line of the head.
const LINE: u64 = 4096;

/// Entries and bytes that are moved at once.
const ENTRIES: usize = 1_000;
const BYTES: usize = 1024 * 1024;

/// What is said about a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) role: Role,
    pub(crate) storage: StorageKind,
    /// When the backup was made, RFC 3339.
    pub(crate) made: String,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) entries: u64,
    /// Bytes of keys and values.
    pub(crate) bytes: u64,
    /// Values whose sums fail.
    pub(crate) damaged: u64,
}

/// What becomes of values whose sums fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damaged {
    /// They end the copy.
    Refused,
    /// They are copied as they are.
    Copied,
}

/// Looks at the sum of an entry.
pub(crate) fn check_sum(
    sums: &mut Sums,
    damaged: Damaged,
    key: &[u8],
    value: &Bytes,
) -> Result<u64> {
    match sums.check(key, value) {
        Err(error) if damaged == Damaged::Copied && error.code() == core_codes::CORRUPT => Ok(1),
        checked => Ok(checked.map(|()| 0)?),
    }
}

/// One state of a store.
#[derive(Clone, Copy, Debug)]
pub(crate) enum State<'a> {
    /// That of a store to which nobody writes meanwhile.
    Still(&'a dyn Storage),
    /// That of a store which goes on.
    Taken(&'a dyn Snapshot),
}

impl State<'_> {
    async fn scan(&self, range: KeyRange) -> Result<Vec<Entry>, StorageError> {
        let (limit, forward) = (ScanLimit::entries(ENTRIES).bytes(BYTES), Direction::Forward);
        match self {
            Self::Still(storage) => storage.scan(range, limit, forward).await,
            Self::Taken(snapshot) => snapshot.scan(range, limit, forward).await,
        }
    }
}

/// Writes every entry of a state.
///
/// # Errors
/// `corrupt` for a damaged value that is refused, `io`, and what the store says.
pub(crate) async fn write(
    state: State<'_>,
    about: &About,
    to: impl Write,
    damaged: Damaged,
) -> Result<Totals> {
    let failed = |error: &io::Error| match error.kind() {
        ErrorKind::BrokenPipe => Failure::silent(1),
        _ => Failure::io("cannot write the backup", error),
    };
    let mut to = Hashed {
        inner: BufWriter::with_capacity(256 * 1024, to),
        sum: Sha256::new(),
    };
    let head = json(&object([
        ("role", Value::from(about.role.name())),
        ("storage", Value::from(about.storage.name())),
        ("made", Value::from(about.made.as_str())),
    ]));
    write!(to, "{MAGIC}{FORMAT}\n{head}\n").map_err(|error| failed(&error))?;
    let mut totals = Totals::default();
    let mut sums = Sums::new();
    let mut range = KeyRange::all();
    loop {
        let entries = state.scan(range.clone()).await?;
        let Some((last, _)) = entries.last() else {
            break;
        };
        range = range.after(last.clone());
        for (key, value) in &entries {
            totals.damaged += check_sum(&mut sums, damaged, key, value)?;
            entry(&mut to, key, value).map_err(|error| failed(&error))?;
            totals.entries += 1;
            totals.bytes += (key.len() + value.len()) as u64;
        }
    }
    let sum: [u8; 32] = to.sum.finalize().into();
    let mut out = to.inner;
    out.write_all(b".")
        .and_then(|()| out.write_all(&totals.entries.to_le_bytes()))
        .and_then(|()| out.write_all(&sum))
        .and_then(|()| out.flush())
        .map_err(|error| failed(&error))?;
    Ok(totals)
}

fn entry(to: &mut impl Write, key: &[u8], value: &[u8]) -> io::Result<()> {
    let length = |bytes: &[u8]| {
        let length = u32::try_from(bytes.len()).map_err(|_| ErrorKind::InvalidInput)?;
        Ok::<_, io::Error>(length.to_le_bytes())
    };
    to.write_all(b"E")?;
    to.write_all(&length(key)?)?;
    to.write_all(&length(value)?)?;
    to.write_all(key)?;
    to.write_all(value)
}

struct Hashed<T> {
    inner: T,
    sum: Sha256,
}

impl<T: Write> Write for Hashed<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.sum.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Hashed<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.sum.update(&buffer[..read]);
        Ok(read)
    }
}

/// A backup that was read to its end once, and found whole.
#[derive(Debug)]
pub(crate) struct Archive {
    file: File,
    name: String,
    pub(crate) about: About,
    pub(crate) totals: Totals,
}

impl Archive {
    /// Reads a whole backup and checks it.
    ///
    /// # Errors
    /// `corrupt` when it is cut, damaged or something else; `newer-format`; `io`.
    pub(crate) fn check(file: File, name: &str) -> Result<Self> {
        let mut totals = Totals::default();
        let mut reader = Reader::open(&file, name)?;
        let mut sums = Sums::new();
        while let Some((key, value)) = reader.next()? {
            totals.damaged += check_sum(&mut sums, Damaged::Copied, &key, &value)?;
            totals.entries += 1;
            totals.bytes += (key.len() + value.len()) as u64;
        }
        let about = reader.about.clone();
        Ok(Self {
            file,
            name: name.to_owned(),
            about,
            totals,
        })
    }

    /// Puts every entry into `storage`, which is empty.
    pub(crate) async fn restore(&self, storage: &dyn Storage) -> Result {
        let mut reader = Reader::open(&self.file, &self.name)?;
        loop {
            let mut batch = Batch::new();
            while batch.writes().len() < ENTRIES && batch.write_bytes() < BYTES {
                let Some((key, value)) = reader.next()? else {
                    break;
                };
                batch.put(key, value);
            }
            let is_last = batch.is_empty();
            // The last one, empty, makes all others durable.
            let durability = if is_last {
                Durability::PowerLoss
            } else {
                Durability::Relaxed
            };
            storage.commit(batch, durability).await?;
            if is_last {
                return Ok(());
            }
        }
    }
}

struct Reader<'a> {
    from: Hashed<BufReader<&'a File>>,
    name: &'a str,
    about: About,
    entries: u64,
    last: Option<Vec<u8>>,
    ended: bool,
}

impl<'a> Reader<'a> {
    fn open(mut file: &'a File, name: &'a str) -> Result<Self> {
        file.rewind()
            .map_err(|error| Failure::io(format!("cannot read {name}"), &error))?;
        let mut reader = Self {
            from: Hashed {
                inner: BufReader::with_capacity(256 * 1024, file),
                sum: Sha256::new(),
            },
            name,
            about: About {
                role: Role::Client,
                storage: StorageKind::Redb,
                made: String::new(),
            },
            entries: 0,
            last: None,
            ended: false,
        };
        let foreign = || reader_corrupt(name, "is no backup of Pocket");
        let first = reader.line()?;
        let version = first.strip_prefix(MAGIC).ok_or_else(foreign)?;
        if version != FORMAT {
            let is_newer = version.parse().is_ok_and(|version: u32| version > 1);
            return Err(if is_newer {
                Failure::new(
                    core_codes::NEWER_FORMAT,
                    format!(
                        "{name} is a backup of format {version}, this program knows {FORMAT}; use a newer program"
                    ),
                )
            } else {
                foreign()
            });
        }
        let head = Value::from_json_str(&reader.line()?).map_err(|_| foreign())?;
        let field = |name: &str| {
            let map = head.as_map()?;
            map.get(name)?.as_str()
        };
        let role = field("role").and_then(Role::named).ok_or_else(foreign)?;
        let storage = field("storage").and_then(StorageKind::named);
        reader.about = About {
            role,
            storage: storage.ok_or_else(foreign)?,
            made: field("made").ok_or_else(foreign)?.to_owned(),
        };
        Ok(reader)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        let mut byte = [0];
        while line.len() < LINE as usize {
            self.exact(&mut byte)?;
            if byte == *b"\n" {
                let text = String::from_utf8(line);
                return text.map_err(|_| reader_corrupt(self.name, "is no backup of Pocket"));
            }
            line.extend(byte);
        }
        Err(reader_corrupt(self.name, "is no backup of Pocket"))
    }

    fn next(&mut self) -> Result<Option<Entry>> {
        if self.ended {
            return Ok(None);
        }
        let sum: [u8; 32] = self.from.sum.clone().finalize().into();
        let mut kind = [0];
        self.exact(&mut kind)?;
        match kind {
            [b'E'] => {}
            [b'.'] => return self.end(&sum).map(|()| None),
            _ => return Err(reader_corrupt(self.name, "is damaged")),
        }
        let key = self.length(MAX_KEY_BYTES)?;
        let value = self.length(MAX_VALUE_BYTES)?;
        let (key, value) = (self.bytes(key)?, self.bytes(value)?);
        if self.last.as_ref().is_some_and(|last| *last >= key) {
            return Err(reader_corrupt(self.name, "is damaged"));
        }
        self.last = Some(key.clone());
        self.entries += 1;
        Ok(Some((key, value.into())))
    }

    fn end(&mut self, sum: &[u8; 32]) -> Result {
        let (mut entries, mut told) = ([0; 8], [0; 32]);
        self.exact(&mut entries)?;
        self.exact(&mut told)?;
        if u64::from_le_bytes(entries) != self.entries || told != *sum {
            return Err(reader_corrupt(self.name, "is damaged"));
        }
        let more = self.from.read(&mut [0]);
        match more.map_err(|error| Failure::io(format!("cannot read {}", self.name), &error))? {
            0 => {
                self.ended = true;
                Ok(())
            }
            _ => Err(reader_corrupt(self.name, "has something behind its end")),
        }
    }

    fn length(&mut self, limit: usize) -> Result<usize> {
        let mut length = [0; 4];
        self.exact(&mut length)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > limit {
            return Err(reader_corrupt(self.name, "is damaged"));
        }
        Ok(length)
    }

    fn bytes(&mut self, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.exact(&mut bytes)?;
        Ok(bytes)
    }

    fn exact(&mut self, buffer: &mut [u8]) -> Result {
        self.from
            .read_exact(buffer)
            .map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => reader_corrupt(self.name, "ends early"),
                _ => Failure::io(format!("cannot read {}", self.name), &error),
            })
    }
}

fn reader_corrupt(name: &str, what: &str) -> Failure {
    Failure::new(
        core_codes::CORRUPT,
        format!("{name} {what}; use another backup"),
    )
}

#[cfg(test)]
mod tests;
