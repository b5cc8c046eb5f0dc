//! What an application does with indexes: make them, watch them being built, list and drop them.

use futures_util::stream;
use pocket_storage::{Direction, ScanLimit};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::build::{BuildJob, Built, CreateJob, DropJob, Duplicates, RemoveJob, RenewJob, Step};
use super::{IndexConfig, IndexInfo, IndexProgress};
use crate::stored::{CollectionRow, IndexPhase};
use crate::{Collection, CollectionName, Database, Error, Result, Subscription, codes, keys};

/// Documents counted at once.
const CHUNK: usize = 1_000;

impl<T: Serialize + DeserializeOwned> Collection<T> {
    /// Makes an index and waits until it is built; does nothing if it is there already, and goes on with one that is
    /// half built.
    ///
    /// It is recorded before the first document is read: from then on every write keeps it right, and a unique one
    /// refuses what breaks it. Building is done in many small commits between which others write, and goes on where it
    /// was after a crash, an error over a damaged document, or when this future was dropped: when the database is opened, or
    /// by making the index again.
    /// See [`build_index`](Self::build_index) for its progress.
    ///
    /// # Errors
    /// `config` when the configuration makes no sense, or an index of this name is another one;
    /// `index-unique-violation` when documents break a unique index (then it is not made); `index-not-found` when it was
    /// dropped meanwhile; `collection-not-found`, `corrupt`, and what the store says.
    pub async fn create_index(&self, config: IndexConfig) -> Result<()> {
        let mut building = Building::new(self.database(), self.name(), config);
        while building.step().await? {}
        Ok(())
    }

    /// As [`create_index`](Self::create_index), telling how far it is; the last item says that it is ready, or is an
    /// error. Nothing happens but while the stream is polled.
    pub fn build_index(&self, config: IndexConfig) -> Subscription<Result<IndexProgress>> {
        Building::new(self.database(), self.name(), config).progress()
    }

    /// Drops an index. Queries do without it at once; its entries are removed in many small commits.
    ///
    /// # Errors
    /// `index-not-found`, `collection-not-found`, and what the store says.
    pub async fn drop_index(&self, name: &str) -> Result<()> {
        let job = DropJob {
            collection: self.name().clone(),
            name: name.to_owned(),
        };
        let number = self.database().submit(job).await?;
        self.database().remove_index(number).await
    }

    /// Its indexes, in the order they were made.
    pub fn indexes(&self) -> Vec<IndexInfo> {
        self.database().indexes_of(self.name())
    }
}

impl Database {
    /// Builds the indexes that are not ready, one after another, and removes what is left of dropped ones; tells how far
    /// each is. Opening a database does that by itself, unless it was told not to.
    ///
    /// Nothing happens but while the stream is polled. An error is an item like others, and the next index follows.
    /// Documents that break a unique index stay, and the journal tells of them.
    pub fn build_indexes(&self) -> Subscription<Result<IndexProgress>> {
        let registry = self.core().registry();
        let unfinished: Vec<u32> = registry
            .all_indexes()
            .filter(|index| !index.is_ready())
            .map(|index| index.number)
            .collect();
        let state = (self.clone(), unfinished.into_iter(), None::<Building>);
        Subscription::new(stream::unfold(
            state,
            |(this, mut left, mut open)| async move {
                loop {
                    if let Some(mut building) = open.take() {
                        let item = building.next().await;
                        let goes_on = matches!(&item, Ok(progress) if !progress.ready);
                        open = Some(building).filter(|_| goes_on);
                        return Some((item, (this, left, open)));
                    }
                    let number = left.next()?;
                    match this.remove_index(number).await {
                        Ok(()) => open = Building::of_number(&this, number),
                        Err(error) => return Some((Err(error), (this, left, None))),
                    }
                }
            },
        ))
    }

