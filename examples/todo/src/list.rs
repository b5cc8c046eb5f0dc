//! The list: what is stored, and what can be done with it.

use pocket_core::storage::Storage;
use pocket_core::{
    Collection, CollectionConfig, Database, Error, IndexConfig, Order, Query, Result, codes,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Something to do.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Todo {
    /// Made by the database, rising with time: by it, the list is in the order in which it was written.
    #[serde(rename = "_id")]
    pub(crate) id: Option<String>,
    pub(crate) title: String,
    pub(crate) done: bool,
}

/// A list in a database.
pub(crate) struct List {
    todos: Collection<Todo>,
}

impl List {
    /// Opens the list in this store, and makes it if there is none.
    pub(crate) async fn open(storage: impl Storage) -> Result<Self> {
        let todos = CollectionConfig::new("todos")
            .sync(true)
            .index(IndexConfig::new("done"));
        let database = Database::builder("todo")
            .collection(todos)
            .open(storage)
            .await?;
        Ok(Self {
            todos: database.collection("todos")?,
        })
    }

    pub(crate) fn database(&self) -> &Database {
        self.todos.database()
    }

    /// What is open first, then what is done, each in the order in which it was written.
    pub(crate) fn all(&self) -> Query<Todo> {
        self.todos.find().sort("done", Order::Ascending)
    }

    pub(crate) async fn add(&self, title: &str) -> Result<()> {
        let todo = Todo {
            id: None,
            title: title.to_owned(),
            done: false,
        };
        self.todos.insert(&todo).await?;
        Ok(())
    }

    pub(crate) async fn set_done(&self, number: usize, done: bool) -> Result<()> {
        let id = self.id(number).await?;
        // Only this field: what another device does to the title meanwhile is not undone by strategies that merge.
        self.todos.update(&id, &json!({ "done": done })).await?;
        Ok(())
    }

    pub(crate) async fn remove(&self, number: usize) -> Result<()> {
        let id = self.id(number).await?;
        self.todos.delete(&id).await
    }

    /// The id of what is shown under a number, which counts from 1.
    async fn id(&self, number: usize) -> Result<String> {
        let found = match number.checked_sub(1) {
            Some(before) => self.all().skip(before).first().await?,
            None => None,
        };
        found.and_then(|todo| todo.id).ok_or_else(|| {
            Error::new(
                codes::DOCUMENT_NOT_FOUND,
                format!("there is no number {number}; `list` shows them"),
            )
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use pocket_storage_memory::MemoryStorage;

    use super::*;

    async fn titles(list: &List) -> Vec<(String, bool)> {
        let all = list.all().all().await.unwrap();
        all.into_iter()
            .map(|todo| (todo.title, todo.done))
            .collect()
    }

    #[tokio::test]
    async fn what_is_done_stands_behind_what_is_open() {
        let list = List::open(MemoryStorage::new()).await.unwrap();
        for title in ["one", "two", "three"] {
            list.add(title).await.unwrap();
        }
        list.set_done(1, true).await.unwrap();
        let entry = |title: &str, done| (title.to_owned(), done);
        assert_eq!(
            titles(&list).await,
            [
                entry("two", false),
                entry("three", false),
                entry("one", true)
            ]
        );

        list.remove(2).await.unwrap();
        list.set_done(2, false).await.unwrap();
        assert_eq!(
            titles(&list).await,
            [entry("one", false), entry("two", false)]
        );
    }

    #[tokio::test]
    async fn a_number_that_is_not_shown_is_not_found_and_changes_nothing() {
        let list = List::open(MemoryStorage::new()).await.unwrap();
        list.add("one").await.unwrap();
        for number in [0, 2] {
            let error = list.remove(number).await.unwrap_err();
            assert_eq!(error.code(), codes::DOCUMENT_NOT_FOUND);
        }
        assert_eq!(titles(&list).await.len(), 1);
    }
}
