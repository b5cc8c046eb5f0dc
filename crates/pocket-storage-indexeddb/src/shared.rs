//! What a handle and the tasks that it started have in common.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;
use pocket_storage::ordered::BTreeMap;
use pocket_storage::{Result, StorageError};
use tokio::sync::{Notify, oneshot};

use crate::closed::ClosedBy;
use crate::directory::Directory;
use crate::idb::{Database, End, Missing, Mode, Transaction};
use crate::page::Page;
use crate::reading::Reading;
use crate::turn::Turns;
use crate::writer::Waiting;

/// The connection, what is known of the pages, and the commits that wait.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) name: String,
    connection: RefCell<Connection>,
    directory: RefCell<Rc<Directory>>,
    /// What was read last, which may be over.
    pub(crate) reading: RefCell<Option<Reading>>,
    /// Whether it may commit, too.
    pub(crate) turns: Rc<Turns>,
    /// How durable the last commit was to be: as the next one, most likely.
    pub(crate) mode: Cell<Mode>,
    /// Commits in the order of their first polls.
    pub(crate) queue: RefCell<VecDeque<Waiting>>,
    /// Whether a task takes from the queue.
    pub(crate) is_writing: Cell<bool>,
    /// Whether the handle was closed or dropped: only what had begun goes on.
    is_closing: Cell<bool>,
    busy: Cell<usize>,
    idle: Notify,
}

/// Pages by their places, and the directory that has the places.
pub(crate) type Loaded = (Rc<Directory>, BTreeMap<usize, Page>);

#[derive(Clone, Debug)]
enum Connection {
    Open(Rc<Database>),
    Closed(ClosedBy),
}

impl Shared {
    pub(crate) fn new(name: String, database: Database) -> Self {
        Self {
            name,
            connection: RefCell::new(Connection::Open(Rc::new(database))),
            directory: RefCell::new(Rc::new(Directory::unknown())),
            reading: RefCell::default(),
            turns: Rc::default(),
            mode: Cell::new(Mode::Strict),
            queue: RefCell::default(),
            is_writing: Cell::new(false),
            is_closing: Cell::new(false),
            busy: Cell::new(0),
            idle: Notify::new(),
        }
    }

