//! A page of a browser, driven by the protocol of its developer tools over a WebSocket.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::browser::{Browser, PATIENCE};

/// One page. Its browser ends with the last page of it.
#[derive(Debug)]
pub struct Page {
    browser: Arc<Browser>,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    session: Option<String>,
    target: Value,
    last: u64,
    /// What the page complained about.
    complaints: Vec<String>,
}

impl Page {
    /// A page in a browser of its own.
    ///
    /// # Panics
    /// If there is no such browser.
    pub async fn open(browser: &Path) -> Self {
        Self::new(&Arc::new(Browser::start(browser).await)).await
    }

    /// One more page of a browser, and an empty one.
    pub(crate) async fn new(browser: &Arc<Browser>) -> Self {
        let config = WebSocketConfig::default()
            .max_message_size(None)
            .max_frame_size(None);
        let address = browser.address();
        let connected = tokio_tungstenite::connect_async_with_config(address, Some(config), false);
        let (socket, _) = connected.await.expect("the browser takes connections");
        let mut page = Self {
            browser: Arc::clone(browser),
            socket,
            session: None,
            target: Value::Null,
            last: 0,
            complaints: Vec::new(),
        };
        let mut created = page
            .call("Target.createTarget", json!({ "url": "about:blank" }))
            .await;
        page.target = created["targetId"].take();
        let attach = json!({ "targetId": page.target, "flatten": true });
        let attached = page.call("Target.attachToTarget", attach).await;
        page.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            page.call(domain, json!({})).await;
        }
        page.size(1_100, 800, false).await;
        page
    }

    /// The browser it is a page of.
    pub fn browser(&self) -> &Arc<Browser> {
        &self.browser
    }

    /// Calls a method of the protocol, of the page's own session.
    ///
    /// # Panics
    /// If the browser refuses it, or does not answer.
    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let id = self.last;
        let mut message = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let message = Message::text(message.to_string());
        self.socket
            .send(message)
            .await
            .expect("the browser listens");
        let answer = async {
            loop {
                let message = self
                    .socket
                    .next()
                    .await
                    .expect("the browser answers")
                    .unwrap();
                let Message::Text(text) = message else {
                    continue;
                };
                let mut answer: Value = serde_json::from_str(&text).unwrap();
                if answer["id"] == json!(id) {
                    assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                    return answer["result"].take();
                }
                self.complaints.extend(complaint(&answer));
            }
        };
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        answer.unwrap_or_else(|_| panic!("{method}: no answer in time"))
    }

    /// Sets the size of the window, in CSS pixels; a phone has two real ones for each.
    pub async fn size(&mut self, width: u32, height: u32, phone: bool) {
        let scale = if phone { 2 } else { 1 };
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": scale, "mobile": phone,
        });
        self.call("Emulation.setDeviceMetricsOverride", metrics)
            .await;
    }

    /// Chooses what the page is told about dark and light.
    pub async fn scheme(&mut self, scheme: &str) {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", features).await;
    }

    /// Goes there.
    ///
    /// # Panics
    /// If it cannot.
    pub async fn visit(&mut self, url: &str) {
        assert_eq!(self.try_visit(url).await, None, "{url}");
    }

    /// Goes there; why it could not, if so.
    pub async fn try_visit(&mut self, url: &str) -> Option<String> {
        let answer = self.call("Page.navigate", json!({ "url": url })).await;
        answer["errorText"].as_str().map(str::to_owned)
    }

    /// The value of an expression, awaited if it is a promise.
    pub async fn value(&mut self, expression: &str) -> Value {
        let params = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true,
        });
        let mut answer = self.call("Runtime.evaluate", params).await;
        let exception = &answer["exceptionDetails"];
        assert!(exception.is_null(), "{expression}: {exception}");
        answer["result"]["value"].take()
    }

    /// Waits until an expression is true, or a promise that it gives. It is looked at whenever something in the page
    /// changes, and every few milliseconds for what does not show in it.
    #[track_caller]
    pub fn until<'a>(&'a mut self, condition: &str) -> impl Future<Output = ()> + use<'a> {
        let place = std::panic::Location::caller();
        let expression = format!(
            "new Promise((resolve, reject) => {{
                let looking = false;
                const look = async () => {{
                    if (looking) return;
                    looking = true;
                    try {{
                        if (await ({condition})) end(resolve);
                    }} catch (error) {{
                        end(() => reject(error));
                    }}
                    looking = false;
                }};
                const observer = new MutationObserver(look);
                const timer = setInterval(look, 10);
                const end = (settle) => {{
                    observer.disconnect();
                    clearInterval(timer);
                    settle(true);
                }};
                const watch = () => {{
                    observer.observe(document, {{ subtree: true, childList: true, characterData: true, attributes: true }});
                    look();
                }};
                if (document.readyState === 'loading') addEventListener('DOMContentLoaded', watch); else watch();
            }})"
        );
        let condition = condition.to_owned();
        async move {
            let params = json!({
                "expression": expression, "awaitPromise": true, "returnByValue": true,
            });
            // Less than the call itself waits, so that it is told what never came to be.
            let patience = PATIENCE.mul_f32(0.9);
            let answer =
                tokio::time::timeout(patience, self.call("Runtime.evaluate", params)).await;
            let Ok(answer) = answer else {
                let shown = json!({ "expression": "document.body?.innerText" });
                let shown = self.call("Runtime.evaluate", shown).await;
                let shown = &shown["result"]["value"];
                let complaints = &self.complaints;
                panic!(
                    "{place}: it never came to be: {condition}; shown is {shown}, {complaints:?}"
                );
            };
            assert!(answer["exceptionDetails"].is_null(), "{place}: {answer}");
        }
    }

    /// Waits until an element's text has this in it.
    #[track_caller]
    pub fn until_text<'a>(
        &'a mut self,
        id: &str,
        part: &str,
    ) -> impl Future<Output = ()> + use<'a> {
        let (id, part) = (json!(id), json!(part));
        self.until(&format!(
            "document.getElementById({id})?.innerText.includes({part})"
        ))
    }

    /// The text of an element, as it is seen.
    pub async fn text(&mut self, id: &str) -> String {
        let text = self
            .value(&format!("document.getElementById({}).innerText", json!(id)))
            .await;
        text.as_str().unwrap().to_owned()
    }

    /// Puts a text into a field and sends its form, as the button does.
    pub async fn submit(&mut self, field: &str, text: &str) {
        let (field, text) = (json!(field), json!(text));
        let script = format!(
            "(() => {{ const field = document.getElementById({field}); field.value = {text}; field.form.requestSubmit(); }})()"
        );
        self.value(&script).await;
    }

    /// Clicks the first button with this text.
    pub async fn click(&mut self, text: &str) {
        let text = json!(text);
        let script = format!(
            "[...document.querySelectorAll('button')].find((one) => one.textContent === {text}).click()"
        );
        self.value(&script).await;
    }

    /// Stores a picture of the whole page, and makes sure that nothing of it lies beside the window.
    pub async fn picture(&mut self, name: &str) {
        // One that another page covers is not drawn.
        self.call("Page.bringToFront", json!({})).await;
        let beside = self
            .value("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            .await;
        assert_eq!(
            beside,
            json!(0),
            "{name}: the page is wider than the window"
        );
        let size = self.call("Page.getLayoutMetrics", json!({})).await["cssContentSize"].take();
        let params = json!({
            "format": "png", "captureBeyondViewport": true,
            "clip": { "x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1 },
        });
        let picture = self.call("Page.captureScreenshot", params).await;
        let picture = STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        assert!(picture.starts_with(b"\x89PNG"), "{name}");
        let directory = directory();
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(format!("{name}.png")), picture).unwrap();
    }

    /// Waits for the next event of this name that comes, and gives its parameters.
    ///
    /// # Panics
    /// If none comes.
    pub async fn event(&mut self, method: &str) -> Value {
        let event = async {
            loop {
                let message = self.socket.next().await;
                let message = message.expect("the browser is there").unwrap();
                let Message::Text(text) = message else {
                    continue;
                };
                let mut event: Value = serde_json::from_str(&text).unwrap();
                if event["method"] == method {
                    return event["params"].take();
                }
                self.complaints.extend(complaint(&event));
            }
        };
        let event = tokio::time::timeout(PATIENCE, event).await;
        event.unwrap_or_else(|_| panic!("{method}: it never came"))
    }

    /// Crashes the process that renders the page, and waits until it is gone. Other pages of the browser stay.
    ///
    /// # Panics
    /// If the browser does not say that it is.
    pub async fn crash(mut self) {
        self.call("Inspector.enable", json!({})).await;
        let message =
            json!({ "id": self.last + 1, "method": "Page.crash", "sessionId": self.session });
        let sent = self.socket.send(Message::text(message.to_string())).await;
        sent.expect("the browser listens");
        self.event("Inspector.targetCrashed").await;
    }

    /// Closes its tab, as a user does, whatever it was doing. Other pages of the browser stay.
    ///
    /// # Panics
    /// If the browser does not let it.
    pub async fn close_tab(mut self) {
        let target = self.target.clone();
        // Not of the session, which ends with it.
        self.session = None;
        self.call("Target.closeTarget", json!({ "targetId": target }))
            .await;
        loop {
            let there = self.call("Target.getTargets", json!({})).await;
            let mut there = there["targetInfos"].as_array().unwrap().iter();
            if !there.any(|one| one["targetId"] == target) {
                return;
            }
        }
    }

    /// Stops everything that runs in the page, as a browser does with one in the background; or lets it go on.
    pub async fn freeze(&mut self, frozen: bool) {
        let state = if frozen { "frozen" } else { "active" };
        self.call("Page.setWebLifecycleState", json!({ "state": state }))
            .await;
    }

    /// Cuts the page's network, or joins it again.
    pub async fn cut(&mut self, offline: bool) {
        self.call("Network.enable", json!({})).await;
        let conditions = json!({
            "offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1,
        });
        self.call("Network.emulateNetworkConditions", conditions)
            .await;
    }

    /// Something was made to go wrong in the page, and it said so: what it said is no complaint any more.
    ///
    /// # Panics
    /// If it said nothing, or something that does not contain this.
    #[track_caller]
    pub fn has_complained_of(&mut self, what: &str) {
        let said = std::mem::take(&mut self.complaints);
        let is_expected = |one: &String| one.contains(what);
        assert!(!said.is_empty() && said.iter().all(is_expected), "{said:?}");
    }

    /// Ends it and its tab; nothing in the page may have gone wrong that was not expected.
    pub async fn close(mut self) {
        // One more exchange, so that everything said before has been heard.
        self.value("0").await;
        assert!(self.complaints.is_empty(), "{:?}", self.complaints);
        self.close_tab().await;
    }
}

/// What an event says that went wrong. What the network answered is told by the page itself.
fn complaint(event: &Value) -> Option<String> {
    let params = &event["params"];
    match event["method"].as_str()? {
        "Runtime.exceptionThrown" => Some(params["exceptionDetails"].to_string()),
        "Runtime.consoleAPICalled" if params["type"] == "error" => Some(params["args"].to_string()),
        "Log.entryAdded" => {
            let entry = &params["entry"];
            // Said to whoever sends before he could hear that the connection ended.
            let of_socket = entry["text"].as_str().is_some_and(|text| {
                text.contains("WebSocket is already in CLOSING or CLOSED state")
            });
            let is_bad = entry["level"] == "error" && entry["source"] != "network" && !of_socket;
            is_bad.then(|| entry.to_string())
        }
        _ => None,
    }
}

/// Where pictures go.
fn directory() -> PathBuf {
    std::env::var_os("POCKET_SCREENSHOTS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/screenshots"),
        PathBuf::from,
    )
}
