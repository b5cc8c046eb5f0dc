//! The tables of `docs/guide/queries.md`, line by line: the guide says nothing that is not tried here.

use pocket_core::{
    Body, CollectionConfig, Database, DocumentId, DocumentLimits, Filter, QuerySpec, Value, field,
};
use pocket_storage_memory::MemoryStorage;

use crate::reference;

const GUIDE: &str = include_str!("../../../../docs/guide/queries.md");

/// The lines of a table behind its mark, as the code in their cells and the last cell as it is.
fn table(name: &str) -> Vec<(Vec<String>, String)> {
    let mark = format!("<!-- table: {name} -->");
    let (_, behind) = GUIDE.split_once(&mark).unwrap();
    let lines = behind.trim_start().lines().skip(2);
    let rows: Vec<_> = lines
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let code = line.split('`').skip(1).step_by(2).map(str::to_owned);
            let last = line.trim_matches('|').rsplit('|').next().unwrap();
            (code.collect(), last.trim().to_owned())
        })
        .collect();
    assert!(rows.len() > 5, "the table of {name} is there");
    rows
}

fn json(text: &str) -> Value {
    Value::from_json_str(text).unwrap()
}

/// What a query given as JSON finds among documents given as JSON.
async fn find(spec: &str, documents: &[String]) -> Vec<Value> {
    let db = Database::builder("test")
        .collection(CollectionConfig::new("things"))
        .open(MemoryStorage::new())
        .await
        .unwrap();
    let things = db.collection::<Value>("things").unwrap();
    for document in documents {
        things.insert(&json(document)).await.unwrap();
    }
    let spec: QuerySpec = serde_json::from_str(spec).unwrap();
    things.query(spec).all().await.unwrap()
}

#[tokio::test]
async fn each_line_of_the_table_of_filters_is_true() {
    for (code, matches) in table("filters") {
        let [filter, document] = &code[..] else {
            panic!("{code:?}")
        };
        let matches = match matches.as_str() {
            "yes" => true,
            "no" => false,
            other => panic!("{other}"),
        };
        let parsed = Filter::from_json_str(filter).unwrap();
        let limits = DocumentLimits::default();
        let (id, body) = Body::from_serialize(&json(document), &limits).unwrap();
        let id = id.unwrap_or_else(|| DocumentId::new("none").unwrap());
        assert_eq!(parsed.matches(&id, &body).unwrap(), matches, "{code:?}");
        let found = find(
            &format!(r#"{{"filter":{filter}}}"#),
            std::slice::from_ref(document),
        )
        .await;
        assert_eq!(found.len(), usize::from(matches), "{code:?}");
        // The random tests trust the reference, so it is held to the guide too. It knows no `$date` and other patterns.
        if !filter.contains("$regex") && !filter.contains("$date") {
            let raw = parsed.to_value().unwrap();
            assert_eq!(
                reference::passes(&json(document), &raw),
                matches,
                "{code:?}"
            );
        }
    }
}

#[tokio::test]
async fn each_line_of_the_table_of_sorts_is_true() {
    for (code, expected) in table("sorts") {
        let (sort, documents) = code.split_first().unwrap();
        let found = find(&format!(r#"{{"sort":{sort}}}"#), documents).await;
        let ids: Vec<_> = found
            .iter()
            .map(|document| {
                document
                    .as_map()
                    .unwrap()
                    .get("_id")
                    .unwrap()
                    .as_str()
                    .unwrap()
            })
            .collect();
        assert_eq!(ids.join(" "), expected, "{code:?}");
    }
}

#[tokio::test]
async fn each_line_of_the_table_of_projections_is_true() {
    for (code, _) in table("projections") {
        let [projection, document, expected] = &code[..] else {
            panic!("{code:?}")
        };
        let found = find(projection, std::slice::from_ref(document)).await;
        assert_eq!(found[0].to_json_string().unwrap(), *expected);
    }
}

#[test]
fn the_query_as_data_in_the_guide_is_read() {
    let (_, behind) = GUIDE.split_once("```json").unwrap();
    let (text, _) = behind.split_once("```").unwrap();
    let without_cursors: String = text
        .lines()
        .filter(|line| !line.contains("<a cursor>"))
        .collect();
    let spec: QuerySpec = serde_json::from_str(&without_cursors).unwrap();
    assert_eq!(spec.filter, field("age").gte(18));
    assert_eq!(spec.include, ["name", "address.city"]);
    assert_eq!((spec.sort.len(), spec.limit), (2, Some(20)));
}

#[test]
fn the_limits_in_the_guide_are_those_of_the_code() {
    let (_, limits) = GUIDE.split_once("## Limits and errors").unwrap();
    let numbers: Vec<usize> = limits
        .lines()
        .filter(|line| line.starts_with("| ") && !line.contains("| limit"))
        .flat_map(|line| {
            line.trim_matches('|')
                .rsplit('|')
                .next()
                .unwrap()
                .split(';')
        })
        .map(|cell| {
            let cell = cell.trim().replace(',', "");
            match cell.split_once(' ') {
                Some((number, "MiB")) => number.parse::<usize>().unwrap() << 20,
                Some((number, "KiB")) => number.parse::<usize>().unwrap() << 10,
                _ => cell.parse().unwrap(),
            }
        })
        .collect();
    assert_eq!(
        numbers,
        [
            pocket_core::MAX_FILTER_DEPTH,
            pocket_core::MAX_FILTER_NODES,
            pocket_core::MAX_LISTED_VALUES,
            pocket_core::MAX_FILTER_BYTES,
            pocket_core::MAX_PATTERN_BYTES,
            64 << 10, // of the compiled pattern; not public
            pocket_core::MAX_PATH_SEGMENTS,
            pocket_core::MAX_PATH_BYTES,
            pocket_core::MAX_SORT_FIELDS,
            pocket_core::MAX_PROJECTED_FIELDS,
        ]
    );
}
