//! Migrations that a crash ends half-way.

use super::*;

#[tokio::test]
async fn a_crash_after_any_commit_is_gone_on_from_and_no_document_is_migrated_twice() {
    const DOCUMENTS: i64 = 1_300;
    let mut survived = 0;
    for commits in 0.. {
        let storage = MemoryStorage::new();
        let db = app().open(storage.clone()).await.unwrap();
        let many: Vec<_> = (0..DOCUMENTS)
            .map(|n| value(&format!(r#"{{"_id":"{n:05}","n":{n}}}"#)))
            .collect();
        docs(&db).await.insert_many(&many).await.unwrap();
        db.collection::<Value>("local")
            .unwrap()
            .insert_many(&many[..3])
            .await
            .unwrap();
        drop(db);
        let both = || {
            let local = |_: &DocumentId, mut document: Map| {
                document.insert("local", true);
                Ok(Migrated::Changed(document))
            };
            app()
                .migration(counting(2, "docs").documents("local", local))
                .migration(counting(3, "docs"))
        };
        let crashed = both().open(crashing(&storage, commits + 1)).await;
        let finished = crashed.is_ok();
        drop(crashed);
        // From the first commit on, the program of before must not touch it.
        let old = app()
            .open(storage.clone())
            .await
            .map(drop)
            .map_err(|error| error.code());
        assert_eq!(
            old,
            if commits == 0 {
                Ok(())
            } else {
                Err("newer-format")
            }
        );
        let db = both().open(storage.clone()).await.unwrap();
        let all = docs(&db).await.get_all().await.unwrap();
        assert_eq!(all.len(), DOCUMENTS as usize);
        for (n, document) in (0..).zip(all) {
            let expected = Some(&Value::from(n + 2));
            assert_eq!(
                document.as_map().unwrap().get("n"),
                expected,
                "after {commits} commits"
            );
        }
        let local = db.collection::<Value>("local").unwrap();
        assert_eq!(
            local.get("00001").await.unwrap(),
            Some(value(r#"{"_id":"00001","n":1,"local":true}"#))
        );
        if finished {
            break;
        }
        survived += 1;
    }
    // The commit that begins, three batches of one collection, one of the other, and the one that ends.
    assert_eq!(survived, 6);
}

#[tokio::test]
async fn a_half_done_migration_is_finished_before_the_next_one_begins() {
    let storage = MemoryStorage::new();
    let db = app().open(storage.clone()).await.unwrap();
    let many: Vec<_> = (0..600)
        .map(|n| value(&format!(r#"{{"_id":"{n:04}","n":0}}"#)))
        .collect();
    docs(&db).await.insert_many(&many).await.unwrap();
    drop(db);
    let begun = app()
        .migration(counting(2, "docs"))
        .open(crashing(&storage, 3))
        .await;
    assert_eq!(begun.unwrap_err().code(), "closed");
    // A program that lacks the step cannot go on, and says so.
    let error = app()
        .schema_version(2)
        .open(storage.clone())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "migration");
    let db = app()
        .migration(counting(2, "docs"))
        .migration(counting(3, "docs"))
        .open(storage)
        .await
        .unwrap();
    for document in docs(&db).await.get_all().await.unwrap() {
        assert_eq!(document.as_map().unwrap().get("n"), Some(&Value::from(2)));
    }
}
