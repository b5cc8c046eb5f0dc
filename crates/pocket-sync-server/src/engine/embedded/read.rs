//! Reading: from memory when the tail reaches back far enough, else from the store.
//!
//! A store may show a commit before it is durable. So what was read while one was on its way is only told once that
//! commit's end is known: a record that is missing because an unfinished commit replaced it would be missing for good
//! if that commit were lost.

use bytes::Bytes;
use pocket_core::Seq;
use pocket_sync_protocol::EncodedRecord;

use super::digests::digests_for;
use super::log::{Log, Sight};
use super::places::Placed;
use super::{ATTEMPTS, EmbeddedEngine, busy, read_error};
use crate::decide::DocumentKey;
use crate::engine::{EngineError, EngineResult, FeedPage, Fetched, ReadRequest, Removed};
use crate::feed::{Stretch, Viewer};
use crate::rules::{Authority, Marks, View};
use crate::stored;

/// Entries of the feed looked at by one read, when most of them are left out.
const SCANNED: usize = 8_192;
/// Entries of the feed read at once.
const SCAN_STEP: usize = 1_024;
/// Records read at once before their size is known.
const FIRST_RECORDS: usize = 16;
/// Records read at once at the most.
const MOST_RECORDS: usize = 128;

impl EmbeddedEngine {
    pub(super) async fn read(&self, log: &Log, request: &ReadRequest) -> EngineResult<FeedPage> {
        for _ in 0..ATTEMPTS {
            let limit = |head: Seq| request.until.unwrap_or(head).min(head);
            let seen = log.sight(|open| {
                let taken = open.tail.take(request, limit(open.state.head));
                taken.map(|taken| {
                    let digests = open.digests_at(request, taken.end);
                    (taken, digests)
                })
            });
            let Some((before, taken)) = seen else {
                self.open_for_reading(log).await?;
                continue;
            };
            if let Some((taken, digests)) = taken {
                let end = taken.end;
                let stretch = taken.sift(request);
                let digests = digests_for(request, digests.filter(|_| stretch.end == end));
                let page = page(request, before.head, before, stretch);
                return Ok(FeedPage { digests, ..page });
            }
            let (stretch, newest) = self.scan(log, request, limit(before.head)).await?;
            match self.settled(log, before).await {
                Some(after) if newest > after.head => self.rejoin(log).await,
                Some(after) if self.has_forgotten_more(log, after).await? => {}
                Some(after) => {
                    let digests = log.sight(|open| open.digests_at(request, stretch.end));
                    let digests = digests_for(request, digests.and_then(|(_, digests)| digests));
                    let page = page(request, before.head, after, stretch);
                    return Ok(FeedPage { digests, ..page });
                }
                None => {}
            }
        }
        Err(busy())
    }

    pub(super) async fn read_documents(
        &self,
        log: &Log,
        documents: &[DocumentKey],
        authority: &Authority,
    ) -> EngineResult<Fetched> {
        for _ in 0..ATTEMPTS {
            let seen = log.sight(|open| {
                documents
                    .iter()
                    .map(|key| open.tail.record(key))
                    .collect::<Vec<_>>()
            });
            let Some((before, found)) = seen else {
                self.open_for_reading(log).await?;
                continue;
            };
            let mut shown = Shown::to(authority, self.inner.limits.wire.message_bytes);
            let mut records: Vec<Option<EncodedRecord>> = Vec::with_capacity(documents.len());
            let mut missing = Vec::new();
            for (key, found) in documents.iter().zip(found) {
                if found.is_none() {
                    missing.push((records.len(), key));
                }
                records.push(match found {
                    Some((record, marks)) => shown.take(record, &marks)?,
                    None => None,
                });
            }
            let mut after = before;
            if !missing.is_empty() {
                let mut steps = Steps::default();
                let mut rest = missing.as_slice();
                while !rest.is_empty() {
                    let (now, later) = rest.split_at(steps.next(shown.room()).min(rest.len()));
                    rest = later;
                    let values = self
                        .load_records(log, now.iter().map(|(_, key)| *key))
                        .await?;
                    for ((place, key), (at, value)) in now.iter().zip(values) {
                        let Some(value) = value else { continue };
                        steps.looked_at(&value);
                        let (collection, id) = (key.collection.clone(), key.id.clone());
                        let (record, marks) = stored::open_record(&at, &value, collection, id)?;
                        records[*place] = shown.take(EncodedRecord::encode(&record), &marks)?;
                    }
                }
                let Some(settled) = self.settled(log, before).await else {
                    continue;
                };
                after = settled;
            }
            if shown.newest > after.head {
                self.rejoin(log).await;
                continue;
            }
            return Ok(Fetched {
                epoch: after.epoch,
                head: after.head,
                records: records.into_iter().flatten().collect(),
            });
        }
        Err(busy())
    }

