//! Every hook of React, in `StrictMode`, in a page that Vite bundled without a plugin.

use pocket_browser::Page;
use serde_json::{Value, json};

use super::{Files, Server, TOKEN, Tab, World, add, built};
use crate::server::Native;

impl Tab {
    /// Waits until a hook shows this.
    async fn shows(&mut self, hook: &str, expected: &Value) {
        let (hook, expected) = (json!(hook), json!(expected.to_string()));
        self.until(&format!(
            "document.getElementById({hook})?.textContent === {expected}"
        ))
        .await;
    }

    async fn click(&mut self, text: &str) {
        self.0.click(text).await;
    }

    /// How often each hook's component was made anew so far.
    async fn renders(&mut self) -> serde_json::Map<String, Value> {
        let renders = self.run("return renders").await;
        renders.as_object().unwrap().clone()
    }
}

/// What a query shows.
fn found(ids: &[&str]) -> Value {
    json!({ "data": ids, "isLoading": false, "error": null })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hook_shows_what_is_there_and_renders_only_when_that_changes() {
    let Some(page) = built("testing/pocket-browser/pages/dist", "index.html") else {
        return;
    };
    let mut files = Files::new();
    add(&mut files, "/react", &page);
    let Some(world) = World::start_with(files).await else {
        return;
    };
    let mut server = Server::start().await;
    let native = Native::start(&server).await;
    let mut tab = Tab(world.browser.page().await);
    let Tab(page) = &mut tab;
    visit(page, &world, &server).await;
    let sync = |code: Value| {
        let more = ["engine", "isLeader", "pull", "push", "start", "stop"];
        json!({ "status": "idle", "pending": 0, "first": true, "code": code, "more": more })
    };
    // At first, with nothing there.
    tab.shows("useDatabase", &json!("react")).await;
    tab.shows("useCollection", &json!(true)).await;
    for hook in ["useLiveQuery", "useQuery"] {
        tab.shows(hook, &found(&[])).await;
    }
    let missing = json!({ "data": [], "isLoading": false, "error": "collection-not-found" });
    tab.shows("missing", &missing).await;
    let none = json!({ "data": null, "isLoading": false, "error": null });
    tab.shows("useDocument", &none).await;
    tab.shows("useFindOne", &none).await;
    tab.shows("useSuspenseLiveQuery", &json!([])).await;
    let idle = json!({ "isLoading": false, "error": null, "data": null });
    tab.shows("useMutation", &idle).await;
    tab.shows("useSyncStatus", &json!("idle")).await;
    tab.shows("useSync", &sync(Value::Null)).await;
    tab.shows("useObservable", &json!(true)).await;
    tab.shows("useOnlineStatus", &json!(true)).await;

    // What the page writes, what another device writes, and what a button does.
    tab.run("await notes.insertMany([{ _id: 'one', n: 1 }, { _id: 'two', n: 2 }])")
        .await;
    native.write(&json!({ "_id": "four", "n": 4 })).await;
    tab.shows("useLiveQuery", &found(&["one", "two", "four"]))
        .await;
    tab.shows("useSuspenseLiveQuery", &json!(["two", "one"]))
        .await;
    let one = json!({ "data": 1, "isLoading": false, "error": null });
    tab.shows("useDocument", &one).await;
    let four = json!({ "data": "four", "isLoading": false, "error": null });
    tab.shows("useFindOne", &four).await;
    tab.click("insert").await;
    let inserted = json!({ "isLoading": false, "error": null, "data": "of the button" });
    tab.shows("useMutation", &inserted).await;
    tab.click("insert").await;
    let refused =
        json!({ "isLoading": false, "error": "document-exists", "data": "of the button" });
    tab.shows("useMutation", &refused).await;
    tab.click("reset").await;
    tab.shows("useMutation", &idle).await;
    // A query that is not live stays as it was until it is asked again.
    tab.shows("useQuery", &found(&[])).await;
    tab.click("refresh").await;
    tab.shows("useQuery", &found(&["one", "two", "four", "of the button"]))
        .await;
    tab.click("force sync").await;
    tab.shows("useSync", &sync(json!("ok"))).await;
    let pushed = tab
        .run("return sync.getStats().getSnapshot().pushCount")
        .await;
    tab.shows("useSyncStats", &pushed).await;

    // Of a note that shows in none of them nothing is made anew but what tells of sync, and each hook in its own change.
    let before = tab.renders().await;
    tab.run(
        "await notes.insert({ _id: 'hidden', n: -1, of: 'nobody' }); await notes.delete('hidden')",
    )
    .await;
    tab.run("await notes.update('of the button', { n: 7 })")
        .await;
    tab.until("sync.pendingChanges().then((count) => count === 0)")
        .await;
    let after = tab.renders().await;
    for (hook, count) in &before {
        let may_change = [
            "useObservable",
            "useSync",
            "useSyncStats",
            "useSyncStatus",
            "useSuspenseLiveQuery",
        ];
        if !may_change.contains(&hook.as_str()) {
            assert_eq!(after[hook], *count, "{hook}");
        }
    }
    tab.run("await notes.update('one', { n: 0 })").await;
    tab.shows(
        "useDocument",
        &json!({ "data": 0, "isLoading": false, "error": null }),
    )
    .await;
    let times = tab.renders().await["useDocument"].as_u64().unwrap();
    assert_eq!(times, before["useDocument"].as_u64().unwrap() + 1);

    // Dependencies, ids and `enabled` that change.
    tab.click("more").await;
    tab.shows("useLiveQuery", &found(&["two", "four", "of the button"]))
        .await;
    tab.click("other").await;
    tab.shows(
        "useDocument",
        &json!({ "data": 2, "isLoading": false, "error": null }),
    )
    .await;
    tab.click("toggle").await;
    tab.shows("useLiveQuery", &found(&[])).await;
    tab.click("toggle").await;
    tab.shows("useLiveQuery", &found(&["two", "four", "of the button"]))
        .await;

    // Without a network, and without a server.
    tab.0.cut(true).await;
    tab.shows("useOnlineStatus", &json!(false)).await;
    server.stop().await;
    tab.shows("useSyncStatus", &json!("offline")).await;
    tab.click("force sync").await;
    tab.until("JSON.parse(document.getElementById('useSync').textContent).code === 'connect'")
        .await;
    tab.run("await notes.insert({ _id: 'offline', n: 2.5 })")
        .await;
    tab.shows("useLiveQuery", &found(&["two", "offline", "four"]))
        .await;
    server.start_again().await;
    tab.0.cut(false).await;
    tab.shows("useOnlineStatus", &json!(true)).await;
    tab.shows("useSyncStatus", &json!("idle")).await;
    assert!(native.all("notes").await.contains_key("offline"));

    // What is not shown any more costs nothing after a while.
    tab.click("show").await;
    tab.until("db.stats().then(({ liveQueries }) => liveQueries === 0)")
        .await;
    tab.click("show").await;
    tab.shows("useLiveQuery", &found(&["two", "offline", "four"]))
        .await;
    tab.close().await;
}

/// React tells of errors that a boundary caught; so this page's complaints are not looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_query_that_fails_shows_in_the_error_boundary() {
    let Some(page) = built("testing/pocket-browser/pages/dist", "index.html") else {
        return;
    };
    let mut files = Files::new();
    add(&mut files, "/react", &page);
    let Some(world) = World::start_with(files).await else {
        return;
    };
    let server = Server::start().await;
    let mut tab = Tab(world.browser.page().await);
    visit(&mut tab.0, &world, &server).await;
    tab.click("fail").await;
    tab.until("document.getElementById('boundary')?.textContent === 'collection-not-found'")
        .await;
    tab.shows("useLiveQuery", &found(&[])).await;
}

async fn visit(page: &mut Page, world: &World, server: &Server) {
    let origin = &world.site.origin;
    let url = server.url();
    page.visit(&format!(
        "{origin}/react/index.html?server={url}&token={TOKEN}"
    ))
    .await;
    page.until("document.title === 'ready'").await;
}
