//! `import` and `export`: what goes in comes out.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::process::Stdio;

use common::{Place, exists};
use flate2::Compression;
use flate2::write::GzEncoder;

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// Numbers that look random and are the same each time (xorshift64*, Vigna 2016).
struct Numbers(u64);

impl Iterator for Numbers {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        Some(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d))
    }
}

/// Each of them with an end of line.
fn lines<'a>(all: impl Iterator<Item = &'a String>) -> String {
    all.flat_map(|line| [line.as_str(), "\n"]).collect()
}

/// The numbers of an exported line `{"_id":…,"n":[…]}`.
fn numbers(line: &str) -> Vec<&str> {
    let (_, list) = line.split_once(r#""n":["#).unwrap();
    list.strip_suffix("]}").unwrap().split(',').collect()
}

#[test]
fn a_hundred_thousand_random_floats_come_out_bit_for_bit() {
    let place = Place::new();
    let floats = |random: u64| Some(f64::from_bits(random)).filter(|float| float.is_finite());
    let wanted: Vec<f64> = Numbers(7).filter_map(floats).take(100_000).collect();
    let mut text = String::new();
    for (line, floats) in wanted.chunks(500).enumerate() {
        let list: Vec<String> = floats.iter().map(|float| format!("{float:e}")).collect();
        writeln!(text, r#"{{"_id":"{line:04}","n":[{}]}}"#, list.join(",")).unwrap();
    }
    let file = place.file("floats", &text);
    place.ok(&["import", "floats", &file]);
    let out = place.ok(&["export", "floats"]);
    let got: Vec<u64> = out
        .lines()
        .flat_map(numbers)
        .map(|text| text.parse::<f64>().unwrap().to_bits())
        .collect();
    let wanted: Vec<u64> = wanted.iter().map(|float| float.to_bits()).collect();
    assert!(got == wanted, "some float came out as another");
}

#[test]
fn every_kind_of_value_comes_out_as_it_went_in() {
    let place = Place::new();
    let lines = [
        r#"{"_id":"1","n":[0,1,1.0,-1,9223372036854775807,-9223372036854775808,18446744073709551615]}"#,
        r#"{"_id":"2","n":[0.1,1e+300,5e-324,-0.0,1.7976931348623157e+308]}"#,
        r#"{"_id":"3","z":null,"a":[true,false,[],{}],"":"empty key","a.b":1}"#,
        r#"{"_id":"4","text":"日本語 – äöü – 😀 – \" \\ \n \t \u0000 /"}"#,
        r#"{"_id":"5","at":{"$date":"2024-02-29T12:00:00.000Z"},"raw":{"$binary":"AAEC"}}"#,
    ];
    let text = lines.join("\n");
    let file = place.file("values", &text);
    place.ok(&["import", "values", &file]);
    assert_eq!(place.ok(&["export", "values"]), format!("{text}\n"));
    // And once more round.
    let again = place.file("again", place.ok(&["export", "values"]));
    place.ok(&["import", "others", &again]);
    assert_eq!(place.ok(&["export", "others"]), format!("{text}\n"));
}

#[test]
fn an_export_is_sorted_by_the_bytes_of_the_ids() {
    let place = Place::new();
    let file = place.file(
        "ids",
        "{\"a\":1,\"_id\":\"é\"}\n{\"_id\":\"b\"}\n{\"_id\":\"B\"}\n{\"_id\":\"aa\"}\n{\"_id\":\"a\"}\n{\"_id\":\"日\"}\n",
    );
    place.ok(&["import", "things", &file]);
    let expected = "{\"_id\":\"B\"}\n{\"_id\":\"a\"}\n{\"_id\":\"aa\"}\n{\"_id\":\"b\"}\n{\"_id\":\"é\",\"a\":1}\n{\"_id\":\"日\"}\n";
    assert_eq!(place.ok(&["export", "things"]), expected);
}

#[test]
fn gzip_and_stdin_are_read_like_a_plain_file() {
    let place = Place::new();
    let text = "{\"_id\":\"a\",\"n\":1}\n\n{\"_id\":\"b\"}";
    let plain = place.file("plain", text);
    let packed = place.file("packed", gzip(text));
    place.ok(&["import", "one", &plain]);
    place.ok(&["import", "two", &packed]);
    place.feed(&["import", "three", "-"], text.as_bytes()).ok();
    place.feed(&["import", "four", "-"], &gzip(text)).ok();
    let expected = place.ok(&["export", "one"]);
    assert_eq!(expected.lines().count(), 2);
    for collection in ["two", "three", "four"] {
        assert_eq!(place.ok(&["export", collection]), expected);
    }
    let cut = gzip(&text.repeat(100));
    let cut = place.file("cut", &cut[..cut.len() - 5]);
    place
        .run(&["import", "five", &cut, "--keep-going"])
        .failed(1, "io");
    assert_eq!(place.ok(&["count", "five"]), "0\n");
}

#[test]
fn what_cannot_be_kept_is_refused_with_its_line_before_anything_is_written() {
    let place = Place::new();
    for (bad, code) in [
        ("nonsense", "validation"),
        ("[1]", "validation"),
        (r#"{"a":18446744073709551616}"#, "validation"),
        (r#"{"a":-9223372036854775809}"#, "validation"),
        (r#"{"a":1e999}"#, "validation"),
        (r#"{"a":1,"a":1}"#, "validation"),
        (r#"{"a":{"b":1,"b":2}}"#, "validation"),
        (r#"{"_id":1}"#, "bad-id"),
        (r#"{"_rev":"x"}"#, "validation"),
        (r#"{"_updatedAt":1}"#, "validation"),
        (r#"{"_deleted":false}"#, "validation"),
        (r#"{"_id":"a"}"#, "document-exists"),
    ] {
        let file = place.file(
            "bad",
            format!("{{\"_id\":\"a\"}}\n\n{bad}\n{{\"_id\":\"b\"}}\n"),
        );
        let outcome = place.run(&["import", "things", &file]).failed(1, code);
        assert!(outcome.err.contains("line 3: "), "{outcome:?}");
        assert!(!exists(&place.path("db")), "{bad}");
    }
    let file = place.file("latin", b"{\"_id\":\"a\"}\n{\"a\":\"\xe4\"}\n");
    let outcome = place
        .run(&["import", "things", &file])
        .failed(1, "validation");
    assert!(outcome.err.contains("line 2: "), "{outcome:?}");
    place
        .run(&["import", "things", "/nowhere/at/all"])
        .failed(1, "io");
    assert!(!exists(&place.path("db")));
}

#[test]
fn an_existing_document_is_refused_unless_it_shall_be_replaced() {
    let place = Place::new();
    let first = place.file(
        "first",
        "{\"_id\":\"a\",\"n\":1}\n{\"_id\":\"b\",\"n\":1}\n",
    );
    let second = place.file(
        "second",
        "{\"_id\":\"c\",\"n\":2}\n{\"_id\":\"b\",\"n\":2}\n",
    );
    place.ok(&["import", "things", &first]);
    let outcome = place
        .run(&["import", "things", &second])
        .failed(1, "document-exists");
    assert!(outcome.err.contains("line 2: "), "{outcome:?}");
    assert_eq!(place.ok(&["count", "things"]), "2\n");
    let outcome = place.run(&["import", "things", &second, "--upsert", "--json"]);
    assert!(
        outcome
            .ok()
            .starts_with(r#"{"collection":"things","imported":2,"skipped":0,"#)
    );
    let expected = "{\"_id\":\"a\",\"n\":1}\n{\"_id\":\"b\",\"n\":2}\n{\"_id\":\"c\",\"n\":2}\n";
    assert_eq!(place.ok(&["export", "things"]), expected);
    let twice = place.file(
        "twice",
        "{\"_id\":\"a\",\"n\":3}\n{\"_id\":\"a\",\"n\":4}\n",
    );
    place.ok(&["import", "things", &twice, "--upsert"]);
    assert_eq!(
        place.ok(&["get", "things", "a"]),
        "{\"_id\":\"a\",\"n\":4}\n"
    );
}

#[test]
fn keep_going_leaves_bad_lines_out_and_says_so() {
    let place = Place::new();
    place.ok(&["insert", "things", r#"{"_id":"old"}"#]);
    let file = place.file(
        "mixed",
        "{\"_id\":\"a\"}\nnonsense\n{\"_id\":\"a\"}\n{\"_id\":\"old\"}\n{\"_id\":\"b\"}\n",
    );
    let outcome = place
        .run(&["import", "things", &file, "--keep-going"])
        .failed(1, "document-exists")
        .failed(1, "validation");
    for line in ["line 2: ", "line 3: ", "line 4: ", "3 lines left out"] {
        assert!(outcome.err.contains(line), "{outcome:?}");
    }
    assert_eq!(place.ok(&["count", "things"]), "3\n");
}

#[test]
fn system_fields_go_out_and_come_in_only_when_asked_for() {
    let place = Place::new();
    place.ok(&[
        "insert",
        "things",
        r#"{"_id":"a","n":1}"#,
        r#"{"_id":"gone"}"#,
    ]);
    place.ok(&["delete", "things", "gone"]);
    let meta = place.ok(&["export", "things", "--meta"]);
    let fields: Vec<&str> = [
        "\"_id\"",
        "\"n\"",
        "\"_rev\"",
        "\"_updatedAt\"",
        "\"_deleted\"",
    ]
    .into_iter()
    .filter(|field| meta.contains(field))
    .collect();
    assert_eq!(fields.len(), 5, "{meta}");
    assert_eq!(meta.lines().count(), 1);
    let file = place.file("meta", &meta);
    place
        .run(&["import", "others", &file])
        .failed(1, "validation");
    place.ok(&["import", "others", &file, "--meta"]);
    assert_eq!(
        place.ok(&["export", "others"]),
        place.ok(&["export", "things"])
    );
}

#[test]
fn every_document_of_an_import_is_a_change_of_its_own() {
    let place = Place::new();
    let file = place.file("many", "{}\n".repeat(1_234));
    place.ok(&["import", "things", &file]);
    place.ok(&["import", "mine", &file, "--local-only"]);
    let status = place.ok(&["status", "--json"]);
    assert!(status.contains(r#""pending":1234,"#), "{status}");
}

#[test]
fn an_import_that_was_killed_is_finished_by_the_same_command_with_upsert() {
    let place = Place::new();
    let mut wanted = BTreeMap::new();
    for number in 0..20_000 {
        let id = format!("{:05}", number * 7_919 % 20_000);
        wanted.insert(
            id.clone(),
            format!(
                "{{\"_id\":\"{id}\",\"number\":{number},\"text\":\"{}\"}}",
                "x".repeat(90)
            ),
        );
    }
    let text = lines(wanted.values().rev());
    let file = place.file("many", &text);
    let mut import = place.start("db", &["import", "many", &file]);
    let store = place.path("db").join("store.redb");
    let large = |bytes: u64| std::fs::metadata(&store).is_ok_and(|meta| meta.len() > bytes);
    // It may be killed at any moment after it began to write, also when it is done.
    while !large(2_000_000) && !import.has_ended() {
        std::thread::yield_now();
    }
    import.signal("KILL");
    import.status();
    let stored: u64 = place.ok(&["count", "many"]).trim().parse().unwrap();
    assert!(stored <= 20_000);
    place.ok(&["import", "many", &file, "--upsert"]);
    let expected = lines(wanted.values());
    assert!(
        place.ok(&["export", "many"]) == expected,
        "the export is not the file"
    );
}

#[test]
fn a_closed_pipe_ends_a_command_without_a_word() {
    let place = Place::new();
    let documents: Vec<String> = (0..20_000)
        .map(|n| format!("{{\"_id\":\"{n}\",\"t\":\"{}\"}}", "x".repeat(50)))
        .collect();
    let file = place.file("many", lines(documents.iter()));
    place.ok(&["import", "many", &file]);
    for words in [vec!["export", "many"], vec!["find", "many"]] {
        let mut child = place
            .command("db", &words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = [0; 1];
        child.stdout.take().unwrap().read_exact(&mut first).unwrap();
        // The pipe is closed now, long before all is written.
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        assert!(output.stderr.is_empty(), "{words:?}");
    }
}

#[test]
fn an_import_that_is_told_to_end_says_how_to_finish_it_and_is_finished_so() {
    const COUNT: usize = 100_000;
    let place = Place::new();
    let all = (0..COUNT).fold(String::new(), |mut all, number| {
        writeln!(all, "{{\"_id\":\"{number:06}\",\"n\":{number}}}").unwrap();
        all
    });
    let file = place.file("all", &all);
    let mut import = place.start("db", &["import", "things", &file]);
    // Made when everything was checked, before the first batch is stored.
    while !exists(&place.path("db").join("store.redb")) {
        assert!(!import.has_ended());
        std::thread::yield_now();
    }
    import.signal("TERM");
    import.note_with("error[interrupted]");
    assert_eq!(import.status(), 1);
    let stored = place.run(&["count", "things"]);
    let stored: usize = stored.out.trim().parse().unwrap_or(0);
    assert!(stored < COUNT, "it was not in the middle");
    place.ok(&["import", "things", &file, "--upsert"]);
    assert_eq!(place.ok(&["export", "things"]), all);
}

#[test]
fn keeping_going_leaves_out_what_a_unique_index_refuses_and_names_its_lines() {
    let text = "{\"_id\":\"a\",\"mail\":1}\n{\"_id\":\"b\",\"mail\":2}\n{\"_id\":\"c\",\"mail\":1}\n\
                {\"_id\":\"d\",\"mail\":0}\n{\"_id\":\"e\",\"mail\":3}\n";
    for upsert in [&[][..], &["--upsert"]] {
        let place = Place::new();
        place.ok(&["insert", "users", r#"{"_id":"x","mail":0}"#]);
        place.ok(&["index", "create", "users", "mail", "--unique"]);
        let file = place.file("users", text);
        let words = [&["import", "users", &file][..], upsert].concat();
        let outcome = place.run(&words).failed(1, "index-unique-violation");
        assert!(outcome.err.contains("line 1 and line 5"), "{outcome:?}");
        assert_eq!(place.ok(&["count", "users"]), "1\n");
        let outcome = place.run(&[&words[..], &["--keep-going"]].concat());
        assert_eq!(outcome.status, 1, "{outcome:?}");
        for line in [3, 4] {
            let told = format!("error[index-unique-violation]: line {line}: ");
            assert!(outcome.err.contains(&told), "{outcome:?}");
        }
        assert!(outcome.err.contains("2 lines left out"), "{outcome:?}");
        let ids = place.ok(&["find", "users", "--include", "_id"]);
        let ids: Vec<&str> = ids.lines().collect();
        let wanted = ["a", "b", "e", "x"].map(|id| format!("{{\"_id\":\"{id}\"}}"));
        assert_eq!(ids, wanted);
    }
}

#[test]
fn who_has_an_array_or_documents_of_several_lines_is_told_what_a_line_is() {
    let place = Place::new();
    for text in [
        "[{\"a\":1},{\"a\":2}]\n",
        "[\n{\"a\":1}\n]\n",
        "{\n  \"a\": 1\n}\n",
    ] {
        let file = place.file("others", text);
        let imported = place.run(&["import", "things", &file]);
        let inserted = place.feed(&["insert", "things"], text.as_bytes());
        for outcome in [imported, inserted] {
            let outcome = outcome.failed(1, "validation");
            assert!(
                outcome.err.contains("each line is one document"),
                "{outcome:?}"
            );
        }
    }
    let outcome = place.feed(&["insert", "things"], b"{\"a\":tru}\n");
    let outcome = outcome.failed(1, "validation");
    assert!(!outcome.err.contains("each line"), "{outcome:?}");
}
