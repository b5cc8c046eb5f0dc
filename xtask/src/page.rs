//! The server's page for people, in a headless Chromium.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::process;
use crate::report::Outcome;
use crate::steps::{self, Done};
use crate::workspace::Workspace;

/// Names the browser to use.
const BROWSER: &str = "POCKET_BROWSER";

/// What a browser is called.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// Runs the tests of the page, if there is a browser.
pub(crate) fn run(workspace: &Workspace) -> Outcome<Done> {
    let named = std::env::var_os(BROWSER).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let Some(browser) = named.or_else(|| in_path(&path)) else {
        return Ok(Done::Skipped(format!(
            "there is no Chromium on this machine; install it (Debian: apt-get install chromium \
             fonts-dejavu-core), or name one in {BROWSER}"
        )));
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

/// The first browser in a list of directories.
fn in_path(path: &OsStr) -> Option<PathBuf> {
    let places: Vec<PathBuf> = std::env::split_paths(path).collect();
    let of_name = |name: &&str| {
        let mut found = places.iter().map(|place: &PathBuf| place.join(name));
        found.find(|path: &PathBuf| Path::is_file(path))
    };
    NAMES.iter().find_map(of_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_found_by_its_names_in_their_order() {
        let base = std::env::temp_dir().join(format!("pocket-page-{}", std::process::id()));
        let [one, two] = ["one", "two"].map(|name| base.join(name));
        let path = std::env::join_paths([&one, &two]).unwrap();
        assert_eq!(in_path(&path), None);
        for (place, name) in [(&one, "google-chrome"), (&two, "chromium")] {
            std::fs::create_dir_all(place).unwrap();
            std::fs::write(place.join(name), "").unwrap();
        }
        let found = in_path(&path);
        std::fs::remove_dir_all(&base).unwrap();
        assert_eq!(found, Some(two.join("chromium")));
    }
}
