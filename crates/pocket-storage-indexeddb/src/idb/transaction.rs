//! A transaction over both object stores.

use std::cell::Cell;
use std::fmt;

use bytes::Bytes;
use js_sys::{Array, Function, Object, Reflect, Uint8Array};
use pocket_storage::{Result, StorageError};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{IdbDatabase, IdbKeyRange, IdbObjectStore, IdbRequest, IdbTransaction};

use super::error::{corrupt, of_exception, thrown};
use super::signal::Signal;
use super::{FLUSHED_KEY, FORMAT_KEY, ID_KEY, LAYOUT_KEY, META, PAGES};

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    /// Sees one state.
    Read,
    /// Writes; done when the operating system has the changes.
    Relaxed,
    /// Writes; done when the disk has the changes.
    Strict,
}

/// What a transaction may say while one waits for it.
#[derive(Debug)]
enum News {
    /// The last request of a round succeeded, and so all before it.
    Answered,
    /// Everything written stays.
    Complete,
    /// Nothing written stays.
    Aborted(StorageError),
}

/// A request that was made; it has a result once a later [`Transaction::round`] has passed.
#[derive(Debug)]
pub(crate) struct Request(IdbRequest);

/// An open transaction. If it writes and is dropped before [`commit`](Self::commit), nothing of it stays.
pub(crate) struct Transaction {
    name: String,
    raw: IdbTransaction,
    pages: IdbObjectStore,
    meta: IdbObjectStore,
    mode: Mode,
    ended: Cell<bool>,
    news: Signal<News>,
    on_answer: Closure<dyn FnMut()>,
    // Kept for as long as events may call them.
    _on_complete: Closure<dyn FnMut()>,
    _on_abort: Closure<dyn FnMut()>,
}

impl Transaction {
    /// Begins one. It ends by itself if no request is made before the browser has control again.
    pub(super) fn begin(name: &str, database: &IdbDatabase, mode: Mode) -> Result<Self> {
        let (access, durability) = match mode {
            Mode::Read => ("readonly", "default"),
            Mode::Relaxed => ("readwrite", "relaxed"),
            Mode::Strict => ("readwrite", "strict"),
        };
        let begin = || -> Result<(IdbTransaction, IdbObjectStore, IdbObjectStore), JsValue> {
            let options = Object::new();
            Reflect::set(&options, &"durability".into(), &durability.into())?;
            let stores = Array::of2(&PAGES.into(), &META.into());
            // The bindings of web-sys for a call with options are not stable.
            let function = Reflect::get(database, &"transaction".into())?.dyn_into::<Function>()?;
            let raw = function.call3(database, &stores, &access.into(), &options)?;
            let raw = raw.dyn_into::<IdbTransaction>()?;
            let (pages, meta) = (raw.object_store(PAGES)?, raw.object_store(META)?);
            Ok((raw, pages, meta))
        };
        let (raw, pages, meta) = begin().map_err(|error| thrown(&error))?;
        let news: Signal<News> = Signal::new();
        let tell = news.clone();
        let on_answer = Closure::new(move || tell.set(News::Answered));
        let tell = news.clone();
        let on_complete = Closure::new(move || tell.set(News::Complete));
        let (tell, of) = (news.clone(), raw.clone());
        let on_abort = Closure::new(move || {
            let reason = of.error().map_or_else(
                || StorageError::Backend("the browser ended a transaction without a reason".into()),
                |error| of_exception(&error),
            );
            tell.set(News::Aborted(reason));
        });
        raw.set_oncomplete(Some(on_complete.as_ref().unchecked_ref()));
        raw.set_onabort(Some(on_abort.as_ref().unchecked_ref()));
        Ok(Self {
            name: name.to_owned(),
            raw,
            pages,
            meta,
            mode,
            ended: Cell::new(false),
            news,
            on_answer,
            _on_complete: on_complete,
            _on_abort: on_abort,
        })
    }

    /// What it is for.
    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether something may be asked of it now.
    pub(crate) fn is_active(&self) -> bool {
        // IndexedDB 3.0, `get` of an object store: first it is looked whether the transaction is active, then what the key
        // is, and null is none. So nothing is asked for either way.
        let refused = self.pages.get(&JsValue::NULL).err();
        let refused = refused.and_then(|error| error.dyn_into::<web_sys::DomException>().ok());
        refused.is_some_and(|error| error.name() == "DataError")
    }

    /// Asks for the number of the layout.
    pub(crate) fn layout(&self) -> Result<Request> {
        made(self.meta.get(&LAYOUT_KEY.into()))
    }

    /// Asks for the format of the records.
    pub(super) fn format(&self) -> Result<Request> {
        made(self.meta.get(&FORMAT_KEY.into()))
    }

    /// Asks which database it is.
    pub(super) fn id(&self) -> Result<Request> {
        made(self.meta.get(&ID_KEY.into()))
    }

    /// Asks for the page at a key.
    pub(crate) fn page(&self, lower: &[u8]) -> Result<Request> {
        made(self.pages.get(&bytes_of(lower)))
    }

    /// Asks for the pages from one key to another, both included.
    pub(crate) fn pages(&self, first: &[u8], last: &[u8]) -> Result<Request> {
        let range = IdbKeyRange::bound(&bytes_of(first), &bytes_of(last));
        made(range.and_then(|range| self.pages.get_all_with_key(&range)))
    }

