//! Several tabs on one database.

use std::sync::Arc;

use pocket_browser::{Browser, Page, required as browser};
use serde_json::json;

use crate::site::Site;

async fn two_tabs(browser: &std::path::Path, site: &Site) -> (Page, Page) {
    let browser = Arc::new(Browser::start(browser).await);
    let (mut one, mut two) = (browser.page().await, browser.page().await);
    for page in [&mut one, &mut two] {
        site.visit(page).await;
        page.value(
            "inWindow(async () => { globalThis.store = await pocket.Store.open('shared') })",
        )
        .await;
    }
    (one, two)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_tabs_that_write_with_checks_lose_no_increment() {
    let Some(browser) = browser() else { return };
    let site = Site::start().await;
    let (mut one, mut two) = two_tabs(&browser, &site).await;
    // Both at once; and each splits pages under the other.
    let increment = "inWindow(() => store.increment('count', 250))";
    let (first, second) = tokio::join!(one.value(increment), two.value(increment));
    let conflicts = first.as_u64().unwrap() + second.as_u64().unwrap();
    println!("two tabs, 250 increments each: {conflicts} conflicts");
    assert!(conflicts > 0, "they did not meet");
    for page in [&mut one, &mut two] {
        let count = page.value("inWindow(() => store.text('count'))").await;
        assert_eq!(count, "500");
        let entries = page.value("inWindow(() => store.count('count '))").await;
        assert_eq!(entries, 500);
    }
    one.close().await;
    two.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tab_that_deletes_the_database_closes_the_other_which_says_why() {
    let Some(browser) = browser() else { return };
    let site = Site::start().await;
    let (mut one, mut two) = two_tabs(&browser, &site).await;
    one.value("inWindow(() => store.increment('count', 5))")
        .await;
    assert_eq!(one.value("store.closed_by() ?? null").await, json!(null));
    two.value("inWindow(() => pocket.Store.delete('shared'))")
        .await;
    for page in [&mut one, &mut two] {
        let refused = "inWindow(() => store.text('count')).catch((error) => error.message)";
        assert_eq!(page.value(refused).await, "Closed");
        let why = page.value("store.closed_by()").await;
        assert!(
            why.as_str()
                .unwrap()
                .contains("was deleted, by another tab"),
            "{why}"
        );
    }
    let again = "inWindow(async () => (await pocket.Store.open('shared')).count(''))";
    assert_eq!(one.value(again).await, 0);
    one.close().await;
    two.close().await;
}
