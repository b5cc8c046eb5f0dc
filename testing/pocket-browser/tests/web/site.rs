//! A site on loopback with the module under test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::http::{StatusCode, Uri, header};
use axum::response::IntoResponse;
use pocket_browser::Page;
use wasm_bindgen_cli_support::Bindgen;

const PACKAGE: &str = "pocket-web-tests";
const TARGET: &str = "wasm32-unknown-unknown";

type Files = BTreeMap<String, Vec<u8>>;

/// A running site; it ends with the runtime of the test.
pub(crate) struct Site {
    /// Where it is: `http://127.0.0.1:1234`.
    pub(crate) origin: String,
}

impl Site {
    /// Serves the module and the scripts around it.
    pub(crate) async fn start() -> Self {
        let mut files = module().clone();
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/web");
        for name in ["window.html", "window.js", "worker.js", "spy.js"] {
            files.insert(
                format!("/{name}"),
                std::fs::read(scripts.join(name)).unwrap(),
            );
        }
        let files = Arc::new(files);
        let answer = move |uri: Uri| {
            let files = Arc::clone(&files);
            async move {
                let Some(bytes) = files.get(uri.path()) else {
                    return StatusCode::NOT_FOUND.into_response();
                };
                let kind = match uri.path().rsplit_once('.').map(|(_, kind)| kind) {
                    Some("html") => "text/html",
                    Some("js") => "text/javascript",
                    _ => "application/wasm",
                };
                // A sandboxed frame is of another origin, and loads the same module.
                let anybody = (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
                let headers = [(header::CONTENT_TYPE, kind), anybody];
                (headers, bytes.clone()).into_response()
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { origin }
    }

    /// Opens the site in a page, and waits until its module is there.
    pub(crate) async fn visit(&self, page: &mut Page) {
        page.visit(&format!("{}/window.html", self.origin)).await;
        page.until("document.title === 'ready'").await;
    }
}

/// The module and its glue, made once.
fn module() -> &'static Files {
    static MODULE: OnceLock<Files> = OnceLock::new();
    MODULE.get_or_init(|| {
        let named = std::env::var_os("POCKET_WEB_MODULE").map(PathBuf::from);
        let directory = tempfile::tempdir().unwrap();
        let made = Bindgen::new()
            .input_path(named.unwrap_or_else(build))
            .web(true)
            .and_then(|bindgen| {
                bindgen
                    .typescript(false)
                    .omit_default_module_path(false)
                    .generate(directory.path())
            });
        made.expect("the module has the bindings of the version that is pinned");
        let files = std::fs::read_dir(directory.path()).unwrap();
        let files = files.map(|file| {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (format!("/module/{name}"), std::fs::read(path).unwrap())
        });
        files.collect()
    })
}

/// Builds the module, and finds it by what cargo says.
fn build() -> PathBuf {
    let built = Command::new(env!("CARGO"))
        .args([
            "build",
            "--release",
            "--target",
            TARGET,
            "--package",
            PACKAGE,
        ])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(built.status.success(), "the module does not build");
    let lines = String::from_utf8(built.stdout).unwrap();
    let module = lines.lines().rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let files = message["filenames"].as_array()?;
        let mut files = files
            .iter()
            .filter_map(|file| file.as_str().map(PathBuf::from));
        files.find(|file| file.extension().is_some_and(|kind| kind == "wasm"))
    });
    module.expect("cargo names the module it built")
}
