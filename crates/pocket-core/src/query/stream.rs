//! Queries whose documents are read one page at a time.

use std::collections::VecDeque;

use futures_util::stream;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Query;
use super::execute::{Prepared, Reader, Source, collection_of};
use super::plan::{Access, Plan, Purpose};
use crate::keys::CollectionId;
use crate::{Document, Result, Subscription};

impl<T: Serialize + DeserializeOwned + 'static> Query<T> {
    /// The documents one after another, read in pages while the stream is polled; dropping it ends the reading.
    ///
    /// In the order of ids, and of an index that fits the sort where the backend has snapshots, memory stays bounded
    /// however many there are. Other queries, and those with a `before` and no `after`, are collected first.
    ///
    /// In the order of an index, and collected, all documents are of one state. A backend may need room for as long as
    /// the stream lives: what is replaced meanwhile is kept for it. By id each page shows one state of its own: a
    /// document that stays as it is comes exactly once if it matches, and one that is changed meanwhile at most once, as
    /// it was before or afterwards. An error is the last item.
    pub fn stream(self) -> Subscription<Result<Document>> {
        let pages = Pages {
            query: self,
            buffer: VecDeque::new(),
            state: State::Begin,
        };
        Subscription::new(stream::unfold(pages, |mut pages| async move {
            let item = pages.next().await?;
            Some((item, pages))
        }))
    }
}

struct Pages<T> {
    query: Query<T>,
    buffer: VecDeque<Document>,
    state: State,
}

enum State {
    Begin,
    Reading(Box<Reading>),
    Done,
}

struct Reading {
    query: Prepared,
    source: Source,
    reader: Reader,
    /// How many are still passed over, and how many may still be given out.
    skip: usize,
    left: usize,
    /// The collection, if an index leads to its documents.
    looked_up: Option<CollectionId>,
}

impl<T: Serialize + DeserializeOwned> Pages<T> {
    async fn next(&mut self) -> Option<Result<Document>> {
        while self.buffer.is_empty() {
            let step = match &mut self.state {
                State::Begin => self.begin().await,
                State::Reading(reading) => match reading.read(&mut self.buffer).await {
                    Ok(true) => Ok(()),
                    Ok(false) => {
                        self.state = State::Done;
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
                State::Done => return None,
            };
            if let Err(error) = step {
                self.state = State::Done;
                self.buffer.clear();
                let core = self.query.collection.database().core();
                return Some(Err(core.named(error)));
            }
        }
        self.buffer.pop_front().map(Ok)
    }

    async fn begin(&mut self) -> Result<()> {
        let prepared = self.query.prepared()?;
        self.state = if let Some(reading) = self.reading(&prepared).await? {
            State::Reading(Box::new(reading))
        } else {
            self.buffer = self.query.documents().await?.into();
            State::Done
        };
        Ok(())
    }

    /// How to read page by page; none if all must be collected.
    async fn reading(&self, prepared: &Prepared) -> Result<Option<Reading>> {
        if prepared.is_backwards() {
            return Ok(None);
        }
        let core = self.query.collection.database().core();
        let (registry, _) = core.seen().await?;
        let Some((collection, indexes)) = collection_of(&registry, self.query.collection.name())
        else {
            return Ok(None);
        };
        let sight = core.sight_in(&registry, collection);
        let mut reader = Reader::live(core.storage.clone(), sight.clone());
        let plan_of = async |reader: &mut Reader| {
            Plan::of(prepared, Purpose::Stream, collection, &indexes, reader).await
        };
        let mut plan = plan_of(&mut reader).await?;
        if matches!(plan.access, Access::Ordered(_)) {
            // Among commits a document could move along the index, and come twice.
            let Some(snapshot) = core.storage.snapshot().await? else {
                return Ok(None);
            };
            reader = Reader::snapshot(snapshot, sight);
            plan = plan_of(&mut reader).await?;
        }
        if !reader.are_current(plan.indexes()).await? {
            plan = Plan::scan(prepared, collection)?;
        }
        let by_index = !plan.indexes().is_empty();
        Ok(plan.is_in_order.then(|| Reading {
            looked_up: by_index.then_some(collection),
            source: Source::streaming(&plan, prepared, collection, &reader.tuning),
            query: prepared.clone(),
            reader,
            skip: prepared.skip,
            left: prepared.limit.unwrap_or(usize::MAX),
        }))
    }
}

impl Reading {
    /// Reads one page. False at the end.
    async fn read(&mut self, buffer: &mut VecDeque<Document>) -> Result<bool> {
        let next = match self.left {
            0 => None,
            _ => self.source.next(&self.query, &mut self.reader).await?,
        };
        let Some(documents) = next else {
            if let Some(collection) = self.looked_up {
                self.reader.explain_missed(collection).await?;
            }
            return Ok(false);
        };
        for document in documents {
            if self.left == 0 {
                break;
            }
            if self.query.select(&document)?.is_none() {
                continue;
            }
            if self.skip > 0 {
                self.skip -= 1;
                continue;
            }
            self.left -= 1;
            buffer.push_back(self.query.project(document)?);
        }
        Ok(true)
    }
}