    /// As [`build_indexes`](Self::build_indexes) without telling, of all collections or of one. One that cannot be
    /// finished keeps none of the others; the first error is returned when all were tried.
    pub(crate) async fn finish_indexes(&self, only: Option<&CollectionName>) -> Result<()> {
        let registry = self.core().registry();
        let only = only.map(|name| registry.existing(name)).transpose()?;
        let only = only.map(|row| row.id());
        let mut finished = Ok(());
        for index in registry.all_indexes().filter(|index| !index.is_ready()) {
            if only.is_none_or(|only| only == index.collection) {
                finished = finished.and(self.finish_index(index.number).await);
            }
        }
        finished
    }

    /// Builds one index, or removes what is left of it if it was dropped.
    pub(crate) async fn finish_index(&self, number: u32) -> Result<()> {
        self.remove_index(number).await?;
        if let Some(mut building) = Building::of_number(self, number) {
            while building.step().await? {}
        }
        Ok(())
    }

    /// If a program that knows no indexes wrote to the database, all are begun anew, and so is that of a time to live if
    /// it is lost.
    pub(crate) async fn renew_indexes(&self) -> Result<()> {
        let last = self.core().state().unwrap_or_default().later.last_index;
        let registry = self.core().registry();
        let newest = registry.all_indexes().next_back();
        let is_old = newest.is_some_and(|index| index.number > last);
        if is_old || registry.expiring_without_index().next().is_some() {
            self.submit(RenewJob).await?;
        }
        Ok(())
    }

    /// Records an index of a configuration in place of another one of its name, which could not be dropped before the
    /// database is open; builds it at once if it is small and none of its documents is damaged.
    pub(crate) async fn record_index(
        &self,
        collection: &CollectionName,
        config: IndexConfig,
    ) -> Result<()> {
        let config = config.checked()?;
        let known = self.indexes_of(collection);
        if known.iter().any(|index| index.config == config) {
            return Ok(());
        }
        let begun = self
            .begin_index(|begins| CreateJob {
                collection: collection.clone(),
                config: config.clone(),
                duplicates: Duplicates::Told,
                begins,
                replaces: true,
            })
            .await;
        match begun {
            // Whoever builds on is told.
            Err(error) if error.code() == codes::CORRUPT => Ok(()),
            begun => begun.map(drop),
        }
    }

    /// Records an index and begins to build it. One whose first documents are damaged is recorded all the same, as one
    /// that was half built when the building met the damage: every write keeps it right, and it can be gone on with.
    async fn begin_index(&self, job: impl Fn(bool) -> CreateJob) -> Result<(u32, Built)> {
        let begun = self.submit(job(true)).await;
        if begun.as_ref().is_err_and(|it| it.code() == codes::CORRUPT) {
            self.submit(job(false)).await?;
        }
        begun
    }

    /// As [`Collection::create_index`] for an index of a dump, but documents that break a unique one stay, and the journal
    /// tells of them; returns how many pairs do.
    pub(crate) async fn make_index(
        &self,
        collection: &CollectionName,
        config: IndexConfig,
    ) -> Result<u64> {
        let config = config.checked_as_stored()?;
        let job = |begins| CreateJob {
            collection: collection.clone(),
            config: config.clone(),
            duplicates: Duplicates::Told,
            begins,
            replaces: false,
        };
        let (number, mut built) = self.begin_index(job).await?;
        if let Some(mut building) = Building::of_number(self, number) {
            while building.step().await? {}
            built += building.built;
        }
        Ok(built.told)
    }

    pub(crate) fn indexes_of(&self, collection: &CollectionName) -> Vec<IndexInfo> {
        let registry = self.core().registry();
        let number = registry.get(collection).map(CollectionRow::id);
        let shown = number.map(|number| registry.shown_indexes(number));
        shown
            .into_iter()
            .flatten()
            .map(|index| index.info())
            .collect()
    }

    /// Removes what is left of an index, if it was dropped.
    async fn remove_index(&self, number: u32) -> Result<()> {
        while !self.submit(RemoveJob { number }).await? {}
        Ok(())
    }

    /// Removes what is left of all indexes that were dropped.
    pub(crate) async fn remove_dropped_indexes(&self) -> Result<()> {
        let registry = self.core().registry();
        for index in registry.all_indexes().filter(|index| !index.is_live()) {
            self.remove_index(index.number).await?;
        }
        Ok(())
    }
}

