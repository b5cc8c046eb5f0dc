//! `index`: made, listed, dropped, broken off, and through a process that holds the database.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::Place;

fn cities() -> Place {
    let place = Place::new();
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/data/cities.jsonl"
    );
    place.ok(&["import", "cities", file]);
    place
}

#[test]
fn an_index_is_made_listed_used_and_dropped() {
    let place = cities();
    assert_eq!(place.ok(&["index", "list"]), "");
    let made = place.ok(&[
        "index",
        "create",
        "cities",
        "countrycode",
        "population:desc",
    ]);
    assert!(
        made.starts_with("index countrycode_1_population_-1 of cities is ready"),
        "{made}"
    );
    let only = r#"{"population":{"$gte":1000000}}"#;
    let words = [
        "index", "create", "cities", "name", "--sparse", "--only", only, "--name", "large",
        "--json",
    ];
    let made: serde_json::Value = serde_json::from_str(&place.ok(&words)).unwrap();
    assert_eq!(made["name"], "large");
    assert_eq!(made["state"], "ready");
    assert_eq!(made["only"]["population"]["$gte"], 1_000_000);
    assert_eq!(made["fields"][0]["field"], "name");
    assert!(made["seconds"].is_f64(), "{made}");
    let all = place.ok(&["count", "cities"]);
    assert_eq!(made["documents"].to_string(), all.trim());
    // Once more: it is there.
    place.ok(&words);
    assert_eq!(
        place.ok(&["index", "list", "cities"]),
        "cities  countrycode_1_population_-1  ready  countrycode population:desc\n\
         cities  large                        ready  name                         sparse, only \
         {\"population\":{\"$gte\":1000000}}\n"
    );
    let listed = place.ok(&["index", "list", "--json"]);
    assert_eq!(listed.lines().count(), 2);
    let first: serde_json::Value = serde_json::from_str(listed.lines().next().unwrap()).unwrap();
    assert_eq!(first["fields"][1]["order"], "desc");
    assert_eq!(first["unique"], false);
    assert!(first["only"].is_null(), "{first}");
    let second: serde_json::Value = serde_json::from_str(listed.lines().nth(1).unwrap()).unwrap();
    let as_given: serde_json::Value = serde_json::from_str(only).unwrap();
    assert_eq!(second["only"], as_given);

    let query = ["find", "cities", "--where", "countrycode=AT", "--explain"];
    assert!(place.ok(&query).contains("countrycode_1_population_-1"));
    let dropped = place.ok(&["index", "drop", "cities", "countrycode_1_population_-1"]);
    assert_eq!(
        dropped,
        "index countrycode_1_population_-1 of cities is dropped\n"
    );
    assert!(place.ok(&query).contains("full scan"));
    let outcome = place.run(&["index", "drop", "cities", "countrycode_1"]);
    let outcome = outcome.failed(1, "index-not-found");
    assert!(outcome.err.contains("it has large"), "{outcome:?}");
}

