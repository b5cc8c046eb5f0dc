//! How many documents each collection has, for those who look.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use pocket_core::Seq;
use tokio::time::Instant;

use super::shown::LOOKED_AT;
use crate::Namespace;
use crate::engine::{Counted, EngineResult};
use crate::locks::lock;

/// Records that are counted as often as somebody asks.
const QUICKLY_COUNTED: usize = 1_000;

/// How long what took longer to count is not counted again.
const RECOUNT_PAUSE: Duration = Duration::from_secs(5);

/// What was counted last in each namespace.
#[derive(Default)]
pub(crate) struct Counts(std::sync::Mutex<HashMap<Namespace, Arc<Count>>>);

type Count = tokio::sync::Mutex<Option<LastCount>>;

struct LastCount {
    head: Seq,
    counted: Counted,
    at: Instant,
    /// For so long it is not counted again.
    pause: Duration,
}

impl Counts {
    /// Forgets what was counted in namespaces that are not among these.
    pub(super) fn keep(&self, namespaces: &[Namespace]) {
        let namespaces: HashSet<&Namespace> = namespaces.iter().collect();
        let mut counts = lock(&self.0);
        counts.retain(|namespace, _| namespaces.contains(namespace));
    }

    fn of(&self, namespace: &Namespace) -> Arc<Count> {
        let mut counts = lock(&self.0);
        Arc::clone(counts.entry(namespace.clone()).or_default())
    }
}

impl crate::server::Inner {
    /// The documents of each collection, and whether that is all of them. Counted anew when the head has moved, and if
    /// that takes a while not each time: all who look share what was counted.
    pub(super) async fn counted(&self, namespace: &Namespace, head: Seq) -> EngineResult<Counted> {
        let count = self.counts.of(namespace);
        // Whoever asks while somebody counts waits for that.
        let mut last = count.lock().await;
        if let Some(last) = &*last
            && (last.head == head || last.at.elapsed() < last.pause)
        {
            return Ok(last.counted.clone());
        }
        let counted = self.engine.count(namespace, LOOKED_AT).await?;
        let pause = if counted.records > QUICKLY_COUNTED {
            RECOUNT_PAUSE
        } else {
            Duration::ZERO
        };
        *last = Some(LastCount {
            head,
            counted: counted.clone(),
            at: Instant::now(),
            pause,
        });
        Ok(counted)
    }
}

#[cfg(test)]
mod tests {
    use pocket_core::{Body, CollectionName, DocumentId, DocumentLimits, Map};
    use pocket_storage_memory::MemoryStorage;

    use super::*;
    use crate::SyncServer;

    /// Each viewer of the page had up to 200,000 records counted every second and a half.
    #[tokio::test(start_paused = true)]
    async fn many_records_are_not_counted_each_time_somebody_looks() {
        let server = SyncServer::builder(Arc::new(MemoryStorage::new()))
            .build()
            .unwrap();
        let namespace = Namespace::new("a").unwrap();
        let todos = CollectionName::new("todos").unwrap();
        let body = Body::from_map(&Map::new(), &DocumentLimits::default()).unwrap();
        let put = async |number: usize| {
            let id = DocumentId::new(&format!("d{number}")).unwrap();
            let handle = server.namespace(&namespace);
            handle.put(&todos, &id, &body).await.unwrap();
        };
        let counted = async || {
            let head = server.inner.engine.head(&namespace).await.unwrap();
            let counted = server.inner.counted(&namespace, head).await.unwrap();
            assert!(counted.is_whole);
            counted.documents[&todos]
        };
        for number in 0..QUICKLY_COUNTED {
            put(number).await;
        }
        assert_eq!(counted().await, 1_000);
        put(1_000).await;
        assert_eq!(counted().await, 1_001, "few are counted at once");
        put(1_001).await;
        assert_eq!(counted().await, 1_001, "many are not");
        tokio::time::sleep(RECOUNT_PAUSE).await;
        assert_eq!(counted().await, 1_002, "but a little later");
        server.inner.counts.keep(std::slice::from_ref(&namespace));
        assert_eq!(server.inner.counts.0.lock().unwrap().len(), 1);
        server.inner.counts.keep(&[]);
        assert!(server.inner.counts.0.lock().unwrap().is_empty());
    }
}
