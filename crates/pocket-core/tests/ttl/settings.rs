//! A time to live that is switched on, changed and switched off.

use super::*;

fn config() -> CollectionConfig {
    CollectionConfig::new("docs")
}

async fn reopened(storage: &MemoryStorage, clock: &Clock, ttl: Option<Ttl>) -> Collection<Value> {
    let config = ttl.into_iter().fold(config(), CollectionConfig::ttl);
    let db = open_on(Arc::new(storage.clone()), clock, config).await;
    db.collection("docs").unwrap()
}

#[tokio::test]
async fn it_holds_for_the_documents_that_are_there_and_is_changed_and_switched_off() {
    let (storage, clock) = (MemoryStorage::new(), Clock::at(1_000));
    let docs = reopened(&storage, &clock, None).await;
    let many: Vec<_> = (0..1_500)
        .map(|n| until(&format!("{n:04}"), 2_000 + n))
        .collect();
    docs.insert_many(&many).await.unwrap();
    clock.set(3_000);
    assert_eq!(docs.count().await.unwrap(), 1_500);
    assert_eq!(docs.database().expire().await.unwrap(), 0);
    // Opening builds what finds them, and sweeps.
    let docs = reopened(&storage, &clock, Some(Ttl::at_field("until"))).await;
    assert_eq!(docs.count().await.unwrap(), 499);
    assert!(docs.indexes().is_empty(), "the index is no secret");
    let listed = docs.database().list_collections();
    assert_eq!(listed[0].ttl, Some(Ttl::at_field("until")));
    // A tool that knows nothing of it leaves it as it is, and deletes nothing.
    clock.set(3_100);
    let tool = Database::builder("test")
        .any_schema_version()
        .env(clock.clone());
    let tool = tool.open(storage.clone()).await.unwrap();
    let seen = tool.collection::<Value>("docs").unwrap();
    assert_eq!(seen.count().await.unwrap(), 399);
    assert_eq!(tool.list_collections()[0].ttl, Some(Ttl::at_field("until")));
    // With another one other documents are over.
    let later = Ttl::after_field("until", MINUTE);
    assert_eq!((later.field(), later.after()), (Some("until"), MINUTE));
    let docs = reopened(&storage, &clock, Some(later)).await;
    assert_eq!(docs.count().await.unwrap(), 459);
    clock.set(3_101);
    assert_eq!(docs.count().await.unwrap(), 458);
    // Switched off, it leaves what was not deleted.
    let docs = reopened(&storage, &clock, None).await;
    clock.set(1_000_000);
    assert_eq!(docs.count().await.unwrap(), 459);
    assert_eq!(docs.database().expire().await.unwrap(), 0);
    assert!(!docs.database().has_ttl());
    assert_eq!(docs.database().list_collections()[0].ttl, None);
}

#[tokio::test]
async fn it_is_set_on_a_running_database_and_goes_with_its_collection() {
    let clock = Clock::at(1_000);
    let docs = docs(&clock, Ttl::after_update(MINUTE)).await;
    let db = docs.database().clone();
    docs.insert(&value(r#"{"_id":"a"}"#)).await.unwrap();
    let hour = Ttl::after_update(60 * MINUTE);
    db.create_collection(config().ttl(hour)).await.unwrap();
    clock.set(2_000);
    assert_eq!(db.expire().await.unwrap(), 0);
    assert_eq!(docs.count().await.unwrap(), 1);
    db.delete_collection("docs").await.unwrap();
    db.create_collection(config()).await.unwrap();
    docs.insert(&value(r#"{"_id":"a"}"#)).await.unwrap();
    clock.set(1_000_000);
    assert_eq!(db.expire().await.unwrap(), 0);
    assert_eq!(docs.count().await.unwrap(), 1);
}

#[tokio::test]
async fn a_field_that_cannot_be_one_is_refused() {
    let clock = Clock::at(1_000);
    for field in ["", "a..b", "$a", "_id", "_updatedAt"] {
        let config = config().ttl(Ttl::at_field(field));
        let builder = Database::builder("test")
            .collection(config)
            .env(clock.clone());
        let error = builder.open(MemoryStorage::new()).await.unwrap_err();
        assert_eq!(error.code(), codes::CONFIG, "{field}");
    }
}

#[tokio::test]
async fn a_time_that_has_no_end_never_comes() {
    let clock = Clock::at(1_000);
    let docs = docs(&clock, Ttl::after_field("until", Duration::MAX)).await;
    docs.insert(&until("a", 1)).await.unwrap();
    clock.set(1_000_000_000);
    assert_eq!(docs.database().expire().await.unwrap(), 0);
    assert_eq!(docs.count().await.unwrap(), 1);
}
