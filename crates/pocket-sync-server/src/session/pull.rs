//! The running pull of a session: catch-up and live reading are this one path.
//!
//! The feed is read only while the client has room for a page and takes what was sent, so a reader that stalls costs one
//! stretch of the feed at the most. `sent` is where the client stands once it has applied what was sent; `cursor` is how far the feed was read.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use pocket_core::mutants::active;
use pocket_core::{ClientId, CollectionName, Digest, Epoch, Seq};
use pocket_storage::ordered::BTreeMap;
use pocket_sync_protocol::{
    EncodedRecord, More, Page, PageBuilder, Pull, RecordSet, ServerMessage, codes, encode_server,
};

use super::echo::Echo;
use super::telling::told;
use super::{Effect, Moment, Open, Session, State};
use crate::engine::{EngineError, EngineResult, FeedPage, ReadRequest, Removed};

/// Places that may be passed without telling, while pushes of this session are in flight: their records are withheld,
/// and a page for each push would cost the client a commit without content.
const UNTOLD: u64 = 10_000;

#[derive(Debug)]
pub(super) struct Pulling {
    id: u32,
    collections: Arc<BTreeSet<CollectionName>>,
    joining: Option<CollectionName>,
    until: Option<Seq>,
    /// While reading up to here, own records are not withheld: a first sync must see every document.
    first_sync: Option<Seq>,
    /// Deletions up to here are left out: they were there before the reader began.
    fixed_head: Option<Seq>,
    /// It reads from the start; the head that its first page sees is fixed.
    fixes: bool,
    /// It reads from the start, and no page was acknowledged yet: to the client, each may be the first one.
    unacknowledged: bool,
    /// Removals up to here were told: that is where reading reached the head last. Of what is before the session nothing
    /// is known, for who went away in the middle of a catch-up may have passed the place of one.
    told: Seq,
    window: u32,
    credits: u32,
    batch: usize,
    sent: Seq,
    cursor: Seq,
    /// Whether a page was sent: the first one is, also when it is empty.
    answered: bool,
    /// From then on the next page that reaches the head tells digests. The first one does.
    digests_due: Moment,
    reading: Option<Reading>,
    ahead: Option<Ahead>,
}

#[derive(Debug)]
struct Reading {
    ticket: u64,
    until: Option<Seq>,
}

/// What was read and not yet sent.
#[derive(Debug)]
struct Ahead {
    epoch: Epoch,
    head: Seq,
    end: Seq,
    records: VecDeque<EncodedRecord>,
    removals: VecDeque<Removed>,
    /// What the reader should hold at its end.
    digests: Option<BTreeMap<CollectionName, Digest>>,
    /// It reaches the end of what was to be read: it is sent as one page.
    complete: bool,
    /// It reaches the head. Short of that, what is hidden may stand further on.
    whole: bool,
}

impl Session {
    pub(super) fn pull(&mut self, pull: Pull) {
        let State::Open(open) = &mut self.state else {
            return;
        };
        if open.pull.take().is_some_and(|pull| pull.is_reading()) {
            open.forsaken += 1;
        }
        let known = match pull.epoch {
            Some(epoch) => open.log.contains(epoch, pull.after),
            None => pull.after == Seq::ZERO,
        };
        if !known {
            let message = "the place to read from is not part of this log's history; resync";
            return self.refuse(pull.id, codes::UNKNOWN_EPOCH, message);
        }
        let joins = !pull.collections.is_empty();
        if open.rights_changed
            && pull.after > Seq::ZERO
            && !active("pocket-mutant:rights-change-unnoticed")
        {
            let message = "your rights to read have changed since this place was read; resync";
            return self.refuse(pull.id, codes::RIGHTS_CHANGED, message);
        }
        if !joins {
            // From the start, by the rights of now: from here on its places are good.
            open.rights_changed = false;
        }
        let limits = &self.config.limits;
        let fresh = pull.epoch.is_none() && !joins;
        if fresh {
            // The client reads everything again: what it had read elsewhere counts no longer.
            open.greeting.checkpoint = None;
        }
        let told = || {
            let checkpoint = open.greeting.checkpoint.as_ref();
            checkpoint.and_then(|checkpoint| checkpoint.fixed_head)
        };
        let fixed_head = pull.fixed_head.or_else(told).filter(|_| !joins);
        let window = pull.window.clamp(1, self.carriage.window);
        open.pull = Some(Pulling {
            id: pull.id,
            joining: pull.collections.first().cloned(),
            collections: if joins {
                Arc::new(pull.collections.into_iter().collect())
            } else {
                Arc::clone(&open.greeting.collections)
            },
            until: pull.until,
            first_sync: if joins {
                Some(Seq::new(u64::MAX))
            } else {
                fixed_head
            },
            fixed_head,
            fixes: fresh,
            unacknowledged: fresh,
            told: Seq::ZERO,
            window,
            credits: window,
            batch: usize::try_from(pull.batch)
                .unwrap_or(usize::MAX)
                .clamp(1, limits.page_records),
            sent: pull.after,
            cursor: pull.after,
            answered: false,
            digests_due: Moment::default(),
            reading: None,
            ahead: None,
        });
        if self.is_below_horizon() {
            return self.refuse_below_horizon();
        }
        self.pump();
    }

