//! A little of IndexedDB itself, to look at what a store has written and to damage it.

use std::cell::RefCell;

use js_sys::futures::JsFuture;
use js_sys::{Array, Function, Promise, Reflect};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};

/// An object of JavaScript whose methods are called by name.
#[derive(Clone)]
pub(crate) struct Object(pub(crate) JsValue);

impl Object {
    pub(crate) fn global() -> Self {
        Self(js_sys::global().into())
    }

    pub(crate) fn get(&self, name: &str) -> Self {
        Self(Reflect::get(&self.0, &name.into()).expect("an object"))
    }

    pub(crate) fn set(&self, name: &str, value: &JsValue) {
        Reflect::set(&self.0, &name.into(), value).expect("an object");
    }

    pub(crate) fn call(&self, name: &str, arguments: &[JsValue]) -> Self {
        let function = self.get(name).0.dyn_into::<Function>().expect("a method");
        let arguments: Array = arguments.iter().collect();
        Self(function.apply(&self.0, &arguments).expect(name))
    }

    /// Waits for one of these events, and tells which came.
    pub(crate) async fn event(&self, names: &[&str]) -> String {
        let kept: RefCell<Vec<Closure<dyn FnMut()>>> = RefCell::default();
        let promise = Promise::new(&mut |resolve, _| {
            for name in names {
                let (resolve, text) = (resolve.clone(), JsValue::from(*name));
                let closure = Closure::new(move || {
                    let _ = resolve.call1(&JsValue::NULL, &text);
                });
                self.set(&format!("on{name}"), closure.as_ref());
                kept.borrow_mut().push(closure);
            }
        });
        let came = JsFuture::from(promise).await.expect("it only resolves");
        for name in names {
            self.set(&format!("on{name}"), &JsValue::NULL);
        }
        came.as_string().expect("a name")
    }

    /// The result of a request.
    pub(crate) async fn result(&self) -> Self {
        assert_eq!(self.event(&["success", "error"]).await, "success");
        self.get("result")
    }
}

/// Opens a database, with a store of objects for each name if it is new or of an older version.
pub(crate) async fn open(name: &str, version: u32, stores: &[&str]) -> Object {
    let request = Object::global()
        .get("indexedDB")
        .call("open", &[name.into(), version.into()]);
    let stores: Vec<JsValue> = stores.iter().map(|store| JsValue::from(*store)).collect();
    let of = request.clone();
    let on_upgrade = Closure::<dyn FnMut()>::new(move || {
        for store in &stores {
            of.get("result")
                .call("createObjectStore", std::slice::from_ref(store));
        }
    });
    request.set("onupgradeneeded", on_upgrade.as_ref());
    request.result().await
}

/// Begins a transaction on one store of objects.
pub(crate) fn begin(database: &Object, store: &str, mode: &str) -> Object {
    database
        .call("transaction", &[store.into(), mode.into()])
        .call("objectStore", &[store.into()])
}

/// The keys and the values of a store of objects.
pub(crate) async fn all(database: &Object, store: &str) -> Vec<(JsValue, JsValue)> {
    let store = begin(database, store, "readonly");
    let keys = store.call("getAllKeys", &[]).result().await;
    let values = store.call("getAll", &[]).result().await;
    let list = |object: Object| object.0.unchecked_into::<Array>();
    list(keys).iter().zip(list(values).iter()).collect()
}

/// Changes a store of objects and waits until that stays.
pub(crate) async fn change(database: &Object, store: &str, change: impl FnOnce(&Object)) {
    let store = begin(database, store, "readwrite");
    change(&store);
    let transaction = store.get("transaction");
    assert_eq!(transaction.event(&["complete", "abort"]).await, "complete");
}
