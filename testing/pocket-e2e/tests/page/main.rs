//! The page for people, as a browser shows it. Each state of it leaves a picture in `target/screenshots`.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use pocket_browser::{Page, required as browser};
use pocket_e2e::{Running, done, run};

/// Longer than anything here takes, on a machine that does ten other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server, its address, and a directory for it and its devices.
struct World {
    directory: tempfile::TempDir,
    address: String,
    server: Option<Running>,
    options: Vec<String>,
}

impl World {
    fn start(options: &[&str]) -> Self {
        let mut world = Self {
            directory: tempfile::tempdir().unwrap(),
            address: "127.0.0.1:0".to_owned(),
            server: None,
            options: options.iter().map(|option| (*option).to_owned()).collect(),
        };
        world.serve();
        world
    }

    /// Starts the server, again at the same address.
    fn serve(&mut self) {
        let mut words = vec!["serve", "--listen", &self.address];
        words.extend(self.options.iter().map(String::as_str));
        let server = Running::start(&self.db("server"), &words);
        let line = server
            .line(PATIENCE)
            .expect("the server says where it listens");
        let address = line.strip_prefix("listening on ws://");
        let address = address.and_then(|rest| rest.strip_suffix("/sync"));
        let address = address.unwrap_or_else(|| panic!("{line}"));
        address.clone_into(&mut self.address);
        self.server = Some(server);
    }

    fn db(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn page(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// The same page for somebody who is elsewhere: the name is none of this machine's.
    fn page_from_elsewhere(&self) -> String {
        let (_, port) = self.address.rsplit_once(':').unwrap();
        format!("http://pocket.test:{port}/")
    }

    fn insert(&self, db: &str, collection: &str, documents: &[&str]) {
        done(
            &self.db(db),
            &[&["insert", collection][..], documents].concat(),
        );
    }

    fn update(&self, db: &str, collection: &str, id: &str, patch: &str) {
        done(&self.db(db), &["update", collection, id, patch]);
    }

    fn words<'a>(&self, url: &'a str, token: &'a str, namespace: &'a str) -> Vec<&'a str> {
        let _ = self;
        [
            "sync",
            "--server",
            url,
            "--token",
            token,
            "--namespace",
            namespace,
        ]
        .to_vec()
    }

    /// Brings a device in step.
    fn sync(&self, db: &str, token: &str, namespace: &str) {
        let url = self.page();
        let words = [&self.words(&url, token, namespace)[..], &["--once"]].concat();
        done(&self.db(db), &words);
    }

    /// As [`sync`](Self::sync), whatever the server says to the changes.
    fn try_sync(&self, db: &str, token: &str, namespace: &str) {
        let url = self.page();
        let words = [&self.words(&url, token, namespace)[..], &["--once"]].concat();
        run(&self.db(db), &words);
    }

    /// Keeps a device connected.
    fn connect(&self, db: &str, token: &str, namespace: &str) -> Running {
        let url = format!("ws://{}", self.address);
        let device = Running::start(&self.db(db), &self.words(&url, token, namespace));
        device
            .wait_for(PATIENCE, |line| line.contains("idle"))
            .expect("it comes in");
        device
    }
}

async fn open(browser: &Path, url: &str) -> Page {
    let mut page = Page::open(browser).await;
    page.visit(url).await;
    page
}

