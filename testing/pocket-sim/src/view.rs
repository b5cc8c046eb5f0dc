//! What a device holds, read from its disk past all faults.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pocket_core::{
    Database, Env, Error, JournalDocument, JournalEntry, JournalKind, JournalVersion, Revision,
    Timestamp, Value, Winner, codes,
};
use pocket_storage::{Direction, KeyRange, ScanLimit, Storage};

use crate::audit::{DocKey, WriteId, doc_key, ids_of};
use crate::expiry::until_of;
use crate::schemas::shape_of;
use crate::tasks::at_once;
use crate::wire::revision;

/// One document as its device shows it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) rev: Revision,
    pub(crate) live: bool,
    pub(crate) ids: Vec<WriteId>,
    /// Until when it says that it lives.
    pub(crate) until: Option<i64>,
    pub(crate) shape: u32,
}

/// A device's store at one moment.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) documents: BTreeMap<DocKey, Seen>,
    pub(crate) pending: u64,
    pub(crate) sequence: u64,
}

/// Reads the documents among `keys` that are there, tombstones too.
pub(crate) fn look<'a>(
    storage: Arc<dyn Storage>,
    keys: impl IntoIterator<Item = &'a DocKey>,
) -> Result<View, Error> {
    let db = open(storage)?;
    let mut documents = BTreeMap::new();
    for key in keys {
        if !db.has_collection(key.collection.as_str()) {
            continue;
        }
        let collection = db.collection::<Value>(key.collection.as_str())?;
        let Some(document) = at_once(collection.get_document(key.id.as_str()))? else {
            continue;
        };
        let seen = Seen {
            rev: document.rev,
            live: document.body.is_some(),
            ids: document.body.as_ref().map(ids_of).unwrap_or_default(),
            until: document.body.as_ref().and_then(until_of),
            shape: document.body.as_ref().map_or(0, shape_of),
        };
        documents.insert(key.clone(), seen);
    }
    let stats = at_once(db.stats())?;
    Ok(View {
        documents,
        pending: stats.pending_changes,
        sequence: stats.sequence.get(),
    })
}

/// What a device holds, in words: its documents, and the entries of its journal.
pub(crate) fn describe(storage: &Arc<dyn Storage>, keys: &[DocKey]) -> Result<Vec<String>, Error> {
    let mut lines = Vec::new();
    for (key, seen) in look(storage.clone(), keys)?.documents {
        let what = if seen.live {
            format!("{:?}", seen.ids)
        } else {
            "deleted".to_owned()
        };
        lines.push(format!("{key} {}: {what}", revision(seen.rev)));
    }
    let told = |version: &JournalVersion| {
        let ids = version.body.as_ref().map(ids_of);
        format!("{:?} {ids:?}", version.rev.map(revision))
    };
    for entry in at_once(open(storage.clone())?.journal().list(None, usize::MAX))? {
        for document in &entry.documents {
            lines.push(format!(
                "journal {} ({}, {:?} stands): {}/{} local {}, remote {}, base {}",
                entry.number,
                entry.rule,
                entry.winner,
                document.collection,
                document.id,
                told(&document.local),
                document.remote.as_ref().map_or_else(String::new, told),
                document.base.as_ref().map_or_else(String::new, told),
            ));
        }
    }
    Ok(lines)
}

/// All values of a store, one behind the other.
pub(crate) fn everything(storage: &Arc<dyn Storage>) -> Vec<u8> {
    let limit = ScanLimit::entries(usize::MAX).bytes(usize::MAX);
    let entries = at_once(storage.scan(KeyRange::all(), limit, Direction::Forward));
    let entries = entries.expect("a disk in memory can be read past all faults");
    entries.into_iter().flat_map(|(_, value)| value).collect()
}

/// What the schema of a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    Version(u32),
    /// A migration is half done.
    HalfDone,
}

/// The schema of a store that was made.
pub(crate) fn stored(storage: Arc<dyn Storage>) -> Stored {
    match open(storage) {
        Ok(db) => Stored::Version(db.schema_version()),
        Err(error) if error.code() == codes::MIGRATION => Stored::HalfDone,
        Err(error) => panic!("a store cannot be read: {error:?}"),
    }
}

/// By a clock at whose time nothing is over yet, so all that is stored is seen.
#[derive(Debug)]
struct Beginning;

