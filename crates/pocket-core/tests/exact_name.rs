//! Databases that are opened by their exact name alone: a store of another one is refused, and nothing is written to it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use pocket_core::storage::{Direction, KeyRange, ScanLimit, Storage};
use pocket_core::{CollectionConfig, Database, DatabaseBuilder, Migrated, Migration, codes};
use pocket_storage_memory::MemoryStorage;

async fn everything(storage: &MemoryStorage) -> Vec<(Vec<u8>, bytes::Bytes)> {
    let all = storage.scan(
        KeyRange::all(),
        ScanLimit::entries(10_000),
        Direction::Forward,
    );
    all.await.unwrap()
}

fn exact(name: &str) -> DatabaseBuilder {
    Database::builder(name).exact_name()
}

#[tokio::test]
async fn a_store_of_another_name_is_refused_and_stays_as_it_is() {
    let storage = MemoryStorage::new();
    let first = exact("b:c").collection(CollectionConfig::new("notes"));
    let first = first.open(storage.clone()).await.unwrap();
    let before = everything(&storage).await;

    let other = exact("c").collection(CollectionConfig::new("others").sync(true));
    let migration = Migration::to(2).documents("notes", |_, _| Ok(Migrated::Deleted));
    let error = other.migration(migration).open(storage.clone()).await;
    let error = error.unwrap_err();
    assert_eq!(error.code(), codes::OTHER_NAME);
    assert!(error.to_string().contains("\"b:c\", not \"c\""), "{error}");
    assert_eq!(everything(&storage).await, before);
    assert_eq!(first.list_collections().len(), 1);

    // Its own name opens it, and so does any where the name need not fit: tools know stores and no names.
    exact("b:c").open(storage.clone()).await.unwrap();
    let tool = Database::builder("c").open(storage).await.unwrap();
    assert_eq!(tool.name(), "b:c");
}

#[tokio::test]
async fn of_two_that_make_one_store_in_the_same_moment_the_slower_is_refused() {
    let storage = MemoryStorage::new();
    let open = |name: &'static str, collection: &str| {
        let builder = exact(name).collection(CollectionConfig::new(collection));
        builder.open(storage.clone())
    };
    let (one, other) = tokio::join!(open("b:c", "ones"), open("c", "others"));
    let (made, refused) = match (one, other) {
        (Ok(made), Err(refused)) | (Err(refused), Ok(made)) => (made, refused),
        both => panic!("one of them: {both:?}"),
    };
    assert_eq!(refused.code(), codes::OTHER_NAME);
    assert_eq!(made.list_collections().len(), 1);
}
