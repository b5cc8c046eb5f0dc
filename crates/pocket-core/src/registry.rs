//! The collections of a database.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::try_join;
use pocket_storage::ordered::BTreeMap;
use pocket_storage::{Direction, Entry, KeyRange, ScanLimit, Storage};

use crate::damage;
use crate::expire::Expiry;
use crate::index::Index;
use crate::keys::CollectionId;
use crate::stored::{self, CollectionRow};
use crate::{CollectionName, Error, Result, Ttl, codes, envelope, keys};

/// All collections by name, shared cheaply.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registry(Arc<Tables>);

#[derive(Clone, Debug, Default)]
struct Tables {
    by_name: BTreeMap<CollectionName, CollectionRow>,
    names: BTreeMap<CollectionId, CollectionName>,
    /// All indexes by number, those that are being removed too.
    indexes: BTreeMap<u32, Arc<Index>>,
    /// Those that are kept up to date.
    live: BTreeMap<CollectionId, Arc<[Arc<Index>]>>,
    /// How long documents live, where they do not live for ever.
    expiries: BTreeMap<CollectionId, Arc<Expiry>>,
}

impl Registry {
    /// Reads it. All that an index holds can be made again, so one whose definition is damaged is one that is being
    /// removed; what is damaged of a collection cannot be known otherwise.
    pub(crate) async fn read(storage: &dyn Storage) -> Result<Self> {
        let collections = all_of(storage, keys::collections());
        let indexes = all_of(storage, keys::indexes());
        let (collections, indexes) = try_join(collections, indexes).await?;
        let mut registry = Self::default();
        for (key, value) in &collections {
            registry.insert_entry(key, value)?;
        }
        for (key, value) in &indexes {
            let index = damage::unless_damaged(Index::of_entry(key, value))?;
            registry.insert_index(index.map_or_else(|| Index::lost(key), Ok)?);
        }
        Ok(registry)
    }

    /// Adds a collection as it is stored.
    fn insert_entry(&mut self, key: &[u8], value: &Bytes) -> Result<()> {
        let row: CollectionRow = stored::decode(&envelope::open(key, value)?)?;
        let name = std::str::from_utf8(key.get(1..).unwrap_or_default());
        let name = name.map_err(stored::damaged)?;
        if let Some(ttl) = &row.later.ttl {
            Expiry::new(Ttl::of_row(ttl)).map_err(stored::damaged)?;
        }
        self.insert(CollectionName::new(name)?, row);
        Ok(())
    }

    /// Takes in what is stored of a collection or an index from now on; without a value, the index is no more.
    pub(crate) fn set_entry(&mut self, key: &[u8], value: Option<&Bytes>) -> Result<()> {
        let is_index = keys::is_index(key);
        match value {
            Some(value) if is_index => self.insert_index(Index::of_entry(key, value)?),
            Some(value) => self.insert_entry(key, value)?,
            None => match keys::index_number(key).filter(|_| is_index) {
                Some(number) => self.remove_index(number),
                None => return Err(stored::damaged("a collection was removed for good")),
            },
        }
        Ok(())
    }

    /// Adds an index, or replaces the one of its number.
    pub(crate) fn insert_index(&mut self, index: Index) {
        let (number, collection) = (index.number, index.collection);
        let tables = Arc::make_mut(&mut self.0);
        tables.indexes.insert(number, Arc::new(index));
        tables.sort_out(collection);
    }

    /// Forgets an index.
    pub(crate) fn remove_index(&mut self, number: u32) {
        let tables = Arc::make_mut(&mut self.0);
        if let Some(index) = tables.indexes.remove(&number) {
            tables.sort_out(index.collection);
        }
    }

    /// The index of this number, also one that is being removed.
    pub(crate) fn index(&self, number: u32) -> Option<&Arc<Index>> {
        self.0.indexes.get(&number)
    }

    /// All indexes by number, also those that are being removed.
    pub(crate) fn all_indexes(&self) -> impl DoubleEndedIterator<Item = &Arc<Index>> {
        self.0.indexes.values()
    }

    /// The indexes of a collection that are kept up to date, built or not; none when it has none.
    pub(crate) fn live_indexes(&self, collection: CollectionId) -> Option<&Arc<[Arc<Index>]>> {
        self.0.live.get(&collection)
    }

    /// The indexes of a collection that queries may use.
    pub(crate) fn ready_indexes(
        &self,
        collection: CollectionId,
    ) -> impl Iterator<Item = &Arc<Index>> {
        self.shown_indexes(collection)
            .filter(|index| index.is_ready())
    }

    /// Adds a collection, or gives it other settings. Its time to live was checked.
    pub(crate) fn insert(&mut self, name: CollectionName, row: CollectionRow) {
        let ttl = row.later.ttl.as_ref().filter(|_| !row.dropped);
        let expiry = ttl.and_then(|ttl| Expiry::new(Ttl::of_row(ttl)).ok());
        let tables = Arc::make_mut(&mut self.0);
        match expiry {
            Some(expiry) => drop(tables.expiries.insert(row.id(), Arc::new(expiry))),
            None => drop(tables.expiries.remove(&row.id())),
        }
        tables.names.insert(row.id(), name.clone());
        tables.by_name.insert(name, row);
    }

