//! Requests by `fetch`. The platform keeps its connections itself.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use js_sys::{Function, Promise, Reflect, Uint8Array};
use pocket_sync_protocol::http as wire;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    AbortController, Headers, ReadableStreamDefaultReader, RequestCache, RequestCredentials,
    RequestInit, RequestRedirect, Response,
};

use super::{TODO, told};
use crate::platform::timeout;
use crate::transport::http::answer::{self, Answer, Failure};
use crate::transport::http::{PATIENCE, Request, millis};
use crate::{Endpoint, SyncError};

/// The way to one server.
pub(in crate::transport) struct Pool {
    url: String,
    authorization: Option<String>,
}

impl Pool {
    pub(in crate::transport) fn new(
        endpoint: &Endpoint,
        token: Option<&str>,
    ) -> Result<Self, SyncError> {
        let pool = Self {
            url: endpoint.http_url(),
            authorization: token.map(|token| format!("Bearer {token}")),
        };
        // What cannot be a request at all is told before anything is sent.
        let first = Request {
            connection: None,
            sequence: 0,
            wait: std::time::Duration::ZERO,
            interval: std::time::Duration::ZERO,
            close: None,
            body: Bytes::new(),
        };
        pool.headers(&first)
            .map_err(|thrown| SyncError::config(format!("`{}`: {}", pool.url, told(&thrown))))?;
        Ok(pool)
    }

    /// Nothing can be opened ahead; the first request tells whether the server is there.
    #[expect(clippy::unused_async, reason = "the same signature as with sockets")]
    pub(in crate::transport) async fn warm(&self) -> Result<(), SyncError> {
        Ok(())
    }

    /// Sends a request and reads its answer. Dropping the future aborts both.
    pub(in crate::transport) async fn exchange(
        self: Arc<Self>,
        request: Request,
    ) -> Result<Answer, Failure> {
        let abort = Abort::new().map_err(|thrown| self.unusable(&thrown))?;
        let sent = self
            .send(&request, &abort)
            .map_err(|thrown| self.unusable(&thrown))?;
        let answered = timeout(request.wait + PATIENCE, JsFuture::from(sent)).await;
        let answered = answered.map_err(|_| {
            let seconds = PATIENCE.as_secs();
            Failure::Lost(format!("`{}` did not answer for {seconds} s", self.url))
        })?;
        let answered = answered.and_then(JsCast::dyn_into::<Response>);
        let response = answered.map_err(|thrown| self.unreachable(&request, &thrown))?;
        let headers = response.headers();
        let header = |name: &str| headers.get(name).ok().flatten();
        let collect = async |most| collect(&response, most).await;
        answer::read(response.status(), header, collect, &self.url).await
    }

    /// Begins a request.
    fn send(&self, request: &Request, abort: &Abort) -> Result<Promise, JsValue> {
        let options = RequestInit::new();
        options.set_method("POST");
        options.set_headers_headers(&self.headers(request)?);
        options.set_body(&Uint8Array::from(request.body.as_ref()));
        options.set_signal(Some(&abort.0.signal()));
        // Who this is says the token alone.
        options.set_credentials(RequestCredentials::Omit);
        options.set_cache(RequestCache::NoStore);
        // It would carry documents, and perhaps the token, to whoever it names.
        options.set_redirect(RequestRedirect::Error);
        let global = js_sys::global();
        Reflect::get(&global, &JsValue::from("fetch"))?
            .dyn_into::<Function>()?
            .call2(&global, &JsValue::from(&self.url), &options)?
            .dyn_into()
    }

    fn headers(&self, request: &Request) -> Result<Headers, JsValue> {
        let headers = Headers::new()?;
        headers.append("content-type", wire::CONTENT_TYPE)?;
        headers.append("accept", wire::CONTENT_TYPE)?;
        headers.append(wire::SEQUENCE, &request.sequence.to_string())?;
        headers.append(wire::WAIT, &millis(request.wait).to_string())?;
        match &request.connection {
            Some(name) => headers.append(wire::CONNECTION, name)?,
            None => headers.append(wire::INTERVAL, &millis(request.interval).to_string())?,
        }
        if let Some(authorization) = &self.authorization {
            headers.append("authorization", authorization)?;
        }
        if let Some(code) = request.close {
            headers.append(wire::CLOSE, &code.to_string())?;
        }
        Ok(headers)
    }

    fn unusable(&self, thrown: &JsValue) -> Failure {
        Failure::Refused(SyncError::config(format!(
            "`{}`: {}",
            self.url,
            told(thrown)
        )))
    }

    /// No answer came. Before the first one this is a server that cannot be reached.
    fn unreachable(&self, request: &Request, thrown: &JsValue) -> Failure {
        let told = told(thrown);
        if request.connection.is_none() {
            return Failure::Refused(SyncError::connect(format!(
                "`{}` cannot be reached: {told}; {TODO}",
                self.url
            )));
        }
        Failure::Lost(format!("the connection to `{}` was lost: {told}", self.url))
    }
}

/// Ends a request that nobody waits for any more.
struct Abort(AbortController);

impl Abort {
    fn new() -> Result<Self, JsValue> {
        AbortController::new().map(Self)
    }
}

impl Drop for Abort {
    fn drop(&mut self) {
        // One that is done does not hear it.
        self.0.abort();
    }
}

/// Reads a body, chunk by chunk.
async fn collect(response: &Response, most: usize) -> Result<Bytes, Failure> {
    let Some(body) = response.body() else {
        return Ok(Bytes::new());
    };
    let reader: ReadableStreamDefaultReader = body
        .get_reader()
        .dyn_into()
        .map_err(|thrown| answer::broken_off(told(&thrown)))?;
    let mut collected = BytesMut::new();
    loop {
        let chunk = timeout(answer::STALL, JsFuture::from(reader.read())).await;
        let chunk = chunk.map_err(|_| answer::stalled())?;
        let chunk = chunk.map_err(|thrown| answer::broken_off(told(&thrown)))?;
        let part = |name: &str| {
            Reflect::get(&chunk, &JsValue::from(name))
                .map_err(|thrown| answer::broken_off(told(&thrown)))
        };
        if part("done")?.is_truthy() {
            return Ok(collected.freeze());
        }
        let bytes: Uint8Array = part("value")?
            .dyn_into()
            .map_err(|_| answer::broken_off("a chunk is not binary"))?;
        if collected.len() + bytes.length() as usize > most {
            return Err(answer::too_large());
        }
        collected.extend_from_slice(&bytes.to_vec());
    }
}
