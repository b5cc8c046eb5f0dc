//! Opening, closing and deleting a database.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use js_sys::{Function, Reflect};
use pocket_storage::{Result, StorageError};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{
    Event, IdbDatabase, IdbFactory, IdbOpenDbRequest, IdbRequest, IdbVersionChangeEvent,
};

use super::error::{corrupt, of_exception, thrown};
use super::signal::Signal;
use super::transaction::{Mode, Transaction};
use super::{FORMAT, FORMAT_KEY, ID_KEY, META, PAGES, VERSION};
use crate::classify::blocked;

/// Why a connection ended although nobody here closed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Somebody deletes the database.
    Deleted,
    /// Somebody opens it with a newer version.
    Upgraded,
    /// The browser gave it up.
    Lost,
}

/// What to do about a database that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Make it.
    Make,
    /// Say that it is gone.
    Gone,
}

/// A connection. It is closed when this is dropped, and whenever somebody wants to delete or upgrade the database.
pub(crate) struct Database {
    name: String,
    /// Made with the database: one that is made anew under the same name has another.
    id: String,
    raw: IdbDatabase,
    end: Rc<Cell<Option<End>>>,
    _on_version_change: Closure<dyn FnMut(Event)>,
    _on_close: Closure<dyn FnMut()>,
}

/// What a request to open or delete says.
enum News {
    Done,
    Failed,
    /// It waits for other connections to close, and they do not.
    Blocked,
}

impl Database {
    /// Opens it. `None` if it does not exist and is not to be made.
    pub(crate) async fn open(name: &str, missing: Missing) -> Result<Option<Self>> {
        let request = factory()?.open_with_u32(name, VERSION);
        let request = request.map_err(|error| thrown(&error))?;
        let gone = Rc::new(Cell::new(false));
        let (of, is_gone) = (request.clone(), Rc::clone(&gone));
        let on_upgrade = Closure::<dyn FnMut(IdbVersionChangeEvent)>::new(
            move |event: IdbVersionChangeEvent| {
                let is_new = event.old_version() == 0.0;
                if is_new && missing == Missing::Gone {
                    is_gone.set(true);
                }
                let keep = is_new && missing == Missing::Make && make(&of).is_ok();
                if !keep && let Some(transaction) = of.transaction() {
                    // Then the request fails, and nothing was made.
                    let _ = transaction.abort();
                }
            },
        );
        request.set_onupgradeneeded(Some(on_upgrade.as_ref().unchecked_ref()));
        match answered(&request, name).await {
            Err(_) if gone.get() => return Ok(None),
            Err(error) => return Err(error),
            Ok(()) => {}
        }
        request.set_onupgradeneeded(None);
        let result = request.result().map_err(|error| thrown(&error))?;
        let mut database = Self::around(name, result.unchecked_into());
        database.id = database.check().await?;
        Ok(Some(database))
    }

    fn around(name: &str, raw: IdbDatabase) -> Self {
        let end: Rc<Cell<Option<End>>> = Rc::default();
        let (ends, of) = (Rc::clone(&end), raw.clone());
        let on_version_change = Closure::<dyn FnMut(Event)>::new(move |event: Event| {
            let event = event.unchecked_into::<IdbVersionChangeEvent>();
            let why = match event.new_version() {
                None => End::Deleted,
                Some(_) => End::Upgraded,
            };
            ends.set(Some(why));
            // What is under way is finished first; the other side waits for that.
            of.close();
        });
        let ends = Rc::clone(&end);
        let on_close = Closure::<dyn FnMut()>::new(move || ends.set(Some(End::Lost)));
        raw.set_onversionchange(Some(on_version_change.as_ref().unchecked_ref()));
        raw.set_onclose(Some(on_close.as_ref().unchecked_ref()));
        Self {
            name: name.to_owned(),
            id: String::new(),
            raw,
            end,
            _on_version_change: on_version_change,
            _on_close: on_close,
        }
    }

    /// Why it is over, if it is.
    pub(crate) fn end(&self) -> Option<End> {
        self.end.get()
    }

    /// Whether it is the same database, not one that was made anew under its name.
    pub(crate) fn is_the_same_as(&self, other: &Self) -> bool {
        self.id == other.id
    }

    /// Begins a transaction.
    pub(crate) fn begin(&self, mode: Mode) -> Result<Transaction> {
        let begun = Transaction::begin(&self.name, &self.raw, mode);
        if matches!(begun, Err(StorageError::Closed)) && self.end.get().is_none() {
            // Nobody here closes what is in use: the browser gave it up, and has not told so yet.
            self.end.set(Some(End::Lost));
            return Err(StorageError::Backend(format!(
                "the browser closed the connection to {:?}; the next call opens it again",
                self.name
            )));
        }
        begun
    }

    /// Waits until every transaction that was begun has ended: only then does closing release anything.
    pub(crate) async fn settle(&self) -> Result<()> {
        let transaction = self.begin(Mode::Relaxed)?;
        // One that writes begins behind all others, and this request is answered when it has begun.
        let last = transaction.layout()?;
        transaction.round(&last).await?;
        transaction.commit().await
    }

