//! Writing a dump.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use bytes::Bytes;
use pocket_storage::{Direction, Entry, KeyRange, ScanLimit, Snapshot};
use sha2::{Digest as _, Sha256};

use super::index::{index_line, ttl_value};
use super::{COLLECTION, DOCUMENT, DUMP_FORMAT, DumpTotals, END, HEAD, hex, strategy_value};
use crate::expire::Sight;
use crate::index::Index;
use crate::keys::CollectionId;
use crate::stored::{self, CollectionRow, DatabaseHead, StoredDocument};
use crate::{
    CollectionName, Database, Document, DocumentId, Error, IndexConfig, Map, Result, Ttl, Value,
    codes, envelope, keys,
};

/// Documents and bytes that are in memory at once.
const CHUNK: usize = 256;
const CHUNK_BYTES: usize = 1024 * 1024;

/// A database on its way into lines of JSON; see [`Database::dump`].
#[derive(Debug)]
pub struct Dump {
    database: Database,
    /// The state that is written; none where the backend cannot keep one.
    snapshot: Option<Box<dyn Snapshot>>,
    one_state: bool,
    head: DatabaseHead,
    /// Collections that were not begun yet.
    collections: VecDeque<(CollectionName, CollectionRow)>,
    /// The indexes of those that have some, in the order they were made.
    indexes: BTreeMap<CollectionId, Vec<IndexConfig>>,
    /// Where the next documents of the collection at work are.
    range: Option<KeyRange>,
    /// How it is read, if a part of it could not be read.
    around: Option<Around>,
    /// Its number.
    collection: CollectionId,
    /// Which of its documents are not over.
    sight: Sight,
    lines: VecDeque<String>,
    sum: Sha256,
    totals: DumpTotals,
    /// Whether damaged documents are passed over, and how many were.
    skips_damaged: bool,
    damaged: u64,
    /// Parts of collections that the store could not read.
    unread: u64,
    done: bool,
}

/// How the documents around a part are read that the store cannot read: forward up to it, then backward from the end up to
/// it, to learn where to go on, and forward from there.
#[derive(Clone, Debug)]
struct Around {
    /// Entries asked for at once: fewer each time that they cannot be read.
    entries: usize,
    stage: Stage,
}

#[derive(Clone, Debug)]
enum Stage {
    Before,
    /// What is left of the range as it was read forward, and the lowest key that was read from its end.
    Finding(KeyRange, Option<Vec<u8>>),
    Behind,
}

impl Database {
    /// Begins a dump: the collections with their settings and every document, as lines of JSON that any later version
    /// reads. Memory stays bounded. Where the backend has snapshots all of it is one state, that of this moment, and
    /// writes go on; elsewhere it is what is found on the way, and the first line says so.
    ///
    /// # Errors
    /// `corrupt`, and what the store says.
    pub async fn dump(&self) -> Result<Dump> {
        Dump::begin(self, false).await
    }

    /// As [`dump`](Self::dump), for a caller that keeps everybody from writing until the dump is done: then it is one
    /// state on every backend.
    ///
    /// # Errors
    /// As [`dump`](Self::dump).
    pub async fn dump_still(&self) -> Result<Dump> {
        Dump::begin(self, true).await
    }
}

impl Dump {
    async fn begin(database: &Database, still: bool) -> Result<Self> {
        let snapshot = database.core().storage.snapshot().await?;
        let mut dump = Self {
            database: database.clone(),
            one_state: still || snapshot.is_some(),
            snapshot,
            head: database.head().clone(),
            collections: VecDeque::new(),
            range: None,
            indexes: BTreeMap::new(),
            collection: CollectionId(0),
            sight: Sight::all(),
            lines: VecDeque::new(),
            sum: Sha256::new(),
            totals: DumpTotals::default(),
            skips_damaged: false,
            around: None,
            damaged: 0,
            unread: 0,
            done: false,
        };
        let head = dump.scan(KeyRange::prefix(keys::DATABASE)).await?;
        if let Some((key, value)) = head.first() {
            dump.head = stored::decode(&envelope::open(key, value)?)?;
        }
        for (key, value) in dump.all(keys::collections()).await? {
            let row: CollectionRow = stored::decode(&envelope::open(&key, &value)?)?;
            let name = std::str::from_utf8(&key[1..]).map_err(stored::damaged)?;
            if !row.dropped {
                let name = CollectionName::new(name)?;
                dump.collections.push_back((name, row));
            }
        }
        for (key, value) in dump.all(keys::indexes()).await? {
            let index = Index::of_entry(&key, &value)?;
            if index.is_live() && !index.is_hidden() {
                let indexes = dump.indexes.entry(index.collection).or_default();
                indexes.push(index.config);
            }
        }
        let head = [
            (HEAD, Value::from(DUMP_FORMAT)),
            ("database", Value::from(dump.head.name.as_str())),
            ("schema_version", Value::from(dump.head.schema_version)),
            ("one_state", Value::from(dump.one_state)),
        ];
        dump.push(head.into_iter().collect())?;
        Ok(dump)
    }

