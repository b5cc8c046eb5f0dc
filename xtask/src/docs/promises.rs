//! Every promise of `docs/consistency.md` names a test, and every test a document names exists.
//!
//! A promise is a heading that begins with its number (`## P3 One order`); what follows, up to the
//! next heading of its level, belongs to it. A test is named by its file and its function, in
//! backticks: `testing/pocket-sim/tests/promises.rs` + `::` + `one_order`.

use super::markdown;

/// How many promises there are: P1 to P10.
const PROMISES: usize = 10;

/// Reads a file of the workspace.
type Read<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// The promises that no test proves.
pub(super) fn check(document: &str, read: &Read<'_>) -> Vec<String> {
    let sections = sections(document);
    let mut found = Vec::new();
    for number in 1..=PROMISES {
        let Some((_, lines)) = sections.iter().find(|(of, _)| *of == number) else {
            found.push(format!("docs/consistency.md has no heading for P{number}"));
            continue;
        };
        let proven = lines
            .iter()
            .flat_map(|line| named(line))
            .any(|(path, name)| is_test(path, name, read));
        if !proven {
            found.push(format!(
                "docs/consistency.md: P{number} names no test that exists; write one as \
                 `path/to/file.rs::test_name`, a function marked as a test"
            ));
        }
    }
    found
}

/// The functions that a document names and that do not exist.
pub(super) fn references(path: &str, document: &str, read: &Read<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in markdown::prose(document) {
        for (file, name) in named(line) {
            let problem = match read(file).map(|source| kind(&source, name)) {
                None => format!("there is no file {file}"),
                Some(Kind::Absent) => format!("{file} has no function `{name}`"),
                Some(Kind::Function | Kind::Test | Kind::Fault) => continue,
            };
            found.push(format!("{path}:{number}: {problem}"));
        }
    }
    found
}

/// The lines of each promise.
fn sections(document: &str) -> Vec<(usize, Vec<&str>)> {
    let mut sections: Vec<(usize, Vec<&str>)> = Vec::new();
    let mut open_level = None;
    for (_, line) in markdown::prose(document) {
        if let Some((level, title)) = markdown::heading(line) {
            if let Some(number) = promise(title) {
                sections.push((number, Vec::new()));
                open_level = Some(level);
            } else if open_level.is_some_and(|open| level <= open) {
                open_level = None;
            }
        }
        if let (Some(_), Some((_, lines))) = (open_level, sections.last_mut()) {
            lines.push(line);
        }
    }
    sections
}

/// The number of a promise's heading: 3 for `P3. One order`.
fn promise(title: &str) -> Option<usize> {
    let digits: String = title
        .strip_prefix('P')?
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().ok()
}

/// The functions a line names, each with its file.
pub(super) fn named(line: &str) -> Vec<(&str, &str)> {
    let (spans, _) = markdown::code_spans(line);
    let files = spans.into_iter().filter_map(|span| {
        let (path, name) = span.split_once(".rs::")?;
        let name = name.rsplit("::").next()?;
        Some((&span[..path.len() + ".rs".len()], name))
    });
    files.filter(|(path, _)| path.contains('/')).collect()
}

/// Whether a test of this name is run: one that is marked so, or one that the macro of its folder's `main.rs` makes tests
/// of, for each transport.
pub(super) fn is_test(path: &str, name: &str, read: &Read<'_>) -> bool {
    match read(path).map(|source| kind(&source, name)) {
        Some(Kind::Test) => true,
        Some(Kind::Function) => is_listed(path, name, read),
        _ => false,
    }
}

/// Whether the simulator counts a fault under this name.
pub(super) fn is_fault(path: &str, name: &str, read: &Read<'_>) -> bool {
    read(path).is_some_and(|source| matches!(kind(&source, name), Kind::Fault))
}

/// Whether `on_both_transports!` in the folder's `main.rs` names the function.
fn is_listed(path: &str, name: &str, read: &Read<'_>) -> bool {
    let Some((folder, _)) = path.rsplit_once('/') else {
        return false;
    };
    let main = read(&format!("{folder}/main.rs")).unwrap_or_default();
    let Some((_, list)) = main.split_once("\non_both_transports! {") else {
        return false;
    };
    let list = list.split('}').next().unwrap_or_default();
    let mut names = list.split(|letter: char| !(letter.is_alphanumeric() || letter == '_'));
    names.any(|listed| listed == name)
}

#[derive(Clone, Copy)]
enum Kind {
    Absent,
    Function,
    Test,
    /// What the simulator counts: `Name = "fault: …"`.
    Fault,
}

