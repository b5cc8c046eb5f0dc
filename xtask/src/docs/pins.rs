//! Documents pinned to the files they describe.
//!
//! A pinned document carries one comment a source, `<!-- pinned: PATH HASH -->`. The hash is of the
//! source's code: comments, layout and the unit tests at its end do not count. Change the code, and
//! the check fails until somebody has read the document again and recorded it with
//! `cargo xtask docs --bless`.

/// A document and the sources it describes.
struct Pin {
    document: &'static str,
    sources: &'static [&'static str],
}

const PINS: &[Pin] = &[
    Pin {
        document: "docs/protocol.md",
        sources: &["crates/pocket-sync-protocol/src/message.rs"],
    },
    Pin {
        document: "docs/storage-layout.md",
        sources: &[
            "crates/pocket-core/src/keys.rs",
            "crates/pocket-sync-server/src/keys.rs",
            "crates/pocket-storage-indexeddb/src/page.rs",
        ],
    },
];

/// Reads a file of the workspace.
type Read<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// The documents that do not fit the sources they describe.
pub(super) fn check(read: &Read<'_>) -> Vec<String> {
    PINS.iter().flat_map(|pin| check_one(pin, read)).collect()
}

/// The pinned documents with the hashes of today's sources, where these differ.
pub(super) fn bless(read: &Read<'_>) -> Vec<(String, String)> {
    let mut written = Vec::new();
    for pin in PINS {
        let Some(before) = read(pin.document) else {
            continue;
        };
        let mut text = before.clone();
        for source in pin.sources {
            if let Some(code) = read(source) {
                text = with_mark(&text, source, &hash(&code));
            }
        }
        if text != before {
            written.push((pin.document.to_owned(), text));
        }
    }
    written
}

fn check_one(pin: &Pin, read: &Read<'_>) -> Vec<String> {
    // A document that is missing is reported as such elsewhere.
    let Some(document) = read(pin.document) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for source in pin.sources {
        let Some(code) = read(source) else {
            found.push(format!(
                "{source} is missing; {} describes it",
                pin.document
            ));
            continue;
        };
        if mark_of(&document, source) != Some(hash(&code).as_str()) {
            found.push(format!(
                "{source} has changed since {} was last read against it; bring the document up to \
                 date, then run `cargo xtask docs --bless`",
                pin.document
            ));
        }
    }
    found
}

/// A hash of what a source does: FNV-1a of its code, 64 bits. It finds changes, not attackers.
fn hash(source: &str) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in without_comments(source).bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{hash:016x}")
}

/// The code of a source: no comment lines, no layout, nothing from its unit tests on.
fn without_comments(source: &str) -> String {
    let code = source
        .split("#[cfg(test)]\nmod tests")
        .next()
        .unwrap_or_default();
    let lines = code
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("//"));
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    words.join(" ")
}

fn mark_of<'a>(document: &'a str, source: &str) -> Option<&'a str> {
    let (_, after) = document.split_once(&format!("<!-- pinned: {source} "))?;
    Some(after.split_once("-->")?.0.trim())
}

fn with_mark(document: &str, source: &str, hash: &str) -> String {
    let mark = format!("<!-- pinned: {source} {hash} -->");
    match mark_of(document, source) {
        Some(old) => document.replacen(&format!("<!-- pinned: {source} {old} -->"), &mark, 1),
        None => format!("{}\n\n{mark}\n", document.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const CODE: &str = "\
/// A push.\npub struct Push {\n    pub first: u64,\n}\n";

    fn tree(document: &str, code: &str) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        for pin in PINS {
            files.insert(pin.document.to_owned(), document.to_owned());
            files.extend(
                pin.sources
                    .iter()
                    .map(|path| ((*path).to_owned(), code.to_owned())),
            );
        }
        files
    }

    /// How many files are described.
    fn pinned() -> usize {
        PINS.iter().map(|pin| pin.sources.len()).sum()
    }

    fn found(files: &BTreeMap<String, String>) -> Vec<String> {
        check(&|path| files.get(path).cloned())
    }

    fn blessed(mut files: BTreeMap<String, String>) -> BTreeMap<String, String> {
        let written = bless(&|path| files.get(path).cloned());
        files.extend(written);
        files
    }

    #[test]
    fn a_blessed_document_passes_until_its_source_changes() {
        let files = blessed(tree("The field `f`.", CODE));
        assert_eq!(found(&files), Vec::<String>::new());
        let mut changed = files.clone();
        for pin in PINS {
            for source in pin.sources {
                changed.insert((*source).to_owned(), CODE.replace("u64", "u32"));
            }
        }
        assert_eq!(found(&changed).len(), pinned());
        assert_eq!(found(&blessed(changed)), Vec::<String>::new());
    }

    #[test]
    fn a_document_nobody_ever_pinned_fails() {
        assert_eq!(found(&tree("The field `f`.", CODE)).len(), pinned());
    }

    #[test]
    fn a_missing_source_fails() {
        let mut files = blessed(tree("The field `f`.", CODE));
        files.remove("crates/pocket-core/src/keys.rs");
        assert_eq!(found(&files).len(), 1);
    }

    #[test]
    fn comments_layout_and_unit_tests_do_not_count() {
        let other = CODE
            .replace("/// A push.\n", "// Sends.\n")
            .replace("    ", "  ");
        assert_eq!(
            hash(CODE),
            hash(&format!("{other}\n#[cfg(test)]\nmod tests {{ }}\n"))
        );
        assert_ne!(hash(CODE), hash(&CODE.replace("first", "last")));
    }
}
