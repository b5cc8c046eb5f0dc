//! The example as a person sees it. Each state of it leaves a picture in `target/screenshots`.

use std::sync::Arc;

use pocket_browser::{Browser, Page, required as browser};
use pocket_core::Value as Document;
use serde_json::{Value, json};

use super::{Files, Server, add, built};
use crate::server::{Line, Native};

/// The rows that are shown, as their texts.
const ROWS: &str = "[...document.querySelectorAll('.row .text')].map((row) => row.textContent)";

async fn visit(page: &mut Page, line: &Line) {
    page.visit(&format!("http://{}/", line.address)).await;
    page.until("document.querySelector('h1')?.textContent === 'To do'")
        .await;
}

/// What the badge says.
#[track_caller]
fn is<'a>(page: &'a mut Page, status: &str, pending: u32) -> impl Future<Output = ()> + use<'a> {
    page.until(&format!(
        "document.querySelector('.badge[data-status={status}][data-pending=\"{pending}\"]') !== null"
    ))
}

#[track_caller]
fn lists<'a>(page: &'a mut Page, titles: &[&str]) -> impl Future<Output = ()> + use<'a> {
    let titles = json!(titles);
    page.until(&format!(
        "JSON.stringify({ROWS}) === JSON.stringify({titles})"
    ))
}

/// Types into a field, over what is in it, and sends its form.
async fn enter(page: &mut Page, field: &str, text: &str) {
    page.until(&format!("document.querySelector('{field}') !== null"))
        .await;
    page.value(&format!("document.querySelector('{field}').select()"))
        .await;
    page.call("Input.insertText", json!({ "text": text })).await;
    page.value(&format!(
        "document.querySelector('{field}').form.requestSubmit()"
    ))
    .await;
}

/// Clicks what has this label.
async fn press(page: &mut Page, label: &str) {
    let selector = json!(format!("[aria-label=\"{label}\"]"));
    page.value(&format!("document.querySelector({selector}).click()"))
        .await;
}

async fn tick(page: &mut Page, row: usize) {
    page.value(&format!(
        "document.querySelectorAll('.row input[type=checkbox]')[{row}].click()"
    ))
    .await;
}

/// The titles that a native device has, by their places, and whether they are done.
async fn of_native(native: &Native) -> Vec<(String, bool)> {
    let all = native.all("todos").await;
    let mut all: Vec<Value> = all.into_values().collect();
    let place = |todo: &Value| todo["position"].as_f64().unwrap();
    all.sort_by(|one, two| place(one).total_cmp(&place(two)));
    all.iter()
        .map(|todo| {
            let title = todo["title"].as_str().unwrap().to_owned();
            (title, todo["done"].as_bool().unwrap())
        })
        .collect()
}

