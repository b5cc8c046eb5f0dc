//! Reading for queries, counted.

use std::future::pending;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::try_join;
use pocket_storage::{
    Direction, Entry, KeyRange, ScanLimit, Sieve, Sifted, Snapshot, Storage, View,
};

use super::Meetings;
use crate::config::{MAX_VISITED_BYTES, QueryTuning};
use crate::expire::Sight;
use crate::index::Index;
use crate::keys::CollectionId;
#[cfg(test)]
use crate::query::tests;
use crate::stored::{self, IndexRow, StoredDocument};
use crate::{Document, DocumentId, Result, envelope, keys, turn};

/// Calls to the store after which others are let run, should all have been answered at once.
const TURN: u64 = 8;

/// What a query reads through.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) tuning: QueryTuning,
    store: Store,
    sight: Sight,
    figures: Figures,
    /// Whether what is looked at twice counts once.
    counts_exactly: bool,
    /// A document that was looked up is not there.
    missed: bool,
    pub(super) meetings: Meetings,
}

#[derive(Debug)]
enum Store {
    Live(Arc<dyn Storage>),
    Snapshot(Box<dyn Snapshot>),
    /// On the thread that reads the store, on which nothing waits and nothing takes long.
    #[cfg_attr(
        target_arch = "wasm32",
        allow(dead_code, reason = "nothing waits there")
    )]
    Here(Box<dyn View>),
}

impl Store {
    async fn sift(
        &self,
        range: KeyRange,
        limit: ScanLimit,
        direction: Direction,
        sieve: Arc<dyn Sieve>,
    ) -> Result<Sifted> {
        Ok(match self {
            Self::Live(storage) => storage.sift(range, limit, direction, sieve).await?,
            Self::Snapshot(snapshot) => {
                Sifted::of(snapshot.scan(range, limit, direction).await?, &*sieve)
            }
            Self::Here(_) => pending().await,
        })
    }
}

/// Keeps nothing: only what there is counts.
struct Nothing;

impl Sieve for Nothing {
    fn keeps(&self, _: &[u8], _: &[u8]) -> bool {
        false
    }
}

/// Documents of a range.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) documents: Vec<Document>,
    /// The key of the last one looked at, seen or not; none if there was none.
    pub(crate) last: Option<Vec<u8>>,
}

/// What was read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) index_entries: u64,
    pub(crate) documents: u64,
    pub(crate) bytes: u64,
    pub(crate) calls: u64,
}

impl Reader {
    /// One of the store as it is at each call, which sees what can be seen when it is made.
    pub(crate) fn live(storage: Arc<dyn Storage>, sight: Sight) -> Self {
        Self::of(Store::Live(storage), sight)
    }

    /// As [`live`](Self::live), of the store as it was once.
    pub(crate) fn snapshot(snapshot: Box<dyn Snapshot>, sight: Sight) -> Self {
        Self::of(Store::Snapshot(snapshot), sight)
    }