    pub(super) fn more(&mut self, more: More) {
        let State::Open(open) = &mut self.state else {
            return;
        };
        let Some(pull) = &mut open.pull else { return };
        if pull.id == more.id && more.applied <= pull.sent {
            pull.unacknowledged = false;
            pull.credits = (pull.credits + 1).min(pull.window);
            self.pump();
        }
    }

    pub(super) fn head_moved(&mut self, head: Seq) {
        let State::Open(open) = &mut self.state else {
            return;
        };
        open.log.head = open.log.head.max(head);
        self.pump();
    }

    pub(super) fn feed_read(&mut self, ticket: u64, result: EngineResult<FeedPage>) {
        let State::Open(open) = &mut self.state else {
            return;
        };
        let answered = open.pull.as_mut().and_then(|pull| {
            let reading = pull.reading.take_if(|reading| reading.ticket == ticket)?;
            Some((pull, reading))
        });
        let Some((pull, reading)) = answered else {
            open.forsaken = open.forsaken.saturating_sub(1);
            return;
        };
        let mut page = match result {
            Ok(page) => page,
            Err(error @ EngineError::Fatal(_)) => return self.fail(codes::INTERNAL, told(&error)),
            Err(error) => {
                let id = pull.id;
                open.pull = None;
                return self.refuse(id, codes::RETRY_LATER, &told(&error));
            }
        };
        if page.epoch != open.log.epoch {
            return self.reopened();
        }
        let mut head = page.head;
        if std::mem::take(&mut pull.fixes) {
            // What had been deleted when the reading began is of no concern. What is deleted behind that is, and the
            // page tells the same: a commit that ended meanwhile may have deleted what was read as live before.
            head = page.began;
            pull.fixed_head = Some(head);
            if page.head > head {
                hold_back(&mut page, head);
            }
        }
        if pull.unacknowledged {
            pull.first_sync = pull.first_sync.max(Some(page.head));
        }
        open.log.horizon = open.log.horizon.max(page.horizon);
        if self.is_below_horizon() {
            return self.refuse_below_horizon();
        }
        let State::Open(open) = &mut self.state else {
            return;
        };
        let Some(pull) = &mut open.pull else { return };
        let complete = page.end >= reading.until.unwrap_or(head).min(head);
        let whole = page.end >= page.head;
        pull.ahead = Some(Ahead {
            epoch: page.epoch,
            head,
            end: page.end,
            records: page.records.into(),
            removals: page.removals.into(),
            digests: page.digests,
            complete,
            whole,
        });
        open.follow(page.head);
        self.pump();
    }

    /// Whether deletions that concern the reader may be forgotten.
    fn is_below_horizon(&self) -> bool {
        let State::Open(open) = &self.state else {
            return false;
        };
        let below = |pull: &Pulling| !pull.fixes && pull.knows_deletions_to() < open.log.horizon;
        open.pull.as_ref().is_some_and(below) && !active("pocket-mutant:horizon-ignored")
    }

