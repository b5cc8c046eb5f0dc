//! Collections: documents and queries.

use std::time::Duration;

use futures_util::StreamExt;
use js_sys::{Array, Promise};
use pocket_core::{Collection, DocumentId, Error, Query, QuerySpec, Result, Value, codes};
use pocket_sync_client::sleep;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::answers;
use crate::encode::{self, Writer};
use crate::error::{self, Told, validation};
use crate::handle::{self, Call, Listeners, RawHandle, RawLive};
use crate::options;
use crate::promise::{answer, bytes, done, number, promise, whole};

/// Documents of one collection.
#[wasm_bindgen]
#[derive(Debug)]
pub struct RawCollection(pub(crate) Collection<Value>);

#[wasm_bindgen]
impl RawCollection {
    /// Its name.
    #[wasm_bindgen(getter)]
    pub fn name(&self) -> String {
        self.0.name().to_string()
    }

    /// Stores a new document and gives its row.
    #[wasm_bindgen(unchecked_return_type = "Promise<Uint8Array>")]
    pub fn insert(&self, document: Vec<u8>) -> Promise {
        let collection = self.0.clone();
        rows(async move {
            let documents = vec![collection.database().split(&document)?];
            first(&collection.insert_bodies(documents).await?)
        })
    }

    /// Stores an array of new documents, all or none, and gives their rows.
    #[wasm_bindgen(js_name = insertMany, unchecked_return_type = "Promise<Uint8Array>")]
    pub fn insert_many(&self, documents: Vec<u8>) -> Promise {
        let collection = self.0.clone();
        rows(async move {
            let documents = collection.database().split_many(&documents)?;
            Ok(encode::rows(&collection.insert_bodies(documents).await?))
        })
    }

    /// Stores a document whether or not there is one, and gives its row.
    #[wasm_bindgen(unchecked_return_type = "Promise<Uint8Array>")]
    pub fn upsert(&self, document: Vec<u8>) -> Promise {
        let collection = self.0.clone();
        rows(async move {
            let documents = vec![collection.database().split(&document)?];
            first(&collection.upsert_bodies(documents).await?)
        })
    }

    /// As `upsert` for an array of documents, all or none.
    #[wasm_bindgen(js_name = upsertMany, unchecked_return_type = "Promise<Uint8Array>")]
    pub fn upsert_many(&self, documents: Vec<u8>) -> Promise {
        let collection = self.0.clone();
        rows(async move {
            let documents = collection.database().split_many(&documents)?;
            Ok(encode::rows(&collection.upsert_bodies(documents).await?))
        })
    }

    /// The row of a document, or nothing when it is missing or deleted.
    #[wasm_bindgen(unchecked_return_type = "Promise<Uint8Array | undefined>")]
    pub fn get(&self, id: String) -> Promise {
        let collection = self.0.clone();
        answer(async move {
            let found = collection.get_document(&id).await?;
            let found = found.filter(|document| !document.is_deleted());
            Ok(found.map_or(JsValue::UNDEFINED, |document| {
                bytes(&encode::row(&document))
            }))
        })
    }

    /// Rows in the order of the ids, with holes.
    #[wasm_bindgen(js_name = getMany, unchecked_return_type = "Promise<Uint8Array>")]
    pub fn get_many(
        &self,
        #[wasm_bindgen(unchecked_param_type = "string[]")] ids: JsValue,
    ) -> Promise {
        let collection = self.0.clone();
        promise(async move {
            let ids = texts(&ids)?;
            let ids = ids.iter().map(|id| DocumentId::new(id));
            let ids = ids.collect::<Result<_>>().told()?;
            let documents = collection.get_documents(ids).await.told()?;
            Ok(bytes(&encode::rows_with_holes(&documents)))
        })
    }

