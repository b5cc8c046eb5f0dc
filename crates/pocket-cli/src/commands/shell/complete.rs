//! What may stand at the end of a line: commands, options, collections, fields, operators.

use std::collections::BTreeSet;

use clap::builder::ValueRange;
use pocket_core::Value;

use crate::args;

/// The commands of the shell, besides `help` and `exit`.
pub(super) const COMMANDS: [&str; 17] = [
    "find",
    "get",
    "insert",
    "update",
    "delete",
    "count",
    "expire",
    "index",
    "import",
    "export",
    "load",
    "dump",
    "backup",
    "collections",
    "conflicts",
    "status",
    "watch",
];

/// The operators of filters.
const OPERATORS: [&str; 21] = [
    "$all",
    "$and",
    "$between",
    "$contains",
    "$elemMatch",
    "$endsWith",
    "$eq",
    "$exists",
    "$gt",
    "$gte",
    "$in",
    "$lt",
    "$lte",
    "$ne",
    "$nin",
    "$nor",
    "$not",
    "$or",
    "$regex",
    "$size",
    "$startsWith",
];

/// How deep fields of fields are offered.
const DEPTH: usize = 4;

/// What is in the database.
pub(super) trait Known {
    fn collections(&self) -> Vec<String>;

    /// Some documents of a collection.
    fn documents(&self, collection: &str) -> Vec<Value>;

    fn indexes(&self, collection: &str) -> Vec<String>;
}

/// The list of commands.
pub(super) fn help() -> String {
    let all = args::command();
    let commands = COMMANDS.map(|name| {
        let about = all
            .find_subcommand(name)
            .and_then(clap::Command::get_about)
            .map(ToString::to_string)
            .unwrap_or_default();
        // Files of their own are written outside of the shell.
        let only = match name {
            "dump" | "backup" => "; here to stdout only: the file is `-`",
            _ => "",
        };
        format!("  {name:<12} {about}{only}")
    });
    format!(
        "Commands; `help COMMAND` says more:\n{}\n  exit         End; Ctrl-D does, too",
        commands.join("\n")
    )
}

/// Where the word begins that is completed, and by what it may be replaced.
pub(super) fn complete(line: &str, known: &dyn Known) -> (usize, Vec<String>) {
    let start = last_word(line);
    let words = shlex::split(&line[..start]).unwrap_or_default();
    let word = &line[start..];
    let Some((name, rest)) = words.split_first() else {
        let all = COMMANDS.iter().chain(&["help", "exit"]);
        return (start, beginning(word, all.map(|name| format!("{name} "))));
    };
    if name == "help" {
        return (
            start,
            beginning(word, COMMANDS.iter().map(ToString::to_string)),
        );
    }
    let all = args::command();
    let Some(mut command) = all.find_subcommand(name) else {
        return (start, Vec::new());
    };
    let mut given = Vec::new();
    let mut option = None;
    for word in rest {
        if let Some(name) = word.strip_prefix("--") {
            let name = name.split_once('=').map_or(Some(name), |_| None);
            option = name.and_then(|name| taking(command, name));
        } else if option.take().is_some() {
        } else if let Some(below) = command.find_subcommand(word) {
            command = below;
        } else {
            given.push(word.as_str());
        }
    }
    let collection = given.first().copied().unwrap_or_default();
    let of_collection = Fields { known, collection };
    if let Some(option) = option {
        return of_collection.value(option, word, start);
    }
    if word.starts_with('-') {
        let options = command.get_arguments().filter_map(clap::Arg::get_long);
        let options = options.map(|name| format!("--{name} "));
        return (start, beginning(word, options));
    }
    if command.has_subcommands() {
        let below = command.get_subcommands().map(clap::Command::get_name);
        return (start, beginning(word, below.map(|name| format!("{name} "))));
    }
    let places: Vec<_> = command.get_positionals().collect();
    let place = places.get(given.len()).or_else(|| {
        let last = places.last();
        last.filter(|last| last.get_num_args().is_some_and(|n| n.max_values() > 1))
    });
    match place.map(|place| place.get_id().as_str()) {
        Some("collection" | "watched") => {
            let names = known.collections().into_iter();
            (start, beginning(word, names.map(|name| format!("{name} "))))
        }
        Some("fields") => of_collection.value("sort", word, start),
        Some("name") if name == "index" => (
            start,
            beginning(word, known.indexes(collection).into_iter()),
        ),
        Some("name") => (start, beginning(word, known.collections().into_iter())),
        _ => (start, Vec::new()),
    }
}

