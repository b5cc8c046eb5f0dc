//! Dumps of an older schema, or for another one.

use super::*;

fn migrating() -> DatabaseBuilder {
    Database::builder("new").migration(Migration::to(2).documents("places", |id, mut it| {
        if id.as_str() == "1" {
            return Ok(Migrated::Deleted);
        }
        it.insert("new", true);
        Ok(Migrated::Changed(it))
    }))
}

#[tokio::test]
async fn a_dump_of_an_older_schema_version_goes_through_the_migrations() {
    let db = migrating().open(MemoryStorage::new()).await.unwrap();
    let (loaded, _) = load(&db, FORMAT_1.lines(), LoadOptions::new())
        .await
        .unwrap();
    assert_eq!((loaded.stored, loaded.migrated_away), (3, 1));
    for place in db
        .collection::<Value>("places")
        .unwrap()
        .get_all()
        .await
        .unwrap()
    {
        assert_eq!(place.as_map().unwrap().get("new"), Some(&Value::Bool(true)));
    }
    let local = db.collection::<Value>("local").unwrap();
    assert_eq!(
        local.get_all().await.unwrap(),
        [value(r#"{"_id":"only here"}"#)]
    );
    // One of this version does not.
    let other = migrating().open(MemoryStorage::new()).await.unwrap();
    let (loaded, _) = load(&other, lines(&db).await, LoadOptions::new())
        .await
        .unwrap();
    assert_eq!((loaded.stored, loaded.migrated_away), (3, 0));
}

#[derive(Debug)]
struct Never;

impl Validate for Never {
    fn validate(&self, _: &Map) -> Vec<Violation> {
        vec![Violation::new("", "is never right")]
    }
}

#[tokio::test]
async fn what_a_schema_would_refuse_is_loaded_and_listed() {
    let db = empty().await;
    let config = CollectionConfig::new("local").schema(Schema::of(Never));
    db.create_collection(config).await.unwrap();
    load(&db, FORMAT_1.lines(), LoadOptions::new())
        .await
        .unwrap();
    let local = db.collection::<Value>("local").unwrap();
    let invalid = local.invalid().next().await.unwrap().unwrap();
    assert_eq!(invalid.id.as_str(), "only here");
}

#[tokio::test]
async fn a_tool_loads_only_documents_of_the_version_that_the_database_has() {
    let tool = Database::builder("tool").any_schema_version();
    let db = tool
        .schema_version(2)
        .open(MemoryStorage::new())
        .await
        .unwrap();
    let error = load(&db, FORMAT_1.lines(), LoadOptions::new())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "migration");
    let same = FORMAT_1.replace("\"schema_version\":1", "\"schema_version\":2");
    let middle: Vec<_> = same.lines().collect();
    let lines = written(middle[0], &middle[1..middle.len() - 1], 3, 4);
    load(&db, lines, LoadOptions::new()).await.unwrap();
}
