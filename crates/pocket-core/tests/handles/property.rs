//! Random edits through three handles, with messages that are told late, twice, out of order or not at all.
//!
//! Whatever arrives: what a handle's subscribers are told leads from state to state of the store unless it says `Lagged`,
//! and once a handle has caught up, its live queries show what a fresh query does.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::FutureExt;
use pocket_core::{
    ChangeItem, CommitSequence, Document, LiveCount, LiveQuery, Order, Query, Subscription, Value,
};
use proptest::prelude::*;

use super::support::{Handle, document, handles, shown};

const HANDLES: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Put(usize, u8, i64),
    Delete(usize, u8),
    Clear(usize),
    /// Several documents in one commit.
    Transaction(usize, Vec<(u8, i64)>),
    /// One of the waiting messages arrives: the oldest, or one behind it.
    Deliver(usize, prop::sample::Index),
    /// The oldest arrives, and stays to arrive again.
    Twice(usize),
    Lose(usize),
    /// All arrive, in their order.
    DeliverAll(usize),
    CatchUp(usize),
    /// Live queries take in what is there.
    Look(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let handle = || 0..HANDLES;
    prop_oneof![
        8 => (handle(), 0..12_u8, 0..20_i64).prop_map(|(handle, id, n)| Step::Put(handle, id, n)),
        3 => (handle(), 0..12_u8).prop_map(|(handle, id)| Step::Delete(handle, id)),
        1 => handle().prop_map(Step::Clear),
        2 => (handle(), prop::collection::vec((0..12_u8, 0..20_i64), 1..5))
            .prop_map(|(handle, edits)| Step::Transaction(handle, edits)),
        4 => (handle(), any::<prop::sample::Index>())
            .prop_map(|(handle, index)| Step::Deliver(handle, index)),
        1 => handle().prop_map(Step::Twice),
        1 => handle().prop_map(Step::Lose),
        6 => handle().prop_map(Step::DeliverAll),
        1 => handle().prop_map(Step::CatchUp),
        3 => handle().prop_map(Step::Look),
    ]
}

/// A handle with all that follows it.
struct Watched {
    handle: Handle,
    waiting: Vec<Bytes>,
    changes: Subscription<ChangeItem>,
    /// What the changes lead to, from where they are known.
    told: BTreeMap<String, String>,
    last: CommitSequence,
    lags: usize,
    queries: Vec<Query<Value>>,
    live: Vec<LiveQuery<Value>>,
    lists: Vec<Vec<String>>,
    count: LiveCount,
}

impl Watched {
    fn new(handle: Handle) -> Self {
        let all = handle.docs.find();
        let queries = vec![
            all.clone(),
            all.clone().where_field("n").gte(7),
            all.clone().sort("n", Order::Descending).limit(4),
            all.clone().where_field("n").eq(3),
        ];
        Self {
            waiting: Vec::new(),
            changes: handle.docs.changes(),
            told: BTreeMap::new(),
            last: CommitSequence::ZERO,
            lags: 0,
            live: queries.iter().map(Query::live).collect(),
            lists: vec![Vec::new(); queries.len()],
            queries,
            count: all.count().live(),
            handle,
        }
    }

    async fn documents(&self) -> BTreeMap<String, String> {
        let documents = self.handle.docs.find().documents().await.unwrap();
        documents.iter().map(pair).collect()
    }

