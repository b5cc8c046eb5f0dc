//! The collections of a database.

use std::collections::BTreeMap;
use std::sync::Arc;

use pocket_storage::{Direction, ScanLimit, Storage};

use crate::keys::CollectionId;
use crate::stored::{self, CollectionRow};
use crate::{CollectionName, Error, Result, codes, envelope, keys};

/// All collections by name, shared cheaply.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registry(Arc<Tables>);

#[derive(Clone, Debug, Default)]
struct Tables {
    by_name: BTreeMap<CollectionName, CollectionRow>,
    names: BTreeMap<CollectionId, CollectionName>,
}

impl Registry {
    pub(crate) async fn read(storage: &dyn Storage) -> Result<Self> {
        let mut registry = Self::default();
        let mut range = keys::collections();
        loop {
            let entries = storage
                .scan(range.clone(), ScanLimit::entries(1_000), Direction::Forward)
                .await?;
            let Some((last, _)) = entries.last() else {
                return Ok(registry);
            };
            range = range.after(last.clone());
            for (key, value) in &entries {
                let row: CollectionRow = stored::decode(&envelope::open(key, value)?)?;
                let name = std::str::from_utf8(&key[1..]).map_err(stored::damaged)?;
                registry.insert(CollectionName::new(name)?, row);
            }
        }
    }

    pub(crate) fn insert(&mut self, name: CollectionName, row: CollectionRow) {
        let tables = Arc::make_mut(&mut self.0);
        tables.names.insert(row.id(), name.clone());
        tables.by_name.insert(name, row);
    }

    /// The collection, unless it was deleted.
    pub(crate) fn get(&self, name: &CollectionName) -> Option<&CollectionRow> {
        self.0.by_name.get(name).filter(|row| !row.dropped)
    }

    /// The collection, also when it was deleted.
    pub(crate) fn get_even_dropped(&self, name: &CollectionName) -> Option<&CollectionRow> {
        self.0.by_name.get(name)
    }

    /// The collections that are there in one of the two and not in the other.
    pub(crate) fn switched_since(&self, before: &Self) -> Vec<CollectionName> {
        if Arc::ptr_eq(&self.0, &before.0) {
            return Vec::new();
        }
        let names = self.0.by_name.keys();
        names
            .filter(|name| self.get(name).is_some() != before.get(name).is_some())
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

pub(crate) fn not_found(name: &CollectionName) -> Error {
    Error::new(
        codes::COLLECTION_NOT_FOUND,
        format!(
            "there is no collection `{name}`; configure it when the database is opened, or create it"
        ),
    )
}
