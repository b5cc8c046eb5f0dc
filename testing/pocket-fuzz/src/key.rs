//! The order of values, and of keys as a store sees them.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use bytes::Bytes;
use pocket_core::{Body, CollectionConfig, Database, DocumentId, DocumentLimits, Value};
use pocket_storage_memory::MemoryStorage;

use crate::counting::Counting;
use crate::input::Input;
use crate::now::now;

/// One name is the beginning of another, as a key must not be of another's.
const COLLECTIONS: [&str; 3] = ["a", "aa", "b"];

/// No id reaches into another collection, all come out in the order of their bytes, and the order of values is total.
pub(crate) fn order(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    if input.flag() {
        values(&mut input);
    } else {
        ids(&mut input);
    }
}

fn values(input: &mut Input<'_>) {
    let limits = DocumentLimits::default();
    let mut values = Vec::new();
    while values.len() < 4 && !input.is_empty() {
        let taken = input.bytes();
        if let Ok(body) = Body::from_msgpack(Bytes::copy_from_slice(taken), &limits) {
            let map = body.to_map().expect("what was checked can be read");
            values.extend(map.values().cloned());
            values.push(Value::Map(map));
        }
    }
    values.truncate(24);
    for one in &values {
        assert_eq!(one.cmp(one), Ordering::Equal);
        for other in &values {
            let order = one.cmp(other);
            assert_eq!(order, other.cmp(one).reverse(), "{one:?} and {other:?}");
            assert_eq!(order == Ordering::Equal, one == other);
            assert!(!one.is_same(other) || order == Ordering::Equal);
            for third in &values {
                if order != Ordering::Greater && other.cmp(third) != Ordering::Greater {
                    assert_ne!(
                        one.cmp(third),
                        Ordering::Greater,
                        "{one:?}, {other:?}, {third:?}"
                    );
                }
            }
        }
    }
}

fn ids(input: &mut Input<'_>) {
    let database = now(COLLECTIONS
        .iter()
        .fold(
            Database::builder("keys").env(Counting::default()),
            |builder, name| builder.collection(CollectionConfig::new(*name).sync(true)),
        )
        .open(MemoryStorage::new()))
    .expect("memory opens");
    let collections = COLLECTIONS.map(|name| {
        database
            .collection::<Value>(name)
            .expect("it is configured")
    });
    let mut expected: [BTreeMap<String, u64>; 3] = Default::default();
    let mut count = 0;
    while !input.is_empty() && count < 32 {
        count += 1;
        let place = usize::from(input.below(3));
        let deletes = input.flag();
        let id = String::from_utf8_lossy(input.bytes()).into_owned();
        let is_good = DocumentId::new(&id).is_ok();
        if deletes {
            let deleted = now(collections[place].delete(&id)).is_ok();
            assert_eq!(deleted, expected[place].remove(&id).is_some(), "{id:?}");
            continue;
        }
        let mut document = pocket_core::Map::new();
        document.insert("_id", id.as_str());
        document.insert("n", count);
        let stored = now(collections[place].upsert(&Value::Map(document)));
        assert_eq!(stored.is_ok(), is_good, "{id:?}: {stored:?}");
        if is_good {
            expected[place].insert(id, count);
        }
    }
    for (collection, expected) in collections.iter().zip(&expected) {
        let all = now(collection.get_all()).expect("memory gives it");
        let found: Vec<(&str, u64)> = all
            .iter()
            .map(|document| {
                let map = document.as_map().expect("a document is a map");
                let id = map
                    .get("_id")
                    .and_then(Value::as_str)
                    .expect("it has an id");
                let n = map.get("n").and_then(Value::as_integer);
                (
                    id,
                    n.and_then(pocket_core::Integer::as_u64)
                        .expect("and a number"),
                )
            })
            .collect();
        let expected: Vec<(&str, u64)> = expected.iter().map(|(id, n)| (id.as_str(), *n)).collect();
        assert_eq!(found, expected);
    }
}
