//! A session that only pushes does not read the feed, and one with a scope not all of it: they ask for just the records
//! that their conflicts wait for.

use pocket_core::replica::{IncomingPage, PageKind, ReplicaState};
use pocket_core::{CollectionName, DocumentId, MutationNumber, Record, Seq};
use pocket_sync_protocol::codes::{self as wire, close};
use pocket_sync_protocol::{ErrorMessage, Fetch, Records};

use super::{Return, Session, StoreRequest};
use crate::config::FETCHED_DOCUMENTS;
use crate::{Moment, SyncError};

/// How far the fetching of a live connection is.
#[derive(Debug)]
pub(super) struct Fetching {
    stage: Stage,
    /// Documents asked for at once.
    chunk: usize,
    paused_until: Option<Moment>,
    /// What stood at the last fetch: without a change since, another one would bring the same.
    tried: Option<(MutationNumber, u64)>,
}

#[derive(Debug, PartialEq)]
enum Stage {
    None,
    /// The store is asked which documents they are.
    Looking,
    /// The server is asked for the last `asked` of those that are left.
    Asking {
        id: u32,
        asked: usize,
        since: Moment,
        left: Vec<(CollectionName, DocumentId)>,
        records: Vec<Record>,
    },
    /// All are here, to be stored at once: a conflict without its record counts as one that may not be read.
    Complete(IncomingPage),
    Storing,
}

/// Conflicts whose records are not here.
fn unread(replica: &ReplicaState) -> u64 {
    replica.waiting.saturating_sub(replica.undecided)
}

impl Default for Fetching {
    fn default() -> Self {
        Self {
            stage: Stage::None,
            chunk: FETCHED_DOCUMENTS,
            paused_until: None,
            tried: None,
        }
    }
}

impl Fetching {
    /// Whether conflicts wait for a fetch, so that nothing more should be numbered before it.
    pub(super) fn is_due(&self, replica: &ReplicaState) -> bool {
        let unread = unread(replica);
        unread > 0 && self.tried != Some((replica.confirmed, unread))
    }

    /// Whether one has begun and its records are not stored yet.
    pub(super) fn is_under_way(&self) -> bool {
        self.stage != Stage::None
    }

    pub(super) fn waiting_since(&self) -> Option<Moment> {
        match &self.stage {
            Stage::Asking {
                since, asked: 1.., ..
            } => Some(*since),
            _ => None,
        }
    }

    pub(super) fn resumes_at(&self) -> Option<Moment> {
        self.paused_until
    }

    pub(super) fn resume(&mut self, now: Moment) {
        if self.paused_until.is_some_and(|at| at <= now) {
            self.paused_until = None;
        }
    }

    fn is_asking(&self, fetch: u32) -> bool {
        matches!(self.stage, Stage::Asking { id, .. } if id == fetch)
    }

    /// What to ask the store for next. Nothing may be on its way, or a conflict could come that was not asked about.
    pub(super) fn next_request(
        &mut self,
        replica: &ReplicaState,
        at_rest: bool,
    ) -> Option<StoreRequest> {
        match std::mem::replace(&mut self.stage, Stage::Storing) {
            Stage::Complete(page) => return Some(StoreRequest::Apply(page)),
            Stage::None if at_rest && self.paused_until.is_none() && self.is_due(replica) => {
                self.stage = Stage::Looking;
                return Some(StoreRequest::Waiting);
            }
            stage => self.stage = stage,
        }
        None
    }

    /// The store has said which documents they are.
    pub(super) fn found(&mut self, documents: Vec<(CollectionName, DocumentId)>) {
        if self.stage == Stage::Looking {
            self.stage = Stage::Asking {
                id: 0,
                asked: 0,
                since: Moment::default(),
                left: documents,
                records: Vec::new(),
            };
        }
    }

    /// The records are stored.
    pub(super) fn stored(&mut self, replica: &ReplicaState) {
        if self.stage == Stage::Storing {
            self.stage = Stage::None;
            self.tried = Some((replica.confirmed, unread(replica)));
        }
    }

    fn may_ask(&self) -> bool {
        matches!(self.stage, Stage::Asking { asked: 0, .. })
    }

    /// The next fetch to send.
    fn next_fetch(&mut self, new_id: u32, now: Moment) -> Option<Fetch> {
        let chunk = self.chunk;
        let Stage::Asking {
            id,
            asked,
            since,
            left,
            ..
        } = &mut self.stage
        else {
            return None;
        };
        *asked = left.len().min(chunk);
        (*id, *since) = (new_id, now);
        Some(Fetch {
            id: new_id,
            documents: left[left.len() - *asked..].to_vec(),
        })
    }
}

impl Session {
    /// Sends the fetch whose turn it is.
    pub(super) fn send_fetch(&mut self) {
        let Some(live) = self.link.live_mut().filter(|live| live.fetch.may_ask()) else {
            return;
        };
        let id = live.next_id();
        if let Some(fetch) = live.fetch.next_fetch(id, self.now) {
            self.send(&fetch.into());
        }
    }

    pub(super) fn records(&mut self, answer: &Records) {
        let now = self.now;
        let Some(live) = self
            .link
            .live_mut()
            .filter(|live| live.fetch.is_asking(answer.id))
        else {
            return;
        };
        let fetched = match answer.records() {
            Ok(fetched) => fetched,
            Err(error) => return self.broken(error.into()),
        };
        live.told_head(answer.head, now);
        let Stage::Asking {
            asked,
            left,
            records,
            ..
        } = &mut live.fetch.stage
        else {
            return;
        };
        records.extend(fetched);
        left.truncate(left.len() - *asked);
        *asked = 0;
        if left.is_empty() {
            live.fetch.stage = Stage::Complete(IncomingPage {
                kind: PageKind::Fetched,
                epoch: answer.epoch,
                start: Seq::ZERO,
                end: Seq::ZERO,
                head: answer.head,
                records: std::mem::take(records),
                removals: Vec::new(),
            });
        }
    }

    /// The server refused a fetch: it is asked again later, or for fewer documents. Says whether it was one.
    pub(super) fn fetch_refused(&mut self, error: &ErrorMessage, resume: Moment) -> bool {
        let Some(live) = self.link.live_mut() else {
            return false;
        };
        if !error.id.is_some_and(|id| live.fetch.is_asking(id)) {
            return false;
        }
        let Stage::Asking { asked, .. } = &mut live.fetch.stage else {
            return false;
        };
        if error.retryable {
            live.fetch.stage = Stage::None;
            live.fetch.paused_until = Some(resume);
        } else if error.code == wire::TOO_LARGE && *asked > 1 {
            live.fetch.chunk = *asked / 2;
            *asked = 0;
        } else {
            let told = SyncError::from_server(error.code.clone(), error.message.clone(), false);
            self.lose(told, Return::Slowly, close::NORMAL);
        }
        true
    }
}