const TOKENS: [&str; 4] = ["--token", "a=ann", "--token", "b=bob"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_nobody_has_used_says_so() {
    let Some(browser) = browser() else { return };
    let world = World::start(&[]);
    let mut page = open(&browser, &world.page()).await;
    page.until_text("clients", "nobody is connected").await;
    page.until_text("namespaces", "no client has written anything yet")
        .await;
    page.until("document.getElementById('of-namespace').hidden")
        .await;
    page.until_text("recent", "none since the server started")
        .await;
    assert!(page.text("state").await.starts_with("ready, version "));
    assert_eq!(page.value("document.title").await, "Pocket server");
    page.picture("empty").await;
    page.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_namespaces_and_the_feed_are_shown_as_they_come() {
    let Some(browser) = browser() else { return };
    let world = World::start(&TOKENS);
    world.insert(
        "ann",
        "todos",
        &[r#"{"_id":"milk","title":"Buy milk","done":false}"#],
    );
    world.insert("ann", "lists", &[r#"{"_id":"home"}"#, r#"{"_id":"work"}"#]);
    world.sync("ann", "a", "team");
    let _ann = world.connect("ann", "a", "team");
    let mut page = open(&browser, &world.page()).await;
    page.until_text("clients", "ann").await;
    page.until_text("clients", "in step").await;
    page.until_text("namespaces", "lists 2").await;
    page.until_text("namespaces", "todos 1").await;
    page.until_text("feed", "milk").await;
    // What happens from now on comes by itself.
    let _bob = world.connect("bob", "b", "team");
    page.until_text("clients", "bob").await;
    assert_eq!(page.text("client-count").await, "2");
    world.insert(
        "bob",
        "todos",
        &[r#"{"_id":"bread","title":"Buy bread","price":9007199254740993}"#],
    );
    page.until_text("feed", "bread").await;
    page.until_text("namespaces", "todos 2").await;
    let first = page
        .value("document.querySelector('#feed tbody tr').innerText")
        .await;
    assert!(
        first.as_str().unwrap().contains("bread"),
        "the newest first: {first}"
    );
    world.insert("mine", "notes", &[r#"{"_id":"a"}"#]);
    world.sync("mine", "a", "private");
    page.until_text("namespaces", "private").await;
    done(&world.db("ann"), &["delete", "lists", "work"]);
    page.until_text("feed", "deleted").await;
    page.picture("live").await;
    page.scheme("dark").await;
    page.picture("live-dark").await;
    page.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_is_opened_with_its_revision_and_follows_its_changes() {
    let Some(browser) = browser() else { return };
    let world = World::start(&TOKENS);
    world.insert(
        "ann",
        "todos",
        &[r#"{"_id":"milk <b>","title":"Buy \"milk\"","price":9007199254740993,"tags":["a",{"b":[]}]}"#],
    );
    let _ann = world.connect("ann", "a", "default");
    let mut page = open(&browser, &world.page()).await;
    page.until_text("feed", "milk <b>").await;
    page.click("milk <b>").await;
    page.until_text("document-title", "todos / milk <b>").await;
    let content = page.text("document-content").await;
    assert!(content.contains("\"price\": 9007199254740993"), "{content}");
    assert!(content.contains(r#""title": "Buy \"milk\"""#), "{content}");
    let (about, revision) = (
        page.text("document-about").await,
        page.text("document-rev").await,
    );
    assert!(about.contains("live") && about.contains("by "), "{about}");
    let status = done(&world.db("ann"), &["export", "todos", "--meta"]);
    assert!(
        String::from_utf8(status).unwrap().contains(&revision),
        "{revision}"
    );
    page.picture("document").await;
    world.update("ann", "todos", "milk <b>", r#"{"title":"Buy oat milk"}"#);
    page.until_text("document-content", "oat milk").await;
    assert_ne!(page.text("document-rev").await, revision);
    done(&world.db("ann"), &["delete", "todos", "milk <b>"]);
    page.until_text("document-content", "no content").await;
    page.until_text("document-about", "deleted").await;
    page.click("Close").await;
    page.until("document.getElementById('document').hidden")
        .await;
    page.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_by_id_shows_what_it_finds_and_says_when_it_finds_nothing() {
    let Some(browser) = browser() else { return };
    let world = World::start(&TOKENS);
    for id in ["apple", "pineapple", "pear"] {
        world.insert("ann", "fruit", &[&format!(r#"{{"_id":"{id}"}}"#)]);
    }
    world.sync("ann", "a", "default");
    let mut page = open(&browser, &world.page()).await;
    page.until_text("feed", "pear").await;
    page.submit("wanted", "apple").await;
    page.until_text("feed-note", "2 found").await;
    let found = page.text("feed").await;
    assert!(
        found.contains("pineapple") && !found.contains("pear"),
        "{found}"
    );
    page.picture("search").await;
    page.submit("wanted", "plum").await;
    page.until_text("feed", "no document of such an id").await;
    page.picture("search-without-a-hit").await;
    page.click("Back to the feed").await;
    page.until_text("feed", "pear").await;
    page.submit("wanted", "pine").await;
    page.until_text("feed-note", "1 found").await;
    page.submit("wanted", "").await;
    page.until_text("feed", "pear").await;
    page.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conflicts_and_refusals_are_counted_by_reason_and_the_newest_are_named() {
    let Some(browser) = browser() else { return };
    let rules = tempfile::NamedTempFile::new().unwrap();
    let text = "[collections.todos]\nread = [\"*\"]\nwrite = [\"*\"]\n[collections.prices]\nread = [\"*\"]\n";
    std::fs::write(rules.path(), text).unwrap();
    let path = rules.path().to_str().unwrap();
    let options = ["--rules", path, "--document-bytes", "2000"];
    let world = World::start(&[&TOKENS[..], &options].concat());
    world.insert("ann", "todos", &[r#"{"_id":"milk"}"#]);
    world.sync("ann", "a", "default");
    world.sync("bob", "b", "default");
    world.update("ann", "todos", "milk", r#"{"by":"ann"}"#);
    world.update("bob", "todos", "milk", r#"{"by":"bob"}"#);
    world.sync("ann", "a", "default");
    world.sync("bob", "b", "default");
    world.insert("bob", "prices", &[r#"{"_id":"gold"}"#]);
    let large = format!(r#"{{"_id":"novel","text":"{}"}}"#, "x".repeat(3_000));
    world.insert("bob", "todos", &[&large]);
    world.try_sync("bob", "b", "default");
    world.try_sync("eve", "nothing", "default");
    let mut page = open(&browser, &world.page()).await;
    page.until_text("recent", "gold").await;
    let (reasons, recent) = (page.text("reasons").await, page.text("recent").await);
    for code in [
        "conflict",
        "forbidden",
        "document-too-large",
        "unauthorized (error)",
    ] {
        assert!(reasons.contains(code), "{code}: {reasons}");
    }
    for told in [
        "todos/milk",
        "prices/gold",
        "bob",
        "somebody else's version",
    ] {
        assert!(recent.contains(told), "{told}: {recent}");
    }
    page.picture("conflicts-and-refusals").await;
    page.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_elsewhere_sees_nothing_without_the_token() {
    let Some(browser) = browser() else { return };
    let world = World::start(&[&TOKENS[..], &["--admin-token", "sesame"]].concat());
    world.insert("ann", "secrets", &[r#"{"_id":"hidden"}"#]);
    world.sync("ann", "a", "default");
    let mut page = open(&browser, &world.page_from_elsewhere()).await;
    page.until("!document.getElementById('login').hidden").await;
    assert_eq!(page.text("state").await, "locked");
    assert_eq!(page.text("refused").await, "");
    page.picture("needs-a-token").await;
    page.submit("token", "open").await;
    page.until_text("refused", "this token is not the one")
        .await;
    let all = page.value("document.documentElement.outerHTML").await;
    assert!(!all.as_str().unwrap().contains("hidden\""), "{all}");
    page.picture("wrong-token").await;
    page.submit("token", "sesame").await;
    page.until_text("feed", "hidden").await;
    page.until("document.getElementById('login').hidden").await;
    assert!(
        !page
            .value("location.href")
            .await
            .as_str()
            .unwrap()
            .contains("sesame")
    );
    page.picture("unlocked").await;
    page.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_phone_nothing_lies_beside_the_screen() {
    let Some(browser) = browser() else { return };
    let world = World::start(&TOKENS);
    let long =
        "a-rather-long-identifier-that-no-phone-has-room-for-01926f3c-8d5e-7a41-b2c3-d4e5f6a7b8c9";
    world.insert("ann", "todos", &[r#"{"_id":"milk","title":"Buy milk"}"#]);
    let document = format!(r#"{{"_id":"{long}","text":"{}"}}"#, "word ".repeat(60));
    world.insert("ann", "shopping-lists-of-the-whole-family", &[&document]);
    let _ann = world.connect("ann", "a", "a-namespace-with-a-long-name-2026");
    world.update("ann", "todos", "milk", r#"{"title":"Buy oat milk"}"#);
    let mut page = Page::open(&browser).await;
    page.size(390, 844, true).await;
    page.visit(&world.page()).await;
    page.until_text("feed", "milk").await;
    page.until_text("clients", "ann").await;
    let beside = "[...document.querySelectorAll('.scroll')].some((one) => one.scrollWidth > one.clientWidth)";
    assert_eq!(page.value(beside).await, false);
    page.picture("phone").await;
    page.click(long).await;
    page.until_text("document-title", long).await;
    page.picture("phone-document").await;
    page.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_gone_is_told_and_found_again() {
    let Some(browser) = browser() else { return };
    let mut world = World::start(&TOKENS);
    world.insert("ann", "todos", &[r#"{"_id":"milk"}"#]);
    world.sync("ann", "a", "default");
    let mut page = open(&browser, &world.page()).await;
    page.until_text("feed", "milk").await;
    world.server = None;
    page.until_text("state", "the server does not answer").await;
    assert!(page.text("state").await.contains("this is how it was 20"));
    page.until("document.getElementById('main').classList.contains('old')")
        .await;
    assert!(
        page.text("feed").await.contains("milk"),
        "what was known stays"
    );
    page.picture("server-gone").await;
    world.serve();
    page.until_text("state", "ready").await;
    page.until("!document.getElementById('main').classList.contains('old')")
        .await;
    page.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_was_turned_off_is_not_there() {
    let Some(browser) = browser() else { return };
    let world = World::start(&["--no-admin"]);
    let mut page = Page::open(&browser).await;
    let refused = page.try_visit(&world.page()).await;
    assert_eq!(
        refused.as_deref(),
        Some("net::ERR_HTTP_RESPONSE_CODE_FAILURE")
    );
    page.visit(&format!("{}health", world.page())).await;
    let answer = "fetch('/admin/state').then((answer) => answer.status)";
    assert_eq!(page.value(answer).await, 404);
    page.close().await;
}
