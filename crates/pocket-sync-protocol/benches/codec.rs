//! What encoding and decoding cost for each document of about 200 bytes.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pocket_sync_protocol::{
    Body, Change, ChangeKind, ClientId, ClientMessage, CollectionName, DocumentId, DocumentLimits,
    EncodedRecord, Epoch, Hlc, Mutation, MutationContent, MutationNumber, Page, PageBuilder, Push,
    Record, RecordState, Revision, Seq, ServerMessage, WireLimits, decode_client, decode_server,
    encode_client, encode_server,
};

const CLIENT: ClientId = ClientId::from_bytes([7; 16]);

/// A body of six fields and 200 bytes.
fn body() -> Body {
    let mut bytes = Vec::new();
    let mut write = || -> Result<(), Box<dyn std::error::Error>> {
        rmp::encode::write_map_len(&mut bytes, 6)?;
        rmp::encode::write_str(&mut bytes, "title")?;
        rmp::encode::write_str(&mut bytes, "Buy milk, bread and salt")?;
        rmp::encode::write_str(&mut bytes, "completed")?;
        rmp::encode::write_bool(&mut bytes, false)?;
        rmp::encode::write_str(&mut bytes, "priority")?;
        rmp::encode::write_uint(&mut bytes, 3)?;
        rmp::encode::write_str(&mut bytes, "weight")?;
        rmp::encode::write_f64(&mut bytes, 2.5)?;
        rmp::encode::write_str(&mut bytes, "tags")?;
        rmp::encode::write_array_len(&mut bytes, 2)?;
        rmp::encode::write_str(&mut bytes, "home")?;
        rmp::encode::write_str(&mut bytes, "today")?;
        rmp::encode::write_str(&mut bytes, "note")?;
        rmp::encode::write_str(&mut bytes, &"n".repeat(101))?;
        Ok(())
    };
    write().expect("a vector takes every byte");
    Body::from_msgpack(Bytes::from(bytes), &DocumentLimits::default()).expect("a good body")
}

fn id(number: u64) -> DocumentId {
    DocumentId::new(&format!("0198f1a2-7c3d-7e4f-8a5b-{number:012x}")).expect("a good id")
}

fn todos() -> CollectionName {
    CollectionName::new("todos").expect("a good name")
}

fn mutations(count: u64) -> Vec<Mutation> {
    let body = body();
    let mutation = |number: u64| Mutation {
        number: MutationNumber::new(number),
        content: MutationContent::Changes(vec![Change {
            collection: todos(),
            id: id(number),
            rev: Revision::new(Hlc::from_bits((1_785_000_000_000 << 16) + number), CLIENT),
            base: None,
            kind: ChangeKind::Put(body.clone()),
        }]),
    };
    (1..=count).map(mutation).collect()
}

fn records(count: u64) -> Vec<Record> {
    let body = body();
    let record = |number: u64| Record {
        collection: todos(),
        id: id(number),
        rev: Revision::new(Hlc::from_bits((1_785_000_000_000 << 16) + number), CLIENT),
        seq: Seq::new(number),
        state: RecordState::Live(body.clone()),
    };
    (1..=count).map(record).collect()
}

fn push(mutations: &[Mutation]) -> ClientMessage {
    let first = MutationNumber::new(1);
    Push::build(1, CLIENT, first, MutationNumber::ZERO, mutations)
        .expect("it is in order")
        .into()
}

fn page(records: &[EncodedRecord]) -> ServerMessage {
    let mut builder = PageBuilder::new(4 << 20);
    for record in records {
        assert!(builder.push(record), "it fits");
    }
    let end = Seq::new(records.len() as u64);
    let page = Page {
        id: 1,
        epoch: Epoch::from_bytes([1; 16]),
        start: Seq::ZERO,
        end,
        head: end,
        resync: false,
        joining: None,
        set: builder.finish(),
        removals: Vec::new(),
        digest: None,
    };
    page.into()
}

fn read_push(frame: &Bytes) -> usize {
    let message = decode_client(frame, &WireLimits::default()).expect("a good frame");
    let ClientMessage::Push(push) = message else {
        unreachable!("a push was encoded")
    };
    push.mutations(CLIENT, &DocumentLimits::default())
        .expect("good mutations")
        .len()
}

fn read_page(frame: &Bytes) -> usize {
    let message = decode_server(frame, &WireLimits::default()).expect("a good frame");
    let ServerMessage::Page(page) = message else {
        unreachable!("a page was encoded")
    };
    page.records().expect("good records").len()
}

fn codec(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    for count in [1, 100, 1_000] {
        group.throughput(Throughput::Elements(count));
        let mutations = mutations(count);
        group.bench_function(BenchmarkId::new("write a push", count), |bench| {
            bench.iter(|| encode_client(&push(black_box(&mutations))));
        });
        let frame = encode_client(&push(&mutations));
        group.bench_function(BenchmarkId::new("read a push", count), |bench| {
            bench.iter(|| read_push(black_box(&frame)));
        });
        let records = records(count);
        group.bench_function(BenchmarkId::new("encode records", count), |bench| {
            bench.iter(|| {
                black_box(&records)
                    .iter()
                    .map(EncodedRecord::encode)
                    .collect::<Vec<_>>()
            });
        });
        let encoded: Vec<_> = records.iter().map(EncodedRecord::encode).collect();
        group.bench_function(BenchmarkId::new("write a page", count), |bench| {
            bench.iter(|| encode_server(&page(black_box(&encoded))));
        });
        let frame = encode_server(&page(&encoded));
        group.bench_function(BenchmarkId::new("read a page", count), |bench| {
            bench.iter(|| read_page(black_box(&frame)));
        });
    }
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
