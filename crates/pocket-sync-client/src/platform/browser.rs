//! Tasks and timers of a JavaScript event loop: that of a page, of a worker, or of Node.

use std::cell::RefCell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::future::{AbortHandle, abortable, select};
use futures_util::{FutureExt, future::Either};
use js_sys::{Function, Reflect};
use tokio::sync::oneshot;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::spawn_local;
pub(crate) use web_time::Instant;

/// The longest time that `setTimeout` takes: the milliseconds of a signed integer of 32 bits.
const LONGEST: u32 = i32::MAX.unsigned_abs();

/// A task that runs by itself; dropping the handle lets it go on.
#[derive(Debug)]
pub(crate) struct Task<T> {
    abort: AbortHandle,
    done: oneshot::Receiver<T>,
}

/// Why a task has no outcome.
#[derive(Debug)]
pub(crate) struct Aborted;

impl fmt::Display for Aborted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it was ended")
    }
}

/// Begins a task. It runs whenever nothing else does, for the first time after the caller has returned.
pub(crate) fn spawn<F>(future: F) -> Task<F::Output>
where
    F: Future + 'static,
{
    let (tell, done) = oneshot::channel();
    let (future, abort) = abortable(future);
    spawn_local(async move {
        if let Ok(output) = future.await {
            // The handle may have been dropped.
            let _ = tell.send(output);
        }
    });
    Task { abort, done }
}

impl<T> Task<T> {
    /// Drops what the task does, at its next turn.
    pub(crate) fn abort(&self) {
        self.abort.abort();
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, Aborted>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.done
            .poll_unpin(context)
            .map(|done| done.map_err(|_| Aborted))
    }
}

/// Waits for a time to come, by a `setTimeout` that is cleared when this is dropped.
#[derive(Debug)]
pub struct Sleep {
    at: Instant,
    timer: Option<Timer>,
}

/// Waits for a while, however long it is: in a page, a worker or Node, where tokio has no timers.
pub fn sleep(duration: Duration) -> Sleep {
    sleep_until(Instant::now() + duration)
}

/// Waits for a time to come.
pub(crate) fn sleep_until(at: Instant) -> Sleep {
    Sleep { at, timer: None }
}

impl Sleep {
    /// Waits for another time instead.
    pub(crate) fn reset(mut self: Pin<&mut Self>, at: Instant) {
        self.at = at;
        self.timer = None;
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let left = self.at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.timer = None;
                return Poll::Ready(());
            }
            let timer = self.timer.get_or_insert_with(|| Timer::new(left));
            // A timer may come early, by rounding or since it cannot wait as long.
            if timer.poll(context).is_pending() {
                return Poll::Pending;
            }
            self.timer = None;
        }
    }
}

/// The time was over first.
#[derive(Debug)]
pub(crate) struct Elapsed;

/// The outcome of a future, unless it takes longer than `duration`.
pub(crate) async fn timeout<F: Future>(
    duration: Duration,
    future: F,
) -> Result<F::Output, Elapsed> {
    match select(std::pin::pin!(future), sleep(duration)).await {
        Either::Left((output, _)) => Ok(output),
        Either::Right(((), _)) => Err(Elapsed),
    }
}

/// A `setTimeout`, cleared when it is dropped.
///
/// A promise would have been shorter, but one that never resolves is never freed.
#[derive(Debug)]
struct Timer {
    id: JsValue,
    fired: Rc<RefCell<Fired>>,
    /// What the platform calls, which it does not once the timer is cleared.
    _callback: Closure<dyn FnMut()>,
}

#[derive(Debug)]
enum Fired {
    Not(Option<Waker>),
    Yes,
}

impl Timer {
    fn new(left: Duration) -> Self {
        // Rounded up: a timer that fires a moment early is set a second time.
        let millis = left.as_micros().div_ceil(1_000);
        let millis = u32::try_from(millis).unwrap_or(LONGEST).min(LONGEST);
        let fired = Rc::new(RefCell::new(Fired::Not(None)));
        let callback = {
            let fired = fired.clone();
            Closure::<dyn FnMut()>::new(move || {
                if let Fired::Not(Some(waker)) = fired.replace(Fired::Yes) {
                    waker.wake();
                }
            })
        };
        let id = call("setTimeout", &[callback.as_ref(), &JsValue::from(millis)]);
        Self {
            id,
            fired,
            _callback: callback,
        }
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut fired = self.fired.borrow_mut();
        if matches!(*fired, Fired::Yes) {
            return Poll::Ready(());
        }
        *fired = Fired::Not(Some(context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        call("clearTimeout", &[&self.id]);
    }
}

/// Calls a function of the global object. Every event loop has those for timers.
fn call(name: &str, arguments: &[&JsValue]) -> JsValue {
    let arguments: js_sys::Array = arguments.iter().copied().collect();
    Reflect::get(&js_sys::global(), &JsValue::from(name))
        .and_then(JsCast::dyn_into::<Function>)
        .and_then(|function| function.apply(&JsValue::UNDEFINED, &arguments))
        .unwrap_or_default()
}

/// A number that differs from engine to engine. Nothing depends on it but the jitter.
pub(crate) fn seed() -> u64 {
    js_sys::Math::random().to_bits()
}
