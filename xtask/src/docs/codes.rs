//! `docs/errors.md` lists exactly the stable codes of the code.
//!
//! A code is a line `pub const NAME: &str = "kebab-code";` of a crate's `codes.rs`, or `export const NAME = 'kebab-code';` of
//! the npm packages' `codes.ts`. In the document
//! it is the first cell of a table row, in backticks, followed by whether one may retry and by what
//! to do.

use std::collections::{BTreeMap, BTreeSet};

use super::markdown;

/// Compares the codes of all sources, `(path, text)`, with the tables of the document.
pub(super) fn check(sources: &[(&str, String)], document: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut defined: BTreeMap<String, &str> = BTreeMap::new();
    for (path, text) in sources {
        let codes = constants(text);
        if codes.is_empty() {
            found.push(format!("{path} defines no code"));
        }
        for code in codes {
            if !is_kebab(&code) {
                found.push(format!(
                    "{path}: `{code}` is not lower-case words joined by `-`"
                ));
            }
            defined.insert(code, path);
        }
    }
    let mut listed: BTreeSet<String> = BTreeSet::new();
    for (line, cells) in rows(document) {
        let code = cells[0].clone();
        if cells.len() < 3 || cells.iter().any(String::is_empty) {
            found.push(format!(
                "docs/errors.md:{line}: the row of `{code}` needs the code, whether one may retry, \
                 and what to do"
            ));
        }
        if !listed.insert(code.clone()) {
            found.push(format!("docs/errors.md:{line}: `{code}` has a row already"));
        }
        if !defined.contains_key(&code) {
            found.push(format!(
                "docs/errors.md:{line}: no codes.rs defines `{code}`"
            ));
        }
    }
    for (code, path) in defined {
        if !listed.contains(&code) {
            found.push(format!("docs/errors.md has no row for `{code}` of {path}"));
        }
    }
    found
}

/// The string constants of a source, also where rustfmt broke the line.
fn constants(source: &str) -> Vec<String> {
    let code: Vec<&str> = source
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("//"))
        .collect();
    let code = code.join(" ");
    let code = code.replace("pub(crate) const ", "pub const ");
    let rust = code.split("pub const ").skip(1).filter_map(|rest| {
        let (_, after) = rest.split_once(": &str =")?;
        let (value, _) = after.trim_start().strip_prefix('"')?.split_once('"')?;
        Some(value.to_owned())
    });
    let typescript = code.split("export const ").skip(1).filter_map(|rest| {
        let (_, after) = rest.split_once(" = '")?;
        let (value, _) = after.split_once("';")?;
        Some(value.to_owned())
    });
    rust.chain(typescript).collect()
}

/// The table rows whose first cell is one code span, with their line and their cells.
fn rows(document: &str) -> Vec<(usize, Vec<String>)> {
    let mut rows = Vec::new();
    for (number, line) in markdown::prose(document) {
        let Some(inner) = line.trim().strip_prefix('|') else {
            continue;
        };
        let inner = inner.strip_suffix('|').unwrap_or(inner);
        let mut cells: Vec<String> = inner
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect();
        let (spans, rest) = markdown::code_spans(&cells[0]);
        if let ([code], "") = (spans.as_slice(), rest.trim()) {
            let code = (*code).to_owned();
            cells[0] = code;
            rows.push((number, cells));
        }
    }
    rows
}

fn is_kebab(code: &str) -> bool {
    code.split('-').all(|word| {
        !word.is_empty()
            && word
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r#"
        /// Full.
        pub const STORAGE_FULL: &str = "storage-full";
        // pub const OLD: &str = "old";
        pub const IN_USE: &str =
            "in-use";
        pub const ALL: &[&str] = &[STORAGE_FULL, IN_USE];
    "#;
    const DOCUMENT: &str = "\
| code | retry | what to do |\n|---|---|---|\n\
| `storage-full` | no | free some space |\n| `in-use` | no | close the other program |\n";

    #[test]
    fn codes_of_typescript_count_as_those_of_rust_do() {
        let source =
            "export const NAME = 'storage-full';\nexport type T = 'in-use' | (string & {});\n";
        assert_eq!(constants(source), ["storage-full"]);
    }

    fn found(source: &str, document: &str) -> Vec<String> {
        check(&[("codes.rs", source.to_owned())], document)
    }

    #[test]
    fn the_same_codes_on_both_sides_pass() {
        assert_eq!(found(SOURCE, DOCUMENT), Vec::<String>::new());
    }

    #[test]
    fn a_code_without_a_row_and_a_row_without_a_code_fail() {
        let shorter = DOCUMENT.lines().take(3).collect::<Vec<_>>().join("\n");
        assert_eq!(found(SOURCE, &shorter).len(), 1);
        let longer = format!("{DOCUMENT}| `unheard-of` | no | nothing |\n");
        assert_eq!(found(SOURCE, &longer).len(), 1);
    }

    #[test]
    fn a_second_row_an_empty_cell_a_bad_name_and_an_empty_source_fail() {
        let twice = format!("{DOCUMENT}| `in-use` | no | again |\n");
        assert_eq!(found(SOURCE, &twice).len(), 1);
        assert_eq!(
            found(SOURCE, &DOCUMENT.replace("free some space", "")).len(),
            1
        );
        assert_eq!(found(&SOURCE.replace("in-use", "inUse"), DOCUMENT).len(), 3);
        assert_eq!(found("pub const A: u8 = 1;", "").len(), 1);
    }
}
