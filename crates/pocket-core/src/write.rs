//! Local writes: what each operation does to document, outbox and events, in one job.

use crate::commit::Job;
use crate::config::MAX_TRANSACTION_CHANGES;
use crate::erase::{self, Erased, Forget};
use crate::keys::{self, CollectionId, Target};
use crate::outbox::{self, Edit, Slot};
use crate::registry::Registry;
use crate::stored::{CollectionRow, DocumentHead, DocumentLater, Presence, StoredDocument};
use crate::tx::Tx;
use crate::{
    Body, ChangeEvent, ChangeKind, CollectionName, Document, DocumentId, Error, Result, Revision,
    codes, schema,
};
use pocket_storage::ordered::BTreeMap;

/// What a local write does to one document.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Insert(Body),
    Update(Body),
    Upsert(Body),
    Delete,
    HardDelete,
}

/// A local write of one document.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) collection: CollectionName,
    pub(crate) id: DocumentId,
    pub(crate) operation: Operation,
}

impl Write {
    fn bytes(&self) -> usize {
        let body = match &self.operation {
            Operation::Insert(body) | Operation::Update(body) | Operation::Upsert(body) => {
                body.len()
            }
            Operation::Delete | Operation::HardDelete => 0,
        };
        self.id.as_str().len() + body
    }
}

/// A document that was read, and the version that was found.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) collection: CollectionName,
    pub(crate) id: DocumentId,
    pub(crate) found: Option<Revision>,
}