    /// Takes in the changes that are there: each must fit what was known before, unless it says `Lagged`.
    async fn follow(&mut self) {
        while let Some(item) = self.changes.next().now_or_never() {
            match item.unwrap() {
                ChangeItem::Lagged { from, to } => {
                    assert!(
                        from <= to && from > self.last,
                        "{from} to {to} after {}",
                        self.last
                    );
                    self.lags += 1;
                    // Read again, up to the newest: what is told of older commits is seen there already.
                    self.told = self.documents().await;
                    self.last = to;
                }
                ChangeItem::Change(change) => {
                    assert!(change.sequence >= self.last);
                    self.last = change.sequence;
                    let id = change.document_id.to_string();
                    if self.lags == 0 {
                        let before = change.previous_document.as_ref().map(shown);
                        assert_eq!(self.told.get(&id), before.as_ref(), "{change:?}");
                    }
                    match &change.document {
                        Some(document) => self.told.insert(id, shown(document)),
                        None => self.told.remove(&id),
                    };
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Takes in the steps that are there: each must follow on the list before.
    fn look(&mut self) {
        for (live, list) in self.live.iter_mut().zip(&mut self.lists) {
            while let Some(step) = live.next().now_or_never() {
                let step = step.unwrap().unwrap();
                for change in &step.changes {
                    change.apply(list, line);
                }
                let result: Vec<_> = step.result.documents().map(line).collect();
                assert_eq!(*list, result);
            }
        }
        while let Some(count) = self.count.next().now_or_never() {
            count.unwrap().unwrap();
        }
    }

    async fn check(&mut self) {
        self.handle.db.catch_up().await.unwrap();
        self.follow().await;
        assert_eq!(self.told, self.documents().await);
        self.look();
        for (query, list) in self.queries.iter().zip(&self.lists) {
            let fresh = query.documents().await.unwrap();
            assert_eq!(*list, fresh.iter().map(line).collect::<Vec<_>>());
        }
        assert_eq!(
            self.count.value(),
            Some(self.handle.docs.count().await.unwrap())
        );
    }
}

fn pair(document: &Document) -> (String, String) {
    (document.id.to_string(), shown(document))
}

fn line(document: &Document) -> String {
    format!("{}={}", document.id, shown(document))
}

fn name(id: u8) -> String {
    format!("d{id:02}")
}

async fn edit(handle: &Handle, step: &Step) {
    match step {
        Step::Put(_, id, n) => handle.put(&name(*id), *n).await,
        Step::Delete(_, id) => {
            // It may not be there.
            let _ = handle.docs.delete(&name(*id)).await;
        }
        Step::Clear(_) => drop(handle.docs.clear().await.unwrap()),
        Step::Transaction(_, edits) => {
            let mut transaction = handle.db.transaction();
            let edits: BTreeMap<_, _> = edits.iter().copied().collect();
            for (id, n) in edits {
                transaction
                    .upsert(&handle.docs, &document(&name(id), n))
                    .unwrap();
            }
            transaction.commit().await.unwrap();
        }
        _ => {}
    }
}

async fn run(steps: Vec<Step>, lossless: bool) {
    let handles: [Handle; HANDLES] = handles().await;
    let mut all: Vec<_> = handles.into_iter().map(Watched::new).collect();
    for step in steps {
        match &step {
            Step::Put(at, ..)
            | Step::Delete(at, _)
            | Step::Clear(at)
            | Step::Transaction(at, _) => {
                if lossless {
                    hear_all(&mut all[*at]).await;
                }
                edit(&all[*at].handle, &step).await;
                let told = all[*at].handle.told();
                for (other, watched) in all.iter_mut().enumerate() {
                    if other != *at {
                        watched.waiting.extend(told.iter().cloned());
                    }
                }
            }
            Step::Deliver(at, index) => {
                let watched = &mut all[*at];
                if !watched.waiting.is_empty() {
                    let index = if lossless {
                        0
                    } else {
                        index.index(watched.waiting.len())
                    };
                    let message = watched.waiting.remove(index);
                    watched.handle.hear(&message).await;
                }
            }
            Step::Twice(at) => {
                if let Some(message) = all[*at].waiting.first().cloned() {
                    all[*at].handle.hear(&message).await;
                }
            }
            Step::Lose(at) => {
                let watched = &mut all[*at];
                if !lossless && !watched.waiting.is_empty() {
                    watched.waiting.remove(0);
                }
            }
            Step::DeliverAll(at) => hear_all(&mut all[*at]).await,
            Step::CatchUp(at) if !lossless => all[*at].handle.db.catch_up().await.unwrap(),
            Step::CatchUp(_) => {}
            Step::Look(at) => {
                all[*at].look();
                all[*at].follow().await;
            }
        }
    }
    if lossless {
        for watched in &mut all {
            hear_all(watched).await;
            watched.follow().await;
            assert_eq!(watched.lags, 0, "nothing was lost");
        }
    }
    for watched in &mut all {
        watched.check().await;
    }
    let [first, rest @ ..] = all.as_slice() else {
        return;
    };
    for other in rest {
        assert_eq!(first.told, other.told);
    }
}

async fn hear_all(watched: &mut Watched) {
    for message in std::mem::take(&mut watched.waiting) {
        watched.handle.hear(&message).await;
    }
}

fn block_on(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    // After many steps without a pause tokio would have a channel say that it has nothing, to let others run.
    let future = tokio::task::unconstrained(future);
    runtime.unwrap().block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn live_queries_and_changes_hold_whatever_becomes_of_messages(
        steps in prop::collection::vec(step(), 1..60)
    ) {
        block_on(run(steps, false));
    }

    /// Each handle hears of the others before it writes itself, so nobody has to read again.
    #[test]
    fn where_all_messages_arrive_in_order_nobody_lags(
        steps in prop::collection::vec(step(), 1..60)
    ) {
        block_on(run(steps, true));
    }
}