/// The option of this name, if it takes a value.
fn taking<'a>(command: &'a clap::Command, name: &str) -> Option<&'a str> {
    let found = command
        .get_arguments()
        .find(|argument| argument.get_long() == Some(name))?;
    let takes = found.get_num_args().unwrap_or_else(|| {
        if found.get_action().takes_values() {
            ValueRange::SINGLE
        } else {
            ValueRange::EMPTY
        }
    });
    takes.takes_values().then(|| found.get_long()).flatten()
}

/// The fields of a collection.
struct Fields<'a> {
    known: &'a dyn Known,
    collection: &'a str,
}

impl Fields<'_> {
    fn value(&self, option: &str, word: &str, start: usize) -> (usize, Vec<String>) {
        let quoted = usize::from(word.starts_with(['\'', '"']));
        let (start, word) = (start + quoted, &word[quoted..]);
        match option {
            "where" if !word.contains('=') => {
                let fields = self.all().into_iter().map(|field| format!("{field}="));
                (start, beginning(word, fields))
            }
            "sort" => match word.rfind(':') {
                Some(colon) => {
                    let ways = ["asc", "desc"].iter().map(ToString::to_string);
                    (start + colon + 1, beginning(&word[colon + 1..], ways))
                }
                None => (start, beginning(word, self.all().into_iter())),
            },
            "include" | "exclude" => {
                let last = word.rfind(',').map_or(0, |comma| comma + 1);
                (
                    start + last,
                    beginning(&word[last..], self.all().into_iter()),
                )
            }
            "filter" | "only" => {
                let begins = |c: char| !(c.is_alphanumeric() || "$_.-".contains(c));
                let last = word.rfind(begins).map_or(0, |at| {
                    at + word[at..].chars().next().map_or(1, char::len_utf8)
                });
                let (before, part) = word.split_at(last);
                let offered = if part.starts_with('$') {
                    beginning(part, OPERATORS.iter().map(ToString::to_string))
                } else if before.ends_with('"') {
                    beginning(part, self.all().into_iter())
                } else {
                    Vec::new()
                };
                (start + last, offered)
            }
            _ => (start, Vec::new()),
        }
    }

    /// The paths in the first documents, but those that a shell would have to quote.
    fn all(&self) -> BTreeSet<String> {
        let mut paths = BTreeSet::new();
        for document in self.known.documents(self.collection) {
            collect(&document, "", 0, &mut paths);
        }
        paths
    }
}

fn collect(value: &Value, path: &str, depth: usize, paths: &mut BTreeSet<String>) {
    match value {
        Value::Map(map) if depth < DEPTH => {
            for (key, value) in map.iter() {
                let plain = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
                if key.is_empty() || !key.chars().all(plain) {
                    continue;
                }
                let path = match path {
                    "" => key.to_owned(),
                    path => format!("{path}.{key}"),
                };
                collect(value, &path, depth + 1, paths);
                paths.insert(path);
            }
        }
        Value::Array(elements) => {
            for element in elements {
                if matches!(element, Value::Map(_)) {
                    collect(element, path, depth, paths);
                }
            }
        }
        _ => {}
    }
}

fn beginning(word: &str, all: impl Iterator<Item = String>) -> Vec<String> {
    all.filter(|name| name.starts_with(word)).collect()
}

/// Where the last word begins, behind all blanks that are not quoted.
fn last_word(line: &str) -> usize {
    let (mut start, mut quote, mut escaped) = (0, None, false);
    for (at, c) in line.char_indices() {
        if std::mem::take(&mut escaped) {
            continue;
        }
        match (c, quote) {
            ('\\', None | Some('"')) => escaped = true,
            (c, Some(open)) if c == open => quote = None,
            ('\'' | '"', None) => quote = Some(c),
            (c, None) if c.is_whitespace() => start = at + c.len_utf8(),
            _ => {}
        }
    }
    start
}

