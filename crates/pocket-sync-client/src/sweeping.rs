//! Deleting documents whose time to live is over, now and then: the core has no timers, and whoever syncs does.
//!
//! What others have is deleted by the server's clock only: the time it told when this session attached, and what passed
//! since by a clock that nobody sets. This device's own may have been set wrong a moment ago. A database that has left that
//! server, or has become another client of it, is told anew first.

use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use pocket_core::replica::Replica;
use pocket_core::storage::BoxFuture;
use pocket_core::{ClientId, Timestamp, codes};

use crate::platform::{Instant, Sleep, sleep};

/// Time between two sweeps. Nobody reads what is over; this is only about space, and about live queries.
const EVERY: Duration = Duration::from_secs(60);

/// Time between the first attachment and the sweep that follows it: short sessions sweep, too, and mostly have read by then
/// what others made of the documents.
const FIRST: Duration = Duration::from_secs(5);

/// What the server's clock said to this client, and when that was.
#[derive(Clone, Copy)]
struct Told {
    client: ClientId,
    server_time: Timestamp,
    at: Instant,
}

impl Told {
    fn now(self) -> Timestamp {
        let passed = i64::try_from(self.at.elapsed().as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(self.server_time.millis().saturating_add(passed))
    }
}

pub(crate) struct Sweeper {
    replica: Replica,
    next: Pin<Box<Sleep>>,
    /// Says whose time it was, should the store be that client no longer.
    under_way: Option<BoxFuture<'static, Option<ClientId>>>,
    /// Of a server that may still turn out to be another one than that of the database.
    greeted: Option<Told>,
    told: Option<Told>,
}

impl Sweeper {
    pub(crate) fn new(replica: Replica) -> Self {
        Self {
            replica,
            next: Box::pin(sleep(EVERY)),
            under_way: None,
            greeted: None,
            told: None,
        }
    }

    /// A server tells its time; [`attached`](Self::attached) says whether it is the one that counts.
    pub(crate) fn greeted(&mut self, client: ClientId, server_time: Timestamp) {
        self.greeted = Some(Told {
            client,
            server_time,
            at: Instant::now(),
        });
    }

    /// The server that greeted last is that of the database.
    pub(crate) fn attached(&mut self) {
        let Some(told) = self.greeted.take() else {
            return;
        };
        if self.told.replace(told).is_none() {
            self.next = Box::pin(sleep(FIRST));
        }
    }

    /// Ends the sweep that is under way. Safe to drop at any time.
    pub(crate) async fn rest(&mut self) {
        if let Some(sweep) = &mut self.under_way {
            let left = sweep.await;
            self.told = self.told.filter(|told| Some(told.client) != left);
            self.under_way = None;
            self.next = Box::pin(sleep(EVERY));
        }
    }

    /// Sweeps while it is polled. Safe to drop at any time, and goes on where it was.
    pub(crate) async fn run(&mut self) -> Infallible {
        loop {
            self.rest().await;
            self.next.as_mut().await;
            let (replica, told) = (self.replica.clone(), self.told);
            self.under_way = Some(Box::pin(async move {
                let database = replica.database();
                if !database.has_ttl() {
                    return None;
                }
                let Some(told) = told else {
                    // What failed is tried again the next time; a store that is broken tells the session, too.
                    let _ = database.expire().await;
                    return None;
                };
                let swept = replica.acting_as(told.client).expire(told.now()).await;
                let is_left = swept.is_err_and(|error| error.code() == codes::OTHER_CLIENT);
                is_left.then_some(told.client)
            }));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};

    use pocket_core::replica::{Attachment, Conflict, Decision, Resolver, ServerLog};
    use pocket_core::{
        Binding, CollectionConfig, ConflictStrategy, Database, Env, Lineage, Operation, Outcome,
        PushLimit, Seq, SessionToken, Target, Ttl, Value,
    };
    use pocket_storage_memory::MemoryStorage;

    use super::*;
    use crate::{SyncConfig, SyncEngine};

    #[derive(Clone, Debug, Default)]
    struct Clock(Arc<AtomicI64>, Arc<AtomicU8>);

    impl Env for Clock {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(self.0.load(Ordering::Relaxed))
        }

        fn random(&self, bytes: &mut [u8]) {
            // Whoever becomes another client gets another id.
            bytes.fill(self.1.fetch_add(1, Ordering::Relaxed));
        }
    }