    /// Runs `work` as a task of its own, whatever becomes of the future that waits for it.
    pub(crate) async fn run<T: 'static>(
        self: &Rc<Self>,
        work: impl AsyncFnOnce(Rc<Self>) -> Result<T> + 'static,
    ) -> Result<T> {
        let busy = Busy::new(self)?;
        let (answer, answered) = oneshot::channel();
        js_sys::futures::spawn_local(async move {
            let result = work(Rc::clone(&busy.0)).await;
            drop(busy);
            // Whoever asked may be gone.
            let _ = answer.send(result);
        });
        answered.await.unwrap_or_else(|_| Err(unanswered()))
    }

    /// Begins a transaction, on a connection that is opened again if the browser gave it up.
    pub(crate) async fn begin(&self, mode: Mode) -> Result<Transaction> {
        let mut is_first = true;
        loop {
            let database = self.database().await?;
            match database.begin(mode) {
                // It was given up and has not told so yet. Nothing has begun, so nothing is done twice.
                Err(_) if is_first && database.end().is_some() => is_first = false,
                begun => return begun,
            }
        }
    }

    async fn database(&self) -> Result<Rc<Database>> {
        let connection = self.connection.borrow().clone();
        let Connection::Open(database) = connection else {
            return Err(StorageError::Closed);
        };
        match database.end() {
            None => Ok(database),
            Some(End::Deleted) => Err(self.end(ClosedBy::Deletion)),
            Some(End::Upgraded) => Err(self.end(ClosedBy::Upgrade)),
            Some(End::Lost) => self.open_again(database).await,
        }
    }

    /// Boxed, so that whoever begins something has no copy of it.
    #[inline(never)]
    fn open_again(
        &self,
        database: Rc<Database>,
    ) -> Pin<Box<dyn Future<Output = Result<Rc<Database>>> + '_>> {
        Box::pin(async move {
            // Never made anew: an empty store would look as if everything had been deleted.
            let Some(again) = Database::open(&self.name, Missing::Gone).await? else {
                return Err(self.end(ClosedBy::Deletion));
            };
            if !again.is_the_same_as(&database) {
                // Somebody else has made it anew already.
                return Err(self.end(ClosedBy::Deletion));
            }
            let again = Rc::new(again);
            // What was not on the disk may be gone, and with it the meaning of a layout's number.
            self.forget();
            if matches!(&*self.connection.borrow(), Connection::Closed(_)) {
                return Err(StorageError::Closed);
            }
            self.connection.replace(Connection::Open(Rc::clone(&again)));
            Ok(again)
        })
    }

    /// Why the store is closed, if it is.
    pub(crate) fn closed_by(&self) -> Option<ClosedBy> {
        match &*self.connection.borrow() {
            Connection::Closed(by) => Some(*by),
            Connection::Open(database) => match database.end() {
                Some(End::Deleted) => Some(ClosedBy::Deletion),
                Some(End::Upgraded) => Some(ClosedBy::Upgrade),
                _ if self.is_closing.get() => Some(ClosedBy::Caller),
                Some(End::Lost) | None => None,
            },
        }
    }

    fn end(&self, by: ClosedBy) -> StorageError {
        self.reading.replace(None);
        self.connection.replace(Connection::Closed(by));
        StorageError::Closed
    }

    /// Refuses what comes from now on.
    pub(crate) fn begin_to_close(&self) {
        self.is_closing.set(true);
    }

    /// Waits for everything that had begun, then closes the connection.
    pub(crate) async fn close(&self) {
        self.begin_to_close();
        loop {
            let idle = self.idle.notified();
            if self.busy.get() == 0 {
                break;
            }
            idle.await;
        }
        let connection = self.connection.borrow().clone();
        if let Connection::Open(database) = connection
            && database.end().is_none()
        {
            // If that fails there is nothing to wait for.
            let _ = database.settle().await;
        }
        let by = self.closed_by().unwrap_or(ClosedBy::Caller);
        self.end(by);
    }

    pub(crate) fn directory(&self) -> Rc<Directory> {
        Rc::clone(&self.directory.borrow())
    }

    /// Keeps a newer directory.
    pub(crate) fn learn(&self, directory: &Rc<Directory>) {
        let known = self.directory.borrow().layout();
        // The number of the unknown one is the largest there is.
        if known == Directory::unknown().layout() || known < directory.layout() {
            self.directory.replace(Rc::clone(directory));
        }
    }

    /// Forgets which pages there are.
    pub(crate) fn forget(&self) {
        self.reading.replace(None);
        self.directory.replace(Rc::new(Directory::unknown()));
    }

    /// Reads the pages that `wanted` names, and the directory anew if another tab has changed it. `known` is one that this
    /// transaction has found to be right.
    ///
    /// Boxed, so that there is one of it and not one in each of those who read and write.
    #[inline(never)]
    pub(crate) fn load<'a>(
        &'a self,
        transaction: &'a Transaction,
        known: Option<Rc<Directory>>,
        wanted: &'a dyn Fn(&Directory) -> Vec<usize>,
    ) -> Pin<Box<dyn Future<Output = Result<Loaded>> + 'a>> {
        Box::pin(self.load_unboxed(transaction, known, wanted))
    }

    async fn load_unboxed(
        &self,
        transaction: &Transaction,
        known: Option<Rc<Directory>>,
        wanted: &dyn Fn(&Directory) -> Vec<usize>,
    ) -> Result<Loaded> {
        let layout = match known {
            Some(_) => None,
            None => Some(transaction.layout()?),
        };
        let mut directory = known.unwrap_or_else(|| self.directory());
        let mut is_first = true;
        loop {
            let pages = wanted(&directory);
            let requests = pages
                .iter()
                .map(|index| transaction.page(directory.lower(*index)));
            let requests = requests.collect::<Result<Vec<_>>>()?;
            // The number is asked for once, and known from then on.
            let last = requests.last().or(layout.as_ref().filter(|_| is_first));
            if let Some(last) = last {
                transaction.round(last).await?;
            }
            is_first = false;
            if let Some(layout) = &layout {
                let found = transaction.layout_in(layout)?;
                if found != directory.layout() {
                    directory = self.read_directory(transaction, found).await?;
                    continue;
                }
            }
            let decoded = pages.into_iter().zip(&requests).map(|(index, request)| {
                let record = transaction.record_in(request)?;
                Ok((index, self.page(&directory, index, record)?))
            });
            let decoded = decoded.collect::<Result<_>>()?;
            return Ok((directory, decoded));
        }
    }

    /// Reads which pages there are.
    pub(crate) async fn read_directory(
        &self,
        transaction: &Transaction,
        layout: u64,
    ) -> Result<Rc<Directory>> {
        let keys = transaction.keys()?;
        transaction.round(&keys).await?;
        let directory = Rc::new(Directory::new(layout, transaction.keys_in(&keys)?));
        self.learn(&directory);
        Ok(directory)
    }

    /// The page of a record.
    pub(crate) fn page(
        &self,
        directory: &Directory,
        index: usize,
        record: Option<Bytes>,
    ) -> Result<Page> {
        let Some(record) = record else {
            // The first page has a record only while it has entries.
            return if index == 0 {
                Ok(Page::default())
            } else {
                Err(self.corrupt("a page is missing"))
            };
        };
        let upper = directory.upper(index).map(|upper| &**upper);
        Page::decode(record, directory.lower(index), upper).map_err(|what| self.corrupt(what))
    }

    pub(crate) fn corrupt(&self, what: &str) -> StorageError {
        StorageError::Corrupt(format!("{}: {what}", self.name))
    }
}

/// Something that has begun and that closing waits for.
pub(crate) struct Busy(pub(crate) Rc<Shared>);

impl Busy {
    /// Refused once the store is closing.
    pub(crate) fn new(shared: &Rc<Shared>) -> Result<Self> {
        if shared.is_closing.get() {
            return Err(StorageError::Closed);
        }
        shared.busy.set(shared.busy.get() + 1);
        Ok(Self(Rc::clone(shared)))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.set(self.0.busy.get() - 1);
        if self.0.busy.get() == 0 {
            self.0.idle.notify_waiters();
        }
    }
}

impl fmt::Debug for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Busy")
    }
}

/// A task ended without an answer: only a page that goes away does that.
pub(crate) fn unanswered() -> StorageError {
    StorageError::Backend("the task that worked on it is gone".into())
}
