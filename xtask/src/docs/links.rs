//! Relative links of Markdown files lead somewhere.

use std::path::{Component, Path, PathBuf};

use super::markdown;
use crate::workspace::has_extension;

/// The links of a document that lead nowhere. Links to the web are not looked up.
pub(super) fn check(path: &str, text: &str, root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in markdown::prose(text) {
        for target in targets(line) {
            if let Some(problem) = broken(path, text, &target, root) {
                found.push(format!("{path}:{number}: the link `{target}` {problem}"));
            }
        }
    }
    found
}

fn broken(path: &str, text: &str, target: &str, root: &Path) -> Option<&'static str> {
    if target.contains("://") || target.starts_with("mailto:") || is_item(path, target) {
        return None;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let linked = if file.is_empty() {
        text.to_owned()
    } else {
        let folder = Path::new(path).parent().unwrap_or(Path::new(""));
        let Some(inside) = normal(&folder.join(file)) else {
            return Some("leaves the project");
        };
        let full = root.join(inside);
        if !full.exists() {
            return Some("leads to no file");
        }
        std::fs::read_to_string(full).unwrap_or_default()
    };
    let is_document = file.is_empty() || has_extension(file, "md");
    let lost =
        is_document && !anchor.is_empty() && !markdown::anchors(&linked).contains(&anchor.into());
    lost.then_some("leads to no heading")
}

/// A crate's README is its doc page too: a path of Rust is rustdoc's to check.
fn is_item(path: &str, target: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || "_:!()@<>".contains(c);
    let in_crate = path.starts_with("crates/") || path.starts_with("testing/");
    in_crate && !target.is_empty() && target.chars().all(plain)
}

/// The path without `.` and `..`, unless it climbs out of the project.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => parts.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !parts.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts)
}

/// What a line links to: inline links, images, reference definitions, `href` and `src`.
fn targets(line: &str) -> Vec<String> {
    let (_, line) = markdown::code_spans(line);
    let mut targets: Vec<String> = Vec::new();
    for rest in line.split("](").skip(1) {
        targets.extend(first_word(
            rest.split_once(')').map_or(rest, |(inside, _)| inside),
        ));
    }
    if let Some((label, rest)) = line.trim_start().split_once("]:")
        && label.starts_with('[')
        && !label.starts_with("[^")
    {
        targets.extend(first_word(rest));
    }
    for attribute in ["href=\"", "src=\""] {
        for rest in line.split(attribute).skip(1) {
            targets.extend(rest.split_once('"').map(|(inside, _)| inside.to_owned()));
        }
    }
    targets
}

/// A target without the title behind it or the brackets around it.
fn first_word(text: &str) -> Option<String> {
    let word = text.split_whitespace().next()?;
    Some(
        word.trim_start_matches('<')
            .trim_end_matches('>')
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        // The tests run in the folder of this crate.
        check("docs/a.md", text, Path::new(env!("CARGO_MANIFEST_DIR")))
    }

    #[test]
    fn links_that_lead_somewhere_pass() {
        let text = "# One two\n[a](../Cargo.toml) ![b](../src/docs.rs \"title\") [c](#one-two)\n\
                    [d](https://example.org/x) <a href=\"../src\">e</a>\n[f]: <../src/main.rs>\n\
                    `[g](nowhere.md)`\n```\n[h](nowhere.md)\n```\n[^1]: a note\n";
        assert_eq!(found(text), Vec::<String>::new());
    }

    #[test]
    fn links_that_lead_nowhere_fail_with_their_line() {
        for text in [
            "[a](nowhere.md)",
            "[a](../nowhere/)",
            "[a](#nowhere)",
            "[a](../../outside.md)",
            "[a](/etc/hosts)",
            "[a]: nowhere.md",
            "<img src=\"nowhere.png\">",
        ] {
            let found = found(&format!("first\n{text}\n"));
            assert_eq!(found.len(), 1, "{text}");
            assert!(found[0].starts_with("docs/a.md:2:"), "{found:?}");
        }
    }

    #[test]
    fn paths_of_rust_are_left_to_rustdoc_in_readmes_of_crates_only() {
        let text = "[`Storage`](crate::Storage)\n[`Batch`]: Batch\n";
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert!(check("crates/a/README.md", text, root).is_empty());
        assert_eq!(check("docs/a.md", text, root).len(), 2);
    }
}