/// An index on its way.
struct Building {
    database: Database,
    collection: CollectionName,
    config: IndexConfig,
    duplicates: Duplicates,
    /// Once it is recorded.
    number: Option<u32>,
    built: Built,
    /// Once it was counted.
    total: Option<u64>,
    ready: bool,
}

impl Building {
    fn new(database: &Database, collection: &CollectionName, config: IndexConfig) -> Self {
        Self {
            database: database.clone(),
            collection: collection.clone(),
            config,
            duplicates: Duplicates::Refused,
            number: None,
            built: Built::default(),
            total: None,
            ready: false,
        }
    }

    /// One that was recorded before and is not ready.
    fn of_number(database: &Database, number: u32) -> Option<Self> {
        let registry = database.core().registry();
        let index = registry.index(number).filter(|index| index.is_live())?;
        let collection = registry.name(index.collection).ok()?;
        Some(Self {
            number: Some(number),
            duplicates: Duplicates::Told,
            ..Self::new(database, &collection, index.config.clone())
        })
    }

    /// Goes one commit further; false once it is ready.
    async fn step(&mut self) -> Result<bool> {
        let Some(number) = self.number else {
            let config = self.config.clone().checked()?;
            let job = |begins| CreateJob {
                collection: self.collection.clone(),
                config: config.clone(),
                duplicates: self.duplicates,
                begins,
                replaces: false,
            };
            let (number, built) = self.database.begin_index(job).await?;
            self.number = Some(number);
            self.built += built;
            self.ready = self.is_ready(number);
            return Ok(!self.ready);
        };
        let duplicates = self.duplicates;
        match self
            .database
            .submit(BuildJob { number, duplicates })
            .await?
        {
            Step::Further(built) => self.built += built,
            Step::Ready(built) => {
                self.built += built;
                self.ready = true;
            }
            Step::Broken(error) => {
                self.database.remove_index(number).await?;
                return Err(error);
            }
            Step::Gone => {
                return Err(Error::new(
                    codes::INDEX_NOT_FOUND,
                    format!(
                        "the index {:?} of `{}` was dropped while it was built",
                        self.config.name(),
                        self.collection
                    ),
                ));
            }
        }
        Ok(!self.ready)
    }

    /// As [`step`](Self::step), with how far it is.
    async fn next(&mut self) -> Result<IndexProgress> {
        self.step().await?;
        let total = match self.total {
            Some(total) => total,
            None => self.built.documents + self.count_left().await?,
        };
        self.total = Some(total);
        Ok(IndexProgress {
            index: self.config.name(),
            done: self.built.documents,
            total,
            ready: self.ready,
        })
    }

    fn progress(self) -> Subscription<Result<IndexProgress>> {
        Subscription::new(stream::unfold(Some(self), |building| async move {
            let mut building = building?;
            let item = building.next().await;
            let goes_on = matches!(&item, Ok(progress) if !progress.ready);
            Some((item, Some(building).filter(|_| goes_on)))
        }))
    }

    fn is_ready(&self, number: u32) -> bool {
        let registry = self.database.core().registry();
        registry.index(number).is_some_and(|index| index.is_ready())
    }

    /// Documents that are still to be read.
    async fn count_left(&self) -> Result<u64> {
        let registry = self.database.core().registry();
        let index = self.number.and_then(|number| registry.index(number));
        let Some(index) = index else { return Ok(0) };
        let mut range = keys::documents(index.collection);
        match &index.phase {
            IndexPhase::Building(Some(after)) => range = range.after(after.to_vec()),
            IndexPhase::Building(None) => {}
            IndexPhase::Ready | IndexPhase::Dropping => return Ok(0),
        }
        let mut count = 0;
        loop {
            let storage = &self.database.core().storage;
            let limit = ScanLimit::entries(CHUNK);
            let entries = storage
                .scan(range.clone(), limit, Direction::Forward)
                .await?;
            let Some((last, _)) = entries.last() else {
                return Ok(count);
            };
            count += entries.len() as u64;
            range = range.after(last.clone());
        }
    }
}