    fn refuse_below_horizon(&mut self) {
        let State::Open(open) = &mut self.state else {
            return;
        };
        let Some(pull) = open.pull.take() else { return };
        let message =
            "the place to read from is older than what is remembered of deletions; resync";
        self.refuse(pull.id, codes::BELOW_HORIZON, message);
    }

    /// A document that was stored under a larger limit: sent, it would end each connection without a word of why.
    pub(super) fn too_large_to_send(&mut self, set: &RecordSet, bytes: usize) {
        let first = set.decode().ok().and_then(|set| set.into_iter().next());
        let which = first.map_or_else(String::new, |record| {
            format!(" {}/{}", record.collection, record.id)
        });
        let message = format!(
            "the document{which} needs a message of {bytes} bytes and the server's limit is {}; whoever runs the server \
             sets `message-bytes` to twice as much",
            self.config.limits.wire.message_bytes
        );
        self.fail(codes::RECORD_TOO_LARGE, message);
    }

    /// Sends what may be sent, and reads on when there is room for it.
    pub(super) fn pump(&mut self) {
        let message_bytes = self.config.limits.wire.message_bytes;
        loop {
            let State::Open(open) = &mut self.state else {
                return;
            };
            if open.stopping || self.full {
                return;
            }
            let own = Own {
                echo: &open.echo,
                client: open.greeting.client,
                pushing: !open.pushes.is_empty(),
            };
            let head = open.log.head;
            let Some(pull) = &mut open.pull else { return };
            if pull.credits == 0 || pull.reading.is_some() {
                return;
            }
            if let Some(page) = pull.next_page(&own, head, message_bytes) {
                open.echo.forget(page.end);
                let finished = pull.until.is_some_and(|until| page.end >= until);
                if page.digest.is_some() {
                    pull.digests_due = self.now.after(self.config.heartbeat);
                }
                if finished {
                    open.pull = None;
                }
                let message = ServerMessage::Page(page);
                let frame = encode_server(&message);
                if let ServerMessage::Page(page) = &message
                    && frame.len() > message_bytes
                {
                    return self.too_large_to_send(&page.set, frame.len());
                }
                self.effects.push(Effect::Send(frame));
            } else if pull.has_more(head) {
                // The doorbell rings behind the outcomes: up to there, own records are known as own.
                let until = if own.pushing {
                    Some(pull.until.unwrap_or(head).min(head))
                } else {
                    pull.until
                };
                let request = ReadRequest {
                    after: pull.cursor,
                    until,
                    live_until: pull.live_until(),
                    told: pull.told,
                    collections: Arc::clone(&pull.collections),
                    records: self.config.limits.page_records,
                    bytes: message_bytes - PageBuilder::FIXED_BYTES,
                    authority: open.authority.clone(),
                    digests: pull.joining.is_none() && pull.digests_due <= self.now,
                };
                open.last_ticket += 1;
                let ticket = open.last_ticket;
                pull.reading = Some(Reading { ticket, until });
                self.effects.push(Effect::Read { ticket, request });
            } else {
                return;
            }
        }
    }
}

/// Keeps a stretch from reaching a head behind which the log moved on while it was read. A document that was written anew
/// meanwhile is not in it, it stands behind that head: who has read up to there and takes that for all there is would hold
/// one half of a transaction, and would remove what a reading from the start did not show.
fn hold_back(page: &mut FeedPage, head: Seq) {
    page.records.retain(|record| record.seq < head);
    page.removals.retain(|removed| removed.seq < head);
    let before = Seq::new(head.get().saturating_sub(1));
    page.end = page.end.min(before).max(page.start);
}

/// What decides whether a record comes back to its writer.
struct Own<'a> {
    echo: &'a Echo,
    client: ClientId,
    pushing: bool,
}

impl Pulling {
    /// Whether a stretch of the feed is being read.
    pub(super) fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// Whether a page is due that reaches this place, because the client was told of it.
    pub(super) fn owes(&self, place: Seq) -> bool {
        self.until.is_none() && self.credits > 0 && self.sent < place
    }

    /// Where the client stands once it has applied what was sent, unless it reads a collection from the start.
    pub(super) fn position(&self) -> Option<Seq> {
        self.joining.is_none().then_some(self.sent)
    }

