//! What is done about an entry: its loser is written again, or it is dismissed.

use crate::commit::Job;
use crate::journal::{Journal, JournalKind, Winner, not_found};
use crate::keys::{self, BodyOf, CollectionId};
use crate::outbox;
use crate::stored::{self, ChangeRow, JournalRow, Presence, ServerVersion, StoredKind};
use crate::tx::Tx;
use crate::write::{self, Operation, Write};
use crate::{Body, Document, Error, Result, codes};

impl Journal {
    /// Writes the version that lost again, as a new edit of this moment, and marks the entry as restored.
    ///
    /// The loser is the local version, or the server's where the local one won. The edit is a write like any other:
    /// it enters the outbox and may meet a conflict itself. Documents of a transaction are restored as one. Returns
    /// the new versions; none of a document that is what it would become already.
    ///
    /// # Errors
    /// `journal-entry-not-found`, `journal-entry-closed` when it was restored before, `journal-entry-erased`,
    /// `journal-entry-without-loser` of one about a unique index,
    /// `collection-not-found` when the collection was deleted, what a write answers, and what the store says.
    pub async fn restore(&self, number: u64) -> Result<Vec<Document>> {
        self.database.submit(RestoreJob { number }).await
    }

    /// Marks an open entry as looked at. Both versions stay in it.
    ///
    /// # Errors
    /// `journal-entry-not-found`, `journal-entry-closed` when it is not open, and what the store says.
    pub async fn dismiss(&self, number: u64) -> Result<()> {
        self.database.submit(DismissJob { number }).await
    }
}

struct DismissJob {
    number: u64,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for DismissJob {
    type Output = ();

    async fn run(&mut self, tx: &mut Tx) -> Result<()> {
        let row = load(tx, self.number).await?;
        if row.state != OPEN {
            return Err(closed(self.number, &row));
        }
        close(tx, self.number, row, DISMISSED);
        Ok(())
    }
}

struct RestoreJob {
    number: u64,
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait::async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
impl Job for RestoreJob {
    type Output = Vec<Document>;

    async fn run(&mut self, tx: &mut Tx) -> Result<Vec<Document>> {
        let row = load(tx, self.number).await?;
        if row.state == RESTORED {
            return Err(closed(self.number, &row));
        }
        if row.kind == JournalKind::UniqueViolation.number() {
            return Err(Error::new(
                codes::JOURNAL_ENTRY_WITHOUT_LOSER,
                format!(
                    "entry {} of the journal is about documents that are all there; change or delete one of them, then \
                     dismiss the entry",
                    self.number
                ),
            ));
        }
        let mut writes = Vec::with_capacity(row.changes.len());
        for ((index, change), remote) in (0..).zip(&row.changes).zip(&row.remote) {
            let loser = Loser {
                number: self.number,
                index,
                change,
            };
            let operation = if row.winner == Winner::Local.number() {
                loser.remote(tx, remote.as_ref()).await?
            } else {
                loser.local(tx).await?
            };
            if let Some(operation) = operation {
                writes.push(Write {
                    collection: tx.registry().name(change.collection())?,
                    id: change.id.clone(),
                    operation,
                });
            }
        }
        let documents = write::together(tx, &writes).await?;
        close(tx, self.number, row, RESTORED);
        Ok(documents)
    }
}

const OPEN: u8 = 0;
const RESTORED: u8 = 1;
const DISMISSED: u8 = 2;

/// One document of an entry, and how its loser is written again.
struct Loser<'a> {
    number: u64,
    index: u32,
    change: &'a ChangeRow,
}

impl Loser<'_> {
    async fn local(&self, tx: &mut Tx) -> Result<Option<Operation>> {
        match self.change.kind {
            StoredKind::Put => Ok(Some(Operation::Upsert(self.body(tx, BodyOf::Local).await?))),
            StoredKind::Delete => self.delete(tx).await,
            StoredKind::Erase => {
                let there = self.stored(tx).await?.is_some();
                Ok(there.then_some(Operation::HardDelete))
            }
        }
    }

    /// Of a transaction that won as a whole, only the documents that met another version have a loser.
    async fn remote(
        &self,
        tx: &mut Tx,
        remote: Option<&ServerVersion>,
    ) -> Result<Option<Operation>> {
        match remote {
            Some(remote) if Some(remote.rev) == self.change.base => Ok(None),
            Some(remote) if remote.presence == Presence::Live => Ok(Some(Operation::Upsert(
                self.body(tx, BodyOf::Remote).await?,
            ))),
            Some(_) => self.delete(tx).await,
            None => Ok(None),
        }
    }

    async fn delete(&self, tx: &mut Tx) -> Result<Option<Operation>> {
        let stored = self.stored(tx).await?;
        let live = stored.is_some_and(|document| document.is_live());
        Ok(live.then_some(Operation::Delete))
    }

    async fn stored(&self, tx: &mut Tx) -> Result<Option<stored::StoredDocument>> {
        outbox::load_document(tx, CollectionId(self.change.collection), &self.change.id).await
    }

    async fn body(&self, tx: &mut Tx, which: BodyOf) -> Result<Body> {
        let key = keys::journal_body(self.number, self.index, which);
        let payload = tx.get(&key).await?;
        payload.map(Body::from_trusted).ok_or_else(|| {
            Error::new(
                codes::JOURNAL_ENTRY_ERASED,
                format!(
                    "entry {} of the journal no longer has the body of {:?}: the document was erased for good",
                    self.number, self.change.id
                ),
            )
        })
    }
}

async fn load(tx: &mut Tx, number: u64) -> Result<JournalRow> {
    let payload = tx.get(&keys::journal(number)).await?;
    stored::decode(&payload.ok_or_else(|| not_found(number))?)
}

fn close(tx: &mut Tx, number: u64, row: JournalRow, state: u8) {
    if row.state == OPEN {
        tx.state().open_journal = tx.state().open_journal.saturating_sub(1);
    }
    let row = JournalRow { state, ..row };
    tx.put(keys::journal(number), &[&stored::encode(&row)]);
}

fn closed(number: u64, row: &JournalRow) -> Error {
    let what = if row.state == RESTORED {
        "was restored already; its new edit is a write of its own"
    } else {
        "was dismissed already; it can still be restored"
    };
    Error::new(
        codes::JOURNAL_ENTRY_CLOSED,
        format!("entry {number} of the journal {what}"),
    )
}
