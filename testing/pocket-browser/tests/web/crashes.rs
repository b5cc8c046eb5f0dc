//! What a crash leaves of a commit: all or nothing, and everything that was acknowledged.

use std::path::Path;
use std::sync::Arc;

use pocket_browser::{Browser, Page, required as browser};
use serde_json::json;

use crate::site::Site;

fn rounds() -> u64 {
    let named = std::env::var("POCKET_CRASH_ROUNDS");
    named.map_or(8, |rounds| rounds.parse().expect("a number of rounds"))
}

/// Has a page commit without end, each time all keys; it says the number of each commit that was acknowledged.
async fn write(page: &mut Page, site: &Site) {
    site.visit(page).await;
    page.call("Runtime.addBinding", json!({ "name": "acknowledged" }))
        .await;
    let script = "inWindow(async () => {
        const store = await pocket.Store.open('crashed');
        const first = await store.newest_round() + 1;
        (async () => {
            for (let number = first; ; number += 1) {
                // Some need pages of their own, others fewer than before: each kind of change is met.
                await store.round(number, 4 + (number % 5) * 900, number % 2 === 0);
                acknowledged(String(number));
            }
        })();
    })";
    page.value(script).await;
}

/// Waits for a number of acknowledgements, and gives the newest.
async fn acknowledged(page: &mut Page, count: u64) -> u64 {
    let mut newest = 0;
    for _ in 0..count {
        let said = page.event("Runtime.bindingCalled").await;
        newest = said["payload"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .unwrap();
    }
    newest
}

/// The newest commit that is stored, as a whole.
async fn stored(page: &mut Page, site: &Site) -> u64 {
    site.visit(page).await;
    let script = "inWindow(async () => (await pocket.Store.open('crashed')).newest_round())";
    page.value(script).await.as_u64().unwrap()
}

/// What is stored fits what was acknowledged; whether there is more.
fn fits(stored: u64, acknowledged: u64) -> u64 {
    assert!(
        stored >= acknowledged,
        "{acknowledged} was acknowledged, {stored} is stored"
    );
    u64::from(stored > acknowledged)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tab_that_crashes_in_the_middle_of_commits_leaves_all_or_nothing() {
    let Some(path) = browser() else { return };
    let site = Site::start().await;
    let browser = Arc::new(Browser::start(&path).await);
    let mut later = 0;
    for round in 0..rounds() {
        let mut page = browser.page().await;
        write(&mut page, &site).await;
        let newest = acknowledged(&mut page, 1 + round % 4).await;
        page.crash().await;
        let mut page = browser.page().await;
        later += fits(stored(&mut page, &site).await, newest);
        page.close().await;
    }
    println!(
        "{} crashed tabs, {later} with a commit that was not acknowledged in time",
        rounds()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_that_is_killed_keeps_whole_what_was_acknowledged() {
    let Some(path) = browser() else { return };
    let site = Site::start().await;
    let mut browser = Arc::new(Browser::start(&path).await);
    let mut later = 0;
    for round in 0..rounds() {
        let mut page = browser.page().await;
        write(&mut page, &site).await;
        let newest = acknowledged(&mut page, 1 + round % 4).await;
        browser = again(&browser, &path).await;
        let mut page = browser.page().await;
        later += fits(stored(&mut page, &site).await, newest);
        page.close().await;
    }
    println!(
        "{} killed browsers, {later} with a commit that was not acknowledged in time",
        rounds()
    );
}

async fn again(browser: &Browser, path: &Path) -> Arc<Browser> {
    Arc::new(browser.kill_and_start_again(path).await)
}