async fn rename(native: &Native, from: &str, to: &str) {
    let todos = native.database.collection::<Document>("todos").unwrap();
    let all = native.database.collection::<Document>("todos").unwrap();
    for todo in all.get_all().await.unwrap() {
        let todo: Value = serde_json::from_str(&todo.to_json_string().unwrap()).unwrap();
        if todo["title"] == from {
            let patch = json!({ "title": to });
            let id = todo["_id"].as_str().unwrap();
            todos.update(id, &patch).await.unwrap();
            return;
        }
    }
    panic!("it has no {from:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_shows_each_state_that_a_person_meets() {
    let Some(path) = browser() else { return };
    let Some(directory) = built("examples/todo-react/dist", "index.html") else {
        return;
    };
    let mut files = Files::new();
    add(&mut files, "", &directory);
    files.insert("/".to_owned(), files["/index.html"].clone());
    let mut server = Server::with_pages(files).await;
    let line = Line::to(&server).await;
    let native = Native::start_with(&server.url(), &["todos"]).await;
    let browser = Arc::new(Browser::start(&path).await);
    let mut page = browser.page().await;
    visit(&mut page, &line).await;
    page.until("document.querySelector('p.empty')?.textContent.startsWith('Nothing to do')")
        .await;
    is(&mut page, "idle", 0).await;
    // From here on the page opens without its server.
    page.until(
        "navigator.serviceWorker.ready.then(() => navigator.serviceWorker.controller !== null)",
    )
    .await;

    // In step with another window and another device.
    let titles = ["Buy milk", "Call Ann", "Water the plants", "Write to Bob"];
    for title in titles {
        enter(&mut page, "#new-todo", title).await;
        page.until(&format!("{ROWS}.includes('{title}')")).await;
    }
    lists(&mut page, &titles).await;
    tick(&mut page, 1).await;
    is(&mut page, "idle", 0).await;
    let mut second = browser.page().await;
    visit(&mut second, &line).await;
    lists(&mut second, &titles).await;
    second
        .until("document.querySelectorAll('.row.done').length === 1")
        .await;
    is(&mut second, "idle", 0).await;
    let expected = titles.map(|title| (title.to_owned(), title == "Call Ann"));
    assert_eq!(of_native(&native).await, expected);
    page.picture("todo-idle").await;
    page.scheme("dark").await;
    let bright =
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)
        .reduce((sum, part) => sum + part, 0)";
    let dark = page.value(bright).await.as_u64().unwrap();
    page.picture("todo-dark").await;
    page.scheme("light").await;
    let light = page.value(bright).await.as_u64().unwrap();
    assert!(dark < 200 && light > 600, "{dark} and {light} of 765");
    page.size(390, 780, true).await;
    page.picture("todo-narrow").await;
    page.size(1_100, 800, false).await;

    // On its way, and not yet there.
    line.hold(true);
    enter(&mut page, "#new-todo", "Find the keys").await;
    is(&mut page, "syncing", 1).await;
    // The other window shows it all the same, and says the same.
    second
        .until(&format!("{ROWS}.includes('Find the keys')"))
        .await;
    is(&mut second, "syncing", 1).await;
    page.picture("todo-syncing").await;
    line.hold(false);
    is(&mut page, "idle", 0).await;
    second.close().await;

    // Without a server, and after a reload meanwhile.
    server.stop().await;
    is(&mut page, "offline", 0).await;
    press(&mut page, "Edit Buy milk").await;
    // The other device is offline as well, and was first.
    rename(&native, "Buy milk", "Buy oat milk").await;
    // Each device reckons with the server's time, and is wrong about it by as long as messages take.
    let then = page.value("Date.now()").await;
    page.until(&format!("Date.now() > {then} + 2_000")).await;
    enter(&mut page, ".edit .title input", "Buy two litres of milk").await;
    is(&mut page, "offline", 1).await;
    page.until("document.querySelector('.banner')?.textContent.startsWith('You are offline')")
        .await;
    page.picture("todo-offline").await;
    visit(&mut page, &line).await;
    page.until(&format!("{ROWS}.includes('Buy two litres of milk')"))
        .await;
    is(&mut page, "offline", 1).await;

    // The other device comes back first: who won is told, and can be taken back.
    page.cut(true).await;
    server.start_again().await;
    native.engine.force_sync().await.unwrap();
    page.cut(false).await;
    page.until("document.querySelector('.conflict') !== null")
        .await;
    is(&mut page, "idle", 0).await;
    let told = page
        .value("document.querySelector('.conflict').innerText")
        .await;
    let told = told.as_str().unwrap();
    assert!(told.contains("Buy oat milk"), "{told}");
    page.until(&format!("{ROWS}.includes('Buy two litres of milk')"))
        .await;
    page.picture("todo-conflict").await;
    page.value("document.querySelector('.conflict .actions button').click()")
        .await;
    page.until("document.querySelector('.conflict') === null")
        .await;
    page.until(&format!("{ROWS}.includes('Buy oat milk')"))
        .await;
    is(&mut page, "idle", 0).await;
    // A fault in the page itself shows what can be done, and costs nothing.
    page.value("{ globalThis.formats = Intl.DateTimeFormat; Intl.DateTimeFormat = function () { throw new Error('made to break') }; }")
        .await;
    let todos = native.database.collection::<Document>("todos").unwrap();
    let due = json!({ "title": "Pay rent", "done": false, "due": "2031-01-31", "position": 9e9 });
    let due = Document::from_json_str(&due.to_string()).unwrap();
    todos.insert(&due).await.unwrap();
    page.until("document.querySelector('.problem')?.dataset.code === 'broken'")
        .await;
    page.picture("todo-broken").await;
    page.has_complained_of("made to break");
    page.value("Intl.DateTimeFormat = globalThis.formats").await;
    page.value("document.querySelector('.problem .primary').click()")
        .await;
    page.until(&format!("{ROWS}.includes('Pay rent')")).await;
    is(&mut page, "idle", 0).await;
    let shown = page.value(ROWS).await;
    let there = of_native(&native).await;
    let there: Vec<&str> = there.iter().map(|(title, _)| title.as_str()).collect();
    assert_eq!(shown, json!(there));
    page.close().await;
}
