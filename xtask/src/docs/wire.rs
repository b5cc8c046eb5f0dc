//! `docs/protocol.md` shows every message and every field that the codec reads.
//!
//! The codec reads a map with `fields("message", …)` and one match arm a field. The document has
//! a heading `` `message` `` for each, and under it a table with the fields in its first column.
//! Maps inside a message (`fields("the limits", …)`) have their tables anywhere.

use std::collections::BTreeMap;

use super::markdown;

/// The document that is held against the codec.
pub(super) const DOCUMENT: &str = "docs/protocol.md";

/// Where the codec lives.
pub(super) const CODEC: &str = "crates/pocket-sync-protocol/src/codec";

/// A map on the wire and the names of its fields.
type Maps = BTreeMap<String, Vec<String>>;

/// What the document does not show, and what it shows that the codec does not read.
pub(super) fn check(codec: &[String], document: &str) -> Vec<String> {
    let mut read = Maps::new();
    for source in codec {
        read.append(&mut maps_read(source));
    }
    if read.is_empty() {
        return vec![format!(
            "{CODEC} reads no map with `fields(\"name\", …)`; has it moved? {DOCUMENT} is held \
             against it"
        )];
    }
    let (sections, everywhere) = fields_shown(document);
    let mut found = Vec::new();
    for (map, fields) in &read {
        let is_message = !map.contains(' ');
        let shown = match sections.get(map) {
            Some(fields) => fields,
            None if is_message => {
                found.push(format!("{DOCUMENT} has no heading for the message `{map}`"));
                continue;
            }
            None => &everywhere,
        };
        for field in fields.iter().filter(|field| !shown.contains(field)) {
            found.push(format!(
                "{DOCUMENT} has no row for the field `{field}` of `{map}`"
            ));
        }
    }
    for (message, fields) in &sections {
        if !fields.is_empty() && !read.contains_key(message) {
            found.push(format!(
                "{DOCUMENT} describes `{message}`, which the codec does not read"
            ));
        }
    }
    found
}

/// The maps a source of the codec reads.
fn maps_read(source: &str) -> Maps {
    let mut maps = Maps::new();
    for part in source.split(".fields(\"").skip(1) {
        let Some((map, rest)) = part.split_once('"') else {
            continue;
        };
        let arms = rest.lines().filter_map(|line| {
            let (name, after) = line.trim().strip_prefix('"')?.split_once('"')?;
            after
                .trim_start()
                .starts_with("=>")
                .then(|| name.to_owned())
        });
        // One function a message: what comes after its end belongs to no map.
        let own: Vec<String> = arms.collect();
        if !own.is_empty() {
            maps.insert(map.to_owned(), own);
        }
    }
    maps
}

/// The fields under each heading that is a name, and those in all tables.
fn fields_shown(document: &str) -> (Maps, Vec<String>) {
    let mut sections = Maps::new();
    let mut everywhere = Vec::new();
    let mut open: Option<String> = None;
    for (_, line) in markdown::prose(document) {
        if let Some((_, title)) = markdown::heading(line) {
            open = names(title).pop();
            if let Some(name) = &open {
                sections.entry(name.clone()).or_default();
            }
        } else if let Some(row) = line.trim().strip_prefix('|') {
            let fields = names(row.split('|').next().unwrap_or_default());
            if let Some(name) = &open {
                sections
                    .entry(name.clone())
                    .or_default()
                    .extend(fields.iter().cloned());
            }
            everywhere.extend(fields);
        }
    }
    (sections, everywhere)
}

/// The code spans of a text that consists of nothing else, but for commas.
fn names(text: &str) -> Vec<String> {
    let (spans, rest) = markdown::code_spans(text);
    let only = rest.chars().all(|c| c == ',' || c.is_whitespace());
    if only {
        spans.into_iter().map(str::to_owned).collect()
    } else {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODEC: &str = "\
fn decode(reader: &mut Reader) {
    reader.fields(\"hello\", |name, r| {
        match name {
            \"v\" => version = r.number()?,
            \"m\" => limits = decode_limits(r)?,
            _ => return Ok(false),
        }
    })
}
fn decode_limits(reader: &mut Reader) {
    reader.fields(\"the limits\", |name, r| match name {
        \"d\" => bytes = r.number()?,
    })
}
";
    const DOCUMENT: &str = "\
### `hello`\n| field | meaning |\n|---|---|\n| `v`, `m` | version, limits |\n\n\
The limits:\n| `d` | bytes |\n## Errors\n| `v` | no field |\n";

    fn found(codec: &str, document: &str) -> Vec<String> {
        check(&[codec.to_owned()], document)
    }

    #[test]
    fn a_document_that_shows_every_field_passes() {
        assert_eq!(found(CODEC, DOCUMENT), Vec::<String>::new());
    }

    #[test]
    fn a_field_without_a_row_fails_also_when_another_section_has_the_name() {
        assert_eq!(
            found(CODEC, &DOCUMENT.replace("| `v`, `m` |", "| `m` |")).len(),
            1
        );
        assert_eq!(
            found(CODEC, &DOCUMENT.replace("| `d` | bytes |\n", "")).len(),
            1
        );
    }

    #[test]
    fn a_message_without_a_heading_and_a_heading_without_a_message_fail() {
        assert_eq!(found(&CODEC.replace("hello", "bye"), DOCUMENT).len(), 2);
    }

    #[test]
    fn a_codec_that_cannot_be_read_fails() {
        assert_eq!(found("fn decode() {}", DOCUMENT).len(), 1);
    }
}