/// Writes that are stored together or not at all.
#[derive(Clone, Debug)]
pub(crate) enum WriteJob {
    /// Each travels as a mutation of its own.
    Each(Vec<Write>),
    /// All travel as one mutation, if what was read still stands.
    Transaction {
        writes: Vec<Write>,
        reads: Vec<Read>,
    },
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for WriteJob {
    /// The new versions, one for each write.
    type Output = Vec<Document>;

    fn weight(&self) -> usize {
        let (Self::Each(writes) | Self::Transaction { writes, .. }) = self;
        writes.iter().map(Write::bytes).sum()
    }

    fn reads(&self, registry: &Registry) -> Vec<Vec<u8>> {
        let (Self::Each(writes) | Self::Transaction { writes, .. }) = self;
        if writes.len() >= READ_AHEAD {
            return Vec::new();
        }
        let key = |write: &Write| {
            Some(keys::document(
                registry.get(&write.collection)?.id(),
                &write.id,
            ))
        };
        writes.iter().filter_map(key).collect()
    }

    async fn run(&mut self, tx: &mut Tx) -> Result<Vec<Document>> {
        match self {
            Self::Each(writes) => each(tx, writes).await,
            Self::Transaction { writes, reads } => transaction(tx, writes, reads).await,
        }
    }
}

/// Documents that are worth one call to the store instead of one each.
const READ_AHEAD: usize = 8;

async fn each(tx: &mut Tx, writes: &[Write]) -> Result<Vec<Document>> {
    if writes.len() >= READ_AHEAD {
        let keys = writes.iter().map(|write| {
            let row = tx.registry().existing(&write.collection)?;
            Ok(keys::document(row.id(), &write.id))
        });
        let keys = keys.collect::<Result<_>>()?;
        tx.read_ahead(keys).await?;
    }
    let mut documents = Vec::with_capacity(writes.len());
    let mut known: Option<(&CollectionName, CollectionRow)> = None;
    for write in writes {
        let row = match &known {
            // Most are many of one collection, whose settings no write changes.
            Some((name, row)) if **name == write.collection => row,
            _ => {
                let row = tx.registry().existing(&write.collection)?;
                &known.insert((&write.collection, row)).1
            }
        };
        let slot = slot(tx, row.id(), write).await?;
        let edit = checked(tx, row, slot, write)?;
        documents.push(version(&edit));
        finish(tx, &write.collection, row, edit).await?;
    }
    forget_erased(tx, writes).await?;
    Ok(documents)
}

/// The document that a write is of. One that is damaged only keeps those from it that need what was there.
async fn slot(tx: &mut Tx, collection: CollectionId, write: &Write) -> Result<Box<Slot>> {
    let slot = match write.operation {
        Operation::Insert(_) | Operation::Update(_) => Slot::load(tx, collection, &write.id).await,
        Operation::Upsert(_) => Slot::load_over(tx, collection, &write.id, false).await,
        Operation::Delete | Operation::HardDelete => {
            Slot::load_over(tx, collection, &write.id, true).await
        }
    };
    slot.map(Box::new)
}

/// Writes as part of a job: several of them as one mutation.
pub(crate) async fn together(tx: &mut Tx, writes: &[Write]) -> Result<Vec<Document>> {
    match writes {
        [_] => each(tx, writes).await,
        _ => transaction(tx, writes, &[]).await,
    }
}

async fn transaction(tx: &mut Tx, writes: &[Write], reads: &[Read]) -> Result<Vec<Document>> {
    for read in reads {
        let row = tx.registry().existing(&read.collection)?;
        let now = outbox::load_document(tx, row.id(), &read.id).await?;
        let sight = tx.sight(row.id());
        let is_over = match &now {
            Some(now) => sight.is_over(&read.id, now)?,
            None => false,
        };
        let now = now.filter(|_| !is_over);
        if now.as_ref().and_then(StoredDocument::base) != read.found {
            return Err(Error::new(
                codes::TRANSACTION_CONFLICT,
                format!(
                    "document {:?} of `{}` changed since it was read; run the transaction again",
                    read.id, read.collection
                ),
            ));
        }
    }
    // Several writes of one document become one change: the last.
    let mut edits: Vec<(CollectionName, CollectionRow, Edit)> = Vec::new();
    let mut places: BTreeMap<(CollectionId, DocumentId), usize> = BTreeMap::new();
    let mut documents = Vec::with_capacity(writes.len());
    for write in writes {
        let row = tx.registry().existing(&write.collection)?;
        let at = places.get(&(row.id(), write.id.clone())).copied();
        let slot = match at {
            Some(at) => edits[at].2.slot.clone(),
            None => slot(tx, row.id(), write).await?,
        };
        if at.is_some_and(|at| matches!(edits[at].2.kind, ChangeKind::Erase)) {
            return Err(Error::validation(format!(
                "document {:?} is erased in this transaction; write it again in another one",
                write.id
            )));
        }
        let edit = checked(tx, &row, slot, write)?;
        documents.push(version(&edit));
        if let Some(at) = at {
            edits[at].2 = edit;
        } else {
            places.insert((row.id(), write.id.clone()), edits.len());
            edits.push((write.collection.clone(), row, edit));
        }
    }
    let (synced, local): (Vec<_>, Vec<_>) = edits.into_iter().partition(|(_, row, _)| row.sync);
    // What was made and deleted in the same transaction never was.
    let synced: Vec<_> = synced
        .into_iter()
        .filter(|(_, _, edit)| {
            edit.slot.before.is_some() || matches!(edit.kind, ChangeKind::Put(_))
        })
        .collect();
    check_size(tx, &synced)?;
    for (name, row, edit) in local {
        finish(tx, &name, &row, edit).await?;
    }
    let names: Vec<_> = synced.iter().map(|(name, ..)| name.clone()).collect();
    let mut edits: Vec<_> = synced.into_iter().map(|(.., edit)| edit).collect();
    if !edits.is_empty() {
        outbox::enqueue(tx, &mut edits).await?;
    }
    for (name, edit) in names.iter().zip(&edits) {
        store(tx, name, &edit.slot);
    }
    forget_erased(tx, writes).await?;
    Ok(documents)
}

/// A hard delete takes along what is kept of the document elsewhere.
async fn forget_erased(tx: &mut Tx, writes: &[Write]) -> Result<()> {
    let mut erased = Erased::new();
    for write in writes {
        if matches!(write.operation, Operation::HardDelete) {
            let row = tx.registry().existing(&write.collection)?;
            erased.insert((row.id(), write.id.clone()));
        }
    }
    erase::forget_content(tx, Target::DEFAULT, &erased, Forget::Everything).await
}

/// A transaction on synced collections must fit into one message with room to spare, now and not in the queue.
fn check_size(tx: &Tx, synced: &[(CollectionName, CollectionRow, Edit)]) -> Result<()> {
    let bytes: usize = synced.iter().map(|(_, _, edit)| edit.size()).sum();
    let most = tx.core().limits.transaction_bytes();
    if synced.len() > MAX_TRANSACTION_CHANGES || (bytes > most && synced.len() > 1) {
        return Err(Error::new(
            codes::TRANSACTION_TOO_LARGE,
            format!(
                "a transaction of {} changes and {bytes} bytes cannot be sent; at most {MAX_TRANSACTION_CHANGES} \
                 changes and {most} bytes of synced documents",
                synced.len()
            ),
        ));
    }
    Ok(())
}

fn version(edit: &Edit) -> Document {
    Document::new(edit.slot.id.clone(), edit.rev, edit.kind.body().cloned())
}

/// As [`apply`] for who does not see a document whose time is over, with defaults, and only if the schema of the
/// collection allows it.
fn checked(tx: &mut Tx, row: &CollectionRow, slot: Box<Slot>, write: &Write) -> Result<Edit> {
    let is_over = match &slot.after {
        Some(stored) => tx.sight(row.id()).is_over(&slot.id, stored)?,
        None => false,
    };
    let mut edit = match &write.operation {
        Operation::Update(_) | Operation::Delete if is_over => return Err(missing(write)),
        Operation::Insert(body) if is_over => {
            let operation = Operation::Upsert(body.clone());
            let write = Write {
                operation,
                ..write.clone()
            };
            apply(tx, row, slot, &write)?
        }
        _ => apply(tx, row, slot, write)?,
    };
    let schema = tx.core().schemas.get(&write.collection);
    if let (Some(schema), ChangeKind::Put(body)) = (schema, &edit.kind) {
        let rule = schema.compiled(write.collection.as_str())?;
        let fills = !matches!(write.operation, Operation::Update(_));
        let limits = &tx.core().limits.document;
        let body = schema::fitted(&*rule, &write.collection, &write.id, body, fills, limits)?;
        if let Some(document) = &mut edit.slot.after {
            document.body = Some(body.clone());
        }
        edit.kind = ChangeKind::Put(body);
    }
    Ok(edit)
}

/// What `write` makes of the document in `slot`.
pub(crate) fn apply(
    tx: &mut Tx,
    row: &CollectionRow,
    mut slot: Box<Slot>,
    write: &Write,
) -> Result<Edit> {
    let current = slot.after.as_ref();
    let kind = match &write.operation {
        Operation::Insert(body) => {
            if current.is_some_and(StoredDocument::is_live) {
                return Err(Error::new(
                    codes::DOCUMENT_EXISTS,
                    format!(
                        "there is a document {:?} in `{}` already; update it, or take another id",
                        write.id, write.collection
                    ),
                ));
            }
            ChangeKind::Put(body.clone())
        }
        Operation::Upsert(body) => ChangeKind::Put(body.clone()),
        Operation::Update(patch) => {
            let body = live_body(current, write)?;
            ChangeKind::Put(body.merge_top_level(patch, &tx.core().limits.document)?)
        }
        Operation::Delete => {
            live_body(current, write)?;
            ChangeKind::Delete
        }
        Operation::HardDelete if current.is_none() => return Err(missing(write)),
        Operation::HardDelete => ChangeKind::Erase,
    };
    let rev = tx.next_revision();
    let old = current.map(|document| &document.head);
    let presence = match kind {
        ChangeKind::Put(_) => Presence::Live,
        ChangeKind::Delete => Presence::Deleted,
        ChangeKind::Erase => Presence::Erased,
    };
    let head = DocumentHead {
        rev,
        presence,
        server: old.and_then(|head| head.server),
        resync: old.map_or(0, |head| head.resync),
        pending: old.map_or_else(Vec::new, |head| head.pending.clone()),
        later: old.map_or_else(DocumentLater::default, |head| head.later.kept()),
    };
    // Without sync nobody needs a tombstone, but for what was sent before sync was switched off.
    let needed = row.sync || presence == Presence::Live || !head.pending.is_empty();
    slot.after = needed.then(|| StoredDocument {
        head,
        body: kind.body().cloned(),
    });
    Ok(Edit {
        slot,
        kind,
        rev,
        migrated: false,
    })
}

fn live_body<'a>(current: Option<&'a StoredDocument>, write: &Write) -> Result<&'a Body> {
    let document = current.ok_or_else(|| missing(write))?;
    document.body.as_ref().ok_or_else(|| {
        Error::new(
            codes::DOCUMENT_DELETED,
            format!(
                "document {:?} of `{}` was deleted; insert it to make it anew",
                write.id, write.collection
            ),
        )
    })
}

fn missing(write: &Write) -> Error {
    Error::new(
        codes::DOCUMENT_NOT_FOUND,
        format!(
            "there is no document {:?} in `{}`",
            write.id, write.collection
        ),
    )
}

/// Puts an edit into the outbox as a mutation of its own, if the collection syncs, and stores the document.
pub(crate) async fn finish(
    tx: &mut Tx,
    name: &CollectionName,
    row: &CollectionRow,
    mut edit: Edit,
) -> Result<()> {
    if row.sync {
        outbox::enqueue(tx, std::slice::from_mut(&mut edit)).await?;
    }
    store(tx, name, &edit.slot);
    Ok(())
}

fn store(tx: &mut Tx, name: &CollectionName, slot: &Slot) {
    slot.store(tx);
    let document = |stored: &StoredDocument| {
        Document::new(slot.id.clone(), stored.head.rev, stored.body.clone())
    };
    let event = ChangeEvent::between(
        name.clone(),
        slot.before.as_ref().map(document),
        slot.after.as_ref().map(document),
        false,
    );
    if let Some(event) = event {
        tx.event(event);
    }
}