    /// Deletions behind this place must not be missing in what is read next.
    fn knows_deletions_to(&self) -> Seq {
        match (&self.joining, self.until) {
            // What is read here was never read before; behind its end the reader stands already.
            (Some(_), Some(until)) => until,
            _ => self.cursor.max(self.fixed_head.unwrap_or(Seq::ZERO)),
        }
    }

    /// Up to where deletions are left out of the next read.
    fn live_until(&self) -> Option<Seq> {
        let late = active("pocket-mutant:tombstones-left-out-to-the-head");
        if self.fixes || (late && self.fixed_head.is_some()) {
            Some(Seq::new(u64::MAX))
        } else {
            self.fixed_head
        }
    }

    fn has_more(&self, head: Seq) -> bool {
        !self.answered || self.cursor < self.until.unwrap_or(head).min(head)
    }

    fn withholds(&self, own: &Own<'_>, record: &EncodedRecord) -> bool {
        if active("pocket-mutant:echo-suppressed-always") {
            return record.client == own.client;
        }
        let first_sync = self.first_sync.is_some_and(|head| record.seq <= head);
        !first_sync && own.echo.contains(record.seq)
    }

    /// The next page of what was read, if there is one to send now.
    fn next_page(&mut self, own: &Own<'_>, head: Seq, message_bytes: usize) -> Option<Page> {
        let mut ahead = self.ahead.take()?;
        let most = if ahead.complete {
            usize::MAX
        } else {
            self.batch
        };
        let mut builder = PageBuilder::new(message_bytes);
        while builder.len() < most {
            let removal = ahead.removals.front();
            let record = ahead.records.front();
            let removal = removal.filter(|gone| record.is_none_or(|record| gone.seq < record.seq));
            if let Some(Removed { key, seq, own }) = removal {
                // What was hidden when a reading from the start began was not shown in it: there is nothing to let go of
                // but what the reader wrote meanwhile. What is hidden later may have been on an earlier page.
                let shown = self.fixed_head.is_none_or(|head| *seq > head);
                let is_news = *own || shown;
                if is_news && !builder.remove(&key.collection, &key.id, *seq) {
                    break;
                }
                self.cursor = *seq;
                ahead.removals.pop_front();
            } else if let Some(record) = record {
                if !self.withholds(own, record) && !builder.push(record) {
                    break;
                }
                self.cursor = record.seq;
                ahead.records.pop_front();
            } else {
                break;
            }
        }
        let is_last = ahead.records.is_empty() && ahead.removals.is_empty();
        if is_last {
            self.cursor = ahead.end;
            if ahead.whole {
                self.told = self.cursor;
            }
        }
        let goes_on = self.cursor < self.until.unwrap_or(head).min(head.max(ahead.head));
        let untold = self.cursor.get() - self.sent.get();
        let can_wait = self.answered && untold < UNTOLD && (goes_on || own.pushing);
        if builder.is_empty() && can_wait {
            // Kept, so that the places passed are told as soon as there is a reason to.
            if !goes_on {
                self.ahead = Some(ahead);
            }
            return None;
        }
        let digests = ahead.digests.as_ref().filter(|_| is_last && !goes_on);
        // They can wait until there is room.
        let digest = digests
            .map(Page::encode_digests)
            .filter(|digest| builder.bytes() + digest.len() <= message_bytes);
        let page = Page {
            id: self.id,
            epoch: ahead.epoch,
            start: self.sent,
            end: self.cursor,
            head: ahead.head,
            resync: false,
            joining: self.joining.clone(),
            removals: builder.take_removals(),
            set: builder.finish(),
            digest,
        };
        if !is_last {
            self.ahead = Some(ahead);
        }
        self.sent = self.cursor;
        self.credits -= 1;
        self.answered = true;
        Some(page)
    }
}

impl Open {
    /// Whether a page was sent that the client has not told to have applied.
    pub(super) fn awaits_more(&self) -> bool {
        self.pull
            .as_ref()
            .is_some_and(|pull| pull.credits < pull.window)
    }

    /// Takes note of where the head was when the feed was read.
    fn follow(&mut self, head: Seq) {
        if self.pushes.is_empty() {
            self.log.head = self.log.head.max(head);
        }
    }
}
