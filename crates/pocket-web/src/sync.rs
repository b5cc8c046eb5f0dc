//! The sync engine of a database.

use futures_util::{StreamExt, stream};
use js_sys::{Function, Object, Promise, Reflect, Uint8Array};
use pocket_core::replica::Conflict;
use pocket_core::{Body, Subscription, Value};
use pocket_sync_client::{AuthReason, Resolved, SyncConfig, SyncEngine, SyncError};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use crate::answers;
use crate::database::RawDatabase;
use crate::encode::{self, Writer};
use crate::error::{Result, Told, error, validation};
use crate::handle::{self, Call, RawHandle};
use crate::migrations::text;
use crate::options;
use crate::promise::{bytes, number, promise};

/// Keeps a database in step with a server.
#[wasm_bindgen]
#[derive(Debug)]
pub struct RawSync(SyncEngine);

impl<T> Told<T> for Result<T, SyncError> {
    fn told(self) -> Result<T> {
        self.map_err(|refused| error(refused.code(), refused.message()))
    }
}

#[wasm_bindgen]
impl RawSync {
    /// An engine for a database. Nothing happens before `start`.
    ///
    /// Options are JSON with the names of `SyncConfig`; hooks are functions, which may give promises: `token(reason)` and
    /// `resolve`, which has one for all collections, `*`, or ones by their names.
    ///
    /// # Errors
    /// `config`, and `validation` if a hook is no function.
    #[wasm_bindgen(constructor)]
    pub fn new(database: &RawDatabase, options: &str, hooks: &JsValue) -> Result<Self> {
        let config = options::read_sync(options).told()?;
        let config = with_hooks(config, hooks)?;
        Ok(Self(SyncEngine::new(database.database(), config)))
    }

    /// Begins to sync, and goes on until `stop`.
    #[wasm_bindgen(unchecked_return_type = "Promise<void>")]
    pub fn start(&self) -> Promise {
        let engine = self.0.clone();
        done(async move { engine.start().await })
    }

    /// Ends the connection and stays as it is.
    #[wasm_bindgen(unchecked_return_type = "Promise<void>")]
    pub fn stop(&self) -> Promise {
        let engine = self.0.clone();
        done(async move { engine.stop().await })
    }

    /// Stops for good.
    #[wasm_bindgen(unchecked_return_type = "Promise<void>")]
    pub fn destroy(&self) -> Promise {
        let engine = self.0.clone();
        done(async move {
            engine.destroy().await;
            Ok(())
        })
    }

    /// Makes a complete pass.
    #[wasm_bindgen(js_name = forceSync, unchecked_return_type = "Promise<void>")]
    pub fn force_sync(&self) -> Promise {
        let engine = self.0.clone();
        done(async move { engine.force_sync().await })
    }

    /// Settles what is in the outbox.
    #[wasm_bindgen(unchecked_return_type = "Promise<void>")]
    pub fn push(&self) -> Promise {
        let engine = self.0.clone();
        done(async move { engine.push().await })
    }

    /// Reads what the server has.
    #[wasm_bindgen(unchecked_return_type = "Promise<void>")]
    pub fn pull(&self) -> Promise {
        let engine = self.0.clone();
        done(async move { engine.pull().await })
    }

    /// Says who this is from now on.
    #[wasm_bindgen(js_name = setAuthToken, unchecked_return_type = "Promise<void>")]
    pub fn set_auth_token(&self, token: Option<String>) -> Promise {
        let engine = self.0.clone();
        done(async move { engine.set_auth_token(token.as_deref()).await })
    }

    /// Has a listener hear how everything stands: now, and whenever that changes; as JSON.
    ///
    /// # Errors
    /// `validation` if it is no function.
    pub fn watch(&self, listener: JsValue) -> Result<RawHandle> {
        let listener = handle::function(listener, "the listener")?;
        let engine = self.0.clone();
        let moved: [Subscription<()>; 3] = [
            Subscription::new(engine.status().map(drop)),
            Subscription::new(engine.stats().map(drop)),
            Subscription::new(engine.progress().map(drop)),
        ];
        let mut last = String::new();
        let snapshots = stream::select_all(moved).filter_map(move |()| {
            let snapshot = snapshot_of(&engine);
            let is_new = snapshot != last;
            last.clone_from(&snapshot);
            let call = is_new.then(|| Call {
                listener: listener.clone(),
                value: snapshot.into(),
            });
            std::future::ready(call)
        });
        Ok(handle::listen(snapshots))
    }

    /// How everything stands at this moment, as JSON.
    pub fn snapshot(&self) -> String {
        snapshot_of(&self.0)
    }

    /// Has a listener hear of new entries of the journal, each once and in order.
    ///
    /// # Errors
    /// `validation` if it is no function.
    pub fn conflicts(&self, listener: JsValue) -> Result<RawHandle> {
        let listener = handle::function(listener, "the listener")?;
        Ok(handle::listen(self.0.conflicts().map(move |entry| {
            let mut to = Writer::default();
            to.entry(&entry);
            Call {
                listener: listener.clone(),
                value: bytes(&to.into_bytes()),
            }
        })))
    }

