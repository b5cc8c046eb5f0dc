//! The browser of this machine, for the steps that need one.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::process;
use crate::workspace::Workspace;

/// Names the browser to use.
pub(crate) const BROWSER: &str = "POCKET_BROWSER";

/// What a browser is called.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/// What Debian calls it, and letters for it to draw.
const PACKAGES: [&str; 2] = ["chromium", "fonts-dejavu-core"];

/// The browser that is named, or one in the path; else what to do.
pub(crate) fn find() -> Result<PathBuf, String> {
    let named = std::env::var_os(BROWSER).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    named.or_else(|| in_path(&path)).ok_or_else(|| {
        format!(
            "there is no Chromium on this machine; install it (Debian: apt-get install {}), or \
             name one in {BROWSER}",
            PACKAGES.join(" ")
        )
    })
}

/// As [`find`], but installs Debian's where there is none and this user may.
pub(crate) fn find_or_install(workspace: &Workspace) -> Result<PathBuf, String> {
    find().or_else(|what_to_do| {
        let install = [
            &["install", "-qy", "--no-install-recommends"][..],
            &PACKAGES,
        ]
        .concat();
        for arguments in [&["update", "-q"][..], &install] {
            let mut command = process::program_in(workspace, "apt-get", arguments);
            command.env("DEBIAN_FRONTEND", "noninteractive");
            if let Err(problems) = process::run(&mut command) {
                return Err(format!("{what_to_do} (tried: {problems})"));
            }
        }
        find()
    })
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