    /// Makes sure that it is a store of this format, and reads which one.
    async fn check(&self) -> Result<String> {
        let stores = self.raw.object_store_names();
        if !stores.contains(PAGES) || !stores.contains(META) {
            return Err(corrupt(
                &self.name,
                "this database is not a store of Pocket",
            ));
        }
        let transaction = self.begin(Mode::Read)?;
        let (format, id) = (transaction.format()?, transaction.id()?);
        transaction.round(&id).await?;
        match Transaction::text_in(&format)? {
            Some(format) if format == FORMAT => Transaction::text_in(&id)?
                .ok_or_else(|| corrupt(&self.name, "it does not say which store it is")),
            Some(format) => {
                let what = format!("its format is {format}, this code reads {FORMAT}");
                Err(corrupt(&self.name, &what))
            }
            None => Err(corrupt(&self.name, "it does not say of which format it is")),
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.raw.set_onversionchange(None);
        self.raw.set_onclose(None);
        self.raw.close();
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("name", &self.name)
            .field("end", &self.end.get())
            .finish_non_exhaustive()
    }
}

/// Deletes a database; nothing happens if there is none.
pub(crate) async fn delete(name: &str) -> Result<()> {
    let request = factory()?.delete_database(name);
    let request = request.map_err(|error| thrown(&error))?;
    answered(&request, name).await
}

/// Makes the object stores, within the request to open.
fn make(request: &IdbOpenDbRequest) -> Result<(), JsValue> {
    let database = request.result()?.unchecked_into::<IdbDatabase>();
    database.create_object_store(PAGES)?;
    let meta = database.create_object_store(META)?;
    meta.put_with_key(&FORMAT.into(), &FORMAT_KEY.into())?;
    meta.put_with_key(&any_id().into(), &ID_KEY.into())?;
    Ok(())
}

/// An id that no other database has had under the same name; nobody has to be unable to guess it.
fn any_id() -> String {
    let half = || js_sys::Math::random().to_bits();
    format!("{:016x}{:016x}", half(), half())
}

/// The factory of a window or a worker.
fn factory() -> Result<IdbFactory> {
    let found = Reflect::get(&js_sys::global(), &"indexedDB".into());
    let found = found.map_err(|error| thrown(&error))?;
    if found.is_undefined() || found.is_null() {
        return Err(blocked("there is no indexedDB"));
    }
    Ok(found.unchecked_into())
}

/// Waits for the answer to a request to open or delete.
async fn answered(request: &IdbOpenDbRequest, name: &str) -> Result<()> {
    let news: Signal<News> = Signal::new();
    let on = |what: fn() -> News| {
        let news = news.clone();
        Closure::<dyn FnMut()>::new(move || news.set(what()))
    };
    let (on_success, on_error) = (on(|| News::Done), on(|| News::Failed));
    let waits = news.clone();
    let on_blocked = Closure::<dyn FnMut()>::new(move || {
        let waits = waits.clone();
        later(move || waits.set(News::Blocked));
    });
    request.set_onsuccess(Some(on_success.as_ref().unchecked_ref()));
    request.set_onerror(Some(on_error.as_ref().unchecked_ref()));
    request.set_onblocked(Some(on_blocked.as_ref().unchecked_ref()));
    let answer = news.take().await;
    request.set_onsuccess(None);
    request.set_onerror(None);
    request.set_onblocked(None);
    match answer {
        News::Done => Ok(()),
        News::Failed => Err(failure(request)),
        News::Blocked => {
            give_back_when_it_opens(request);
            Err(StorageError::InUse {
                path: name.to_owned(),
                holder: None,
            })
        }
    }
}

/// How long somebody who was told to let go may take to finish what is under way, in milliseconds.
const GRACE_MS: u32 = 1_000;

/// Calls `what` after a while; at once where there is no timer.
fn later(what: impl FnOnce() + 'static) {
    let what = Closure::once_into_js(what);
    let global = js_sys::global();
    let set_timeout = Reflect::get(&global, &"setTimeout".into());
    let called = set_timeout
        .and_then(JsCast::dyn_into::<Function>)
        .and_then(|set_timeout| set_timeout.call2(&global, &what, &GRACE_MS.into()));
    if called.is_err() {
        let _ = what.unchecked_ref::<Function>().call0(&JsValue::NULL);
    }
}

fn failure(request: &IdbRequest) -> StorageError {
    match request.error() {
        Ok(Some(error)) => of_exception(&error),
        Ok(None) => StorageError::Backend("a request failed without a reason".into()),
        Err(error) => thrown(&error),
    }
}

/// A request that is blocked cannot be taken back. Nobody waits for it any more, so what it opens one day is closed, and
/// what it would make is not made.
fn give_back_when_it_opens(request: &IdbOpenDbRequest) {
    let of = request.clone();
    let on_upgrade = Closure::once_into_js(move || {
        if let Some(transaction) = of.transaction() {
            let _ = transaction.abort();
        }
    });
    request.set_onupgradeneeded(Some(on_upgrade.unchecked_ref()));
    let of = request.clone();
    let on_success = Closure::once_into_js(move || {
        let opened = of.result().ok();
        if let Some(database) = opened.and_then(|value| value.dyn_into::<IdbDatabase>().ok()) {
            database.close();
        }
    });
    request.set_onsuccess(Some(on_success.unchecked_ref()));
}