#[test]
fn what_cannot_be_an_index_is_refused() {
    let place = cities();
    let refused = |words: &[&str], status, code: &str| {
        let words = [&["index", "create"], words].concat();
        place.run(&words).failed(status, code)
    };
    refused(&["cities"], 2, "usage");
    refused(&["cities", "name:down"], 2, "usage");
    refused(&["cities", "name", "name"], 1, "config");
    refused(
        &["cities", "name", "--only", r#"{"a":{"$no":1}}"#],
        2,
        "bad-query",
    );
    refused(&["towns", "name"], 1, "collection-not-found");
    place.ok(&["index", "create", "cities", "name"]);
    let other = refused(&["cities", "population", "--name", "name_1"], 1, "config");
    assert!(other.err.contains("name_1"), "{other:?}");
    Place::new().run(&["index", "list"]).failed(1, "not-found");
}

#[test]
fn a_unique_index_names_both_documents_that_break_it() {
    let place = cities();
    place.ok(&["insert", "cities", r#"{"_id":"other","name":"Graz"}"#]);
    let words = [
        "index",
        "create",
        "cities",
        "name",
        "--unique",
        "--only",
        r#"{"name":"Graz"}"#,
    ];
    let outcome = place.run(&words).failed(1, "index-unique-violation");
    assert!(
        outcome.err.contains("\"2778067\"") && outcome.err.contains("\"other\""),
        "{outcome:?}"
    );
    assert_eq!(place.ok(&["index", "list"]), "");
    place.ok(&["delete", "cities", "other"]);
    place.ok(&words);
    place
        .run(&["insert", "cities", r#"{"_id":"other","name":"Graz"}"#])
        .failed(1, "index-unique-violation");
    assert_eq!(place.ok(&["count", "cities"]), "3103\n");
}

#[test]
fn indexes_are_made_and_dropped_through_the_process_that_holds_the_database() {
    let place = cities();
    let mut holder = place.start("db", &["find", "cities", "--where", "name=Graz", "--live"]);
    holder.line_with("Graz");
    let made = place.ok(&["index", "create", "cities", "name"]);
    assert!(
        made.starts_with("index name_1 of cities is ready"),
        "{made}"
    );
    assert!(
        place
            .ok(&["find", "cities", "--where", "name=Graz", "--explain"])
            .contains("name_1")
    );
    assert_eq!(
        place.ok(&["index", "list"]),
        "cities  name_1  ready  name\n"
    );
    place.ok(&["index", "drop", "cities", "name_1"]);
    let outcome = place.run(&["index", "drop", "cities", "name_1"]);
    let outcome = outcome.failed(1, "index-not-found");
    assert!(outcome.err.contains("it has none"), "{outcome:?}");
    holder.signal("INT");
    assert_eq!(holder.status(), 0);
}

/// Begins indexes until one was broken off while it was built. A signal may come too late.
fn broken_off(place: &Place) -> String {
    for attempt in 0..20 {
        let name = format!("try{attempt}");
        let words = ["index", "create", "things", "m", "n", "--name", &name];
        let mut create = place.start("db", &words);
        let building = format!("{name}  building");
        while !place.ok(&["index", "list"]).contains(&building) && !create.has_ended() {}
        create.signal("INT");
        let status = create.status();
        if place.ok(&["index", "list"]).contains(&building) {
            assert_eq!(status, 1);
            let notes = create.notes();
            assert!(notes.contains("error[interrupted]: "), "{notes}");
            assert!(
                notes.contains("the same command goes on with it"),
                "{notes}"
            );
            return name;
        }
    }
    panic!("no signal came in the middle of a building");
}

#[test]
fn an_index_that_was_broken_off_is_gone_on_with() {
    let place = Place::new();
    let lines = (0..40_000).fold(String::new(), |lines, n| {
        lines
            + &format!(
                "{{\"_id\":\"{n:06}\",\"n\":{n},\"m\":[{n},{},{}]}}\n",
                n + 1,
                n + 2
            )
    });
    let file = place.file("many", lines);
    place.ok(&["import", "things", &file]);
    // Something that is there while an index is built.
    let mut holder = place.start("db", &["find", "things", "--where", "n=0", "--live"]);
    holder.line();
    let name = broken_off(&place);
    holder.signal("INT");
    assert_eq!(holder.status(), 0);

    assert!(
        place
            .ok(&["index", "list"])
            .contains(&format!("{name}  building"))
    );
    place.ok(&["index", "create", "things", "m", "n", "--name", &name]);
    assert!(
        place
            .ok(&["index", "list"])
            .contains(&format!("{name}  ready"))
    );
    for n in [2, 777, 39_999] {
        let condition = format!("m={n}");
        let query = ["find", "things", "--where", &condition, "--include", "n"];
        assert_eq!(place.ok(&query).lines().count(), 3, "{n}");
        let plan = place.ok(&[&query[..], &["--explain"]].concat());
        assert!(plan.contains("index try"), "{plan}");
    }
}
