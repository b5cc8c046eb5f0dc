//! The table of the guide, row by row: `docs/guide/conflict-resolution.md` says nothing that is not tried here.

use std::sync::Arc;

use pocket_core::replica::{IncomingPage, PageKind, Replica};
use pocket_core::{
    Body, ClientId, Collection, CollectionConfig, CollectionName, ConflictStrategy, Database,
    DocumentId, DocumentLimits, Env, Epoch, Hlc, Map, Outcome, PushLimit, Record, RecordState,
    Revision, Seq, Target, Timestamp, Value, Winner,
};
use pocket_storage_memory::MemoryStorage;
use pocket_sync_client::conflict::Strategies;

const GUIDE: &str = include_str!("../../../docs/guide/conflict-resolution.md");
const MARK: &str = "<!-- table: strategies -->";

/// When this device writes, in milliseconds since 1970.
const NOW: i64 = 1_000_000;

#[derive(Debug)]
struct Clock;

impl Env for Clock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(NOW)
    }

    fn random(&self, bytes: &mut [u8]) {
        bytes.fill(1);
    }
}

/// One cell of the table: what is written on both sides, the strategy, and what the guide says of it.
#[derive(Debug)]
struct Case {
    local: String,
    remote: String,
    strategy: ConflictStrategy,
    expected: String,
}

fn strategy(name: &str) -> ConflictStrategy {
    let all = [
        ConflictStrategy::LastWriteWins,
        ConflictStrategy::ServerWins,
        ConflictStrategy::ClientWins,
        ConflictStrategy::Merge,
    ];
    let found = all.into_iter().find(|strategy| strategy.as_str() == name);
    found.unwrap_or_else(|| panic!("the guide names a strategy {name}"))
}

fn cells(line: &str) -> Vec<String> {
    let inner = line.trim().trim_matches('|');
    inner
        .split('|')
        .map(|cell| cell.trim().to_owned())
        .collect()
}

fn cases() -> Vec<Case> {
    let (_, behind) = GUIDE.split_once(MARK).expect("the guide has the table");
    let mut lines = behind.trim_start().lines();
    let head = cells(lines.next().expect("a head"));
    lines.next().expect("a line below the head");
    let mut cases = Vec::new();
    for line in lines.take_while(|line| line.starts_with('|')) {
        let row = cells(line);
        assert_eq!(row.len(), head.len(), "{line}");
        for (name, expected) in head.iter().zip(&row).skip(2) {
            cases.push(Case {
                local: row[0].clone(),
                remote: row[1].clone(),
                strategy: strategy(name),
                expected: expected.clone(),
            });
        }
    }
    cases
}

fn map(fields: &[(&str, i64)]) -> Map {
    fields
        .iter()
        .map(|(name, number)| (*name, Value::from(*number)))
        .collect()
}

fn live(fields: &[(&str, i64)]) -> RecordState {
    let body = Body::from_map(&map(fields), &DocumentLimits::default());
    RecordState::Live(body.expect("a good body"))
}

struct Device {
    db: Database,
    docs: Collection<Value>,
    replica: Replica,
    resolver: Arc<Strategies>,
    seq: u64,
}

impl Device {
    async fn new(strategy: ConflictStrategy) -> Self {
        let db = Database::builder("table")
            .collection(CollectionConfig::new("docs").sync(true))
            .env(Clock)
            .open(MemoryStorage::new())
            .await
            .expect("memory opens");
        Self {
            docs: db.collection("docs").expect("it is configured"),
            replica: Replica::new(&db, Target::DEFAULT),
            db,
            resolver: Arc::new(Strategies::new(strategy)),
            seq: 0,
        }
    }

    async fn arrives(&mut self, time: i64, state: RecordState) {
        self.seq += 1;
        let record = Record {
            collection: CollectionName::new("docs").expect("a good name"),
            id: DocumentId::new("a").expect("a good id"),
            rev: Revision::new(
                Hlc::from_time(Timestamp::from_millis(time)),
                ClientId::from_bytes([9; 16]),
            ),
            seq: Seq::new(self.seq),
            state,
        };
        let page = IncomingPage {
            kind: PageKind::Feed,
            epoch: Epoch::from_bytes([1; 16]),
            start: Seq::new(self.seq - 1),
            end: Seq::new(self.seq),
            head: Seq::new(self.seq),
            records: vec![record],
            removals: Vec::new(),
        };
        let applied = self.replica.apply(page, self.resolver.clone()).await;
        applied.expect("memory takes it");
    }

