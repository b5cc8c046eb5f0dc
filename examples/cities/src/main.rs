#![doc = include_str!("../README.md")]

use std::error::Error;
use std::io::{Write, stdout};

use pocket_core::{
    Collection, CollectionConfig, Database, IndexConfig, Order, Query, Result, field,
};
use pocket_storage_memory::MemoryStorage;
use serde::{Deserialize, Serialize};

/// One document a line.
const CITIES: &str = include_str!("../../data/cities.jsonl");

/// Scripts, and a pattern that a letter of each matches.
const SCRIPTS: [(&str, &str); 4] = [
    ("Arabic", "[\u{600}-\u{6ff}]"),
    ("Cyrillic", "[\u{400}-\u{4ff}]"),
    ("Hangul", "[\u{ac00}-\u{d7a3}]"),
    ("Georgian", "[\u{10a0}-\u{10ff}]"),
];

/// A city as it is stored.
#[derive(Debug, Serialize, Deserialize)]
struct City {
    #[serde(rename = "_id")]
    id: String,
    name: String,
    latitude: f64,
    longitude: f64,
    countrycode: String,
    population: u64,
    timezone: String,
    admin1code: String,
    alternatenames: Vec<String>,
}

/// What is shown of one. A query that includes only these fields gives out no others.
#[derive(Debug, Serialize, Deserialize)]
struct Shown {
    name: String,
    countrycode: String,
    population: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::result::Result<(), Box<dyn Error>> {
    let country = std::env::args().nth(1).unwrap_or_else(|| "JP".to_owned());
    let name = std::env::args()
        .nth(2)
        .unwrap_or_else(|| "Londres".to_owned());
    let cities = load().await?;
    let mut out = stdout().lock();

    ask(
        &mut out,
        &format!("The largest cities of {country}"),
        cities
            .find()
            .where_field("countrycode")
            .eq(country.as_str())
            .sort("population", Order::Descending)
            .limit(5),
    )
    .await?;
    ask(
        &mut out,
        "The twenty largest of all",
        cities
            .find()
            .sort("population", Order::Descending)
            .limit(20),
    )
    .await?;
    ask(
        &mut out,
        &format!("What people call {name:?}"),
        cities
            .find()
            .where_field("alternatenames")
            .eq(name.as_str()),
    )
    .await?;
    ask(
        &mut out,
        "Large ones in the Alps, roughly",
        cities
            .find()
            .where_field("latitude")
            .between(45.5, 48.0)
            .where_field("longitude")
            .between(6.0, 16.0)
            .filter(
                field("population")
                    .gte(100_000)
                    .or(field("name").starts_with("Inns")),
            )
            .sort("name", Order::Ascending),
    )
    .await?;

    writeln!(out, "Names in other scripts")?;
    for (script, letters) in SCRIPTS {
        let count = cities
            .find()
            .where_field("alternatenames")
            .matches(letters)
            .count()
            .await?;
        writeln!(out, "  {count:5} have a name in {script}")?;
    }

    // Through a result in parts: the next part is asked for by where the last one ended.
    let zone = cities
        .find()
        .where_field("timezone")
        .starts_with("America/Argentina/")
        .sort("timezone", Order::Ascending)
        .limit(10);
    let (mut parts, mut found) = (0, 0);
    let mut page = zone.page().await?;
    while let Some(end) = page.end.take() {
        parts += 1;
        found += page.documents.len();
        page = zone.clone().after(end).page().await?;
    }
    writeln!(out, "Argentina: {found} cities, read in {parts} parts")?;
    Ok(())
}

/// A database in memory with all cities and the indexes that these questions want.
async fn load() -> Result<Collection<City>> {
    let config = CollectionConfig::new("cities")
        .index(IndexConfig::new("countrycode").then("population", Order::Descending))
        .index(IndexConfig::new("population"))
        // One entry for each of the names.
        .index(IndexConfig::new("alternatenames"))
        .index(IndexConfig::new("timezone"));
    let database = Database::builder("cities")
        .collection(config)
        .open(MemoryStorage::new())
        .await?;
    let cities = database.collection::<City>("cities")?;
    let lines: Vec<&str> = CITIES.lines().collect();
    for lines in lines.chunks(500) {
        let batch = lines
            .iter()
            .map(|line| serde_json::from_str(line))
            .collect::<std::result::Result<Vec<City>, _>>()
            .expect("the data that comes with this program can be read");
        cities.insert_many(&batch).await?;
    }
    Ok(cities)
}

/// Prints the answer to a question, and how it was found.
async fn ask(
    out: &mut impl Write,
    question: &str,
    query: Query<City>,
) -> std::result::Result<(), Box<dyn Error>> {
    let query = query
        .include(["name", "countrycode", "population"])
        .read_as::<Shown>();
    writeln!(out, "{question}")?;
    for city in query.all().await? {
        let Shown {
            name,
            countrycode,
            population,
        } = city;
        writeln!(out, "  {population:10} {name} ({countrycode})")?;
    }
    for line in query.analyze().await?.to_string().lines() {
        writeln!(out, "    | {line}")?;
    }
    writeln!(out)?;
    Ok(())
}