    /// Passes over damaged documents, which otherwise end the dump with `corrupt`: what can be saved of a database is in it
    /// then. [`damaged`](Self::damaged) says how many there were.
    #[must_use]
    pub fn skip_damaged(mut self) -> Self {
        self.skips_damaged = true;
        self
    }

    /// Leaves all other collections out; without this one there is none in it.
    #[must_use]
    pub fn only(mut self, collection: &str) -> Self {
        self.collections
            .retain(|(name, _)| name.as_str() == collection);
        self
    }

    /// Damaged documents that were passed over so far.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Parts of collections that the store could not read and that were passed over so far, each of who knows how many
    /// documents: the file itself is damaged.
    pub fn unread(&self) -> u64 {
        self.unread
    }

    /// Whether all of it is one state.
    pub fn is_one_state(&self) -> bool {
        self.one_state
    }

    /// What was written so far; behind the last line, all.
    pub fn totals(&self) -> DumpTotals {
        self.totals
    }

    /// The next line, without its end; none behind the last one. Each is to be written with one `\n` behind it: the
    /// sum in the last line counts them.
    ///
    /// # Errors
    /// `corrupt` when a stored document is damaged, and what the store says. Nothing follows.
    pub async fn next_line(&mut self) -> Result<Option<String>> {
        while self.lines.is_empty() && !self.done {
            if let Err(error) = self.read().await {
                self.done = true;
                return Err(error);
            }
        }
        Ok(self.lines.pop_front())
    }