    struct Local;

    impl Resolver for Local {
        fn resolve(&self, _: &Conflict, _: Option<ConflictStrategy>) -> (Decision, &'static str) {
            (Decision::KeepLocal, "client-wins")
        }
    }

    const HOUR: Duration = Duration::from_secs(3_600);
    const PUSH: PushLimit = PushLimit {
        changes: 10,
        bytes: 1 << 20,
    };

    #[tokio::test(start_paused = true)]
    async fn what_others_have_is_deleted_by_the_clock_of_the_server_and_not_by_this_devices() {
        let clock = Clock::default();
        let config = CollectionConfig::new("docs").sync(true);
        let builder = Database::builder("test").collection(config.ttl(Ttl::after_update(HOUR)));
        let builder = builder.env(clock.clone());
        let db = builder.open(MemoryStorage::new()).await.unwrap();
        let replica = Replica::new(&db, Target::DEFAULT);
        let attachment = Attachment {
            binding: Binding {
                lineage: Lineage::from_bytes([1; 16]),
                namespace: "n".into(),
                user: "u".into(),
            },
            token: SessionToken::from_bytes([2; 16]),
            server_time: clock.now(),
            since_asked: Duration::ZERO,
            rights: None,
            log: ServerLog::default(),
        };
        replica.attach(&attachment).await.unwrap();
        let docs = db.collection::<Value>("docs").unwrap();
        let document = Value::from_json_str(r#"{"_id":"a"}"#).unwrap();
        docs.insert(&document).await.unwrap();
        let first = replica.pin(PUSH).await.unwrap().mutations[0].number;
        let applied = vec![Outcome::Applied { first: Seq::new(1) }];
        let settled = replica.settle(first, applied, Arc::new(Local));
        settled.await.unwrap();
        // Somebody sets this device's clock years ahead.
        clock.0.store(1_000_000_000_000, Ordering::Relaxed);
        assert_eq!(docs.count().await.unwrap(), 0);
        let mut sweeper = Sweeper::new(replica);
        let half = HOUR / 2;
        let pending = async |sweeper: &mut Sweeper| {
            tokio::select! {
                never = sweeper.run() => match never {},
                () = sleep(half) => {}
            }
            db.stats().await.unwrap().pending_changes
        };
        assert_eq!(pending(&mut sweeper).await, 0, "nobody told the time");
        let client = db.client_id();
        sweeper.greeted(client, Timestamp::from_millis(1_000_000_000_000));
        assert_eq!(pending(&mut sweeper).await, 0, "a server of somebody else");
        sweeper.greeted(client, Timestamp::from_millis(60_000));
        sweeper.attached();
        assert_eq!(pending(&mut sweeper).await, 0, "an hour has not passed");
        assert_eq!(pending(&mut sweeper).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_a_server_that_the_database_has_left_deletes_nothing_that_others_have() {
        let clock = Clock::default();
        let config = CollectionConfig::new("docs").sync(true);
        let builder = Database::builder("test").collection(config.ttl(Ttl::after_update(HOUR)));
        let storage = MemoryStorage::new();
        let db = builder
            .env(clock.clone())
            .open(storage.clone())
            .await
            .unwrap();
        let replica = Replica::new(&db, Target::DEFAULT);
        let attach = async |lineage: u8| {
            let attachment = Attachment {
                binding: Binding {
                    lineage: Lineage::from_bytes([lineage; 16]),
                    namespace: "n".into(),
                    user: "u".into(),
                },
                token: SessionToken::from_bytes([2; 16]),
                server_time: clock.now(),
                since_asked: Duration::ZERO,
                rights: None,
                log: ServerLog::default(),
            };
            replica.attach(&attachment).await.unwrap();
        };
        attach(1).await;
        let mut sweeper = Sweeper::new(replica.clone());
        // The clock of this server is years ahead.
        sweeper.greeted(db.client_id(), Timestamp::from_millis(1_000_000_000_000));
        sweeper.attached();
        // Another handle of the store, as another tab has it, takes it to another server.
        replica.detach().await.unwrap();
        attach(3).await;
        let docs = db.collection::<Value>("docs").unwrap();
        let document = Value::from_json_str(r#"{"_id":"a"}"#).unwrap();
        docs.insert(&document).await.unwrap();
        let first = replica.pin(PUSH).await.unwrap().mutations[0].number;
        let applied = vec![Outcome::Applied { first: Seq::new(1) }];
        let settled = replica.settle(first, applied, Arc::new(Local));
        settled.await.unwrap();
        assert_eq!(db.stats().await.unwrap().pending_changes, 0);
        // This device's clock is set as far ahead, too.
        clock.0.store(1_000_000_000_000, Ordering::Relaxed);
        tokio::select! {
            never = sweeper.run() => match never {},
            () = sleep(HOUR) => {}
        }
        assert_eq!(db.stats().await.unwrap().pending_changes, 0);
        assert!(sweeper.told.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_does_not_run_deletes_nothing() {
        let clock = Clock::default();
        let config = CollectionConfig::new("docs").ttl(Ttl::after_update(EVERY));
        let builder = Database::builder("test").collection(config);
        let builder = builder.env(clock.clone());
        let db = builder.open(MemoryStorage::new()).await.unwrap();
        let docs = db.collection::<Value>("docs").unwrap();
        let document = Value::from_json_str(r#"{"_id":"a"}"#).unwrap();
        docs.insert(&document).await.unwrap();
        clock.0.fetch_add(600_000, Ordering::Relaxed);
        let mut changes = docs.changes();
        // Nobody is there to sync with.
        let engine = SyncEngine::new(&db, SyncConfig::new("ws://127.0.0.1:1"));
        engine.start().await.unwrap();
        engine.stop().await.unwrap();
        let deleted = tokio::time::timeout(HOUR, changes.next()).await;
        assert!(deleted.is_err(), "{deleted:?}");
        engine.start().await.unwrap();
        let deleted = tokio::time::timeout(HOUR, changes.next()).await;
        assert!(deleted.is_ok());
        engine.stop().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_over_is_deleted_without_anybody_asking_for_it() {
        let clock = Clock::default();
        let config = CollectionConfig::new("docs").ttl(Ttl::after_update(EVERY));
        let builder = Database::builder("test").collection(config);
        let builder = builder.env(clock.clone());
        let db = builder.open(MemoryStorage::new()).await.unwrap();
        let docs = db.collection::<Value>("docs").unwrap();
        let mut sweeper = Sweeper::new(Replica::new(&db, Target::DEFAULT));
        let mut changes = docs.changes();
        for id in ["a", "b"] {
            let document = Value::from_json_str(&format!(r#"{{"_id":{id:?}}}"#)).unwrap();
            docs.insert(&document).await.unwrap();
            clock.0.fetch_add(60_000, Ordering::Relaxed);
            let mut seen = Vec::new();
            while seen.len() < 2 {
                tokio::select! {
                    never = sweeper.run() => match never {},
                    change = changes.next() => match change.unwrap() {
                        pocket_core::ChangeItem::Change(change) => seen.push(change.operation),
                        lagged => panic!("{lagged:?}"),
                    },
                }
            }
            assert_eq!(seen, [Operation::Insert, Operation::Delete]);
        }
    }
}
