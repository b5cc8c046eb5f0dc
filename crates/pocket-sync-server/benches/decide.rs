//! How long a decision takes, without any store.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "criterion's macros make undocumented items"
)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use pocket_core::{
    Body, Change, ChangeKind, ClientId, CollectionName, DocumentId, DocumentLimits, Hlc, Map,
    Mutation, MutationContent, MutationNumber, Revision, Seq, SessionToken, Timestamp,
};
use pocket_sync_server::decide::{
    Current, DecideLimits, DocumentKey, Overlay, PushRequest, attach, decide,
};
use pocket_sync_server::engine::AttachRequest;

const MUTATIONS: u64 = 1_000;
const NOW: Timestamp = Timestamp::from_millis(1_000_000);
const CLIENT: ClientId = ClientId::from_bytes([1; 16]);
const SESSION: SessionToken = SessionToken::from_bytes([2; 16]);
const OLDER: Revision = Revision::new(Hlc::from_bits(1), ClientId::from_bytes([9; 16]));

fn push(base: Option<Revision>) -> PushRequest {
    let mut map = Map::new();
    map.insert("text", "x".repeat(180));
    let body = Body::from_map(&map, &DocumentLimits::default()).unwrap();
    let collection = CollectionName::new("todos").unwrap();
    let mutation = |number: u64| {
        let change = Change {
            collection: collection.clone(),
            id: DocumentId::new(&format!("document-{number:08}")).unwrap(),
            rev: Revision::new(Hlc::from_bits(number + 1), CLIENT),
            base,
            kind: ChangeKind::Put(body.clone()),
        };
        let number = MutationNumber::new(number);
        Ok(Mutation {
            number,
            content: MutationContent::Changes(vec![change]),
        })
    };
    PushRequest {
        user: "ann".into(),
        client: CLIENT,
        session: SESSION,
        confirmed: MutationNumber::ZERO,
        first: MutationNumber::new(1),
        mutations: (1..=MUTATIONS).map(mutation).collect(),
        bytes: 0,
        authority: pocket_sync_server::rules::Authority::open(),
    }
}

fn overlay(push: &PushRequest, exists: bool) -> Overlay {
    let mut overlay = Overlay::new(Seq::new(MUTATIONS), Hlc::ZERO);
    let request = AttachRequest {
        user: "ann".into(),
        client: CLIENT,
        presented: None,
        unless_new: None,
    };
    overlay.load_client(CLIENT, attach(NOW, None, &request, SESSION).unwrap());
    let changes = push.mutations.iter().flatten().flat_map(Mutation::changes);
    for (change, seq) in changes.zip(1..) {
        let current = Current {
            rev: OLDER,
            seq: Seq::new(seq),
            live: true,
            bytes: 0,
        };
        overlay.load(DocumentKey::of(change), exists.then_some(current));
    }
    overlay
}

fn decisions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide");
    group.throughput(Throughput::Elements(MUTATIONS));
    for (name, base) in [("inserts", None), ("updates", Some(OLDER))] {
        let push = push(base);
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || overlay(&push, base.is_some()),
                |mut overlay| {
                    let limits = DecideLimits::default();
                    let answer = decide(NOW, &limits, &mut overlay, black_box(&push));
                    (answer, overlay.into_writes())
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, decisions);
criterion_main!(benches);
