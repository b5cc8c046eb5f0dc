//! How long the keys of one edit take to build, and to be read again.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "criterion's macros make undocumented items"
)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pocket_core::{CollectionName, DocumentId, MutationNumber, Place};

// Nothing else may build keys, so they are no part of the crate's face: measured is the file itself.
#[path = "../src/keys.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "not every key is measured, and in the crate it is used otherwise"
)]
mod keys;

use self::keys::{BodyOf, CollectionId, Target};

fn building(criterion: &mut Criterion) {
    let id = DocumentId::new("0199f2c4-7a31-7cc3-98c4-dc0c0c07398f").unwrap();
    let collection = CollectionId(7);
    let place = Place::new(123_456);
    let number = MutationNumber::new(123_456);
    let mut group = criterion.benchmark_group("keys of a device");
    group.throughput(Throughput::Elements(1));
    group.bench_function("a document", |bencher| {
        bencher.iter(|| keys::document(black_box(collection), black_box(&id)));
    });
    group.bench_function("a mutation, its body and its number", |bencher| {
        bencher.iter(|| {
            let place = black_box(place);
            (
                keys::outbox(Target::DEFAULT, place),
                keys::outbox_body(Target::DEFAULT, place, 0, BodyOf::Local),
                keys::number(Target::DEFAULT, black_box(number)),
            )
        });
    });
    let key = keys::document(collection, &id);
    group.bench_function("the id of a document's key", |bencher| {
        bencher.iter(|| keys::document_id(black_box(&key)).map(str::len));
    });
    group.finish();
}

criterion_group!(benches, building);
criterion_main!(benches);
