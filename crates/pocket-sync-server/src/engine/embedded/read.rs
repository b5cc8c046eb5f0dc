//! Reading: from memory when the tail reaches back far enough, else from the store.
//!
//! A store may show a commit before it is durable. So what was read while one was on its way is only told once that
//! commit's end is known: a record that is missing because an unfinished commit replaced it would be missing for good
//! if that commit were lost.

use pocket_core::Seq;
use pocket_sync_protocol::EncodedRecord;

use super::digests::digests_for;
use super::log::{Log, Sight};
use super::places::Placed;
use super::{ATTEMPTS, EmbeddedEngine, busy, read_error};
use crate::decide::DocumentKey;
use crate::engine::{EngineError, EngineResult, FeedPage, Fetched, ReadRequest, Removed};
use crate::feed::{self, Stretch};
use crate::rules::{Authority, Marks, View};
use crate::stored;

/// Entries of the feed looked at by one read, when most of them are left out.
const SCANNED: usize = 8_192;
/// Entries of the feed read at once.
const SCAN_STEP: usize = 1_024;
/// Records read at once before their size is known.
const FIRST_RECORDS: usize = 16;
/// Records read at once at the most.
const MOST_RECORDS: usize = 512;

impl EmbeddedEngine {
    pub(super) async fn read(&self, log: &Log, request: &ReadRequest) -> EngineResult<FeedPage> {
        for _ in 0..ATTEMPTS {
            let limit = |head: Seq| request.until.unwrap_or(head).min(head);
            let seen = log.sight(|open| {
                let stretch = open.tail.read(request, limit(open.state.head));
                stretch.map(|stretch| {
                    let digests = open.digests_at(request, stretch.end);
                    (stretch, digests)
                })
            });
            let Some((before, stretch)) = seen else {
                self.open_for_reading(log).await?;
                continue;
            };
            if let Some((stretch, digests)) = stretch {
                let digests = digests_for(request, digests);
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
            let Some((before, mut records)) = seen else {
                self.open_for_reading(log).await?;
                continue;
            };
            let is_missing =
                |(_, found): &(&DocumentKey, &mut Option<(EncodedRecord, Marks)>)| found.is_none();
            let missing: Vec<_> = documents
                .iter()
                .zip(&mut records)
                .filter(is_missing)
                .collect();
            let keys: Vec<_> = missing
                .iter()
                .map(|(key, _)| log.keys.document(&key.collection, &key.id))
                .collect();
            let mut after = before;
            if !keys.is_empty() {
                let values = self
                    .inner
                    .storage
                    .get_many(&keys)
                    .await
                    .map_err(read_error)?;
                for (((key, slot), at), value) in missing.into_iter().zip(&keys).zip(values) {
                    let Some(value) = value else { continue };
                    let (record, marks) =
                        stored::open_record(at, &value, key.collection.clone(), key.id.clone())?;
                    *slot = Some((EncodedRecord::encode(&record), marks));
                }
                let Some(settled) = self.settled(log, before).await else {
                    continue;
                };
                after = settled;
            }
            let records: Vec<_> = records.into_iter().flatten().collect();
            if records.iter().any(|(record, _)| record.seq > after.head) {
                self.rejoin(log).await;
                continue;
            }
            let shown = |found: (EncodedRecord, Marks)| {
                let (record, marks) = found;
                let view = feed::view(authority, &record, &marks, Seq::ZERO);
                (view == View::Shown).then_some(record)
            };
            let records = records.into_iter().filter_map(shown).collect();
            return Ok(Fetched {
                epoch: after.epoch,
                head: after.head,
                records,
            });
        }
        Err(busy())
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
        let mut step = FIRST_RECORDS;
        let mut rest = entries.as_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(step.min(rest.len()));
            rest = later;
            let keys: Vec<_> = now
                .iter()
                .map(|(_, key)| log.keys.document(&key.collection, &key.id))
                .collect();
            let values = self
                .inner
                .storage
                .get_many(&keys)
                .await
                .map_err(read_error)?;
            for (((seq, key), at), value) in now.iter().zip(&keys).zip(values) {
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
                let (record, marks) =
                    stored::open_record(at, &value, key.collection.clone(), key.id.clone())?;
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
                match feed::view(&request.authority, &record, &marks, request.told) {
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
            let average = bytes / stretch.records.len().max(1) + 1;
            step = (request.bytes.saturating_sub(bytes) / average).clamp(1, MOST_RECORDS);
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
