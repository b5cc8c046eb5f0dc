//! The same engine in a browser as natively: histories of the simulator end the same in both.

use pocket_browser::{Page, required as browser};
use serde_json::json;

use crate::site::Site;

/// Enough for every kind of message to have passed.
const HISTORIES: u64 = 40;

#[tokio::test(flavor = "multi_thread")]
async fn a_history_in_a_browser_is_the_history_of_the_native_build() {
    let Some(browser) = browser() else { return };
    let site = Site::start().await;
    let mut page = Page::open(&browser).await;
    site.visit(&mut page).await;
    let mut virtual_millis = 0;
    for seed in 1..=HISTORIES {
        let native = pocket_sim::digest(seed);
        assert_eq!(native.broken, None, "seed {seed}");
        let there = page.value(&format!("pocket.history({seed})")).await;
        assert_eq!(there, json!(format!("{native:?}")), "seed {seed}");
        virtual_millis += native.virtual_millis;
    }
    println!(
        "{HISTORIES} histories of {} s of virtual time, the same in the browser",
        virtual_millis / 1_000
    );
    page.close().await;
}
