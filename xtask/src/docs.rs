//! Documents against the code they describe.

use crate::report::{Outcome, Problems};
use crate::workspace::{Workspace, has_extension};

mod codes;
mod faults;
mod links;
mod markdown;
mod pins;
mod promises;
mod wire;
mod words;

/// The documents the project is not complete without.
const REQUIRED: &[&str] = &[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "SECURITY.md",
    "docs/benchmarks.md",
    "docs/consistency.md",
    "docs/errors.md",
    "docs/protocol.md",
    "docs/storage-layout.md",
    "docs/testing.md",
    "docs/values.md",
    "docs/writing-a-backend.md",
];

/// What the README must say word for word, because people and tools copy it.
const README_SAYS: &[&str] = &[
    "cargo run --release -p pocket-cli -- demo",
    "cargo xtask ci",
];

/// The crates whose errors reach a user; each keeps its stable codes in `src/codes.rs`.
const CRATES_WITH_CODES: &[&str] = &["pocket-core", "pocket-sync-protocol"];

/// Those of the npm packages that no crate has.
const CODES_OF_PACKAGES: &str = "packages/core/src/codes.ts";

/// Checks every document; with `bless`, records first that the pinned ones were read again.
pub(crate) fn run(workspace: &Workspace, bless: bool) -> Outcome {
    let read = |path: &str| workspace.text(path);
    let mut found = Vec::new();
    if bless {
        for (path, text) in pins::bless(&read) {
            std::fs::write(workspace.root.join(&path), text)
                .map_err(|error| format!("cannot write {path}: {error}"))?;
            println!("docs: blessed {path}");
        }
    }
    let files = workspace.files()?;
    found.extend(required(&files));
    found.extend(readme(&read("README.md").unwrap_or_default()));
    found.extend(pins::check(&read));
    if let Some(document) = read("docs/consistency.md") {
        found.extend(promises::check(&document, &read));
    }
    found.extend(faults::check(
        &read(faults::DOCUMENT).unwrap_or_default(),
        &read,
    ));
    if let Some(document) = read(wire::DOCUMENT) {
        let codec = files.iter().filter(|path| path.starts_with(wire::CODEC));
        let codec: Vec<String> = codec.filter_map(|path| read(path)).collect();
        found.extend(wire::check(&codec, &document));
    }
    found.extend(error_codes(workspace, &files));
    for path in files.iter().filter(|path| has_extension(path, "md")) {
        let text = read(path).ok_or_else(|| format!("{path} is not UTF-8"))?;
        found.extend(links::check(path, &text, &workspace.root));
        found.extend(promises::references(path, &text, &read));
    }
    for path in &files {
        let bytes = std::fs::read(workspace.root.join(path))
            .map_err(|error| format!("cannot read {path}: {error}"))?;
        found.extend(words::check(path, &bytes));
    }
    Problems::of(found)?;
    println!("docs: {} files checked", files.len());
    Ok(())
}

fn required(files: &[String]) -> Vec<String> {
    let absent = REQUIRED
        .iter()
        .filter(|path| !files.iter().any(|file| file == *path));
    absent.map(|path| format!("{path} is missing")).collect()
}

fn readme(text: &str) -> Vec<String> {
    let absent = README_SAYS.iter().filter(|line| !text.contains(*line));
    absent
        .map(|line| format!("README.md does not contain `{line}`"))
        .collect()
}

fn error_codes(workspace: &Workspace, files: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for name in CRATES_WITH_CODES {
        let path = format!("crates/{name}/src/codes.rs");
        if !files.contains(&path) {
            found.push(format!(
                "{path} is missing: the stable codes of {name} belong there"
            ));
        }
    }
    let sources: Vec<(&str, String)> = files
        .iter()
        .filter(|path| {
            let is_crate = path.starts_with("crates/") && path.ends_with("/codes.rs");
            is_crate || *path == CODES_OF_PACKAGES
        })
        .filter_map(|path| Some((path.as_str(), workspace.text(path)?)))
        .collect();
    if let Some(document) = workspace.text("docs/errors.md") {
        found.extend(codes::check(&sources, &document));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_document_fails() {
        let files: Vec<String> = REQUIRED.iter().map(|path| (*path).to_owned()).collect();
        assert!(required(&files).is_empty());
        assert_eq!(required(&files[1..]).len(), 1);
    }

    #[test]
    fn a_readme_without_the_two_commands_fails() {
        assert!(readme(&README_SAYS.join("\n")).is_empty());
        assert_eq!(readme("cargo run --release -p pocket-cli -- demo").len(), 1);
        assert_eq!(readme("cargo  xtask ci").len(), 2);
    }
}
