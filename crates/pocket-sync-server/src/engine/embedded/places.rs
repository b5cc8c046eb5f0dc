//! The feed as it is stored: live documents and deletions apart, each by their places.
//!
//! So a first sync, which needs no old deletions, passes them without reading them.

use bytes::Bytes;
use pocket_core::Seq;
use pocket_storage::{Direction, KeyRange, ScanLimit};

use super::{EmbeddedEngine, read_error};
use crate::engine::EngineResult;
use crate::keys::Keys;
use crate::stored::{self, FeedRow};

/// An entry of the feed.
pub(super) struct Placed {
    pub(super) seq: Seq,
    pub(super) row: FeedRow,
    /// The key and the value that it is stored as.
    pub(super) at: Vec<u8>,
    pub(super) value: Bytes,
}

impl EmbeddedEngine {
    /// The next entries of the feed behind `after` and up to `until`, by rising place, and the place up to which these are
    /// all; at the most twice `most`. Deletions up to `live_until` are left out, but for those that an older version stored
    /// among the others.
    ///
    /// It is read in two calls. What moves from one part of the feed to the other in between gets a place behind `until`.
    pub(super) async fn places(
        &self,
        keys: &Keys,
        (after, until): (Seq, Seq),
        live_until: Option<Seq>,
        most: usize,
    ) -> EngineResult<(Vec<Placed>, Seq)> {
        let (mut placed, reached) = self
            .part(keys, keys.feed_range(after, until), until, most)
            .await?;
        let after = after.max(live_until.unwrap_or(Seq::ZERO));
        if after >= reached {
            return Ok((placed, reached));
        }
        let (deletions, reached) = self
            .part(keys, keys.deletions(after, reached), reached, most)
            .await?;
        if !deletions.is_empty() {
            placed.retain(|live| live.seq <= reached);
            placed.extend(deletions);
            placed.sort_unstable_by_key(|entry| entry.seq);
        }
        Ok((placed, reached))
    }

    async fn part(
        &self,
        keys: &Keys,
        range: KeyRange,
        until: Seq,
        most: usize,
    ) -> EngineResult<(Vec<Placed>, Seq)> {
        let limit = ScanLimit::entries(most).bytes(usize::MAX);
        let storage = &self.inner.storage;
        let found = storage.scan(range, limit, Direction::Forward).await;
        let placed = found.map_err(read_error)?.into_iter().map(|(at, value)| {
            let seq = keys
                .feed_seq(&at)
                .ok_or_else(|| stored::damaged("a key of the feed"))?;
            let row = stored::open(&at, &value)?;
            Ok(Placed {
                seq,
                row,
                at,
                value,
            })
        });
        let placed = placed.collect::<EngineResult<Vec<_>>>()?;
        let reached = match placed.last() {
            Some(last) if placed.len() >= most => last.seq,
            _ => until,
        };
        Ok((placed, reached))
    }
}