    /// Sets the fields of a patch in a document and gives its row.
    #[wasm_bindgen(unchecked_return_type = "Promise<Uint8Array>")]
    pub fn update(&self, id: String, patch: Vec<u8>) -> Promise {
        let collection = self.0.clone();
        rows(async move {
            let patch = collection.database().split(&patch)?;
            Ok(encode::row(&collection.update_body(&id, patch).await?))
        })
    }

    /// Deletes a document.
    #[wasm_bindgen(unchecked_return_type = "Promise<void>")]
    pub fn delete(&self, id: String) -> Promise {
        let collection = self.0.clone();
        done(async move { collection.delete(&id).await })
    }

    /// Deletes documents, all or none.
    #[wasm_bindgen(js_name = deleteMany, unchecked_return_type = "Promise<void>")]
    pub fn delete_many(
        &self,
        #[wasm_bindgen(unchecked_param_type = "string[]")] ids: JsValue,
    ) -> Promise {
        let collection = self.0.clone();
        promise(async move {
            let ids = texts(&ids)?;
            let deleted = collection.delete_many(ids.iter().map(String::as_str));
            deleted.await.told()?;
            Ok(JsValue::UNDEFINED)
        })
    }

    /// Erases a document for good.
    #[wasm_bindgen(js_name = hardDelete, unchecked_return_type = "Promise<void>")]
    pub fn hard_delete(&self, id: String) -> Promise {
        let collection = self.0.clone();
        done(async move { collection.hard_delete(&id).await })
    }

    /// Deletes all documents and gives how many there were.
    #[wasm_bindgen(unchecked_return_type = "Promise<number>")]
    pub fn clear(&self) -> Promise {
        let collection = self.0.clone();
        answer(async move { collection.clear().await.map(number) })
    }

    /// The rows of a query.
    #[wasm_bindgen(unchecked_return_type = "Promise<Uint8Array>")]
    pub fn find(&self, query: &[u8]) -> Promise {
        let query = self.query(query);
        rows(async move { Ok(encode::rows(&query?.documents().await?)) })
    }

    /// The rows of a query, with the places of the first and the last of them.
    #[wasm_bindgen(unchecked_return_type = "Promise<Uint8Array>")]
    pub fn page(&self, query: &[u8]) -> Promise {
        let query = self.query(query);
        rows(async move {
            let page = query?.page_of_documents().await?;
            let mut to = Writer::default();
            let places = [("start", page.start), ("end", page.end)];
            to.map(1 + places.iter().filter(|(_, place)| place.is_some()).count());
            to.text("rows");
            to.rows(&page.documents);
            for (name, place) in places {
                if let Some(place) = place {
                    to.text(name);
                    to.text(&place.to_string());
                }
            }
            Ok(to.into_bytes())
        })
    }

    /// How many documents a query selects.
    #[wasm_bindgen(unchecked_return_type = "Promise<number>")]
    pub fn count(&self, query: &[u8]) -> Promise {
        let query = self.query(query);
        answer(async move { query?.count().await.map(number) })
    }

    /// The plan of a query, as JSON; with what it costs to run it.
    #[wasm_bindgen(unchecked_return_type = "Promise<string>")]
    pub fn explain(&self, query: &[u8], analyze: bool) -> Promise {
        let query = self.query(query);
        answer(async move {
            let query = query?;
            let plan = if analyze {
                query.analyze().await?
            } else {
                query.explain().await?
            };
            Ok(answers::plan_json(&plan))
        })
    }

    /// Has a listener hear of the changes of this collection from now on.
    ///
    /// # Errors
    /// `validation` if it is no function; so do the others that take one.
    pub fn changes(&self, listener: JsValue) -> error::Result<RawHandle> {
        let listener = handle::function(listener, "the listener")?;
        Ok(handle::listen(self.0.changes().map(move |change| Call {
            listener: listener.clone(),
            value: bytes(&encode::change(&change)),
        })))
    }

