//! The module that the npm packages wrap, as browsers get it.

use pocket_browser::{Page, required as browser};
use serde_json::{Value, json};

use crate::site::Site;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_of_the_face_holds() {
    let Some(browser) = browser() else { return };
    let site = Site::with_product().await;
    let mut page = Page::open(&browser).await;
    site.visit_page(&mut page, "face.html").await;
    let cases = page.value("face.cases()").await;
    let cases: Vec<String> = cases
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect();
    assert!(cases.len() > 5, "{cases:?}");
    let mut failures = Vec::new();
    for case in &cases {
        // Afresh: a panic leaves a module in no state to go on with.
        site.visit_page(&mut page, "face.html").await;
        let run = format!(
            "face.run({}).then(() => null, (error) => `${{error.message}} ${{error.stack}}`)",
            json!(case)
        );
        match page.value(&run).await {
            Value::Null => println!("{case} passed"),
            failure => {
                println!("{case} FAILED: {failure}");
                failures.push(format!("{case}: {failure}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    page.close().await;
}
