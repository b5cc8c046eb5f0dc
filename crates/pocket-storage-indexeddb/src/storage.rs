//! The store.

use std::cell::Cell;
use std::rc::Rc;

use async_trait::async_trait;
use bytes::Bytes;
use pocket_storage::{
    Batch, Capabilities, Direction, Durability, Entry, KeyRange, Result, ScanLimit, Storage,
};

use crate::closed::ClosedBy;
use crate::idb::{self, Database, Missing};
use crate::persistence::{self, Persistence};
use crate::shared::{Shared, unanswered};
use crate::{reader, writer};

/// A store in a database of IndexedDB.
///
/// Any number of handles, in any number of tabs and workers, may have one database open at once.
#[derive(Debug)]
pub struct IndexedDbStorage {
    shared: Rc<Shared>,
    persistence: Rc<Cell<Persistence>>,
}

impl IndexedDbStorage {
    /// Opens the database `name` of this origin, made if it is missing, and asks the browser to keep its data.
    ///
    /// Does not wait for the answer to that; [`persistence`](Self::persistence) has it.
    ///
    /// # Errors
    /// [`Corrupt`](pocket_storage::StorageError::Corrupt) if the database is of something else, of a newer version, or
    /// damaged. [`Full`](pocket_storage::StorageError::Full), [`InUse`](pocket_storage::StorageError::InUse) if another
    /// tab keeps an older version open, or [`Backend`](pocket_storage::StorageError::Backend), also if the browser gives
    /// this page no storage; the text says so.
    pub async fn open(name: impl Into<String>) -> Result<Self> {
        let storage = Self::open_quietly(name).await?;
        let answer = Rc::clone(&storage.persistence);
        answer.set(Persistence::Waiting);
        js_sys::futures::spawn_local(async move { answer.set(persistence::request().await) });
        Ok(storage)
    }

    /// As [`open`](Self::open), but does not ask the browser to keep the data: some ask the user then.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_quietly(name: impl Into<String>) -> Result<Self> {
        let opened = Self::open_or_not(name.into(), true).await?;
        opened.ok_or_else(unanswered)
    }

    /// As [`open_quietly`](Self::open_quietly), but makes a database that is missing only if it is `to_be_made`; else there is
    /// none then.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_or_not(name: String, to_be_made: bool) -> Result<Option<Self>> {
        let of = name.clone();
        let missing = if to_be_made {
            Missing::Make
        } else {
            Missing::Gone
        };
        let opened = apart(async move { Database::open(&of, missing).await }).await?;
        Ok(opened.map(|database| Self {
            shared: Rc::new(Shared::new(name, database)),
            persistence: Rc::new(Cell::new(Persistence::NotAsked)),
        }))
    }

    /// Deletes the database `name` of this origin; nothing happens if there is none.
    ///
    /// Stores that have it open finish what is under way and answer
    /// [`Closed`](pocket_storage::StorageError::Closed) from then on.
    ///
    /// # Errors
    /// [`InUse`](pocket_storage::StorageError::InUse) if something else has it open and does not let go within a second;
    /// it is deleted as soon as that does. [`Backend`](pocket_storage::StorageError::Backend).
    pub async fn delete(name: impl Into<String>) -> Result<()> {
        let name = name.into();
        apart(async move { idb::delete(&name).await }).await
    }

    /// The name of the database.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Why the store answers [`Closed`](pocket_storage::StorageError::Closed); `None` while it is open.
    pub fn closed_by(&self) -> Option<ClosedBy> {
        self.shared.closed_by()
    }

    /// What the browser answered when it was asked to keep the data of this site. A worker may not ask; there it is what
    /// a window of the site was granted before.
    pub fn persistence(&self) -> Persistence {
        self.persistence.get()
    }
}

/// Runs `work` as a task of its own: it is done as a whole, and by an executor that suits IndexedDB.
async fn apart<T: 'static>(work: impl Future<Output = Result<T>> + 'static) -> Result<T> {
    let (answer, answered) = tokio::sync::oneshot::channel();
    js_sys::futures::spawn_local(async move {
        // Whoever asked may be gone; what was opened is closed then.
        let _ = answer.send(work.await);
    });
    answered.await.unwrap_or_else(|_| Err(unanswered()))
}

#[async_trait(?Send)]
impl Storage for IndexedDbStorage {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(Durability::PowerLoss)
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.get_many(&[key.to_vec()]).await?.pop().flatten())
    }

    async fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>> {
        let keys = keys.to_vec();
        self.shared
            .run(async move |shared: Rc<Shared>| reader::get_many(&shared, &keys).await)
            .await
    }

    async fn scan(
        &self,
        range: KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> Result<Vec<Entry>> {
        let scan =
            async move |shared: Rc<Shared>| reader::scan(&shared, &range, limit, direction).await;
        self.shared.run(scan).await
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> Result<()> {
        writer::commit(&self.shared, batch, durability).await
    }

    fn overtaken(&self) {
        self.shared.turns.want();
    }

    async fn close(&self) -> Result<()> {
        // Another call may be closing already: both wait.
        let shared = Rc::clone(&self.shared);
        apart(async move {
            shared.close().await;
            Ok(())
        })
        .await
    }
}

impl Drop for IndexedDbStorage {
    fn drop(&mut self) {
        // The connection ends with the last task that needs it.
        self.shared.begin_to_close();
    }
}