    /// When the documents of a collection expire; none if they never do.
    pub(crate) fn expiry(&self, collection: CollectionId) -> Option<&Arc<Expiry>> {
        self.0.expiries.get(&collection)
    }

    /// The collections with documents that expire.
    pub(crate) fn expiring(&self) -> impl Iterator<Item = CollectionId> {
        self.0.expiries.keys().copied()
    }

    /// As [`expiring`](Self::expiring), those without the hidden index that they should have.
    pub(crate) fn expiring_without_index(&self) -> impl Iterator<Item = (CollectionId, &Expiry)> {
        let expiries = self.0.expiries.iter();
        expiries
            .map(|(collection, expiry)| (*collection, &**expiry))
            .filter(|(collection, _)| self.expiry_index(*collection).is_none())
    }

    /// The hidden index by which expired documents of a collection are found.
    pub(crate) fn expiry_index(&self, collection: CollectionId) -> Option<&Arc<Index>> {
        let live = self.live_indexes(collection)?;
        live.iter().find(|index| index.is_hidden())
    }

    /// The indexes of a collection that applications know of, built or not.
    pub(crate) fn shown_indexes(
        &self,
        collection: CollectionId,
    ) -> impl Iterator<Item = &Arc<Index>> {
        let live = self.live_indexes(collection).into_iter();
        live.flat_map(|indexes| indexes.iter())
            .filter(|index| !index.is_hidden())
    }

    /// The collection, unless it was deleted.
    pub(crate) fn get(&self, name: &CollectionName) -> Option<&CollectionRow> {
        self.0.by_name.get(name).filter(|row| !row.dropped)
    }

    /// The collection, also when it was deleted.
    pub(crate) fn get_even_dropped(&self, name: &CollectionName) -> Option<&CollectionRow> {
        self.0.by_name.get(name)
    }

    /// The collections that are there in one of the two and not in the other, or whose documents live another time.
    pub(crate) fn switched_since(&self, before: &Self) -> Vec<CollectionName> {
        if Arc::ptr_eq(&self.0, &before.0) {
            return Vec::new();
        }
        let names = self.0.by_name.keys();
        names
            .filter(|name| {
                let ttl = |row: Option<&CollectionRow>| row.map(|row| row.later.ttl.clone());
                ttl(self.get(name)) != ttl(before.get(name))
            })
            .cloned()
            .collect()
    }

    pub(crate) fn existing(&self, name: &CollectionName) -> Result<CollectionRow> {
        self.get(name).cloned().ok_or_else(|| not_found(name))
    }

    pub(crate) fn name(&self, id: CollectionId) -> Result<CollectionName> {
        self.0
            .names
            .get(&id)
            .cloned()
            .ok_or_else(|| stored::damaged("a change names an unknown collection"))
    }

    /// The collection that has this number, and its name.
    pub(crate) fn row(&self, id: CollectionId) -> Option<(CollectionName, CollectionRow)> {
        let name = self.0.names.get(&id)?;
        Some((name.clone(), self.0.by_name.get(name)?.clone()))
    }

    /// Whether a collection syncs. One that was deleted does until the server has heard of it.
    pub(crate) fn syncs(&self, id: CollectionId) -> bool {
        let name = self.0.names.get(&id);
        name.and_then(|name| self.0.by_name.get(name))
            .is_some_and(|row| row.sync)
    }

    /// All there ever were, by name.
    pub(crate) fn iter_even_dropped(
        &self,
    ) -> impl Iterator<Item = (&CollectionName, &CollectionRow)> {
        self.0.by_name.iter()
    }

    /// All that were not deleted, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&CollectionName, &CollectionRow)> {
        self.0.by_name.iter().filter(|(_, row)| !row.dropped)
    }
}

impl Tables {
    /// Brings the list of a collection's live indexes up to date.
    fn sort_out(&mut self, collection: CollectionId) {
        let live = self.indexes.values();
        let live = live.filter(|index| index.collection == collection && index.is_live());
        let live: Arc<[_]> = live.cloned().collect();
        if live.is_empty() {
            self.live.remove(&collection);
        } else {
            self.live.insert(collection, live);
        }
    }
}

/// All entries of a range that has few.
async fn all_of(storage: &dyn Storage, mut range: KeyRange) -> Result<Vec<Entry>> {
    // Most have so few that no other thread need be asked, which opening would wait for.
    let mut limit = ScanLimit::SHORT;
    let mut all = Vec::new();
    loop {
        let entries = storage
            .scan(range.clone(), limit, Direction::Forward)
            .await?;
        let more = limit.is_reached_by(&entries);
        limit = ScanLimit::entries(1_000);
        all.extend(entries);
        match all.last() {
            Some((last, _)) if more => range = range.after(last.clone()),
            _ => return Ok(all),
        }
    }
}

pub(crate) fn not_found(name: &CollectionName) -> Error {
    Error::new(
        codes::COLLECTION_NOT_FOUND,
        format!("there is no collection `{name}`; create it first"),
    )
}
