//! Reads of many values and of ranges.

use std::ops::Bound;

use bytes::Bytes;
use pocket_storage::ordered::{BTreeMap, BTreeSet};
use pocket_storage::{Direction, Entry, KeyRange, ScanLimit, sorting};

use super::Tx;
use crate::Result;

impl Tx {
    /// Reads values in one call to the store, each as [`get`](Self::get) would. Only for jobs that run alone, before they
    /// write under these keys.
    pub(crate) async fn get_many(&self, keys: &[Vec<u8>]) -> Result<Vec<Result<Option<Bytes>>>> {
        let values = match keys {
            [] => Vec::new(),
            // That needs no way to another thread.
            [key] => vec![self.core.storage.get(key).await?],
            keys => self.core.storage.get_many(keys).await?,
        };
        let opened = keys
            .iter()
            .zip(values)
            .map(|(key, value)| value.map(|value| self.core.open(key, &value)).transpose());
        Ok(opened.collect())
    }

    /// Reads values into memory, in one call to the store, for the gets that follow.
    pub(crate) async fn read_ahead(&mut self, mut keys: Vec<Vec<u8>>) -> Result<()> {
        // Neighbours are cheaper to find one behind the other.
        sorting::sort_unstable(&mut keys);
        keys.dedup();
        if keys.len() < 2 {
            // Its get is one call as well, and needs no way to another thread.
            return Ok(());
        }
        let values = self.core.storage.get_many(&keys).await?;
        self.ahead.extend(keys.into_iter().zip(values));
        Ok(())
    }

    /// As [`read_ahead`](Self::read_ahead) for jobs that run one behind the other, instead of what was read for those
    /// before them. If it fails, each of them meets the error when it reads. Tells how many bytes were read.
    pub(crate) async fn read_ahead_for_all(&mut self, mut keys: Vec<Vec<u8>>) -> usize {
        self.ahead_for_all.clear();
        if keys.len() < 2 {
            return 0;
        }
        sorting::sort_unstable(&mut keys);
        keys.dedup();
        let Ok(values) = self.core.storage.get_many(&keys).await else {
            return 0;
        };
        let bytes = values.iter().flatten().map(Bytes::len).sum();
        self.ahead_for_all.extend(keys.into_iter().zip(values));
        bytes
    }

    /// As [`read_ahead`](Self::read_ahead) for the entries of a range.
    pub(crate) async fn scan_ahead(&mut self, range: KeyRange, limit: ScanLimit) -> Result<()> {
        let entries = self.scan_sealed(range, limit).await?;
        self.ahead
            .extend(entries.into_iter().map(|(key, value)| (key, Some(value))));
        Ok(())
    }

    /// Scans the store. Only for jobs that run alone, before they write into the range.
    pub(crate) async fn scan(&mut self, range: KeyRange, limit: ScanLimit) -> Result<Vec<Entry>> {
        let entries = self.scan_each(range, limit).await?.into_iter();
        entries
            .map(|(key, payload)| payload.map(|payload| (key, payload)))
            .collect()
    }

    /// As [`scan`](Self::scan), for jobs that step over what is damaged.
    pub(crate) async fn scan_each(
        &mut self,
        range: KeyRange,
        limit: ScanLimit,
    ) -> Result<Vec<(Vec<u8>, Result<Bytes>)>> {
        let entries = self.scan_sealed(range, limit).await?.into_iter();
        let opened = entries.map(|(key, value)| {
            let payload = self.core.open(&key, &value);
            (key, payload)
        });
        Ok(opened.collect())
    }

    /// As [`scan`](Self::scan) with the values as they are sealed: some may be damaged.
    pub(crate) async fn scan_sealed(
        &mut self,
        range: KeyRange,
        limit: ScanLimit,
    ) -> Result<Vec<Entry>> {
        let storage = self.core.storage.clone();
        let forward = Direction::Forward;
        // Most ranges hold next to nothing, and no more than that costs no way to another thread. The same in a page, which has
        // none: a history of the simulator is to be the same there.
        let short = ScanLimit {
            entries: limit.entries.min(ScanLimit::SHORT.entries),
            bytes: limit.bytes.min(ScanLimit::SHORT.bytes),
        };
        let mut entries = storage.scan(range.clone(), short, forward).await?;
        let bytes = entries.iter().map(|(key, value)| key.len() + value.len());
        let rest = ScanLimit {
            entries: limit.entries.saturating_sub(entries.len()),
            bytes: limit.bytes.saturating_sub(bytes.sum()),
        };
        if let Some((last, _)) = entries.last()
            && short.is_reached_by(&entries)
            && rest.entries > 0
            && rest.bytes > 0
        {
            let range = range.after(last.clone());
            entries.extend(storage.scan(range, rest, forward).await?);
        }
        Ok(entries)
    }

    /// How many keys a range of few keys holds, with what was written and is not committed yet.
    pub(crate) async fn count(&mut self, range: KeyRange) -> Result<usize> {
        Ok(self.keys(range).await?.len())
    }

    /// The keys of a range of few keys, with what was written and is not committed yet.
    pub(crate) async fn keys(&mut self, range: KeyRange) -> Result<BTreeSet<Vec<u8>>> {
        let (mut all, mut next) = (BTreeSet::new(), Some(range));
        while let Some(range) = next {
            let (keys, rest) = self.keys_page(range, usize::MAX).await?;
            all.extend(keys);
            next = rest;
        }
        Ok(all)
    }

    /// The first keys of a range, with what was written and is not committed yet, and the rest of the range if there may
    /// be more. Reads `most` entries of the store, or fewer where they are large.
    pub(crate) async fn keys_page(
        &mut self,
        range: KeyRange,
        most: usize,
    ) -> Result<(BTreeSet<Vec<u8>>, Option<KeyRange>)> {
        let (entries, rest) = self.sealed_page(range, most).await?;
        for (key, sealed) in &entries {
            self.core.open(key, sealed)?;
        }
        Ok((entries.into_keys().collect(), rest))
    }

    /// As [`keys_page`](Self::keys_page) with the values as they are sealed: some may be damaged.
    pub(crate) async fn sealed_page(
        &mut self,
        mut range: KeyRange,
        most: usize,
    ) -> Result<(BTreeMap<Vec<u8>, Bytes>, Option<KeyRange>)> {
        let limit = ScanLimit::entries(most);
        let stored = self.scan_sealed(range.clone(), limit).await?;
        let last = stored.last().map(|(key, _)| key.clone());
        let rest = last.filter(|_| limit.is_reached_by(&stored)).map(|last| {
            let rest = range.clone().after(last.clone());
            range.end = Bound::Included(last);
            rest
        });
        let mut entries: BTreeMap<Vec<u8>, Bytes> = stored.into_iter().collect();
        if range.is_empty() {
            return Ok((entries, rest));
        }
        for layer in [&self.kept.values, &self.own] {
            for (key, value) in layer.range(&range) {
                if let Some(value) = value {
                    entries.insert(key.clone(), value.clone());
                } else {
                    entries.remove(key);
                }
            }
        }
        Ok((entries, rest))
    }
}
