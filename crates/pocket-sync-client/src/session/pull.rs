//! Reading the feed: pages in a small window, applied in order while the next ones travel.

use std::collections::VecDeque;

use pocket_core::replica::{Claim, IncomingPage, PageKind, ReplicaState};
use pocket_core::{CollectionName, Seq};
use pocket_sync_protocol::codes as wire;
use pocket_sync_protocol::{More, Page, Pull};

use super::storing::unsettled;
use super::{Session, StoreRequest};
use crate::config::PAGES_IN_FLIGHT;
use crate::{Moment, SyncError, codes};

/// The pulling half of a live connection.
#[derive(Debug)]
pub(super) struct Pulling {
    batch: u32,
    reading: Option<Reading>,
    /// Pages that wait for the store.
    inbox: VecDeque<IncomingPage>,
    /// The end of the page in the store.
    applying: Option<Seq>,
    /// What the newest page says the store should hold once it is applied.
    claim: Option<Claim>,
    paused_until: Option<Moment>,
    /// When a page came last.
    moved_at: Moment,
}

/// The pull that runs on the connection.
#[derive(Debug)]
struct Reading {
    id: u32,
    joining: Option<CollectionName>,
    /// Where the next page has to start.
    next: Seq,
}

/// What became of a page that arrived.
#[derive(Debug, PartialEq, Eq)]
enum Arrival {
    Taken,
    /// It says what is known: nothing has to be stored.
    Nothing,
    /// It belongs to an earlier pull, or came twice.
    Ignored,
    /// One before it is missing.
    OutOfOrder,
    /// The server does not keep to the window.
    TooMany,
}

impl Pulling {
    pub(super) fn new(batch: usize, now: Moment) -> Self {
        Self {
            batch: u32::try_from(batch).unwrap_or(u32::MAX),
            reading: None,
            inbox: VecDeque::new(),
            applying: None,
            claim: None,
            paused_until: None,
            moved_at: now,
        }
    }

    pub(super) fn is_reading(&self, id: u32) -> bool {
        self.reading
            .as_ref()
            .is_some_and(|reading| reading.id == id)
    }

    /// Whether the main feed is being read and no page waits.
    pub(super) fn is_quiet(&self) -> bool {
        let main = self
            .reading
            .as_ref()
            .is_some_and(|reading| reading.joining.is_none());
        main && self.inbox.is_empty() && self.applying.is_none()
    }

    pub(super) fn resumes_at(&self) -> Option<Moment> {
        self.paused_until
    }

    pub(super) fn resume(&mut self, now: Moment) {
        if self.paused_until.is_some_and(|at| at <= now) {
            self.paused_until = None;
        }
    }

    /// Gives up the pull that runs; the next one begins at the stored position.
    pub(super) fn read_again_at(&mut self, moment: Moment) {
        self.reading = None;
        self.inbox.clear();
        self.claim = None;
        self.paused_until = Some(moment);
    }

    /// A collection joins: it is read before the feed goes on.
    pub(super) fn make_way(&mut self, now: Moment) {
        if self
            .reading
            .as_ref()
            .is_some_and(|reading| reading.joining.is_none())
        {
            self.read_again_at(now);
        }
    }

    /// When the server has owed a page for too long.
    pub(super) fn stalls_at(&self, heartbeat: u64) -> Moment {
        self.moved_at.plus(2 * heartbeat)
    }

    pub(super) fn is_stalled(&self, now: Moment, behind: bool, heartbeat: u64) -> bool {
        let owed =
            behind && self.reading.is_some() && self.inbox.is_empty() && self.applying.is_none();
        owed && self.stalls_at(heartbeat) <= now
    }

    fn may_begin(&self) -> bool {
        self.reading.is_none() && self.applying.is_none() && self.paused_until.is_none()
    }

    /// The pull to send: collections that join first, then the feed itself.
    fn begin(&mut self, id: u32, replica: &ReplicaState, now: Moment) -> Pull {
        let checkpoint = &replica.checkpoint;
        let joining = checkpoint.joining.first();
        let after = joining.map_or(checkpoint.seq, |joining| joining.position);
        self.moved_at = now;
        self.reading = Some(Reading {
            id,
            joining: joining.map(|joining| joining.collection.clone()),
            next: after,
        });
        Pull {
            id,
            epoch: checkpoint.epoch,
            after,
            until: joining.map(|_| checkpoint.seq),
            collections: joining
                .map(|joining| joining.collection.clone())
                .into_iter()
                .collect(),
            window: PAGES_IN_FLIGHT,
            batch: self.batch,
            fixed_head: checkpoint.fixed_head,
        }
    }

    /// Takes a page of the pull that runs, in order and within the window.
    fn arrive(
        &mut self,
        id: u32,
        page: IncomingPage,
        joining: Option<&CollectionName>,
        known: bool,
        now: Moment,
    ) -> Arrival {
        let held = self.inbox.len() + usize::from(self.applying.is_some());
        let Some(reading) = self.reading.as_mut().filter(|reading| reading.id == id) else {
            return Arrival::Ignored;
        };
        if reading.joining.as_ref() != joining || page.start < reading.next {
            return Arrival::Ignored;
        }
        if page.start == reading.next && known && held == 0 {
            self.moved_at = now;
            return Arrival::Nothing;
        }
        if page.start != reading.next {
            return Arrival::OutOfOrder;
        }
        if held >= PAGES_IN_FLIGHT as usize {
            return Arrival::TooMany;
        }
        reading.next = page.end;
        self.moved_at = now;
        self.inbox.push_back(page);
        Arrival::Taken
    }

