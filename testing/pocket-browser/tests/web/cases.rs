//! The cases of the module, each in a page or worker of its own.

use pocket_browser::{Page, required as browser};
use serde_json::{Value, json};

use crate::site::Site;

/// Where a case runs.
#[derive(Clone, Copy, Debug)]
enum Place {
    Window,
    Worker,
}

async fn every_case(place: Place) {
    let Some(browser) = browser() else { return };
    let site = Site::start().await;
    let mut page = Page::open(&browser).await;
    site.visit(&mut page).await;
    let cases = page.value("pocket.cases()").await;
    let cases: Vec<&str> = cases
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(cases.contains(&"the_conformance_suite_passes"), "{cases:?}");
    let mut failures = Vec::new();
    for case in &cases {
        // Afresh: a case that fails leaves its module in no state to go on with.
        site.visit(&mut page).await;
        let name = case;
        let (case, database) = (json!(case), json!(format!("{place:?} {case}")));
        let call = match place {
            Place::Window => format!("inWindow(() => pocket.run({case}, {database}))"),
            Place::Worker => format!("inWorker('run', {case}, {database})"),
        };
        let timed = format!(
            "(async () => {{ const began = performance.now();
                try {{ await {call} }} catch (error) {{ return error.message }}
                return performance.now() - began }})()"
        );
        match page.value(&timed).await {
            Value::Number(took) => {
                let took = took.as_f64().unwrap_or_default();
                println!("{place:?}: {name} passed in {took:.0} ms");
            }
            failure => {
                println!("{place:?}: {name} FAILED: {failure}");
                failures.push(format!("{name}: {failure}"));
            }
        }
    }
    println!(
        "{place:?}: {} of {} cases passed",
        cases.len() - failures.len(),
        cases.len()
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    page.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_holds_in_a_window() {
    every_case(Place::Window).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_holds_in_a_dedicated_worker() {
    every_case(Place::Worker).await;
}

/// What is asserted is that small documents share records; the times are printed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_small_documents_are_few_records() {
    let Some(browser) = browser() else { return };
    let site = Site::start().await;
    let mut page = Page::open(&browser).await;
    site.visit(&mut page).await;
    let measured = page
        .value("inWindow(() => pocket.measure('measured'))")
        .await;
    let lines = measured.as_str().unwrap();
    println!("{lines}");
    assert!(
        lines.contains("500 documents of 200 B in one batch, strict"),
        "{lines}"
    );
    page.close().await;
}
