//! Times of the npm packages beside other databases of browsers: `cargo xtask bench-web`.

use std::collections::BTreeMap;
use std::sync::Arc;

use pocket_browser::{Browser, required as browser};
use serde_json::{Value, json};

use super::{Files, add, built};
use crate::site::Site;

/// The contestants; all are compared with the first one.
const CONTESTANTS: [&str; 5] = [
    "Pocket, strict",
    "Pocket, relaxed",
    "Dexie, strict",
    "Dexie, relaxed",
    "RxDB on Dexie",
];

/// What is measured, and how it is called in the table.
const MEASURES: [(&str, &str); 5] = [
    ("insertMany", "500 documents in one call"),
    ("insertTick", "500 single inserts of one tick"),
    ("all", "all of 10,000 documents"),
    ("gets", "1,000 documents, one after the other"),
    ("live", "an insert until a live query of 100 tells of it"),
];

fn rounds() -> u64 {
    let named = std::env::var("POCKET_BENCH_ROUNDS");
    named.map_or(7, |rounds| rounds.parse().expect("a number of rounds"))
}

fn median(figures: &Value) -> f64 {
    let mut figures: Vec<f64> = figures
        .as_array()
        .unwrap()
        .iter()
        .map(|ms| ms.as_f64().unwrap())
        .collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_packages_are_measured_beside_other_databases() {
    let Some(path) = browser() else { return };
    let Some(directory) = built("testing/pocket-browser/bench/dist", "index.html") else {
        return;
    };
    let mut files = Files::new();
    add(&mut files, "/bench", &directory);
    let site = Site::serve(files).await;
    let browser = Arc::new(Browser::start(&path).await);
    let mut page = browser.page().await;
    site.visit_page(&mut page, "bench/index.html").await;
    let rounds = rounds();
    page.value(&format!("globalThis.measured = measureAll({rounds}), 0"))
        .await;
    // It takes longer than one question may.
    let look =
        "Promise.race([measured, new Promise((resolve) => setTimeout(resolve, 10_000, null))])";
    let mut figures = Value::Null;
    while figures.is_null() {
        figures = page.value(look).await;
    }
    let medians: BTreeMap<(&str, &str), f64> = CONTESTANTS
        .into_iter()
        .flat_map(|name| MEASURES.map(|(measure, _)| (name, measure)))
        .map(|(name, measure)| ((name, measure), median(&figures[name][measure])))
        .collect();
    println!(
        "\n| ms, median of {rounds} rounds | {} |",
        CONTESTANTS.join(" | ")
    );
    println!("|---{}|", "|---:".repeat(CONTESTANTS.len()));
    for (measure, called) in MEASURES {
        let own = medians[&(CONTESTANTS[0], measure)];
        let cells = CONTESTANTS.map(|name| {
            let ms = medians[&(name, measure)];
            assert!(ms > 0.0, "{name}: {measure} took no time");
            if name == CONTESTANTS[0] {
                format!("**{ms:.1}**")
            } else {
                format!("{ms:.1} (×{:.2})", ms / own)
            }
        });
        println!("| {called} | {} |", cells.join(" | "));
    }
    println!("\n{}", json!(figures));
    page.close().await;
}