    /// The change is sent, and the server says that it met another version.
    async fn sent(&self) {
        let all = PushLimit {
            changes: 100,
            bytes: 1 << 20,
        };
        let sent = self
            .replica
            .pin(all)
            .await
            .expect("memory takes it")
            .mutations;
        let seqs = vec![Seq::new(self.seq + 1)];
        let outcomes = vec![Outcome::Conflict { seqs }];
        let settled = self
            .replica
            .settle(sent[0].number, outcomes, self.resolver.clone());
        settled.await.expect("memory takes it");
    }

    async fn shown(&self) -> Option<Map> {
        match self.docs.get("a").await.expect("memory gives it") {
            Some(Value::Map(mut map)) => {
                map.remove("_id");
                Some(map)
            }
            _ => None,
        }
    }
}

/// Plays a case and says in the guide's words what came of it.
async fn play(case: &Case, is_sent: bool) -> String {
    let mut device = Device::new(case.strategy).await;
    let (change, when) = case
        .local
        .split_once(", ")
        .unwrap_or_else(|| panic!("{case:?} does not say when"));
    let creates = change == "create";
    if !creates {
        device
            .arrives(NOW - 2, live(&[("n", 0), ("l", 0), ("r", 0)]))
            .await;
    }
    let local: &[(&str, i64)] = if creates {
        &[("n", 1), ("l", 1)]
    } else {
        &[("n", 1), ("l", 1), ("r", 0)]
    };
    if change == "delete" {
        device.docs.delete("a").await.expect("it is there");
    } else {
        let mut document = map(local);
        document.insert("_id", "a");
        let written = device.docs.upsert(&Value::Map(document)).await;
        written.expect("memory takes it");
    }
    if is_sent {
        device.sent().await;
    }
    let time = match when {
        "later" => NOW - 1,
        "earlier" => NOW + 1,
        other => panic!("{other} is no time"),
    };
    let remote: &[(&str, i64)] = if creates {
        &[("n", 2), ("r", 1)]
    } else {
        &[("n", 2), ("l", 0), ("r", 1)]
    };
    let state = match case.remote.as_str() {
        "update" | "create" => live(remote),
        "same update" => live(local),
        "delete" => RecordState::Deleted,
        "erase" => RecordState::Erased,
        other => panic!("{other} is no change"),
    };
    device.arrives(time, state).await;

    let entries = device.db.journal().list(None, 10).await;
    let entries = entries.expect("memory gives it");
    let pending = device
        .db
        .stats()
        .await
        .expect("memory gives it")
        .pending_changes;
    let shown = device.shown().await;
    let here = (change != "delete").then(|| map(local));
    let there = matches!(case.remote.as_str(), "update" | "create").then(|| map(remote));
    let [entry] = entries.as_slice() else {
        assert!(entries.is_empty(), "{case:?}: {entries:?}");
        return "no conflict".to_owned();
    };
    match entry.winner {
        Winner::Local => {
            assert_eq!((shown, pending), (here, 1), "{case:?}");
            "local".to_owned()
        }
        Winner::Remote => {
            assert_eq!((shown, pending), (there, 0), "{case:?}");
            "remote".to_owned()
        }
        _ => {
            let shown = shown.expect("a merge deletes nothing");
            let number = |name| shown.get(name).and_then(Value::as_integer);
            assert_eq!((number("l"), number("r")), (Some(1.into()), Some(1.into())));
            assert_eq!(pending, 1, "{case:?}");
            let n = if number("n") == Some(1.into()) {
                "local"
            } else {
                "remote"
            };
            format!("merged, `n` {n}")
        }
    }
}

#[tokio::test]
async fn each_row_of_the_guide_is_what_happens_sent_or_not() {
    let cases = cases();
    assert!(cases.len() >= 50, "the table was found: {}", cases.len());
    for case in &cases {
        for is_sent in [false, true] {
            assert_eq!(
                play(case, is_sent).await,
                case.expected,
                "{case:?}, sent: {is_sent}"
            );
        }
    }
}
