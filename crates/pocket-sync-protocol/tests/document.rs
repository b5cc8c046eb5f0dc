//! `docs/protocol.md` says what the code does.

use pocket_core::{Map, Value};
use pocket_sync_protocol::codes::{CodeInfo, ERRORS, close, rejection::REJECTIONS};
use pocket_sync_protocol::limits;

fn document() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/protocol.md");
    std::fs::read_to_string(path).expect("the document stands in the repository")
}

/// What stands below the heading, up to the next one.
fn section<'a>(document: &'a str, heading: &str) -> &'a str {
    let (_, after) = document
        .split_once(heading)
        .unwrap_or_else(|| panic!("no {heading:?}"));
    after
        .split("\n## ")
        .next()
        .and_then(|text| text.split("\n### ").next())
        .unwrap_or_default()
}

fn rows(section: &str, columns: usize) -> Vec<Vec<String>> {
    let lines = section
        .lines()
        .filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    let rows = lines.map(|line| {
        line.split('|')
            .map(|cell| cell.trim().replace('`', ""))
            .collect()
    });
    let is_row = |row: &Vec<String>| row.len() == columns && !row[0].starts_with("---");
    rows.filter(is_row).collect()
}

#[test]
fn the_error_catalogue_is_that_of_the_code() {
    let document = document();
    let errors = section(&document, "## 9. Errors");
    let shown = |info: &CodeInfo| {
        vec![
            info.code.to_owned(),
            if info.retryable { "yes" } else { "no" }.to_owned(),
            info.close.map_or("–".to_owned(), |code| code.to_string()),
        ]
    };
    let mut listed: Vec<_> = rows(errors, 4)
        .into_iter()
        .map(|row| row[..3].to_vec())
        .collect();
    assert_eq!(listed.remove(0), ["code", "retryable", "close"]);
    assert_eq!(listed, ERRORS.iter().map(shown).collect::<Vec<_>>());

    let mut rejections: Vec<_> = rows(errors, 2)
        .into_iter()
        .map(|mut row| row.swap_remove(0))
        .collect();
    assert_eq!(rejections.remove(0), "code");
    assert_eq!(
        rejections,
        REJECTIONS.iter().map(|info| info.code).collect::<Vec<_>>()
    );

    for row in rows(errors, 3).iter().skip(1) {
        for code in row[0].split(", ").filter_map(|code| code.parse().ok()) {
            let comes_back = row[2].starts_with("comes back");
            assert_eq!(
                close::comes_back(Some(code)),
                comes_back,
                "{code}: {}",
                row[2]
            );
        }
    }
}

#[test]
fn every_field_of_every_vector_has_a_row_in_its_message() {
    let document = document();
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/vectors.json");
    let vectors = std::fs::read_to_string(vectors).expect("the vectors are there");
    let vectors = Value::from_json_str(&vectors).expect("they are JSON");
    let mut seen = 0;
    for vector in vectors.as_array().expect("a list of vectors") {
        let field = |name: &str| vector.as_map().and_then(|map| map.get(name));
        if field("expect").and_then(Value::as_str) != Some("same bytes again") {
            continue;
        }
        let frame = field("frame")
            .and_then(Value::as_map)
            .expect("a valid frame is a map");
        let (message, fields) = frame.iter().next().expect("of one message");
        let section = section(&document, &format!("### `{message}`\n"));
        let names = |map: &Map| map.keys().map(str::to_owned).collect::<Vec<_>>();
        let fields = fields.as_map().expect("its fields");
        let nested = fields.values().filter_map(Value::as_map).flat_map(names);
        for name in names(fields).into_iter().chain(nested) {
            let has_row = section.lines().any(|line| {
                line.split('|')
                    .nth(1)
                    .is_some_and(|cell| cell.contains(&format!("`{name}`")))
            });
            // JSON's spelling of bytes is no field.
            assert!(
                has_row || name == "$binary",
                "{message} has no row for `{name}`"
            );
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen} fields");
}

#[test]
fn the_limits_are_those_of_the_code() {
    let document = document();
    let rows = rows(section(&document, "## 8. Limits"), 2);
    let number = |number: usize| {
        if number < 1_000 {
            return number.to_string();
        }
        format!("{},{:03}", number / 1_000, number % 1_000)
    };
    let says = |what: &str, limit: &str| {
        let row = rows.iter().find(|row| row[0].contains(what));
        let row = row.unwrap_or_else(|| panic!("no row for {what}"));
        assert!(
            row[1].contains(limit),
            "{what}: {} does not say {limit}",
            row[1]
        );
    };
    says(
        "a frame",
        &format!("{} MiB until", limits::DEFAULT_MESSAGE_BYTES >> 20),
    );
    says(
        "a frame",
        &format!("at most {} MiB", limits::MAX_MESSAGE_BYTES >> 20),
    );
    says("levels of a frame", &number(limits::MAX_FRAME_LEVELS));
    says("values of a frame", &number(limits::MAX_FRAME_NODES));
    says("mutations, and changes", &number(limits::MAX_FRAME_CHANGES));
    says("code of a rejection", &number(limits::MAX_TEXT_BYTES));
    says("reason of a rejection", &number(limits::MAX_REASON_BYTES));
    let server = pocket_sync_protocol::ServerLimits::default();
    says("changes of a mutation", &number(server.changes));
    says(
        "a body",
        &format!("{} MiB by default", server.document_bytes >> 20),
    );
    says("a body", &format!("levels ({})", number(server.levels)));
    says("a body", &format!("values ({})", number(server.nodes)));
    says("pushes in flight", &number(server.pushes));
}
