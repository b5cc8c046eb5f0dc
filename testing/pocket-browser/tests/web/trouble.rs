//! A full quota, data that is cleared, storage that is blocked, and the answer about keeping it.

use pocket_browser::{Page, required as browser};
use serde_json::json;

use crate::site::Site;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_quota_is_full_and_nothing_of_the_batch_is_written() {
    let Some(browser) = browser() else { return };
    let site = Site::start().await;
    let mut page = Page::open(&browser).await;
    site.visit(&mut page).await;
    // Before anything is written: the browser remembers for a while how much room it saw.
    let quota = json!({ "origin": site.origin, "quotaSize": 2_000_000 });
    page.call("Storage.overrideQuotaForOrigin", quota).await;
    page.value(
        "inWindow(async () => {
            globalThis.store = await pocket.Store.open('full');
            await store.increment('count', 3);
        })",
    )
    .await;
    // One that fits is not refused because it waits together with one that does not.
    let together = page
        .value(
            "inWindow(async () => {
                const answers = await Promise.allSettled([
                    store.fill('small', 1, 10), store.fill('large', 1, 5_000_000), store.fill('other', 1, 10),
                ]);
                return answers.map((answer) => answer.reason?.message.slice(0, 5) ?? 'stored');
            })",
        )
        .await;
    assert_eq!(together, json!(["stored", "Full(", "stored"]));
    // Small and large entries: as pages, and as files beside the database.
    for (entries, bytes) in [(40_000, 100), (40, 100_000), (1, 5_000_000)] {
        let fill = format!(
            "inWindow(() => store.fill('fill', {entries}, {bytes})).catch((error) => error.message)"
        );
        let refused = page.value(&fill).await;
        let text = refused.as_str().unwrap_or("it was written");
        assert!(
            text.starts_with("Full(") && text.contains("QuotaExceededError"),
            "{text}"
        );
        let left = page.value("inWindow(() => store.count('fill'))").await;
        assert_eq!(left, 0, "{entries} entries of {bytes} bytes");
    }
    let room = json!({ "origin": site.origin });
    page.call("Storage.overrideQuotaForOrigin", room).await;
    page.value("inWindow(() => store.fill('fill', 40, 100_000))")
        .await;
    assert_eq!(page.value("inWindow(() => store.count('fill'))").await, 40);
    assert_eq!(page.value("inWindow(() => store.text('count'))").await, "3");
    page.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_whose_site_data_is_cleared_closes_and_says_why() {
    let Some(browser) = browser() else { return };
    let site = Site::start().await;
    let mut page = Page::open(&browser).await;
    site.visit(&mut page).await;
    page.value(
        "inWindow(async () => {
            globalThis.store = await pocket.Store.open('cleared');
            await store.increment('count', 3);
        })",
    )
    .await;
    let all = json!({ "origin": site.origin, "storageTypes": "indexeddb" });
    page.call("Storage.clearDataForOrigin", all).await;
    for call in [
        "store.text('count')",
        "store.count('')",
        "store.fill('x', 1, 1)",
    ] {
        let call = format!("inWindow(() => {call}).catch((error) => error.message)");
        assert_eq!(page.value(&call).await, "Closed");
    }
    let why = page.value("store.closed_by()").await;
    assert!(
        why.as_str().unwrap().contains("with the data of this site"),
        "{why}"
    );
    page.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storage_that_is_blocked_is_said_to_be() {
    let Some(browser) = browser() else { return };
    let site = Site::start().await;
    let mut page = Page::open(&browser).await;
    site.visit(&mut page).await;
    let blocked = |text: &serde_json::Value| {
        let text = text.as_str().unwrap();
        text.starts_with("Backend(")
            && text.contains("blocked by its settings, by private browsing or by a sandbox")
    };
    // A sandboxed frame is of no origin that could keep anything.
    let in_frame = page
        .value(
            r#"new Promise((resolve) => {
                addEventListener('message', ({ data }) => resolve(data));
                const frame = document.createElement('iframe');
                frame.sandbox = 'allow-scripts';
                frame.srcdoc = `<script type="module">
                    import init, * as pocket from '${location.origin}/module/pocket_web_tests.js';
                    await init();
                    const answer = await pocket.Store.open('blocked').then(() => 'it opened', (error) => error.message);
                    parent.postMessage(answer, '*');
                <\/script>`;
                document.body.append(frame);
            })"#,
        )
        .await;
    assert!(blocked(&in_frame), "{in_frame}");
    assert!(
        in_frame.as_str().unwrap().contains("SecurityError"),
        "{in_frame}"
    );
    let open = "inWindow(() => pocket.Store.open('blocked')).catch((error) => error.message)";
    // Some browsers have none at all then, others refuse to tell.
    for nothing in [
        "value: undefined",
        "get() { throw new DOMException('no', 'SecurityError') }",
    ] {
        let script = format!(
            "Object.defineProperty(globalThis, 'indexedDB', {{ configurable: true, {nothing} }}), 0"
        );
        page.value(&script).await;
        let answer = page.value(open).await;
        assert!(blocked(&answer), "{answer}");
    }
    page.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_of_the_browser_about_keeping_the_data_is_visible() {
    let Some(browser) = browser() else { return };
    let site = Site::start().await;
    let mut page = Page::open(&browser).await;
    site.visit(&mut page).await;
    // The answer of a browser comes when it comes: asked until it is there.
    let ask = "inWindow(async () => {
        const store = await pocket.Store.open('kept');
        let answer = store.persistence();
        while (answer === 'Waiting') {
            await new Promise((resolve) => setTimeout(resolve));
            answer = store.persistence();
        }
        return answer;
    })";
    let persisted = "navigator.storage.persisted()";
    let answer = page.value(ask).await;
    let expected = |persisted: bool| if persisted { "Granted" } else { "Refused" };
    let really = page.value(persisted).await.as_bool().unwrap();
    assert_eq!(answer, expected(really));
    let grant = json!({ "origin": site.origin, "permissions": ["durableStorage"] });
    page.call("Browser.grantPermissions", grant).await;
    let answer = page.value(ask).await;
    let really = page.value(persisted).await.as_bool().unwrap();
    assert!(really, "the browser was told to grant it");
    assert_eq!(answer, "Granted");
    page.close().await;
}
