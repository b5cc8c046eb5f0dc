//! `find` with filters, orders, parts, plans and live results, on real documents.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Outcome, Place, Running, exists};

/// A database with 3,103 cities.
fn cities() -> Place {
    let place = Place::new();
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/data/cities.jsonl"
    );
    place.ok(&["import", "cities", file]);
    place
}

/// The text of a field of each line that is printed.
fn texts(printed: &str, field: &str) -> Vec<String> {
    let texts = printed.lines().map(|line| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        match &value[field] {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    });
    texts.collect()
}

fn names(place: &Place, options: &[&str]) -> Vec<String> {
    let words = [&["find", "cities"], options].concat();
    texts(&place.ok(&words), "name")
}

const AUSTRIA: [&str; 6] = [
    "Graz",
    "Währing",
    "Aspern",
    "Wiener Neustadt",
    "Lustenau",
    "Sankt Pölten",
];

#[test]
fn conditions_filters_and_orders_select_the_cities_that_are_meant() {
    let place = cities();
    let by_people = ["--sort", "population:desc"];
    for condition in [
        &["--where", "countrycode=AT"][..],
        &["--where", "countrycode=\"AT\""],
        &["--filter", r#"{"countrycode":"AT"}"#],
        &["--filter", r#"{"countrycode":{"$in":["AT"]}}"#],
        &[
            "--filter",
            r#"{"timezone":"Europe/Vienna"}"#,
            "--where",
            "countrycode=AT",
        ],
    ] {
        let found = names(&place, &[condition, &by_people].concat());
        assert_eq!(found, AUSTRIA, "{condition:?}");
    }
    let large = r#"{"population":{"$gte":50000,"$lt":100000},"name":{"$regex":"^[WA]"}}"#;
    let found = names(
        &place,
        &[
            "--where",
            "countrycode=AT",
            "--filter",
            large,
            "--sort",
            "name:desc",
        ],
    );
    assert_eq!(found, ["Währing", "Aspern"]);
    // Ties end by id: the zone is the same for all of them.
    let options = [
        "--where",
        "countrycode=AT",
        "--sort",
        "timezone",
        "--sort",
        "_id:desc",
    ];
    let ids = texts(
        &place.ok(&[&["find", "cities"], &options[..]].concat()),
        "_id",
    );
    let mut sorted = ids.clone();
    sorted.sort_by(|a, b| b.cmp(a));
    assert_eq!((ids.len(), &ids), (6, &sorted));
    let element = names(&place, &["--where", "alternatenames=GRZ"]);
    assert_eq!(element, ["Graz"]);
    assert_eq!(names(&place, &[]).len(), 3_103);
}

#[test]
fn a_result_is_gone_through_in_parts() {
    let place = cities();
    let austria = ["--where", "countrycode=AT", "--sort", "population:desc"];
    let part = |options: &[&str]| names(&place, &[&austria, options].concat());
    assert_eq!(part(&["--skip", "1", "--limit", "2"]), AUSTRIA[1..3]);
    assert_eq!(part(&["--limit", "0"]), AUSTRIA[..0]);

    let cursors = |options: &[&str]| {
        let words = [
            &["find", "cities", "--json", "--cursors"],
            &austria[..],
            options,
        ]
        .concat();
        let outcome = place.run(&words);
        assert_eq!(outcome.status, 0, "{outcome:?}");
        let told: serde_json::Value = serde_json::from_str(&outcome.err).unwrap();
        let cursor = |name: &str| told[name].as_str().unwrap().to_owned();
        (texts(&outcome.out, "name"), cursor("start"), cursor("end"))
    };
    let (first, start, end) = cursors(&["--limit", "4"]);
    assert_eq!(first, AUSTRIA[..4]);
    assert_eq!(part(&["--before", &start]), AUSTRIA[..0]);
    let (second, start, _) = cursors(&["--limit", "4", "--after", &end]);
    assert_eq!(second, AUSTRIA[4..]);
    assert_eq!(part(&["--before", &start, "--limit", "3"]), AUSTRIA[1..4]);

    // A cursor belongs to its order.
    let words = ["find", "cities", "--sort", "name", "--after", &end];
    let outcome = place.run(&words).failed(2, "bad-query");
    assert_eq!(outcome.out, "");
    let words = ["find", "cities", "--sort", "_rev", "--live"];
    place.run(&words).failed(2, "bad-query");
}

#[test]
fn only_the_fields_that_are_asked_for_are_printed() {
    let place = cities();
    let graz = |options: &[&str]| {
        let words = [&["find", "cities", "--where", "name=Graz"], options].concat();
        place.ok(&words)
    };
    let short = "{\"_id\":\"2778067\",\"name\":\"Graz\",\"population\":303270}\n";
    assert_eq!(graz(&["--include", "name,population"]), short);
    assert_eq!(
        graz(&["--include", "name", "--include", "population"]),
        short
    );
    let without = graz(&["--exclude", "alternatenames,latitude"]);
    assert!(without.contains("\"longitude\":"), "{without}");
    assert!(
        !without.contains("alternatenames") && !without.contains("latitude"),
        "{without}"
    );
    // A program gets the same.
    assert_eq!(graz(&["--include", "name,population", "--json"]), short);
}

#[test]
fn a_query_that_is_wrong_is_told_with_its_operator_and_path_and_reads_nothing() {
    // There is not even a database.
    let place = Place::new();
    let refused = |options: &[&str], code: &str| {
        let words = [&["find", "cities"], options].concat();
        place.run(&words).failed(2, code).err
    };
    let told = refused(&["--filter", r#"{"a.b":{"$gtt":1}}"#], "bad-query");
    assert!(told.contains("$gtt") && told.contains("a.b"), "{told}");
    let told = refused(&["--filter", r#"{"a":{"$regex":"("}}"#], "bad-query");
    assert!(told.contains("$regex"), "{told}");
    let told = refused(&["--filter", r#"{"a":"#], "bad-query");
    assert!(told.contains("--filter"), "{told}");
    let told = refused(&["--where", "_rev=1"], "bad-query");
    assert!(told.contains("_rev"), "{told}");
    let told = refused(&["--where", "population=1_000"], "usage");
    assert!(told.contains("--where population"), "{told}");
    refused(&["--where", "name"], "usage");
    refused(&["--sort", "name:down"], "usage");
    refused(&["--after", "nonsense"], "bad-query");
    refused(&["--live", "--explain"], "usage");
    assert!(!exists(&place.path("db")));
    place.ok(&["insert", "cities", "{}"]);
    let outcome = place.run(&[
        "find",
        "cities",
        "--filter",
        r#"{"a":{"$gtt":1}}"#,
        "--json",
    ]);
    assert_eq!(outcome.status, 2);
    assert!(
        outcome.err.starts_with(r#"{"code":"bad-query","#),
        "{outcome:?}"
    );
}

#[test]
fn an_explained_query_shows_the_index_it_reads_and_what_that_costs() {
    let place = cities();
    let austria = [
        "find",
        "cities",
        "--where",
        "countrycode=AT",
        "--sort",
        "population:desc",
    ];
    let explained = |options: &[&str]| place.ok(&[&austria, options].concat());
    let before = explained(&["--explain"]);
    assert!(before.contains("full scan"), "{before}");
    assert!(!before.contains("Graz"), "{before}");
    place.ok(&[
        "index",
        "create",
        "cities",
        "countrycode",
        "population:desc",
    ]);
    let after = explained(&["--explain", "--limit", "2"]);
    assert!(
        after.contains("index countrycode_1_population_-1"),
        "{after}"
    );
    assert!(!after.contains("full scan"), "{after}");

    let plan: serde_json::Value =
        serde_json::from_str(&explained(&["--analyze", "--json", "--limit", "2"])).unwrap();
    let figures = &plan["figures"];
    assert_eq!(figures["documents_returned"], 2, "{plan}");
    // Those of the country at the most, and not the 3,103 there are.
    assert!(figures["documents_read"].as_u64().unwrap() <= 6, "{plan}");
    assert!(
        plan["access"]
            .to_string()
            .contains("countrycode_1_population_-1"),
        "{plan}"
    );
    let text = explained(&["--analyze"]);
    assert!(text.contains("6 documents given out"), "{text}");
    assert_eq!(names(&place, &austria[2..]), AUSTRIA);
    place
        .run(&["find", "towns", "--explain"])
        .failed(1, "collection-not-found");
}

#[test]
fn a_query_that_is_wrong_is_told_also_where_there_is_no_collection_and_no_database() {
    let place = Place::new();
    for options in [
        ["--sort", "_rev"],
        ["--sort", "a..b"],
        ["--include", "a..b"],
        ["--exclude", "a..b"],
    ] {
        let words = [&["find", "nothing"][..], &options].concat();
        place.run(&words).failed(2, "bad-query");
    }
    assert!(!exists(&place.path("db")));
}

#[test]
fn ids_are_compared_as_text_and_wrong_words_are_refused() {
    let place = cities();
    assert_eq!(names(&place, &["--where", "_id=2778067"]), ["Graz"]);
    let filter = r#"{"_id":2778067}"#;
    let outcome = place.run(&["find", "cities", "--filter", filter]);
    let outcome = outcome.failed(2, "bad-query");
    assert!(outcome.err.contains("`_id` is text"), "{outcome:?}");
    for option in ["--limit", "--skip"] {
        let outcome = place.run(&["find", "cities", option, "-1"]);
        let outcome = outcome.failed(2, "usage");
        // It was taken for an option, with the tip to put it behind a `--`.
        assert!(outcome.err.contains("invalid value '-1'"), "{outcome:?}");
        assert!(!outcome.err.contains("-- -1"), "{outcome:?}");
    }
    let austria = ["--where", "countrycode=AT", "--sort"];
    let by_both = names(
        &place,
        &[&austria[..], &["timezone,population:desc"]].concat(),
    );
    assert_eq!(by_both, AUSTRIA);
    for words in [
        ["--sort", "population desc"],
        ["--where", "population==0"],
        ["--where", "population>=0"],
    ] {
        let words = [&["find", "cities"], &words[..]].concat();
        place.run(&words).failed(2, "usage");
    }
}

#[test]
fn what_matches_is_counted_and_deleted_also_by_a_filter_in_a_file() {
    let place = cities();
    let at = ["count", "cities", "--where", "countrycode=AT"];
    assert_eq!(place.ok(&at), "6\n");
    let file = place.file("filter", r#"{"countrycode":{"$in":["AT","CH"]}}"#);
    let file = format!("@{file}");
    let both = place.ok(&["count", "cities", "--filter", &file]);
    let found = place.ok(&["find", "cities", "--filter", &file]);
    assert_eq!(both.trim(), found.lines().count().to_string());
    let stdin = br#"{"countrycode":"AT"}"#;
    let counted = place.feed(&["count", "cities", "--filter", "@-"], stdin);
    assert_eq!(counted.ok(), "6\n");
    // Another process that holds the database is given what the file says here.
    let mut holder = place.start("db", &["shell"]);
    holder.say("count cities\n");
    assert_eq!(holder.line(), "3103");
    assert_eq!(place.ok(&["count", "cities", "--filter", &file]), both);
    assert_eq!(
        place.ok(&["delete", "cities", "--where", "countrycode=AT"]),
        "6 documents deleted\n"
    );
    holder.say("exit\n");
    assert_eq!(holder.status(), 0);
    assert_eq!(place.ok(&at), "0\n");
    // More than a transaction.
    let printed = place.ok(&["--json", "delete", "cities", "--filter", "{}", "--hard"]);
    assert_eq!(
        printed,
        "{\"collection\":\"cities\",\"count\":3097,\"deleted\":\"hard\"}\n"
    );
    assert_eq!(place.ok(&["count", "cities"]), "0\n");
    place.run(&["delete", "cities"]).failed(2, "usage");
    let both = ["delete", "cities", "an-id", "--where", "a=1"];
    place.run(&both).failed(2, "usage");
    let missing = ["count", "cities", "--filter", "@/nowhere/at/all"];
    place.run(&missing).failed(1, "io");
}

#[test]
fn a_pipe_that_is_closed_ends_a_query_quietly() {
    let place = cities();
    for options in ["", "--json", "--sort name", "--live"] {
        let script = format!(
            "{} --db {} find cities {options} | head -n 1",
            env!("CARGO_BIN_EXE_pocket"),
            place.path("db").display()
        );
        let mut command = std::process::Command::new("timeout");
        let outcome: Outcome = command
            .args(["100", "sh", "-c", &script])
            .output()
            .unwrap()
            .into();
        assert_eq!((outcome.status, outcome.err.as_str()), (0, ""), "{options}");
        assert_eq!(outcome.out.lines().count(), 1, "{options}");
    }
}

#[test]
fn a_live_query_ends_when_its_reader_has_gone_though_nothing_changes() {
    let place = todos();
    let run = |held: bool| {
        let script = format!(
            "{} --db {} find todos --limit 1 --live | head -n 1",
            env!("CARGO_BIN_EXE_pocket"),
            place.path("db").display()
        );
        let mut command = std::process::Command::new("timeout");
        let outcome: Outcome = command
            .args(["100", "sh", "-c", &script])
            .output()
            .unwrap()
            .into();
        assert_eq!((outcome.status, outcome.err.as_str()), (0, ""), "{held}");
        assert_eq!(outcome.out, "{\"_id\":\"a\",\"due\":1,\"done\":false}\n");
    };
    run(false);
    let mut holder = live(&place, &[]);
    holder.line();
    run(true);
    holder.signal("INT");
    assert_eq!(holder.status(), 0);
}

fn live(place: &Place, options: &[&str]) -> Running {
    let words = [
        &[
            "find",
            "todos",
            "--where",
            "done=false",
            "--sort",
            "due",
            "--live",
        ],
        options,
    ]
    .concat();
    place.start("db", &words)
}

fn todos() -> Place {
    let place = Place::new();
    place.ok(&[
        "insert",
        "todos",
        r#"{"_id":"a","due":1,"done":false}"#,
        r#"{"_id":"b","due":2,"done":false}"#,
        r#"{"_id":"c","due":3,"done":true}"#,
    ]);
    place
}

#[test]
fn a_live_query_prints_the_result_and_then_each_change_of_it() {
    let place = todos();
    let mut live = live(&place, &[]);
    assert_eq!(live.line(), r#"{"_id":"a","due":1,"done":false}"#);
    assert_eq!(live.line(), r#"{"_id":"b","due":2,"done":false}"#);
    // Whoever runs the live query holds the database; others reach it through that process.
    place.ok(&["insert", "todos", r#"{"_id":"d","due":0,"done":false}"#]);
    assert_eq!(live.line(), r#"+ 0  {"_id":"d","due":0,"done":false}"#);
    place.ok(&["update", "todos", "a", r#"{"note":"x"}"#]);
    assert_eq!(
        live.line(),
        r#"~ 1  {"_id":"a","due":1,"done":false,"note":"x"}"#
    );
    place.ok(&["update", "todos", "d", r#"{"due":9}"#]);
    assert_eq!(live.line(), r#"→ 0 to 2  {"_id":"d","due":9,"done":false}"#);
    // Not a change of the result.
    place.ok(&["update", "todos", "c", r#"{"due":4}"#]);
    place.ok(&["update", "todos", "b", r#"{"done":true}"#]);
    assert_eq!(live.line(), r#"- 1  {"_id":"b","due":2,"done":false}"#);
    live.signal("INT");
    assert_eq!(live.status(), 0);
    assert_eq!(live.notes(), "");
    assert!(!exists(&place.path("db").join("SOCKET")));
    assert_eq!(place.ok(&["count", "todos"]), "4\n");
}

#[test]
fn a_live_query_gives_programs_one_object_for_each_commit() {
    let place = todos();
    let mut live = live(&place, &["--json", "--limit", "2"]);
    let mut list: Vec<serde_json::Value> = Vec::new();
    let mut step = |list: &mut Vec<serde_json::Value>| {
        let step: serde_json::Value = serde_json::from_str(&live.line()).unwrap();
        for change in step["changes"].as_array().unwrap() {
            let place = |name: &str| change[name].as_u64().unwrap() as usize;
            let document = change["document"].clone();
            match change["change"].as_str().unwrap() {
                "inserted" => list.insert(place("at"), document),
                "removed" => drop(list.remove(place("at"))),
                "updated" => list[place("at")] = document,
                "moved" => {
                    list.remove(place("from"));
                    list.insert(place("to"), document);
                }
                other => panic!("{other}"),
            }
        }
        assert_eq!(step["count"], list.len());
        let ids = list
            .iter()
            .map(|document| document["_id"].as_str().unwrap());
        ids.collect::<String>()
    };
    assert_eq!(step(&mut list), "ab");
    place.ok(&[
        "insert",
        "todos",
        r#"{"_id":"d","due":0,"done":false}"#,
        r#"{"_id":"e","due":1.5,"done":false}"#,
    ]);
    assert_eq!(step(&mut list), "da");
    place.ok(&["delete", "todos", "a"]);
    assert_eq!(step(&mut list), "de");
    live.signal("TERM");
    assert_eq!(live.status(), 0);
}

#[test]
fn a_live_query_runs_beside_whoever_holds_the_database() {
    let place = todos();
    let mut holder = live(&place, &[]);
    holder.line();
    holder.line();
    let mut live = live(&place, &["--limit", "1"]);
    assert_eq!(live.line(), r#"{"_id":"a","due":1,"done":false}"#);
    place.ok(&["update", "todos", "a", r#"{"done":true}"#]);
    assert_eq!(live.line(), r#"- 0  {"_id":"a","due":1,"done":false}"#);
    assert_eq!(live.line(), r#"+ 0  {"_id":"b","due":2,"done":false}"#);
    live.signal("INT");
    assert_eq!(live.status(), 0);
    assert_eq!(
        holder.line_with("- 0"),
        r#"- 0  {"_id":"a","due":1,"done":false}"#
    );
    place
        .run(&["find", "nothing", "--live"])
        .failed(1, "collection-not-found");
    place
        .run(&["find", "todos", "--filter", r#"{"a":{"$no":1}}"#, "--live"])
        .failed(2, "bad-query");
    holder.signal("INT");
    assert_eq!(holder.status(), 0);
}