    /// Mutations in the outbox.
    #[wasm_bindgen(js_name = pendingChanges, unchecked_return_type = "Promise<number>")]
    pub fn pending_changes(&self) -> Promise {
        let engine = self.0.clone();
        promise(async move { Ok(number(engine.pending_changes().await.told()?).into()) })
    }

    /// How far the server's feed is read and stored, as JSON.
    #[wasm_bindgen(unchecked_return_type = "Promise<string>")]
    pub fn checkpoint(&self) -> Promise {
        let engine = self.0.clone();
        promise(async move {
            let checkpoint = engine.checkpoint().await.told()?;
            Ok(answers::checkpoint_json(&checkpoint).into())
        })
    }

    /// Leaves the server and keeps everything; how many mutations wait for the next one.
    #[wasm_bindgen(unchecked_return_type = "Promise<number>")]
    pub fn detach(&self) -> Promise {
        let engine = self.0.clone();
        promise(async move { Ok(number(engine.detach().await.told()?).into()) })
    }

    /// Leaves the server and removes what came from it; what that was, as JSON.
    #[wasm_bindgen(unchecked_return_type = "Promise<string>")]
    pub fn wipe(&self) -> Promise {
        let engine = self.0.clone();
        promise(async move {
            let wiped = engine.wipe().await.told()?;
            Ok(answers::wiped_json(&wiped).into())
        })
    }
}

fn done(work: impl Future<Output = Result<(), SyncError>> + 'static) -> Promise {
    promise(async move { work.await.told().map(|()| JsValue::UNDEFINED) })
}

fn snapshot_of(engine: &SyncEngine) -> String {
    answers::snapshot_json(&engine.snapshot())
}

/// The rule for all collections, among those by their names: no collection can be named so.
const ALL: &str = "*";

fn with_hooks(mut config: SyncConfig, hooks: &JsValue) -> Result<SyncConfig> {
    let hook = |owner: &JsValue, name: &str| -> Result<Option<Function>> {
        if owner.is_null_or_undefined() {
            return Ok(None);
        }
        let found = Reflect::get(owner, &name.into())?;
        if found.is_null_or_undefined() {
            return Ok(None);
        }
        handle::function(found, name).map(Some)
    };
    if let Some(token) = hook(hooks, "token")? {
        config = config.on_auth(move |reason: AuthReason| ask_token(token.clone(), reason));
    }
    let rules = if hooks.is_null_or_undefined() {
        JsValue::UNDEFINED
    } else {
        Reflect::get(hooks, &"resolve".into())?
    };
    if rules.is_null_or_undefined() {
        return Ok(config);
    }
    let names = rules
        .dyn_ref::<Object>()
        .ok_or_else(|| validation("`resolve` is no object of functions"))?;
    for name in Object::keys(names).iter() {
        let Some(name) = name.as_string() else {
            continue;
        };
        let Some(rule) = hook(&rules, &name)? else {
            continue;
        };
        let ask = move |conflict: Conflict| ask_rule(rule.clone(), conflict);
        config = match name.as_str() {
            ALL => config.resolve_conflict(ask),
            collection => config.resolve_conflict_in(collection, ask),
        };
    }
    Ok(config)
}

/// Calls a function, and waits for what it gives if that is a promise.
async fn call(function: &Function, given: &JsValue) -> Result<JsValue, String> {
    let given = function.call1(&JsValue::UNDEFINED, given);
    let given = given.map_err(|thrown| text(&thrown))?;
    let settled = JsFuture::from(Promise::resolve(&given)).await;
    settled.map_err(|thrown| text(&thrown))
}

async fn ask_token(function: Function, reason: AuthReason) -> Result<String, String> {
    let reason = match reason {
        AuthReason::Expiring => "expiring",
        _ => "refused",
    };
    let token = call(&function, &reason.into()).await?;
    token
        .as_string()
        .ok_or_else(|| "the token is no text".to_owned())
}

async fn ask_rule(function: Function, conflict: Conflict) -> Result<Resolved, String> {
    let answer = call(&function, &bytes(&encode::conflict(&conflict))).await?;
    let answer = answer
        .dyn_ref::<Uint8Array>()
        .ok_or("the answer is no document")?;
    let answer = Body::from_trusted(answer.to_vec().into());
    let field = |name: &str| answer.field(name).map_err(|error| error.to_string());
    let resolution = field("resolution")?;
    let resolved = match resolution.as_ref().and_then(Value::as_str) {
        Some("local") => Resolved::local(),
        Some("remote") => Resolved::remote(),
        Some("merged") => Resolved::merged(),
        Some("deleted") => Resolved::deleted(),
        Some("document") => {
            let document = field("document")?.ok_or("the document is missing")?;
            Resolved::document(&document).map_err(|error| error.to_string())?
        }
        _ => return Err("`resolution` is none that is known".to_owned()),
    };
    let because = field("because")?;
    Ok(match because.as_ref().and_then(Value::as_str) {
        Some(because) => resolved.because(because),
        None => resolved,
    })
}