#[cfg(test)]
mod tests {
    use pocket_core::Filter;

    use super::*;

    struct Cities;

    impl Known for Cities {
        fn collections(&self) -> Vec<String> {
            vec!["cities".to_owned(), "todos".to_owned()]
        }

        fn documents(&self, collection: &str) -> Vec<Value> {
            assert_eq!(collection, "cities");
            let texts = [
                r#"{"_id":"1","name":"Graz","population":1,"at":{"lat":1,"lon":2}}"#,
                r#"{"_id":"2","two words":1,"tags":[{"key":1}]}"#,
            ];
            let documents = texts.iter().map(|text| Value::from_json_str(text).unwrap());
            documents.collect()
        }

        fn indexes(&self, _: &str) -> Vec<String> {
            vec!["name_1".to_owned()]
        }
    }

    #[track_caller]
    fn completes(line: &str, to: &[&str]) {
        let (start, words) = complete(line, &Cities);
        let lines: Vec<_> = words
            .iter()
            .map(|word| format!("{}{word}", &line[..start]))
            .collect();
        assert_eq!(lines, to, "{line}");
    }

    #[test]
    fn commands_collections_options_and_indexes_are_completed() {
        completes("fi", &["find "]);
        completes("find c", &["find cities "]);
        completes(
            "find cities --li",
            &["find cities --limit ", "find cities --live "],
        );
        completes("find --limit 5 t", &["find --limit 5 todos "]);
        completes("index d", &["index drop "]);
        completes("index drop cities n", &["index drop cities name_1"]);
        completes("collections set t", &["collections set todos"]);
        completes("help upd", &["help update"]);
        completes("get cities 1", &[]);
        completes("nothing c", &[]);
    }

    #[test]
    fn fields_are_those_of_the_first_documents() {
        completes("find cities --sort po", &["find cities --sort population"]);
        completes(
            "find cities --sort population:d",
            &["find cities --sort population:desc"],
        );
        completes(
            "find cities --where at.",
            &["find cities --where at.lat=", "find cities --where at.lon="],
        );
        completes("find cities --where 'na", &["find cities --where 'name="]);
        completes("find cities --where name=", &[]);
        completes(
            "find cities --include name,t",
            &[
                "find cities --include name,tags",
                "find cities --include name,tags.key",
            ],
        );
        completes(
            "index create cities name na",
            &["index create cities name name"],
        );
    }

    #[test]
    fn filters_are_completed_by_fields_and_operators() {
        let line = r#"find cities --filter '{"popu"#;
        completes(line, &[r#"find cities --filter '{"population"#]);
        let line = r#"find cities --filter '{"population": {"$gt"#;
        completes(
            line,
            &[
                r#"find cities --filter '{"population": {"$gt"#,
                r#"find cities --filter '{"population": {"$gte"#,
            ],
        );
    }

    #[test]
    fn what_is_offered_is_there() {
        let all = args::command();
        for name in COMMANDS {
            assert!(all.find_subcommand(name).is_some(), "{name}");
        }
        for operator in OPERATORS {
            // The operand may be wrong, the operator may not.
            let known = [
                format!(r#"{{"a":{{"{operator}":[{{"b":1}}]}}}}"#),
                format!(r#"{{"a":{{"{operator}":{{"$gt":1}}}}}}"#),
                format!(r#"{{"a":{{"{operator}":1}}}}"#),
                format!(r#"{{"a":{{"{operator}":true}}}}"#),
                format!(r#"{{"a":{{"{operator}":"x"}}}}"#),
                format!(r#"{{"a":{{"{operator}":[1,2]}}}}"#),
                format!(r#"{{"{operator}":[{{"b":1}}]}}"#),
            ];
            let read = known.iter().any(|text| Filter::from_json_str(text).is_ok());
            assert!(read, "{operator}");
        }
    }
}
