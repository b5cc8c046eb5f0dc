//! The server's page for people, in a headless Chromium.

use crate::browser::{self, BROWSER};
use crate::process;
use crate::report::Outcome;
use crate::steps::{self, Done};
use crate::workspace::Workspace;

/// Runs the tests of the page, if there is a browser.
pub(crate) fn run(workspace: &Workspace) -> Outcome<Done> {
    let browser = match browser::find() {
        Ok(browser) => browser,
        Err(what_to_do) => return Ok(Done::Skipped(what_to_do)),
    };
    let pictures = workspace.root.join("target/screenshots");
    let pocket = steps::product(workspace)?;
    let arguments = ["test", "--locked", "--workspace", "--test", steps::PAGE];
    let mut command = process::cargo(workspace, &arguments);
    command
        .args(steps::FEATURES)
        .env("POCKET_BIN", pocket)
        .env(BROWSER, browser)
        .env("POCKET_SCREENSHOTS", &pictures);
    // One after the other: each starts a browser.
    process::run(command.args(["--", "--test-threads=1"]))?;
    println!("page: pictures of each state are in {}", pictures.display());
    Ok(Done::Passed)
}