    /// Makes the next lines.
    async fn read(&mut self) -> Result<()> {
        let Some(range) = self.range.take() else {
            return self.begin_collection();
        };
        let around = self.around.take().unwrap_or(Around::BEFORE);
        let limit = ScanLimit::entries(around.entries).bytes(CHUNK_BYTES);
        let direction = match around.stage {
            Stage::Finding(..) => Direction::Backward,
            Stage::Before | Stage::Behind => Direction::Forward,
        };
        let entries = match self.scan_in(range.clone(), limit, direction).await {
            Err(error) if self.skips_damaged && is_of_the_file(&error) => {
                self.pass_around(range, around);
                return Ok(());
            }
            entries => entries?,
        };
        if let Stage::Finding(left, lowest) = around.stage {
            match entries.last() {
                Some((last, _)) => {
                    self.range = Some(range.before(last.clone()));
                    self.around = Some(Around {
                        entries: around.entries,
                        stage: Stage::Finding(left, Some(last.clone())),
                    });
                }
                None => self.go_on_behind(left, lowest),
            }
            return Ok(());
        }
        self.around = Some(around);
        let Some((last, _)) = entries.last() else {
            self.around = None;
            // Behind the documents: whoever loads them builds each index once.
            for index in self.indexes.remove(&self.collection).unwrap_or_default() {
                self.push(index_line(&index)?)?;
            }
            return Ok(());
        };
        self.range = Some(range.after(last.clone()));
        for (key, value) in &entries {
            match self.document(key, value) {
                Ok(None) => {}
                Ok(Some(document)) => {
                    self.totals.documents += 1;
                    self.push(Map::from_iter([(DOCUMENT, Value::Map(document))]))?;
                }
                Err(error) if self.skips_damaged && error.code() == codes::CORRUPT => {
                    self.damaged += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What is left of a range could not be read: a smaller piece of it is tried, then its other end. Between what could
    /// be read from either end the rest is passed over.
    fn pass_around(&mut self, range: KeyRange, around: Around) {
        if around.entries > 1 {
            self.range = Some(range);
            self.around = Some(Around {
                entries: around.entries / 4,
                ..around
            });
            return;
        }
        match around.stage {
            Stage::Before => {
                self.unread += 1;
                self.range = Some(range.clone());
                self.around = Some(Around {
                    entries: CHUNK,
                    stage: Stage::Finding(range, None),
                });
            }
            Stage::Finding(left, lowest) => self.go_on_behind(left, lowest),
            // It could be read a moment ago.
            Stage::Behind => self.go_on_behind(range, None),
        }
    }

    /// Reads on from the lowest key that was found behind what cannot be read; without one, nothing is left.
    fn go_on_behind(&mut self, left: KeyRange, lowest: Option<Vec<u8>>) {
        let range = match lowest {
            Some(lowest) => KeyRange {
                start: Bound::Included(lowest),
                ..left
            },
            None => KeyRange {
                start: Bound::Excluded(Vec::new()),
                end: Bound::Excluded(Vec::new()),
            },
        };
        self.range = Some(range);
        self.around = Some(Around {
            entries: CHUNK,
            stage: Stage::Behind,
        });
    }

    /// A document, if its entry is of one that is there.
    fn document(&self, key: &[u8], value: &Bytes) -> Result<Option<Map>> {
        let core = self.database.core();
        let stored = StoredDocument::decode(&core.open(key, value)?)?;
        if !stored.is_live() {
            return Ok(None);
        }
        let id = keys::document_id(key)
            .ok_or_else(|| stored::damaged("a document's key is too short"))?;
        let document = Document::of_stored(DocumentId::new(id)?, stored);
        let document = self.sight.visible(document)?;
        document.map(|document| document.to_map()).transpose()
    }

    fn begin_collection(&mut self) -> Result<()> {
        if let Some((name, row)) = self.collections.pop_front() {
            self.range = Some(keys::documents(row.id()));
            self.totals.collections += 1;
            self.collection = row.id();
            let ttl = row.later.ttl.as_ref().map(Ttl::of_row);
            self.sight = Sight::new(ttl.as_ref(), self.database.core().time())?;
            let line = [
                (COLLECTION, Value::from(name.as_str())),
                ("sync", Value::from(row.sync)),
                ("conflict_strategy", strategy_value(row.strategy)),
            ];
            let ttl = ttl.map(|ttl| ("ttl", ttl_value(&ttl)));
            return self.push(line.into_iter().chain(ttl).collect());
        }
        self.done = true;
        let sum = hex(&self.sum.clone().finalize());
        let line = [
            (END, Value::from(true)),
            ("collections", Value::from(self.totals.collections)),
            ("documents", Value::from(self.totals.documents)),
            ("sha256", Value::from(sum)),
        ];
        self.push(line.into_iter().collect())
    }

    fn push(&mut self, line: Map) -> Result<()> {
        let line = Value::Map(line).to_json_string();
        let line = line.map_err(|error| Error::new(codes::CORRUPT, error))?;
        self.sum.update(line.as_bytes());
        self.sum.update(b"\n");
        self.lines.push_back(line);
        Ok(())
    }

    /// All entries of a range of which there are few.
    async fn all(&self, range: KeyRange) -> Result<Vec<Entry>> {
        let (mut all, mut range) = (Vec::new(), range);
        loop {
            let entries = self.scan(range.clone()).await?;
            let Some((last, _)) = entries.last() else {
                return Ok(all);
            };
            range = range.after(last.clone());
            all.extend(entries);
        }
    }

    async fn scan(&self, range: KeyRange) -> Result<Vec<Entry>> {
        let limit = ScanLimit::entries(CHUNK).bytes(CHUNK_BYTES);
        self.scan_in(range, limit, Direction::Forward).await
    }

    async fn scan_in(
        &self,
        range: KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> Result<Vec<Entry>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let entries = if let Some(snapshot) = &self.snapshot {
            snapshot.scan(range, limit, direction).await
        } else {
            let storage = &self.database.core().storage;
            storage.scan(range, limit, direction).await
        };
        Ok(entries?)
    }
}

impl Around {
    const BEFORE: Self = Self {
        entries: CHUNK,
        stage: Stage::Before,
    };
}

/// Whether what the store keeps its values in is damaged, and not a value.
fn is_of_the_file(error: &Error) -> bool {
    error.code() == codes::CORRUPT && error.storage().is_some()
}