    /// Asks for the keys of all pages.
    pub(crate) fn keys(&self) -> Result<Request> {
        made(self.pages.get_all_keys())
    }

    /// Stores a page. Whether it could is told by [`commit`](Self::commit).
    pub(crate) fn put_page(&self, lower: &[u8], record: &[u8]) -> Result<()> {
        let put = self.pages.put_with_key(&bytes_of(record), &bytes_of(lower));
        made(put).map(drop)
    }

    /// Removes a page.
    pub(crate) fn delete_page(&self, lower: &[u8]) -> Result<()> {
        made(self.pages.delete(&bytes_of(lower))).map(drop)
    }

    /// Stores the number of the layout.
    pub(crate) fn put_layout(&self, layout: u64) -> Result<()> {
        // Exact up to 2^53 changes of pages, which nobody lives to see.
        #[expect(clippy::cast_precision_loss, reason = "see above")]
        let number = JsValue::from_f64(layout as f64);
        made(self.meta.put_with_key(&number, &LAYOUT_KEY.into())).map(drop)
    }

    /// Stores something, so that committing it makes all before it durable.
    pub(crate) fn touch(&self) -> Result<()> {
        let put = self.meta.put_with_key(&JsValue::TRUE, &FLUSHED_KEY.into());
        made(put).map(drop)
    }

    /// Waits until a request and all made before it have their results.
    pub(crate) async fn round(&self, last: &Request) -> Result<()> {
        last.0
            .set_onsuccess(Some(self.on_answer.as_ref().unchecked_ref()));
        let news = self.news.take().await;
        last.0.set_onsuccess(None);
        match news {
            News::Answered => Ok(()),
            News::Aborted(error) => {
                self.ended.set(true);
                Err(error)
            }
            News::Complete => {
                self.ended.set(true);
                Err(StorageError::Backend(
                    "a transaction ended while a request of it was waited for".into(),
                ))
            }
        }
    }

    /// Waits until everything written stays.
    ///
    /// # Errors
    /// Nothing stays.
    pub(crate) async fn commit(self) -> Result<()> {
        // Older browsers do not have it; there the transaction commits because nothing more is asked of it.
        #[expect(deprecated, reason = "the bindings were made when it was a draft")]
        let _ = self.raw.commit();
        loop {
            let news = self.news.take().await;
            self.ended.set(true);
            match news {
                News::Answered => {}
                News::Complete => return Ok(()),
                News::Aborted(error) => return Err(error),
            }
        }
    }

    /// The number of the layout; a store that was never split has none.
    pub(crate) fn layout_in(&self, request: &Request) -> Result<u64> {
        let result = result_of(request)?;
        if result.is_undefined() {
            return Ok(0);
        }
        let number = result.as_f64().filter(|number| {
            number.fract() == 0.0 && (0.0..9_007_199_254_740_992.0).contains(number)
        });
        #[expect(
            clippy::cast_sign_loss,
            reason = "it was just seen to be a whole number that is not negative"
        )]
        number
            .map(|number| number as u64)
            .ok_or_else(|| corrupt(&self.name, "the number of its layout is no number"))
    }

    /// A text, or nothing.
    pub(super) fn text_in(request: &Request) -> Result<Option<String>> {
        Ok(result_of(request)?.as_string())
    }

    /// The record of a page, or nothing.
    pub(crate) fn record_in(&self, request: &Request) -> Result<Option<Bytes>> {
        let result = result_of(request)?;
        if result.is_undefined() {
            return Ok(None);
        }
        self.record(result).map(Some)
    }

    /// The records of pages, in the order of their keys, each to be taken over with [`Transaction::record`].
    pub(crate) fn records_in(request: &Request) -> Result<Vec<JsValue>> {
        Ok(result_of(request)?.unchecked_into::<Array>().to_vec())
    }

    /// The keys of pages, in their order.
    pub(crate) fn keys_in(&self, request: &Request) -> Result<Vec<Bytes>> {
        let result = result_of(request)?.unchecked_into::<Array>();
        let key = |key: JsValue| match key.dyn_ref::<js_sys::ArrayBuffer>() {
            Some(buffer) => Ok(Uint8Array::new(buffer).to_vec().into()),
            None => Err(corrupt(&self.name, "the key of a page is not of bytes")),
        };
        result.iter().map(key).collect()
    }

    /// The bytes of a record, copied out of the browser's memory.
    pub(crate) fn record(&self, value: JsValue) -> Result<Bytes> {
        match value.dyn_into::<Uint8Array>() {
            Ok(array) => Ok(array.to_vec().into()),
            Err(_) => Err(corrupt(&self.name, "a page is not of bytes")),
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        // Events that are still to come must not call what is dropped here.
        self.raw.set_oncomplete(None);
        self.raw.set_onabort(None);
        if self.mode != Mode::Read && !self.ended.get() {
            // It may have ended by itself, because nothing was asked of it.
            let _ = self.raw.abort();
        }
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("name", &self.name)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

fn made(request: Result<IdbRequest, JsValue>) -> Result<Request> {
    request.map(Request).map_err(|error| thrown(&error))
}

fn result_of(request: &Request) -> Result<JsValue> {
    request.0.result().map_err(|error| thrown(&error))
}

fn bytes_of(bytes: &[u8]) -> JsValue {
    Uint8Array::from(bytes).into()
}