    /// Has a listener hear of a document: its row now, and whenever its content changed.
    ///
    /// # Errors
    /// `bad-id`.
    #[wasm_bindgen(js_name = observeById)]
    pub fn observe_by_id(
        &self,
        id: &str,
        listener: JsValue,
        error: JsValue,
    ) -> error::Result<RawHandle> {
        let listeners = listeners(listener, error)?;
        let documents = self.0.observe_document(id).told()?;
        Ok(handle::listen(documents.map(move |document| {
            listeners.call(document.map(|document| {
                document.map_or(JsValue::UNDEFINED, |document| {
                    bytes(&encode::row(&document))
                })
            }))
        })))
    }

    /// Has a listener hear of each step of a live query.
    ///
    /// # Errors
    /// `validation`, `bad-query`.
    pub fn live(
        &self,
        query: &[u8],
        debounce_ms: f64,
        step: JsValue,
        error: JsValue,
    ) -> error::Result<RawLive> {
        let listeners = listeners(step, error)?;
        let mut live = self.query(query).told()?.live();
        if let Some(pause) = pause(debounce_ms)? {
            live = live.debounce(move || sleep(pause));
        }
        Ok(handle::live(live, listeners))
    }

    /// Has a listener hear of how many documents a query selects.
    ///
    /// # Errors
    /// As [`live`](Self::live).
    #[wasm_bindgen(js_name = liveCount)]
    pub fn live_count(
        &self,
        query: &[u8],
        debounce_ms: f64,
        value: JsValue,
        error: JsValue,
    ) -> error::Result<RawLive> {
        let listeners = listeners(value, error)?;
        let mut live = self.query(query).told()?.count().live();
        if let Some(pause) = pause(debounce_ms)? {
            live = live.debounce(move || sleep(pause));
        }
        Ok(handle::live(live, listeners))
    }

    /// Makes an index and waits until it is built.
    #[wasm_bindgen(js_name = createIndex, unchecked_return_type = "Promise<void>")]
    pub fn create_index(&self, config: String) -> Promise {
        let collection = self.0.clone();
        done(async move { collection.create_index(options::read_index(&config)?).await })
    }

    /// Drops an index.
    #[wasm_bindgen(js_name = dropIndex, unchecked_return_type = "Promise<void>")]
    pub fn drop_index(&self, name: String) -> Promise {
        let collection = self.0.clone();
        done(async move { collection.drop_index(&name).await })
    }

    /// Its indexes, as JSON.
    pub fn indexes(&self) -> String {
        answers::indexes_json(&self.0.indexes())
    }
}

impl RawCollection {
    fn query(&self, bytes: &[u8]) -> Result<Query<Value>> {
        Ok(self.0.query(QuerySpec::from_msgpack(bytes)?))
    }
}

fn rows(work: impl Future<Output = Result<Vec<u8>>> + 'static) -> Promise {
    answer(async move { work.await.map(|rows| bytes(&rows)) })
}

fn first(documents: &[pocket_core::Document]) -> Result<Vec<u8>> {
    documents
        .first()
        .map(encode::row)
        .ok_or_else(|| Error::new(codes::CORRUPT, "a write gave no document"))
}

fn listeners(value: JsValue, error: JsValue) -> error::Result<Listeners> {
    Ok(Listeners {
        value: handle::function(value, "the listener")?,
        error: handle::function(error, "the listener for errors")?,
    })
}

fn pause(millis: f64) -> error::Result<Option<Duration>> {
    let millis = whole(millis, "the milliseconds of `debounceMs`")?;
    Ok((millis > 0).then(|| Duration::from_millis(millis)))
}

/// An array of texts.
fn texts(given: &JsValue) -> error::Result<Vec<String>> {
    let wrong = || validation("the ids are no array of texts");
    let given = wasm_bindgen::JsCast::dyn_ref::<Array>(given).ok_or_else(wrong)?;
    let texts = given.iter().map(|one| one.as_string().ok_or_else(wrong));
    texts.collect()
}