    /// The next page to store.
    pub(super) fn next_request(&mut self) -> Option<StoreRequest> {
        if self.applying.is_some() {
            return None;
        }
        let page = self.inbox.pop_front()?;
        self.applying = Some(page.end);
        Some(StoreRequest::Apply(page))
    }

    /// What to compare the store with, once it holds all that came and nothing is on its way to the server.
    pub(super) fn next_claim(&mut self, replica: &ReplicaState) -> Option<StoreRequest> {
        let checkpoint = &replica.checkpoint;
        self.claim.take_if(|claim| claim.at < checkpoint.seq);
        let is_here = self.inbox.is_empty() && self.applying.is_none();
        let claim = self
            .claim
            .take_if(|claim| claim.at == checkpoint.seq && is_here && unsettled(replica) == 0)?;
        Some(StoreRequest::Verify(claim))
    }

    /// The store has answered: what to tell the server, so that it sends one more.
    pub(super) fn applied(&mut self, replica: &ReplicaState) -> Option<More> {
        let applied = self.applying.take()?;
        let reading = self.reading.as_ref()?;
        let joins = |name: &CollectionName| {
            replica
                .checkpoint
                .joining
                .iter()
                .any(|joining| joining.collection == *name)
        };
        if reading.joining.as_ref().is_some_and(|name| !joins(name)) && self.inbox.is_empty() {
            self.reading = None;
            return None;
        }
        Some(More {
            id: reading.id,
            applied,
        })
    }

    /// The store has refused the page: what follows it cannot be applied either.
    pub(super) fn refused(&mut self, now: Moment) {
        self.applying = None;
        self.read_again_at(now);
    }
}

impl Session {
    /// Asks for pages from the stored position on, unless that is under way.
    pub(super) fn begin_reading(&mut self) {
        // Also a client that only pushes must know what a restored server still has.
        let reads = self.config.pulls() || self.store.is_resyncing();
        if !self.link.is_attached() || !reads || self.store.is_loading() {
            return;
        }
        let (Some(live), Some(replica)) = (self.link.live_mut(), self.store.replica()) else {
            return;
        };
        live.pull.resume(self.now);
        if live.pull.may_begin() {
            let id = live.next_id();
            let pull = live.pull.begin(id, replica, self.now);
            self.send(&pull.into());
        }
    }

    pub(super) fn page(&mut self, page: &Page) {
        let now = self.now;
        let Some(live) = self
            .link
            .live_mut()
            .filter(|live| live.pull.is_reading(page.id))
        else {
            return;
        };
        if page.resync {
            return self.resync(SyncError::retryable(
                codes::RESYNC_REQUIRED,
                "the server wants everything to be read again",
            ));
        }
        let content = page.records().and_then(|records| {
            let removals = page.removals()?;
            Ok((records, removals, page.digests()?))
        });
        let (records, removals, digests) = match content {
            Ok(content) => content,
            Err(error) => return self.broken(error.into()),
        };
        live.told_head(page.head, now);
        let known = records.is_empty()
            && removals.is_empty()
            && page.end == page.start
            && page.joining.is_none();
        let known = known
            && self.store.replica().is_some_and(|replica| {
                let checkpoint = &replica.checkpoint;
                let settled = !checkpoint.resyncing && checkpoint.fixed_head.is_none();
                settled && replica.waiting == 0 && checkpoint.epoch == Some(page.epoch)
            });
        let incoming = IncomingPage {
            removals,
            ..incoming(page, records)
        };
        let arrival = live
            .pull
            .arrive(page.id, incoming, page.joining.as_ref(), known, now);
        if matches!(arrival, Arrival::Taken | Arrival::Nothing) {
            live.pull.claim = digests.map(|digests| Claim {
                epoch: page.epoch,
                at: page.end,
                digests,
            });
        }
        match arrival {
            Arrival::Taken | Arrival::Ignored => {}
            Arrival::Nothing => self.send(
                &More {
                    id: page.id,
                    applied: page.end,
                }
                .into(),
            ),
            Arrival::OutOfOrder => live.pull.read_again_at(now),
            Arrival::TooMany => {
                self.broken(SyncError::retryable(
                    wire::BAD_FRAME,
                    "the server sent more pages than it was asked for",
                ));
            }
        }
    }
}

fn incoming(page: &Page, records: Vec<pocket_core::Record>) -> IncomingPage {
    IncomingPage {
        kind: page
            .joining
            .clone()
            .map_or(PageKind::Feed, PageKind::Joining),
        epoch: page.epoch,
        start: page.start,
        end: page.end,
        head: page.head,
        records,
        removals: Vec::new(),
    }
}