    /// What is stored of documents, with the keys it stands under.
    async fn load_records(
        &self,
        log: &Log,
        documents: impl Iterator<Item = &DocumentKey>,
    ) -> EngineResult<impl Iterator<Item = (Vec<u8>, Option<Bytes>)>> {
        let keys: Vec<_> = documents
            .map(|key| log.keys.document(&key.collection, &key.id))
            .collect();
        let values = self.inner.storage.get_many(&keys).await;
        Ok(keys.into_iter().zip(values.map_err(read_error)?))
    }

    async fn open_for_reading(&self, log: &Log) -> EngineResult<()> {
        let _writer = log.writer.lock().await;
        self.ensure_open(log).await
    }

    /// Another engine has written to this store: what it left is read before anything else.
    async fn rejoin(&self, log: &Log) {
        let _writer = log.writer.lock().await;
        log.rejoin();
    }

    /// Whether deletions were forgotten that `sight` does not tell of: what was read may lack them, and is read again.
    async fn has_forgotten_more(&self, log: &Log, sight: Sight) -> EngineResult<bool> {
        let row = self.stored_row(&log.keys).await?;
        let Some(row) = row.filter(|row| row.horizon > sight.horizon) else {
            return Ok(false);
        };
        // Behind a commit of this engine that is on its way, its log tells it, too.
        let _writer = log.writer.lock().await;
        let is_told = log
            .sight(|_| ())
            .is_none_or(|(now, ())| row.horizon <= now.horizon);
        if !is_told {
            log.rejoin();
        }
        Ok(true)
    }

    /// Waits until every commit that may have been seen has ended; none when the log was opened anew meanwhile.
    async fn settled(&self, log: &Log, before: Sight) -> Option<Sight> {
        let (now, ()) = log.sight(|_| ())?;
        let quiet = now.begun == before.begun && !now.in_flight;
        let after = if quiet {
            now
        } else {
            let _writer = log.writer.lock().await;
            log.sight(|_| ())?.0
        };
        (after.opened == before.opened).then_some(after)
    }

    /// Reads the feed behind `request.after` up to `last`, and tells the newest place of a record that it passed over
    /// because it was superseded meanwhile.
    async fn scan(
        &self,
        log: &Log,
        request: &ReadRequest,
        last: Seq,
    ) -> EngineResult<(Stretch, Seq)> {
        let (entries, end) = self.scan_feed(log, request, last).await?;
        let mut stretch = Stretch::behind(request.after);
        let mut newest = Seq::ZERO;
        let mut bytes = 0;
        let mut viewer = Viewer::new(&request.authority, request.told);
        let mut steps = Steps::default();
        let mut rest = entries.as_slice();
        while !rest.is_empty() {
            let step = steps.next(request.bytes.saturating_sub(bytes));
            let (now, later) = rest.split_at(step.min(rest.len()));
            rest = later;
            let values = self
                .load_records(log, now.iter().map(|(_, key)| key))
                .await?;
            for ((seq, key), (at, value)) in now.iter().zip(values) {
                let Some(value) = value else {
                    let row = self.stored_row(&log.keys).await?;
                    if row.is_some_and(|row| *seq <= row.horizon) {
                        // A deletion that was forgotten while we read; the page tells the horizon.
                        stretch.end = *seq;
                        continue;
                    }
                    return Err(EngineError::Fatal(format!(
                        "the feed names document {} of {} at {seq}, but there is no record; restore the store",
                        key.id, key.collection
                    )));
                };
                steps.looked_at(&value);
                let (collection, id) = (key.collection.clone(), key.id.clone());
                let (record, marks) = stored::open_record(&at, &value, collection, id)?;
                if record.seq != *seq {
                    // Superseded while we read: it stands further on in the feed.
                    newest = newest.max(record.seq);
                    stretch.end = *seq;
                    continue;
                }
                let live = record.state.body().is_some();
                if !live && request.leaves_out_deletion_at(*seq) {
                    stretch.end = *seq;
                    continue;
                }
                let record = EncodedRecord::encode(&record);
                match viewer.view(&record, &marks) {
                    View::Hidden => {}
                    View::Removed { own } => {
                        bytes += request.removal_cost(key);
                        if bytes > request.bytes && !stretch.is_empty() {
                            return Ok((stretch, newest));
                        }
                        let key = key.clone();
                        stretch.removals.push(Removed {
                            key,
                            seq: *seq,
                            own,
                        });
                    }
                    View::Shown => {
                        bytes += request.cost(&record);
                        if bytes > request.bytes && !stretch.is_empty() {
                            return Ok((stretch, newest));
                        }
                        stretch.records.push(record);
                    }
                }
                stretch.end = *seq;
            }
        }
        stretch.end = end;
        Ok((stretch, newest))
    }