    /// As [`snapshot`](Self::snapshot), on the thread that reads the store. All is answered at once; what would take long
    /// there is never answered.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn here(view: Box<dyn View>, sight: Sight) -> Self {
        Self::of(Store::Here(view), sight)
    }

    fn of(store: Store, sight: Sight) -> Self {
        #[cfg(not(test))]
        let tuning = QueryTuning::DEFAULT;
        #[cfg(test)]
        let tuning = tests::tuning();
        Self {
            tuning,
            store,
            sight,
            figures: Figures::default(),
            counts_exactly: false,
            missed: false,
            meetings: Meetings::default(),
        }
    }

    /// The same, whose scans begin where others have ended.
    pub(super) fn meeting(self, meetings: &Meetings) -> Self {
        Self {
            meetings: meetings.clone(),
            ..self
        }
    }

    /// Its figures are told: what two reads have in common counts once, for which it may be read once more.
    pub(super) fn count_exactly(&mut self) {
        self.counts_exactly = true;
    }

    /// Whether documents may be stored that cannot be seen, so that entries of an index alone tell nothing.
    pub(crate) fn hides(&self) -> bool {
        self.sight.hides()
    }

    pub(crate) fn figures(&self) -> Figures {
        self.figures
    }

    /// Says how many documents will be read, so that those which are too many for where it reads are not begun.
    pub(super) async fn foresee(&self, documents: usize) {
        if matches!(self.store, Store::Here(_)) && documents > self.tuning.visited_entries {
            pending::<()>().await;
        }
    }

    /// Keys of an index.
    pub(crate) async fn keys(
        &mut self,
        range: KeyRange,
        most: usize,
        direction: Direction,
    ) -> Result<Vec<Vec<u8>>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        // So many keys are at most 4 MiB, so that fewer than asked for are all there are.
        let limit = ScanLimit::entries(most).bytes(usize::MAX);
        let entries = self.scan(range, limit, direction).await?;
        self.figures.index_entries += entries.len() as u64;
        for (key, value) in &entries {
            envelope::open(key, value)?;
        }
        Ok(entries.into_iter().map(|(key, _)| key).collect())
    }

    /// Documents in a range of their keys that can be seen, tombstones too.
    pub(crate) async fn page(
        &mut self,
        range: KeyRange,
        most: usize,
        direction: Direction,
    ) -> Result<Page> {
        if matches!(self.store, Store::Here(_)) {
            return pending().await;
        }
        let entries = self
            .scan(range, ScanLimit::entries(most), direction)
            .await?;
        self.figures.documents += entries.len() as u64;
        let last = entries.last().map(|(key, _)| key.clone());
        let documents = self.seen(entries)?;
        Ok(Page { documents, last })
    }

    /// The same without those that a sieve leaves out.
    pub(super) async fn sifted_page(
        &mut self,
        range: KeyRange,
        most: usize,
        direction: Direction,
        sieve: Arc<dyn Sieve>,
    ) -> Result<Page> {
        self.called().await;
        let limit = ScanLimit::entries(most);
        let sifted = self.store.sift(range, limit, direction, sieve).await?;
        self.sifted(sifted)
    }

    /// Two such pages, read at once: one from where the direction begins, and one from the other end. No document is in
    /// both.
    pub(super) async fn sifted_ends(
        &mut self,
        range: KeyRange,
        most: usize,
        direction: Direction,
        sieve: Arc<dyn Sieve>,
    ) -> Result<(Page, Page)> {
        self.called().await;
        self.called().await;
        let (limit, store) = (ScanLimit::entries(most), &self.store);
        let forward = store.sift(range.clone(), limit, Direction::Forward, sieve.clone());
        let backward = store.sift(range, limit, Direction::Backward, sieve);
        let (forward, mut backward) = try_join(forward, backward).await?;
        if let (Some(low), Some(high)) = (&backward.last, &forward.last)
            && low <= high
        {
            backward.entries.retain(|(key, _)| key > high);
            if self.counts_exactly {
                let range = KeyRange {
                    start: Bound::Included(low.clone()),
                    end: Bound::Included(high.clone()),
                };
                let limit = ScanLimit::entries(usize::MAX).bytes(usize::MAX);
                let (direction, none) = (Direction::Forward, Arc::new(Nothing));
                let twice = self.store.sift(range, limit, direction, none).await?;
                backward.looked_at -= twice.looked_at.min(backward.looked_at);
                backward.bytes -= twice.bytes.min(backward.bytes);
            }
        }
        let (forward, backward) = (self.sifted(forward)?, self.sifted(backward)?);
        Ok(match direction {
            Direction::Forward => (forward, backward),
            Direction::Backward => (backward, forward),
        })
    }

    /// A page from the upper end of a range and one from the lower end of another, read at once.
    pub(super) async fn sifted_apart(
        &mut self,
        (lower, upper): (KeyRange, KeyRange),
        most: usize,
        sieve: Arc<dyn Sieve>,
    ) -> Result<(Page, Page)> {
        self.called().await;
        self.called().await;
        let (limit, store) = (ScanLimit::entries(most), &self.store);
        let lower = store.sift(lower, limit, Direction::Backward, sieve.clone());
        let upper = store.sift(upper, limit, Direction::Forward, sieve);
        let (lower, upper) = try_join(lower, upper).await?;
        Ok((self.sifted(lower)?, self.sifted(upper)?))
    }

    fn sifted(&mut self, sifted: Sifted) -> Result<Page> {
        self.figures.documents += sifted.looked_at as u64;
        self.figures.bytes += sifted.bytes as u64;
        Ok(Page {
            documents: self.seen(sifted.entries)?,
            last: sifted.last,
        })
    }

    fn seen(&self, entries: Vec<Entry>) -> Result<Vec<Document>> {
        let documents = entries.into_iter().map(|(key, value)| {
            let id = keys::document_id(&key)
                .ok_or_else(|| stored::damaged("a document's key is too short"))?;
            self.opened(DocumentId::new(id)?, &key, &value)
        });
        documents.filter_map(Result::transpose).collect()
    }

    /// The documents of these ids that are there and can be seen, in their order, all of one state.
    pub(crate) async fn documents(
        &mut self,
        collection: CollectionId,
        ids: Vec<DocumentId>,
    ) -> Result<Vec<Document>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<_> = ids
            .iter()
            .map(|id| keys::document(collection, id))
            .collect();
        let values = self.get_many(&keys).await?;
        let mut documents = Vec::with_capacity(ids.len());
        for ((id, key), value) in ids.into_iter().zip(keys).zip(values) {
            let Some(value) = value else {
                self.missed = true;
                continue;
            };
            self.figures.documents += 1;
            self.figures.bytes += value.len() as u64;
            documents.extend(self.opened(id, &key, &value)?);
        }
        Ok(documents)
    }

    /// Looks at every document of a collection if one that was looked up is not there, though an index led to it: its key
    /// may be damaged, and then it stands under another one, whose sum fails.
    ///
    /// # Errors
    /// `corrupt` when it is so.
    pub(crate) async fn explain_missed(&mut self, collection: CollectionId) -> Result<()> {
        if !std::mem::take(&mut self.missed) {
            return Ok(());
        }
        let (mut range, figures) = (keys::documents(collection), self.figures);
        let most = self.tuning.document_page;
        while let Some(last) = self
            .page(range.clone(), most, Direction::Forward)
            .await?
            .last
        {
            range = range.after(last);
        }
        self.figures = figures;
        Ok(())
    }

    /// The row that every commit replaces.
    pub(crate) async fn state(&mut self) -> Result<Option<Bytes>> {
        self.get(keys::STATE).await
    }

    /// Whether indexes are what they were, so that what was read of them is complete.
    pub(crate) async fn are_current(&mut self, indexes: &[Arc<Index>]) -> Result<bool> {
        for index in indexes {
            let key = keys::index(index.number);
            let Some(value) = self.get(&key).await? else {
                return Ok(false);
            };
            let row: IndexRow = stored::decode(&envelope::open(&key, &value)?)?;
            if !index.is_still(&row) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>> {
        if let Store::Live(storage) = &self.store {
            let storage = storage.clone();
            self.called().await;
            return Ok(storage.get(key).await?);
        }
        Ok(self.get_many(&[key.to_vec()]).await?.pop().flatten())
    }

    async fn get_many(&mut self, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>> {
        self.called().await;
        // Backends answer that where they are called, without a way to another thread.
        if let (Store::Live(storage), [key]) = (&self.store, keys) {
            return Ok(vec![storage.clone().get(key).await?]);
        }
        Ok(match &self.store {
            Store::Live(storage) => storage.get_many(keys).await?,
            Store::Snapshot(snapshot) => snapshot.get_many(keys).await?,
            Store::Here(view) => view.get_many(keys)?,
        })
    }

    async fn scan(
        &mut self,
        range: KeyRange,
        limit: ScanLimit,
        direction: Direction,
    ) -> Result<Vec<Entry>> {
        self.called().await;
        let entries = match &self.store {
            Store::Live(storage) => storage.scan(range, limit, direction).await?,
            Store::Snapshot(snapshot) => snapshot.scan(range, limit, direction).await?,
            Store::Here(_) if limit.entries == 0 => Vec::new(),
            Store::Here(view) => view.scan(&range, limit, direction)?,
        };
        let bytes = entries.iter().map(|(key, value)| key.len() + value.len());
        self.figures.bytes += bytes.sum::<usize>() as u64;
        Ok(entries)
    }

    fn opened(&self, id: DocumentId, key: &[u8], value: &Bytes) -> Result<Option<Document>> {
        let stored = StoredDocument::decode(&envelope::open(key, value)?)?;
        self.sight.visible(Document::of_stored(id, stored))
    }

    /// Counts a call. A store in memory answers at once, and others on this thread want to run, too.
    async fn called(&mut self) {
        self.figures.calls += 1;
        if matches!(self.store, Store::Here(_)) {
            let Figures {
                index_entries,
                documents,
                bytes,
                ..
            } = self.figures;
            let most = self.tuning.visited_entries as u64;
            if index_entries.max(documents) > most || bytes > MAX_VISITED_BYTES {
                pending::<()>().await;
            }
            return;
        }
        if self.figures.calls.is_multiple_of(TURN) {
            turn::pass().await;
        }
    }
}