impl Env for Beginning {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(0)
    }

    fn random(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

fn open(storage: Arc<dyn Storage>) -> Result<Database, Error> {
    let builder = Database::builder("look").env(Beginning);
    at_once(builder.any_schema_version().open_shared(storage))
}

/// What a device's journal holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct JournalView {
    pub(crate) entries: usize,
    /// Which rules decided.
    pub(crate) rules: Vec<String>,
    /// Local writes that lost, won or were refused.
    pub(crate) local: BTreeSet<WriteId>,
    /// Local tombstones in it.
    pub(crate) local_tombstones: BTreeSet<(DocKey, Revision)>,
    /// Writes of others that stood in the way.
    pub(crate) remote: BTreeSet<WriteId>,
    pub(crate) remote_tombstones: BTreeSet<(DocKey, Revision)>,
    /// Documents of entries that lost their bodies to an erase.
    pub(crate) erased: BTreeSet<DocKey>,
    /// Documents of which a local version was decided to stand, with the version it stands on.
    pub(crate) kept: BTreeSet<(DocKey, Option<Revision>)>,
    /// Documents of entries whose local version holds no more than the one it was made on, with the rule.
    pub(crate) workless: Vec<(DocKey, String)>,
}

pub(crate) fn look_at_journal(
    storage: Arc<dyn Storage>,
    namespace: usize,
) -> Result<JournalView, Error> {
    let journal = open(storage)?.journal();
    let mut view = JournalView::default();
    let mut after = None;
    loop {
        let entries: Vec<JournalEntry> = at_once(journal.list(after, 100))?;
        let Some(last) = entries.last() else {
            return Ok(view);
        };
        after = Some(last.number);
        // What broke a unique index stands as it is: no version of it was lost.
        let conflicts = entries
            .iter()
            .filter(|entry| entry.kind != JournalKind::UniqueViolation);
        for entry in conflicts {
            view.entries += 1;
            view.rules.push(entry.rule.clone());
            for document in &entry.documents {
                view.add(namespace, document, entry.winner);
                if has_no_work(document) {
                    let key = doc_key(namespace, &document.collection, &document.id);
                    view.workless.push((key, entry.rule.clone()));
                }
            }
        }
    }
}

/// Whether the local version of an entry holds the writes of its base and none beside.
fn has_no_work(document: &JournalDocument) -> bool {
    let ids = |version: &JournalVersion| -> Option<BTreeSet<WriteId>> {
        Some(ids_of(version.body.as_ref()?).into_iter().collect())
    };
    let base = document.base.as_ref().and_then(ids);
    base.is_some() && ids(&document.local) == base
}

impl JournalView {
    /// Adds what another journal holds.
    pub(crate) fn extend(&mut self, other: &Self) {
        self.local.extend(&other.local);
        self.remote.extend(&other.remote);
        let add = |these: &mut BTreeSet<(DocKey, Revision)>, others: &BTreeSet<_>| {
            these.extend(others.iter().cloned());
        };
        add(&mut self.local_tombstones, &other.local_tombstones);
        add(&mut self.remote_tombstones, &other.remote_tombstones);
        self.erased.extend(other.erased.iter().cloned());
        self.kept.extend(other.kept.iter().cloned());
    }

    fn add(&mut self, namespace: usize, document: &JournalDocument, winner: Winner) {
        let key = doc_key(namespace, &document.collection, &document.id);
        if document.erased {
            self.erased.insert(key.clone());
        }
        let remote_rev = document.remote.as_ref().and_then(|remote| remote.rev);
        if winner != Winner::Remote {
            self.kept.insert((key.clone(), remote_rev));
        }
        let note = |version: &JournalVersion,
                    ids: &mut BTreeSet<WriteId>,
                    tombstones: &mut BTreeSet<(DocKey, Revision)>| {
            match (&version.body, version.rev) {
                (Some(body), _) => ids.extend(ids_of(body)),
                (None, Some(rev)) => {
                    tombstones.insert((key.clone(), rev));
                }
                (None, None) => {}
            }
        };
        note(&document.local, &mut self.local, &mut self.local_tombstones);
        if let Some(remote) = &document.remote {
            note(remote, &mut self.remote, &mut self.remote_tombstones);
        }
    }
}
