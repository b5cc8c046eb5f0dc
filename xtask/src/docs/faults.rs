//! The map of `docs/testing.md`: each fault, bad input and point has a row, and each row names a test that is run or a fault
//! that the simulator makes.
//!
//! A row that holds for nothing yet begins its last cell with "Not yet", and says why.

use super::markdown;
use super::promises::{is_fault, is_test, named};

/// The document with the map.
pub(super) const DOCUMENT: &str = "docs/testing.md";

/// The tables: the heading of each, and how many rows it has at the least. One that is taken out is missed here.
const TABLES: &[(&str, usize)] = &[
    ("The network", 10),
    ("Crashes and disks", 19),
    ("Time, versions, lifetime", 9),
    ("Bad input and abuse", 21),
    ("The fifteen points", 15),
    ("HTTP alone", 5),
    ("In a browser", 9),
];

/// How many points there are.
const POINTS: usize = 15;

/// What begins the last cell of a row that nothing shows yet.
const NOT_YET: &str = "Not yet";

/// Reads a file of the workspace.
type Read<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// What the map lacks.
pub(super) fn check(document: &str, read: &Read<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for (title, least) in TABLES {
        let rows = rows(document, title);
        if rows.len() < *least {
            found.push(format!(
                "{DOCUMENT}: the table under `{title}` has {} rows, and {least} belong there",
                rows.len()
            ));
        }
        for (number, row) in &rows {
            if !is_shown(row, read) {
                found.push(format!(
                    "{DOCUMENT}:{number}: this row names no test that is run, and no fault of the simulator"
                ));
            }
        }
    }
    let points = rows(document, "The fifteen points");
    for point in 1..=POINTS {
        let begins = format!("point_{point:02}_");
        let is_there = points.iter().any(|(_, row)| {
            let mut tests = named(row).into_iter();
            tests.any(|(path, name)| name.starts_with(&begins) && is_test(path, name, read))
        });
        if !is_there {
            found.push(format!(
                "{DOCUMENT}: point {point} has no test whose name begins with {begins}"
            ));
        }
    }
    found
}

/// Whether something shows what a row says, or it says itself that nothing does.
fn is_shown(row: &str, read: &Read<'_>) -> bool {
    let last = row.trim().trim_end_matches('|').rsplit('|').next();
    last.is_some_and(|cell| cell.trim().starts_with(NOT_YET))
        || named(row)
            .into_iter()
            .any(|(path, name)| is_test(path, name, read) || is_fault(path, name, read))
}

/// The rows of the table under a heading, without its head, each with the number of its line.
fn rows<'a>(document: &'a str, title: &str) -> Vec<(usize, &'a str)> {
    let mut rows = Vec::new();
    let (mut is_under, mut is_in_body) = (false, false);
    for (number, line) in markdown::prose(document) {
        if let Some((_, of)) = markdown::heading(line) {
            (is_under, is_in_body) = (of == title, false);
        } else if is_under && line.starts_with("|--") {
            is_in_body = true;
        } else if is_under && is_in_body && line.starts_with('|') {
            rows.push((number, line));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> Option<String> {
        let points = (1..=POINTS).map(|n| format!("#[test]\nfn point_{n:02}_x() {{}}\n\n"));
        match path {
            "a/tests/a.rs" => {
                Some(points.collect::<String>() + "#[test]\nfn holds() {}\nfn helper() {}\n")
            }
            "sim/counts.rs" => Some("Dropped = \"fault: dropped\",\n".to_owned()),
            _ => None,
        }
    }

    /// A whole map; `row` makes the rows of the first table.
    fn document(row: &str) -> String {
        let mut text = String::new();
        for (title, least) in TABLES {
            let row = |n: usize| match *title {
                "The network" => format!("{row}\n"),
                "The fifteen points" => format!("| {n} | `a/tests/a.rs::point_{n:02}_x` |\n"),
                _ => "| x | `a/tests/a.rs::holds` |\n".to_owned(),
            };
            let rows: String = (1..=*least).map(row).collect();
            text += &[
                "### ",
                title,
                "\n\n| fault | shown by |\n|---|---|\n",
                &rows,
                "\n",
            ]
            .concat();
        }
        text
    }

    #[test]
    fn rows_with_a_test_a_fault_or_a_reason_pass() {
        for row in [
            "| x | `a/tests/a.rs::holds` |",
            "| x | `sim/counts.rs::Dropped` |",
            "| x | Not yet: there are no queries |",
        ] {
            assert_eq!(check(&document(row), &read), Vec::<String>::new(), "{row}");
        }
    }

    #[test]
    fn rows_that_show_nothing_fail() {
        for row in [
            "| x | |",
            "| x | somewhere |",
            "| x | `a/tests/a.rs::helper` |",
            "| x | `a/tests/a.rs::gone` |",
            "| x | `sim/counts.rs::Doubled` |",
            "| Not yet | somewhere |",
        ] {
            assert_eq!(check(&document(row), &read).len(), 10, "{row}");
        }
    }

    #[test]
    fn a_row_and_a_point_that_were_taken_out_are_missed() {
        let whole = document("| x | `a/tests/a.rs::holds` |");
        let less = whole.replacen("| x | `a/tests/a.rs::holds` |\n", "", 1);
        assert_eq!(check(&less, &read).len(), 1);
        let pointless = whole.replace("`a/tests/a.rs::point_07_x`", "`a/tests/a.rs::holds`");
        assert_eq!(check(&pointless, &read).len(), 1);
        assert!(!check("", &read).is_empty());
    }
}
