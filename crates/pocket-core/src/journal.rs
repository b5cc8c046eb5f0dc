//! The journal: every local change that met a conflict or was refused, whoever won, with all versions in full.

mod act;
mod explain;

use pocket_storage::{BoxFuture, Direction, ScanLimit};
use serde::{Deserialize, Serialize};

use crate::index::Index;
use crate::keys::{self, BodyOf, CollectionId, Target};
use crate::outbox::{self, Entry, PendingChange};
use crate::stored::{
    self, ChangeLater, ChangeRow, JournalRow, Later, Presence, ServerVersion, StoredKind,
};
use crate::tx::Tx;
use crate::{
    Body, CollectionName, Database, DocumentId, Error, Result, Revision, Seq, Timestamp, codes,
    envelope,
};

pub use explain::{DecidedBy, Explanation};

/// Why an entry was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum JournalKind {
    /// A local change and the server's version disagreed.
    Conflict,
    /// The server refused a local change.
    Refusal,
    /// What sync brought has the same values in a unique index as another document. Both documents stay as they are.
    UniqueViolation,
}

impl JournalKind {
    /// As it is stored.
    fn number(self) -> u8 {
        match self {
            Self::Conflict => 0,
            Self::Refusal => 1,
            Self::UniqueViolation => 2,
        }
    }

    fn of_number(number: u8) -> Self {
        match number {
            0 => Self::Conflict,
            2 => Self::UniqueViolation,
            _ => Self::Refusal,
        }
    }
}

/// Which version stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Winner {
    /// The local one: it was sent again.
    Local,
    /// The server's.
    Remote,
    /// Something made of both.
    Merged,
    /// Each of the documents: an entry about a unique index has no loser.
    Both,
}

impl Winner {
    /// As it is stored.
    fn number(self) -> u8 {
        match self {
            Self::Local => 0,
            Self::Remote => 1,
            Self::Merged => 2,
            Self::Both => 3,
        }
    }
}

/// What was done about an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum JournalState {
    /// Nothing yet.
    Open,
    /// The loser was written again.
    Restored,
    /// Somebody looked and left it.
    Dismissed,
}

/// One version of a document in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JournalVersion {
    /// Which version.
    pub rev: Option<Revision>,
    /// Its place in the server's feed, where it has one.
    pub seq: Option<Seq>,
    /// Its body; none when it is a tombstone or was erased, and in entries about a unique index.
    pub body: Option<Body>,
}

/// One document of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JournalDocument {
    /// Its collection.
    pub collection: CollectionName,
    /// Its id.
    pub id: DocumentId,
    /// What both versions were made of; none when there was nothing.
    pub base: Option<JournalVersion>,
    /// What was written here; of a unique violation the version that is stored, whose body is that of the document.
    pub local: JournalVersion,
    /// What the server has; none when it has nothing or did not tell.
    pub remote: Option<JournalVersion>,
    /// The document was erased for good, and with it the bodies that stood here.
    pub erased: bool,
}

/// One local change that met a conflict or was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JournalEntry {
    /// Its number, rising.
    pub number: u64,
    /// Why it was made.
    pub kind: JournalKind,
    /// When.
    pub time: Timestamp,
    /// The documents of the change.
    pub documents: Vec<JournalDocument>,
    /// Which version stands.
    pub winner: Winner,
    /// The rule that decided.
    pub rule: String,
    /// The code of a refusal, or of a rule of the application that failed.
    pub code: Option<String>,
    /// What the server said of a refusal, or the application of its decision.
    pub reason: Option<String>,
    /// What was done about it.
    pub state: JournalState,
}

/// Which entries of the journal are meant; all unless something is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JournalFilter {
    /// Only those in this state.
    pub state: Option<JournalState>,
    /// Only those of this kind.
    pub kind: Option<JournalKind>,
    /// Only those with a document of this collection.
    pub collection: Option<CollectionName>,
}

impl JournalFilter {
    /// Those that nobody has looked after.
    pub fn open() -> Self {
        Self {
            state: Some(JournalState::Open),
            ..Self::default()
        }
    }

