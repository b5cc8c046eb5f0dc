//! The sources of the application, where it is built, and whether what was built is still theirs.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::codes;
use crate::failure::{Failure, Result};

/// Where the application lies in a checkout.
pub(super) const APPLICATION: &str = "examples/todo-react";

/// Where the packages lie that it is made of.
pub(super) const PACKAGES: &str = "packages";

/// What the application and its WebAssembly are made from. More than that costs a build that was not needed.
const SOURCES: [&str; 7] = [
    "Cargo.lock",
    "Cargo.toml",
    "rust-toolchain.toml",
    "crates",
    "examples/todo-react",
    PACKAGES,
    "xtask/src",
];

/// Folders in these that hold what was made, what is downloaded, and what only tests read; and the crates of servers.
const NO_SOURCES: [&str; 10] = [
    "benches",
    "build",
    "dist",
    "golden",
    "node_modules",
    "pocket-cli",
    "pocket-sync-server",
    "target",
    "test",
    "tests",
];

/// Says in a folder of built files what they were built from.
const BUILT_FROM: &str = ".built-from";

/// A checkout of Pocket.
pub(super) struct Checkout {
    root: PathBuf,
}

impl Checkout {
    /// The checkout around the current directory, or the one that this program was built in.
    pub(super) fn find() -> Result<Self> {
        let places = [std::env::current_dir(), std::env::current_exe()];
        let root = places
            .iter()
            .flatten()
            .flat_map(|place| place.ancestors())
            .find(|place| is_checkout(place));
        let root = root.ok_or_else(|| {
            Failure::new(
                codes::NO_CHECKOUT,
                "the application is built from sources, and neither the current directory nor this program lies in a \
                 checkout of Pocket; run `cargo run --release -p pocket-cli -- demo --web` in one, or name a folder \
                 of built files with --assets",
            )
        })?;
        Ok(Self {
            root: root.to_owned(),
        })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn packages(&self) -> PathBuf {
        self.root.join(PACKAGES)
    }

    pub(super) fn application(&self) -> PathBuf {
        self.root.join(APPLICATION)
    }

    /// Where the built application is.
    pub(super) fn assets(&self) -> PathBuf {
        self.application().join("dist")
    }

    /// Where the demo's server keeps its database unless it is told otherwise.
    pub(super) fn stage(&self) -> PathBuf {
        self.root.join("target").join("demo-web")
    }

    /// What the sources are now; the same for the same sources.
    pub(super) fn fingerprint(&self) -> Result<String> {
        let mut files = Vec::new();
        for source in SOURCES {
            collect(&self.root.join(source), &mut files)
                .map_err(|error| cannot_read(&self.root.join(source), &error))?;
        }
        files.sort();
        let mut sum = Sha256::new();
        for file in files {
            let content = fs::read(&file).map_err(|error| cannot_read(&file, &error))?;
            let name = file.strip_prefix(&self.root).unwrap_or(&file);
            sum.update(name.to_string_lossy().as_bytes());
            sum.update([0]);
            sum.update((content.len() as u64).to_be_bytes());
            sum.update(&content);
        }
        Ok(hexadecimal(&sum.finalize()))
    }
}

/// Whether the files in `folder` were built from what has this fingerprint.
pub(super) fn is_built_from(folder: &Path, fingerprint: &str) -> bool {
    fs::read_to_string(folder.join(BUILT_FROM)).is_ok_and(|noted| noted == fingerprint)
}

/// Notes what the files in `folder` were built from.
pub(super) fn note_built_from(folder: &Path, fingerprint: &str) -> Result {
    let note = folder.join(BUILT_FROM);
    let written = fs::write(&note, fingerprint);
    written.map_err(|error| Failure::io(format!("cannot write {}", note.display()), &error))
}

fn is_checkout(place: &Path) -> bool {
    place.join(APPLICATION).join("package.json").is_file()
        && place.join("xtask").join("Cargo.toml").is_file()
}

fn collect(place: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let is_source = |name: &str| {
        !NO_SOURCES.contains(&name) && !name.starts_with('.') && !name.ends_with(".tsbuildinfo")
    };
    if !place.is_dir() {
        // What is not there now is there as soon as it matters.
        files.extend(place.is_file().then(|| place.to_owned()));
        return Ok(());
    }
    for entry in fs::read_dir(place)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_source) {
            collect(&entry.path(), files)?;
        }
    }
    Ok(())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // A string takes everything.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn cannot_read(place: &Path, error: &io::Error) -> Failure {
    Failure::io(format!("cannot read {}", place.display()), error)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;

    fn write(root: &Path, name: &str, content: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    #[test]
    fn sources_change_the_fingerprint_and_what_is_made_from_them_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let checkout = Checkout {
            root: root.to_owned(),
        };
        write(root, "Cargo.toml", "[workspace]");
        write(root, "packages/core/src/index.ts", "export {}");
        let mut seen = vec![checkout.fingerprint().unwrap()];
        for (name, content) in [
            ("packages/core/src/index.ts", "export { }"),
            ("packages/core/src/other.ts", ""),
            ("packages/core/src/another.ts", ""),
            ("crates/pocket-core/src/lib.rs", "//!"),
            ("examples/todo-react/index.html", "<html>"),
        ] {
            write(root, name, content);
            let now = checkout.fingerprint().unwrap();
            assert!(!seen.contains(&now), "{name}");
            seen.push(now);
        }
        for name in [
            "packages/core/build/test/index.test.js",
            "packages/core/dist/index.js",
            "packages/core/tsconfig.tsbuildinfo",
            "packages/node_modules/react/index.js",
            "examples/todo-react/dist/index.html",
            "crates/pocket-cli/src/main.rs",
            "README.md",
        ] {
            write(root, name, "new");
            assert_eq!(
                seen.last(),
                Some(&checkout.fingerprint().unwrap()),
                "{name}"
            );
        }
    }

    #[test]
    fn built_files_are_those_of_the_fingerprint_that_was_noted_beside_them() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!is_built_from(directory.path(), "a"));
        note_built_from(directory.path(), "a").unwrap();
        assert!(is_built_from(directory.path(), "a") && !is_built_from(directory.path(), "b"));
    }
}
