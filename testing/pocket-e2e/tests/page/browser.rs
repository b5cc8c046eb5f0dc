//! A headless Chromium, driven by the protocol of its developer tools over a WebSocket.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Longer than anything here takes, on a machine that does ten other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a browser is called.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// The browser of this machine: `POCKET_BROWSER`, or one in the path.
pub(crate) fn installed() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("POCKET_BROWSER") {
        return Some(PathBuf::from(named));
    }
    let path = std::env::var_os("PATH")?;
    let places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let of_name = |name: &&str| {
        places
            .iter()
            .map(|place| place.join(name))
            .find(|path| path.is_file())
    };
    NAMES.iter().find_map(of_name)
}

/// One page in a browser of its own, which ends with it.
pub(crate) struct Page {
    child: Child,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    session: Option<String>,
    last: u64,
    /// What the page complained about.
    complaints: Vec<String>,
    _profile: tempfile::TempDir,
}

impl Page {
    /// Starts a browser. The name `pocket.test` leads to this machine.
    pub(crate) async fn open(browser: &Path) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut child = Command::new(browser)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
                "--force-color-profile=srgb",
                "--host-resolver-rules=MAP pocket.test 127.0.0.1",
                "--remote-debugging-port=0",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, said) = tokio::sync::oneshot::channel();
        // Read to its end, so that the browser never waits for a reader.
        std::thread::spawn(move || {
            let mut sender = Some(sender);
            for line in stderr.lines().map_while(Result::ok) {
                let address = line.strip_prefix("DevTools listening on ");
                if let (Some(address), Some(sender)) =
                    (address, sender.take_if(|_| address.is_some()))
                {
                    // Nobody waits any more.
                    let _ = sender.send(address.to_owned());
                }
            }
        });
        let address = tokio::time::timeout(PATIENCE, said).await;
        let address = address
            .expect("the browser starts in time")
            .expect("the browser starts");
        let config = WebSocketConfig::default()
            .max_message_size(None)
            .max_frame_size(None);
        let connected = tokio_tungstenite::connect_async_with_config(address, Some(config), false);
        let (socket, _) = connected.await.unwrap();
        let mut page = Self {
            child,
            socket,
            session: None,
            last: 0,
            complaints: Vec::new(),
            _profile: profile,
        };
        let target = page
            .call("Target.createTarget", json!({ "url": "about:blank" }))
            .await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = page.call("Target.attachToTarget", attach).await;
        page.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            page.call(domain, json!({})).await;
        }
        page.size(1_100, 800, false).await;
        page
    }

    /// Calls a method of the protocol.
    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let id = self.last;
        let mut message = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let message = Message::text(message.to_string());
        self.socket.send(message).await.unwrap();
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
    pub(crate) async fn size(&mut self, width: u32, height: u32, phone: bool) {
        let scale = if phone { 2 } else { 1 };
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": scale, "mobile": phone,
        });
        self.call("Emulation.setDeviceMetricsOverride", metrics)
            .await;
    }

    /// Chooses what the page is told about dark and light.
    pub(crate) async fn scheme(&mut self, scheme: &str) {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", features).await;
    }

    pub(crate) async fn visit(&mut self, url: &str) {
        assert_eq!(self.try_visit(url).await, None, "{url}");
    }

    /// Goes there; why it could not, if so.
    pub(crate) async fn try_visit(&mut self, url: &str) -> Option<String> {
        let answer = self.call("Page.navigate", json!({ "url": url })).await;
        answer["errorText"].as_str().map(str::to_owned)
    }

    /// The value of an expression, awaited if it is a promise.
    pub(crate) async fn value(&mut self, expression: &str) -> Value {
        let params = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true,
        });
        let mut answer = self.call("Runtime.evaluate", params).await;
        let exception = &answer["exceptionDetails"];
        assert!(exception.is_null(), "{expression}: {exception}");
        answer["result"]["value"].take()
    }

    /// Waits until an expression is true; the page is looked at whenever something in it changes.
    #[track_caller]
    pub(crate) fn until<'a>(&'a mut self, condition: &str) -> impl Future<Output = ()> + use<'a> {
        let place = std::panic::Location::caller();
        let expression = format!(
            "new Promise((resolve) => {{
                let observer;
                const look = () => {{
                    if (!({condition})) return false;
                    if (observer) observer.disconnect();
                    resolve(true);
                    return true;
                }};
                const watch = () => {{
                    if (look()) return;
                    observer = new MutationObserver(look);
                    observer.observe(document, {{ subtree: true, childList: true, characterData: true, attributes: true }});
                }};
                if (document.readyState === 'loading') addEventListener('DOMContentLoaded', watch); else watch();
            }})"
        );
        let condition = condition.to_owned();
        async move {
            let params = json!({
                "expression": expression, "awaitPromise": true, "returnByValue": true,
            });
            let answer =
                tokio::time::timeout(PATIENCE, self.call("Runtime.evaluate", params)).await;
            let Ok(answer) = answer else {
                panic!("{place}: it never came to be: {condition}");
            };
            assert!(answer["exceptionDetails"].is_null(), "{place}: {answer}");
        }
    }

    /// Waits until an element's text has this in it.
    #[track_caller]
    pub(crate) fn until_text<'a>(
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
    pub(crate) async fn text(&mut self, id: &str) -> String {
        let text = self
            .value(&format!("document.getElementById({}).innerText", json!(id)))
            .await;
        text.as_str().unwrap().to_owned()
    }

    /// Puts a text into a field and sends its form, as the button does.
    pub(crate) async fn submit(&mut self, field: &str, text: &str) {
        let (field, text) = (json!(field), json!(text));
        let script = format!(
            "(() => {{ const field = document.getElementById({field}); field.value = {text}; field.form.requestSubmit(); }})()"
        );
        self.value(&script).await;
    }

    /// Clicks the first button with this text.
    pub(crate) async fn click(&mut self, text: &str) {
        let text = json!(text);
        let script = format!(
            "[...document.querySelectorAll('button')].find((one) => one.textContent === {text}).click()"
        );
        self.value(&script).await;
    }

    /// Stores a picture of the whole page, and makes sure that nothing of it lies beside the window.
    pub(crate) async fn picture(&mut self, name: &str) {
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

    /// Ends it; nothing in the page may have gone wrong.
    pub(crate) async fn close(mut self) {
        // One more exchange, so that everything said before has been heard.
        self.value("0").await;
        assert!(self.complaints.is_empty(), "{:?}", self.complaints);
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What an event says that went wrong. What the network answered is told by the page itself.
fn complaint(event: &Value) -> Option<String> {
    let params = &event["params"];
    match event["method"].as_str()? {
        "Runtime.exceptionThrown" => Some(params["exceptionDetails"].to_string()),
        "Log.entryAdded" => {
            let entry = &params["entry"];
            let is_bad = entry["level"] == "error" && entry["source"] != "network";
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
