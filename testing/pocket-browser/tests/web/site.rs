//! Sites on loopback with what is under test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::http::{StatusCode, Uri, header};
use axum::response::IntoResponse;
use pocket_bindings::{Purpose, bind};
use pocket_browser::Page;

/// What the cases and scripts of most tests are in.
const TESTS: &str = "pocket-web-tests";

/// What browsers get.
const PRODUCT: &str = "pocket-web";

const TARGET: &str = "wasm32-unknown-unknown";

/// Files by their paths.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// A running site; it ends with the runtime of the test.
pub(crate) struct Site {
    /// Where it is: `http://127.0.0.1:1234`.
    pub(crate) origin: String,
}

impl Site {
    /// Serves the module of the tests and the scripts around it.
    pub(crate) async fn start() -> Self {
        Self::with_scripts(
            module(),
            &["window.html", "window.js", "worker.js", "spy.js"],
        )
        .await
    }

    /// Serves the module of the product and the scripts that try it.
    pub(crate) async fn with_product() -> Self {
        Self::with_scripts(product(), &["face.html", "face.js", "msgpack.js"]).await
    }

    async fn with_scripts(module: &Files, scripts: &[&str]) -> Self {
        let mut files = module.clone();
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/web");
        for name in scripts {
            files.insert(
                format!("/{name}"),
                std::fs::read(directory.join(name)).unwrap(),
            );
        }
        Self::serve(files).await
    }

    /// Serves some files.
    pub(crate) async fn serve(files: Files) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, answering(files)).await });
        Self { origin }
    }

    /// Opens the site in a page, and waits until its module is there.
    pub(crate) async fn visit(&self, page: &mut Page) {
        self.visit_page(page, "window.html").await;
    }

    /// Opens one of its pages, and waits until its module is there.
    pub(crate) async fn visit_page(&self, page: &mut Page, name: &str) {
        page.visit(&format!("{}/{name}", self.origin)).await;
        page.until("document.title === 'ready'").await;
    }
}

/// Answers with these files.
pub(crate) fn answering(files: Files) -> Router {
    let files = Arc::new(files);
    let answer = move |uri: Uri| {
        let files = Arc::clone(&files);
        async move {
            let Some(bytes) = files.get(uri.path()) else {
                return StatusCode::NOT_FOUND.into_response();
            };
            let kind = match uri.path().rsplit_once('.').map(|(_, kind)| kind) {
                Some("js") => "text/javascript",
                Some("css") => "text/css",
                Some("wasm") => "application/wasm",
                Some("svg") => "image/svg+xml",
                Some("png") => "image/png",
                Some("webmanifest") => "application/manifest+json",
                Some("html") | None => "text/html",
                _ => "application/octet-stream",
            };
            // A sandboxed frame is of another origin, and loads the same module.
            let anybody = (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
            let headers = [(header::CONTENT_TYPE, kind), anybody];
            (headers, bytes.clone()).into_response()
        }
    };
    Router::new().fallback(answer)
}

/// The module of the tests and its glue, made once.
fn module() -> &'static Files {
    static MODULE: OnceLock<Files> = OnceLock::new();
    MODULE.get_or_init(|| {
        let named = std::env::var_os("POCKET_WEB_MODULE").map(PathBuf::from);
        let module = named.unwrap_or_else(|| build(TESTS, "release"));
        bound(&module, Purpose::Tests, "/module")
    })
}

/// The module of the product and its glue, made once: those of `cargo xtask web` where they are given.
fn product() -> &'static Files {
    static PRODUCT_FILES: OnceLock<Files> = OnceLock::new();
    PRODUCT_FILES.get_or_init(|| match std::env::var_os("POCKET_WEB_PRODUCT") {
        Some(directory) => files_of(Path::new(&directory), "/product"),
        None => bound(&build(PRODUCT, "web"), Purpose::Product, "/product"),
    })
}

fn bound(module: &Path, purpose: Purpose, below: &str) -> Files {
    let directory = tempfile::tempdir().unwrap();
    bind(module, directory.path(), purpose).unwrap();
    files_of(directory.path(), below)
}

fn files_of(directory: &Path, below: &str) -> Files {
    let files = std::fs::read_dir(directory).unwrap();
    let files = files.map(|file| {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (format!("{below}/{name}"), std::fs::read(path).unwrap())
    });
    files.collect()
}

/// Builds a module, and finds it by what cargo says.
fn build(package: &str, profile: &str) -> PathBuf {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--profile", profile])
        .args(["--target", TARGET, "--package", package])
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