    /// Only those of this kind.
    #[must_use]
    pub fn kind(mut self, kind: JournalKind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Only those with a document of this collection.
    #[must_use]
    pub fn collection(mut self, name: CollectionName) -> Self {
        self.collection = Some(name);
        self
    }

    fn fits(&self, entry: &JournalEntry) -> bool {
        let of = |name: &CollectionName| {
            let mut documents = entry.documents.iter();
            documents.any(|document| document.collection == *name)
        };
        self.state.is_none_or(|state| state == entry.state)
            && self.kind.is_none_or(|kind| kind == entry.kind)
            && self.collection.as_ref().is_none_or(of)
    }
}

/// Entries of the journal read at once while looking for some.
const PAGE: usize = 256;

/// The journal of a database: what conflicts and refusals left, to be looked at and acted upon.
#[derive(Clone, Debug)]
pub struct Journal {
    database: Database,
}

impl Journal {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    /// Entries behind the one numbered `after`, the oldest first, at most `limit`.
    ///
    /// # Errors
    /// `corrupt`, and what the store says.
    pub async fn list(&self, after: Option<u64>, limit: usize) -> Result<Vec<JournalEntry>> {
        let storage = &self.database.core().storage;
        let mut range = keys::journal_after(after);
        let mut entries = Vec::new();
        while entries.len() < limit {
            // A page has an end in bytes as well.
            let page = ScanLimit::entries(limit - entries.len());
            let rows = storage
                .scan(range.clone(), page, Direction::Forward)
                .await?;
            let is_last = !page.is_reached_by(&rows);
            for (key, value) in rows {
                let row: JournalRow = stored::decode(&envelope::open(&key, &value)?)?;
                let number = keys::trailing_number(&key)
                    .ok_or_else(|| stored::damaged("a journal key is too short"))?;
                entries.push(self.entry(number, row).await?);
                range = range.after(key);
            }
            if is_last {
                break;
            }
        }
        Ok(entries)
    }

    /// As [`list`](Self::list), with only the entries that `filter` lets through.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub async fn list_matching(
        &self,
        filter: &JournalFilter,
        mut after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<JournalEntry>> {
        let mut found = Vec::new();
        while found.len() < limit {
            let entries = self.list(after, PAGE).await?;
            let Some(last) = entries.last() else { break };
            after = Some(last.number);
            let fitting = entries.into_iter().filter(|entry| filter.fits(entry));
            found.extend(fitting.take(limit - found.len()));
        }
        Ok(found)
    }

    /// The number of the last entry; 0 before the first.
    pub fn last_number(&self) -> u64 {
        let state = self.database.core().state();
        state.map_or(0, |state| state.last_journal)
    }

    /// One entry.
    ///
    /// # Errors
    /// `journal-entry-not-found`, `corrupt`, and what the store says.
    pub async fn get(&self, number: u64) -> Result<JournalEntry> {
        let key = keys::journal(number);
        let value = self.database.core().storage.get(&key).await?;
        let value = value.ok_or_else(|| not_found(number))?;
        let row = stored::decode(&envelope::open(&key, &value)?)?;
        self.entry(number, row).await
    }

    /// Boxed, so that whoever lists entries has no copy of it.
    #[inline(never)]
    fn entry(&self, number: u64, row: JournalRow) -> BoxFuture<'_, Result<JournalEntry>> {
        Box::pin(self.entry_unboxed(number, row))
    }

    async fn entry_unboxed(&self, number: u64, row: JournalRow) -> Result<JournalEntry> {
        let registry = self.database.core().registry();
        let kind = JournalKind::of_number(row.kind);
        let mut documents = Vec::with_capacity(row.changes.len());
        for ((index, change), remote) in (0..).zip(&row.changes).zip(&row.remote) {
            let local_body = match change.kind {
                StoredKind::Put if kind != JournalKind::UniqueViolation => {
                    self.body(number, index, BodyOf::Local).await?
                }
                _ => None,
            };
            let base_body = if change.has_base_body {
                self.body(number, index, BodyOf::Base).await?
            } else {
                None
            };
            let erased = match change.kind {
                StoredKind::Put => local_body.is_none() && kind != JournalKind::UniqueViolation,
                StoredKind::Delete => change.has_base_body && base_body.is_none(),
                StoredKind::Erase => true,
            };
            let base = change.base.map(|rev| JournalVersion {
                rev: Some(rev),
                seq: None,
                body: base_body,
            });
            let remote = match remote {
                Some(version) => {
                    let live = version.presence == Presence::Live;
                    let body = if live {
                        self.body(number, index, BodyOf::Remote).await?
                    } else {
                        None
                    };
                    Some(JournalVersion {
                        rev: Some(version.rev),
                        seq: Some(version.seq),
                        body,
                    })
                }
                None => None,
            };
            documents.push(JournalDocument {
                collection: registry.name(CollectionId(change.collection))?,
                id: change.id.clone(),
                base,
                local: JournalVersion {
                    rev: Some(change.rev),
                    seq: None,
                    body: local_body,
                },
                remote,
                erased,
            });
        }
        Ok(JournalEntry {
            number,
            kind,
            time: Timestamp::from_millis(row.time),
            documents,
            winner: match row.winner {
                0 => Winner::Local,
                1 => Winner::Remote,
                3 => Winner::Both,
                _ => Winner::Merged,
            },
            rule: row.rule,
            code: row.code,
            reason: row.reason,
            state: match row.state {
                0 => JournalState::Open,
                1 => JournalState::Restored,
                _ => JournalState::Dismissed,
            },
        })
    }