/// What a source says of a function: whether it is there, and marked as a test.
fn kind(source: &str, name: &str) -> Kind {
    if name.starts_with(char::is_uppercase) {
        let counted = format!("{name} = \"");
        let mut lines = source.lines().map(str::trim);
        return if lines.any(|line| line.starts_with(&counted)) {
            Kind::Fault
        } else {
            Kind::Absent
        };
    }
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let at = lines.iter().position(|line| {
        let after = line.split_once("fn ").map(|(_, after)| after);
        let rest = after.and_then(|after| after.strip_prefix(name));
        !line.starts_with("//") && rest.is_some_and(|rest| rest.starts_with(['(', '<']))
    });
    let Some(at) = at else { return Kind::Absent };
    // The attributes stand right above; a blank line, a statement or a block ends them.
    let above = lines[..at]
        .iter()
        .rev()
        .take_while(|line| !line.is_empty() && !line.ends_with([';', '}', '{']));
    let marks = |line: &str| {
        let attribute = line
            .strip_prefix("#[")
            .and_then(|rest| rest.split([']', '(']).next());
        attribute.is_some_and(|path| path.rsplit("::").next() == Some("test"))
    };
    if above.copied().any(marks) {
        Kind::Test
    } else {
        Kind::Function
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "\
use a::b;\n\n/// Story.\n#[test]\nfn holds() {}\n\n\
#[tokio::test(flavor = \"multi_thread\")]\nasync fn holds_too() {\n}\nfn helper() {}\n";

    fn read(path: &str) -> Option<String> {
        let source = match path {
            "crates/a/tests/a.rs" => SOURCE,
            "crates/a/tests/b/c.rs" => "pub(crate) async fn listed(t: T) {}\nfn unlisted() {}\n",
            "crates/a/tests/b/main.rs" => {
                "mod c;\n\non_both_transports! {\n    c::listed,\n}\nfn unlisted() {}\n"
            }
            "sim/counts.rs" => "kinds! {\n    Dropped = \"fault: dropped\",\n}\n",
            _ => return None,
        };
        Some(source.to_owned())
    }

    #[test]
    fn a_function_that_a_macro_makes_a_test_of_is_one_and_another_is_none() {
        assert!(is_test("crates/a/tests/b/c.rs", "listed", &read));
        assert!(!is_test("crates/a/tests/b/c.rs", "unlisted", &read));
        assert!(!is_test("crates/a/tests/a.rs", "helper", &read));
        assert!(!is_test("crates/a/tests/none.rs", "holds", &read));
    }

    #[test]
    fn a_fault_of_the_simulator_is_one_that_it_counts() {
        assert!(is_fault("sim/counts.rs", "Dropped", &read));
        assert!(!is_fault("sim/counts.rs", "Doubled", &read));
        assert_eq!(
            references("a.md", "`sim/counts.rs::Dropped`", &read).len(),
            0
        );
        assert_eq!(
            references("a.md", "`sim/counts.rs::Doubled`", &read).len(),
            1
        );
    }

    fn document(names: &[&str]) -> String {
        let section = |(index, name): (usize, &&str)| {
            format!(
                "## P{} – name\nText, `crates/a/tests/a.rs::{name}`.\n",
                index + 1
            )
        };
        names.iter().enumerate().map(section).collect()
    }

    #[test]
    fn promises_that_name_tests_pass() {
        let text = document(&["holds", "holds_too"].repeat(5));
        assert_eq!(check(&text, &read), Vec::<String>::new());
        assert_eq!(references("a.md", &text, &read), Vec::<String>::new());
    }

    #[test]
    fn a_missing_promise_and_one_without_a_test_fail() {
        assert_eq!(check(&document(&["holds"; 9]), &read).len(), 1);
        for name in ["gone", "helper", "hold"] {
            let mut names = ["holds"; 10];
            names[3] = name;
            assert_eq!(check(&document(&names), &read).len(), 1, "{name}");
        }
    }

    #[test]
    fn a_test_named_after_the_promises_belongs_to_none() {
        let mut text = document(&["holds"; 9]);
        text += "## P10 rights\nNone.\n## Not promised\n`crates/a/tests/a.rs::holds`\n";
        assert_eq!(check(&text, &read).len(), 1);
    }

    #[test]
    fn a_document_that_names_what_does_not_exist_fails() {
        assert_eq!(
            references("a.md", "`crates/a/tests/a.rs::gone`", &read).len(),
            1
        );
        assert_eq!(
            references("a.md", "`crates/a/tests/b.rs::holds`", &read).len(),
            1
        );
        assert_eq!(
            references("a.md", "`crates/a/tests/a.rs::helper`", &read).len(),
            0
        );
    }
}
