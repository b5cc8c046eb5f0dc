//! What the program prints, against the file itself.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::Command;

use serde::Deserialize;

#[derive(Deserialize)]
struct City {
    name: String,
    latitude: f64,
    longitude: f64,
    countrycode: String,
    population: u64,
    timezone: String,
    alternatenames: Vec<String>,
}

fn cities() -> Vec<City> {
    include_str!("../../data/cities.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn program(arguments: &[&str]) -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cities"));
    let output = command.args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// The lines below a title: the answer, and the plan.
fn below<'a>(lines: &'a [String], title: &str) -> (Vec<&'a str>, Vec<&'a str>) {
    let at = lines.iter().position(|line| line == title).unwrap();
    let rest = lines[at + 1..].iter();
    let block = rest
        .map(String::as_str)
        .take_while(|line| line.starts_with("  "));
    block.partition(|line| !line.trim_start().starts_with('|'))
}

fn shown(city: &City) -> String {
    let City {
        name,
        countrycode,
        population,
        ..
    } = city;
    format!("  {population:10} {name} ({countrycode})")
}

#[test]
fn every_answer_is_what_the_file_says_and_uses_the_index_it_should() {
    let lines = program(&["IN", "Pékin"]);
    let mut cities = cities();
    cities.sort_by_key(|city| std::cmp::Reverse(city.population));
    let expect = |title: &str, expected: Vec<&City>, index: Option<&str>| {
        let (answer, plan) = below(&lines, title);
        let expected: Vec<_> = expected.into_iter().map(shown).collect();
        assert!(!expected.is_empty());
        assert_eq!(answer, expected, "{title}");
        let plan = plan.join("\n");
        match index {
            Some(name) => assert!(plan.contains(&format!("index {name}")), "{title}: {plan}"),
            None => assert!(plan.contains("full scan"), "{title}: {plan}"),
        }
    };
    let indians = cities.iter().filter(|city| city.countrycode == "IN");
    let title = "The largest cities of IN";
    expect(
        title,
        indians.take(5).collect(),
        Some("countrycode_1_population_-1"),
    );
    let title = "The twenty largest of all";
    expect(
        title,
        cities.iter().take(20).collect(),
        Some("population_1"),
    );
    let called = |city: &&City| city.alternatenames.iter().any(|name| name == "Pékin");
    let title = "What people call \"Pékin\"";
    expect(
        title,
        cities.iter().filter(called).collect(),
        Some("alternatenames_1"),
    );
    let mut alpine: Vec<_> = cities
        .iter()
        .filter(|city| (45.5..=48.0).contains(&city.latitude))
        .filter(|city| (6.0..=16.0).contains(&city.longitude))
        .filter(|city| city.population >= 100_000 || city.name.starts_with("Inns"))
        .collect();
    alpine.sort_by(|a, b| a.name.cmp(&b.name));
    expect("Large ones in the Alps, roughly", alpine, None);
}

#[test]
fn names_in_a_script_and_cities_of_a_zone_are_counted_as_the_file_has_them() {
    let lines = program(&[]);
    let cities = cities();
    let georgian = |name: &String| {
        name.chars()
            .any(|one| ('\u{10a0}'..='\u{10ff}').contains(&one))
    };
    let count = cities
        .iter()
        .filter(|city| city.alternatenames.iter().any(georgian))
        .count();
    assert!(count > 0);
    assert!(
        lines.contains(&format!("  {count:5} have a name in Georgian")),
        "{lines:#?}"
    );

    let zone = "America/Argentina/";
    let count = cities
        .iter()
        .filter(|city| city.timezone.starts_with(zone))
        .count();
    let parts = count.div_ceil(10);
    assert!(parts > 1);
    let line = format!("Argentina: {count} cities, read in {parts} parts");
    assert!(lines.contains(&line), "{lines:#?}");
}