    async fn body(&self, number: u64, index: u32, which: BodyOf) -> Result<Option<Body>> {
        let key = keys::journal_body(number, index, which);
        let value = self.database.core().storage.get(&key).await?;
        value
            .map(|value| envelope::open(&key, &value).map(Body::from_trusted))
            .transpose()
    }
}

fn not_found(number: u64) -> Error {
    Error::new(
        codes::JOURNAL_ENTRY_NOT_FOUND,
        format!("the journal has no entry {number}; list it to see the numbers"),
    )
}

/// The server's version of a document of an entry.
#[derive(Clone, Debug)]
pub(crate) struct RemoteVersion {
    pub(crate) version: ServerVersion,
    pub(crate) body: Option<Body>,
}

/// What is written into the journal.
pub(crate) struct Note<'a> {
    pub(crate) kind: JournalKind,
    pub(crate) target: Target,
    pub(crate) entry: &'a Entry,
    pub(crate) remote: Vec<Option<RemoteVersion>>,
    pub(crate) winner: Winner,
    pub(crate) rule: &'a str,
    pub(crate) code: Option<String>,
    pub(crate) reason: Option<String>,
}

/// Writes an entry; it is part of the commit that settles the change.
pub(crate) fn write(tx: &mut Tx, note: Note<'_>) -> u64 {
    let number = next_number(tx);
    let changes: Vec<ChangeRow> = note.entry.changes.iter().map(PendingChange::row).collect();
    for ((index, change), remote) in (0..).zip(&note.entry.changes).zip(&note.remote) {
        let erases = matches!(change.kind, crate::ChangeKind::Erase);
        let erased = |remote: &RemoteVersion| remote.version.presence == Presence::Erased;
        if erases || remote.as_ref().is_some_and(erased) {
            // What was erased is kept nowhere, not even here.
            continue;
        }
        let remote = remote.as_ref().and_then(|remote| remote.body.as_ref());
        let bodies = [
            (BodyOf::Local, change.kind.body()),
            (BodyOf::Base, change.base_body.as_ref()),
            (BodyOf::Remote, remote),
        ];
        for (which, body) in bodies {
            if let Some(body) = body {
                tx.put(keys::journal_body(number, index, which), &[body.as_bytes()]);
            }
        }
    }
    let row = JournalRow {
        kind: note.kind.number(),
        time: tx.now().millis(),
        target: note.target.number(),
        changes,
        remote: note
            .remote
            .iter()
            .map(|remote| remote.as_ref().map(|remote| remote.version))
            .collect(),
        winner: note.winner.number(),
        rule: note.rule.to_owned(),
        code: note.code,
        reason: note.reason,
        state: 0,
        later: Later,
    };
    tx.put(keys::journal(number), &[&stored::encode(&row)]);
    number
}

/// Writes down that these documents have the same values in a unique index, since sync brought one of them. Their
/// bodies stay where they are: nothing was lost.
pub(crate) async fn write_violation(
    tx: &mut Tx,
    index: &Index,
    documents: &[DocumentId],
) -> Result<u64> {
    let mut changes = Vec::with_capacity(documents.len());
    for id in documents {
        let document = outbox::load_document(tx, index.collection, id).await?;
        let document = document.ok_or_else(|| stored::damaged("an entry of no document"))?;
        changes.push(ChangeRow {
            collection: index.collection.0,
            id: id.clone(),
            kind: StoredKind::Put,
            rev: document.head.rev,
            base: None,
            has_base_body: false,
            later: ChangeLater::default(),
        });
    }
    let number = next_number(tx);
    let row = JournalRow {
        kind: JournalKind::UniqueViolation.number(),
        time: tx.now().millis(),
        target: Target::DEFAULT.number(),
        remote: vec![None; changes.len()],
        changes,
        winner: Winner::Both.number(),
        rule: UNIQUE_INDEX.to_owned(),
        code: Some(codes::INDEX_UNIQUE_VIOLATION.to_owned()),
        reason: Some(format!(
            "the index {:?} is unique, and the documents have the same {}",
            index.name(),
            index.field_names()
        )),
        state: 0,
        later: Later,
    };
    tx.put(keys::journal(number), &[&stored::encode(&row)]);
    Ok(number)
}

/// The rule that kept two documents of a unique index.
const UNIQUE_INDEX: &str = "unique-index";

fn next_number(tx: &mut Tx) -> u64 {
    tx.state().last_journal += 1;
    tx.state().open_journal += 1;
    tx.state().last_journal
}
