//! Listeners: each is served by one local task, which ends with its handle.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_util::future::{AbortHandle, Abortable};
use futures_util::{Stream, StreamExt};
use js_sys::Function;
use pocket_core::{Error, LiveCount, LiveQuery, Value, codes};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::spawn_local;

use crate::error::{self, thrown};
use crate::{encode, promise};

/// A listener that is told things until its handle is closed or freed.
#[wasm_bindgen]
pub struct RawHandle(AbortHandle);

#[wasm_bindgen]
impl RawHandle {
    /// Ends it: the listener is not called any more, not even if this is called by the listener.
    pub fn close(&self) {
        self.0.abort();
    }
}

impl Drop for RawHandle {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl fmt::Debug for RawHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RawHandle")
            .field(&self.0.is_aborted())
            .finish()
    }
}

/// Tells a listener what a stream gives. What the listener throws is reported, and it goes on hearing.
pub(crate) fn listen(stream: impl Stream<Item = Call> + 'static) -> RawHandle {
    let (abort, registration) = AbortHandle::new_pair();
    let open = abort.clone();
    let mut stream: std::pin::Pin<Box<dyn Stream<Item = Call>>> = Box::pin(stream);
    let work = async move {
        while let Some(Call { listener, value }) = stream.next().await {
            // Nothing is borrowed here: the listener may call whatever it wants to.
            if let Err(thrown) = listener.call1(&JsValue::UNDEFINED, &value) {
                error::report(&thrown);
            }
            if open.is_aborted() {
                return;
            }
        }
    };
    let work = Abortable::new(work, registration);
    spawn_local(async move {
        // What ended the work changes nothing for anybody.
        let _ = work.await;
    });
    RawHandle(abort)
}

/// A call of a listener, with one argument.
pub(crate) struct Call {
    pub(crate) listener: Function,
    pub(crate) value: JsValue,
}

/// Who hears of values, and who of errors.
pub(crate) struct Listeners {
    pub(crate) value: Function,
    pub(crate) error: Function,
}

impl Listeners {
    pub(crate) fn call(&self, told: Result<JsValue, Error>) -> Call {
        let (listener, value) = match told {
            Ok(value) => (&self.value, value),
            Err(refused) => (&self.error, thrown(&refused)),
        };
        Call {
            listener: listener.clone(),
            value,
        }
    }
}

/// A live query, or a count of what it selects.
#[wasm_bindgen]
#[derive(Debug)]
pub struct RawLive {
    handle: RawHandle,
    nudge: Rc<Nudge>,
}

#[wasm_bindgen]
impl RawLive {
    /// Ends it, as [`RawHandle::close`] does.
    pub fn close(&self) {
        self.handle.close();
    }

    /// Has everything read again; the next step tells what is different, if anything is.
    pub fn refresh(&self) {
        self.nudge.wanted.set(true);
        if let Some(waker) = self.nudge.waker.take() {
            waker.wake();
        }
    }
}

/// That somebody wants everything read again. The query itself belongs to its task.
#[derive(Default)]
struct Nudge {
    wanted: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl fmt::Debug for Nudge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Nudge").field(&self.wanted.get()).finish()
    }
}

/// What can be read again, and is a row of values for JavaScript.
pub(crate) trait Live: Unpin + 'static {
    fn refresh(&mut self);
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<JsValue, Error>>>;
}

impl Live for LiveQuery<Value> {
    fn refresh(&mut self) {
        LiveQuery::refresh(self);
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<JsValue, Error>>> {
        self.poll_next_unpin(context).map(|step| {
            step.map(|step| {
                step.map(|step| promise::bytes(&encode::step(step.sequence, &step.changes)))
            })
        })
    }
}

impl Live for LiveCount {
    fn refresh(&mut self) {
        LiveCount::refresh(self);
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<JsValue, Error>>> {
        self.poll_next_unpin(context)
            .map(|count| count.map(|count| count.map(|count| promise::number(count).into())))
    }
}

/// Tells listeners of each step.
pub(crate) fn live(live: impl Live, listeners: Listeners) -> RawLive {
    let nudge = Rc::new(Nudge::default());
    let nudged = Rc::clone(&nudge);
    let mut live: Box<dyn Live> = Box::new(live);
    let steps = futures_util::stream::poll_fn(move |context| {
        if nudged.wanted.take() {
            live.refresh();
        }
        nudged.waker.set(Some(context.waker().clone()));
        live.poll(context)
            .map(|told| told.map(|told| listeners.call(told)))
    });
    RawLive {
        handle: listen(steps),
        nudge,
    }
}

/// What JavaScript gave as a function.
pub(crate) fn function(given: JsValue, what: &str) -> crate::error::Result<Function> {
    given
        .dyn_into()
        .map_err(|_| error::error(codes::VALIDATION, &format!("{what} is no function")))
}
