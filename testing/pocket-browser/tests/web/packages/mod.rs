//! The npm packages, as they were built, in pages that load them without a bundler.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pocket_browser::{Browser, Page, required as browser};
use serde_json::{Value, json};

use crate::server::{Server, TOKEN, by_id};
use crate::site::{Files, Site};

mod conflicts;
mod engine;
mod listeners;
#[cfg(feature = "measure")]
mod measured;
mod meeting;
mod offline;
mod quick_start;
mod react;
mod tabs;
mod ticks;
mod todo;
mod trouble;
mod turns;
mod values;

/// What the site has of each package.
const PACKAGES: [&str; 4] = ["core", "storage-indexeddb", "storage-memory", "sync"];

/// A browser, and a site with the packages.
struct World {
    browser: Arc<Browser>,
    site: Site,
}

impl World {
    /// None where there is no browser, or nobody built the packages; under `CI` that is a failure.
    async fn start() -> Option<Self> {
        Self::start_with(Files::new()).await
    }

    /// With more files on the site.
    async fn start_with(more: Files) -> Option<Self> {
        let browser = browser()?;
        let mut files = packages()?;
        let scripts = directory("testing/pocket-browser/tests/web/packages");
        for name in ["page.html", "page.js"] {
            let file = std::fs::read(scripts.join(name)).unwrap();
            files.insert(format!("/{name}"), file);
        }
        files.extend(more);
        Some(Self {
            browser: Arc::new(Browser::start(&browser).await),
            site: Site::serve(files).await,
        })
    }

    /// A tab with the packages.
    async fn tab(&self) -> Tab {
        let mut tab = Tab(self.browser.page().await);
        tab.load(&self.site).await;
        tab
    }

    /// A tab in which `db` is open.
    async fn open(&self) -> Tab {
        let mut tab = self.tab().await;
        tab.run("await open()").await;
        tab
    }

    /// A tab in which `db` is open and `sync` has started.
    async fn synced(&self, url: &str) -> Tab {
        let mut tab = self.open().await;
        tab.start(url, "{}").await;
        tab
    }
}

/// A page with the packages.
struct Tab(Page);

impl Tab {
    async fn load(&mut self, site: &Site) {
        self.0.visit(&format!("{}/page.html", site.origin)).await;
        self.0.until("document.title === 'ready'").await;
    }

    /// What the body of an asynchronous function returns.
    async fn run(&mut self, body: &str) -> Value {
        self.0.value(&format!("(async () => {{ {body} }})()")).await
    }

    #[track_caller]
    fn until<'a>(&'a mut self, condition: &str) -> impl Future<Output = ()> + use<'a> {
        self.0.until(condition)
    }

    async fn start(&mut self, url: &str, options: &str) {
        let (url, token) = (json!(url), json!(TOKEN));
        self.run(&format!("await start({url}, {token}, {options})"))
            .await;
    }

    /// The code that a promise rejects with, or `ok`.
    async fn code(&mut self, promise: &str) -> String {
        let code = self.run(&format!("return codeOf({promise})")).await;
        code.as_str().unwrap().to_owned()
    }

    /// The notes of the page, by id.
    async fn all(&mut self) -> BTreeMap<String, Value> {
        let mut all = self.run("return exported(notes)").await;
        by_id(std::mem::take(all.as_array_mut().unwrap()))
    }

    async fn close(self) {
        self.0.close().await;
    }
}

/// A directory of the project.
fn directory(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

/// What was built of the packages.
fn packages() -> Option<Files> {
    built("packages/core/dist/wasm", "pocket_web_bg.wasm")?;
    let mut files = Files::new();
    for name in PACKAGES {
        let path = format!("packages/{name}/dist");
        add(&mut files, &format!("/{path}"), &built(&path, "index.js")?);
    }
    Some(files)
}

/// A directory that npm builds, if it has this file; under `CI` it is a failure if it has not.
fn built(path: &str, file: &str) -> Option<PathBuf> {
    let directory = directory(path);
    if directory.join(file).is_file() {
        return Some(directory);
    }
    let text = format!("SKIPPED: {path}/{file} is not built; `cargo xtask test-web` does that");
    let strict = std::env::var("CI").is_ok_and(|value| !value.is_empty() && value != "false");
    assert!(!strict, "{text}");
    eprintln!("{text}");
    None
}

/// All files of a directory, below a path.
fn add(files: &mut Files, below: &str, directory: &Path) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let at = format!("{below}/{name}");
        if path.is_dir() {
            add(files, &at, &path);
        } else {
            files.insert(at, std::fs::read(&path).unwrap());
        }
    }
}