    /// The entries of the feed that are wanted, at most as many as asked for, and the place they cover.
    async fn scan_feed(
        &self,
        log: &Log,
        request: &ReadRequest,
        last: Seq,
    ) -> EngineResult<(Vec<(Seq, DocumentKey)>, Seq)> {
        let mut wanted = Vec::new();
        let mut end = request.after;
        let mut scanned = 0;
        while end < last && scanned < SCANNED {
            let step = SCAN_STEP.min(request.records.max(1));
            let (found, reached) = self
                .places(&log.keys, (end, last), request.live_until, step)
                .await?;
            scanned += found.len();
            for Placed { seq, row, .. } in found {
                let left_out = row.later.deleted.is_some() && request.leaves_out_deletion_at(seq);
                if !left_out && request.wants(&row.collection) {
                    if wanted.len() >= request.records {
                        return Ok((wanted, end));
                    }
                    wanted.push((
                        seq,
                        DocumentKey {
                            collection: row.collection,
                            id: row.id,
                        },
                    ));
                }
                end = seq;
            }
            end = reached;
        }
        Ok((wanted, end))
    }
}

/// How many records are read at once: as many as there is room for by what those before weighed, shown or not.
struct Steps {
    step: usize,
    looked_at: usize,
    bytes: usize,
}

impl Default for Steps {
    fn default() -> Self {
        Self {
            step: FIRST_RECORDS,
            looked_at: 0,
            bytes: 0,
        }
    }
}

impl Steps {
    fn looked_at(&mut self, value: &Bytes) {
        self.looked_at += 1;
        self.bytes += value.len();
    }

    /// The next step, when there is room for so many bytes.
    fn next(&mut self, room: usize) -> usize {
        if let Some(average) = self.bytes.checked_div(self.looked_at) {
            // Small ones may be followed by large ones: no more than twice as many as before.
            let most = (2 * self.step).min(MOST_RECORDS);
            self.step = (room / (average + 1)).clamp(1, most);
        }
        self.step
    }
}

/// What the reader of a fetch gets.
struct Shown<'a> {
    viewer: Viewer<'a>,
    records: usize,
    bytes: usize,
    /// The bytes of a message.
    most: usize,
    /// The newest place of a record that was looked at.
    newest: Seq,
}

impl<'a> Shown<'a> {
    fn to(authority: &'a Authority, most: usize) -> Self {
        Self {
            viewer: Viewer::new(authority, Seq::ZERO),
            records: 0,
            bytes: 0,
            most,
            newest: Seq::ZERO,
        }
    }

    /// The bytes that there is room for.
    fn room(&self) -> usize {
        self.most.saturating_sub(self.bytes)
    }

    /// The record, if the reader may see it. One always has room.
    fn take(
        &mut self,
        record: EncodedRecord,
        marks: &Marks,
    ) -> EngineResult<Option<EncodedRecord>> {
        self.newest = self.newest.max(record.seq);
        if self.viewer.view(&record, marks) != View::Shown {
            return Ok(None);
        }
        self.records += 1;
        self.bytes += record.bytes.len();
        if self.bytes > self.most && self.records > 1 {
            let message = "the records do not fit into one message".to_owned();
            return Err(EngineError::TooLarge(message));
        }
        Ok(Some(record))
    }
}

fn page(request: &ReadRequest, began: Seq, sight: Sight, stretch: Stretch) -> FeedPage {
    FeedPage {
        epoch: sight.epoch,
        start: request.after,
        end: stretch.end,
        head: sight.head,
        began,
        horizon: sight.horizon,
        records: stretch.records,
        removals: stretch.removals,
        digests: None,
    }
}
