//! Deleting documents whose time to live is over, now and then: the core has no timers, and whoever syncs does.

use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use futures_util::future::BoxFuture;
use pocket_core::Database;
use tokio::time::{Sleep, sleep};

/// Time between two sweeps. Nobody reads what is over; this is only about space, and about live queries.
const EVERY: Duration = Duration::from_secs(60);

pub(crate) struct Sweeper {
    database: Database,
    next: Pin<Box<Sleep>>,
    under_way: Option<BoxFuture<'static, ()>>,
}

impl Sweeper {
    pub(crate) fn new(database: Database) -> Self {
        Self {
            database,
            next: Box::pin(sleep(EVERY)),
            under_way: None,
        }
    }

    /// Sweeps while it is polled. Safe to drop at any time, and goes on where it was.
    pub(crate) async fn run(&mut self) -> Infallible {
        loop {
            if let Some(sweep) = &mut self.under_way {
                sweep.await;
                self.under_way = None;
                self.next = Box::pin(sleep(EVERY));
            }
            self.next.as_mut().await;
            let database = self.database.clone();
            self.under_way = Some(Box::pin(async move {
                if database.has_ttl() {
                    // What failed is tried again the next time; a store that is broken tells the session, too.
                    let _ = database.expire().await;
                }
            }));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use pocket_core::{CollectionConfig, Env, Operation, Timestamp, Ttl, Value};
    use pocket_storage_memory::MemoryStorage;

    use super::*;

    #[derive(Clone, Debug, Default)]
    struct Clock(Arc<AtomicI64>);

    impl Env for Clock {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(self.0.load(Ordering::Relaxed))
        }

        fn random(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_over_is_deleted_without_anybody_asking_for_it() {
        let clock = Clock::default();
        let config = CollectionConfig::new("docs").ttl(Ttl::after_update(EVERY));
        let builder = Database::builder("test").collection(config);
        let builder = builder.env(clock.clone());
        let db = builder.open(MemoryStorage::new()).await.unwrap();
        let docs = db.collection::<Value>("docs").unwrap();
        let mut sweeper = Sweeper::new(db.clone());
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
