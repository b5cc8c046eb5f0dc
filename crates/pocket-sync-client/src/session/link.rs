//! The connection, as the session sees it.

use pocket_core::Seq;
use pocket_sync_protocol::Welcome;

use super::fetch::Fetching;
use super::pull::Pulling;
use super::push::Pushing;
use super::{Session, SessionConfig};
use crate::Moment;

/// The shortest heartbeat that is followed, in milliseconds: a server must not make its clients flood it.
const MIN_HEARTBEAT_MILLIS: u64 = 100;

/// The longest heartbeat that is followed, in milliseconds.
const MAX_HEARTBEAT_MILLIS: u64 = 300_000;

/// The heartbeat of a client that is to ask for nothing by itself: ten years, in milliseconds.
const NEVER_MILLIS: u64 = 10 * 365 * 24 * 60 * 60 * 1_000;

/// Pings without anything heard after which a connection counts as dead.
const MISSED_PINGS: u64 = 2;

#[derive(Debug)]
pub(super) enum Link {
    Down,
    /// The transport is opening it.
    Opening {
        connection: u64,
        deadline: Moment,
    },
    /// The hello is on its way.
    Greeting {
        connection: u64,
        /// When it was sent.
        asked: Moment,
        deadline: Moment,
    },
    /// The server has welcomed us.
    Up(Box<Live>),
}

impl Link {
    pub(super) fn connection(&self) -> Option<u64> {
        match self {
            Self::Down => None,
            Self::Opening { connection, .. } | Self::Greeting { connection, .. } => {
                Some(*connection)
            }
            Self::Up(live) => Some(live.connection),
        }
    }

    pub(super) fn is(&self, connection: u64) -> bool {
        self.connection() == Some(connection)
    }

    pub(super) fn live(&self) -> Option<&Live> {
        match self {
            Self::Up(live) => Some(live),
            _ => None,
        }
    }

    pub(super) fn live_mut(&mut self) -> Option<&mut Live> {
        match self {
            Self::Up(live) => Some(live),
            _ => None,
        }
    }

    /// Whether the welcome is stored, so that pushes and pages may travel.
    pub(super) fn is_attached(&self) -> bool {
        self.live().is_some_and(|live| live.attached)
    }
}

/// A connection after its welcome.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) connection: u64,
    pub(super) welcome: Welcome,
    /// When the hello was sent that it answers.
    pub(super) greeted_at: Moment,
    pub(super) attached: bool,
    /// After how many quiet milliseconds a ping is sent.
    pub(super) heartbeat: u64,
    /// How many milliseconds count as two sides' patience with each other: the server's heartbeat.
    pub(super) patience: u64,
    /// The newest place the server told of.
    pub(super) head: Seq,
    /// When it told.
    head_at: Moment,
    pinged_at: Moment,
    missed: u64,
    /// When it said something last.
    pub(super) heard_at: Moment,
    /// When it was first asked for something since.
    pub(super) asked_at: Option<Moment>,
    last_id: u32,
    pub(super) push: Pushing,
    pub(super) pull: Pulling,
    pub(super) fetch: Fetching,
}

impl Live {
    pub(super) fn new(
        connection: u64,
        welcome: Welcome,
        greeted_at: Moment,
        config: &SessionConfig,
        now: Moment,
    ) -> Self {
        let patience = u64::try_from(welcome.heartbeat.as_millis())
            .unwrap_or(u64::MAX)
            .clamp(MIN_HEARTBEAT_MILLIS, MAX_HEARTBEAT_MILLIS);
        let heartbeat = match config.poll_millis {
            None => patience,
            Some(0) => NEVER_MILLIS,
            Some(interval) => interval.clamp(MIN_HEARTBEAT_MILLIS, NEVER_MILLIS),
        };
        Self {
            connection,
            greeted_at,
            attached: false,
            heartbeat,
            patience,
            head: welcome.head,
            head_at: now,
            pinged_at: now,
            missed: 0,
            heard_at: now,
            asked_at: None,
            last_id: 0,
            push: Pushing::new(config.batch_size, &welcome.limits, now),
            pull: Pulling::new(config.batch_size, now),
            fetch: Fetching::default(),
            welcome,
        }
    }

    /// An id for the next request; they rise.
    pub(super) fn next_id(&mut self) -> u32 {
        self.last_id = self.last_id.wrapping_add(1);
        self.last_id
    }

    /// Something came from the server.
    pub(super) fn heard(&mut self, now: Moment) {
        self.missed = 0;
        self.heard_at = now;
        self.asked_at = None;
    }

    /// It was asked for a sign.
    pub(super) fn asked(&mut self, now: Moment) {
        self.asked_at.get_or_insert(now);
    }

    /// Waits for an answer from now on, whatever was asked before.
    pub(super) fn ask_again(&mut self) {
        self.asked_at = None;
    }

    /// Whether the last ping was answered, or anything else came since.
    pub(super) fn was_heard(&self) -> bool {
        self.missed == 0
    }

    /// The server told its head.
    pub(super) fn told_head(&mut self, head: Seq, now: Moment) {
        self.head = self.head.max(head);
        self.head_at = now;
    }

    /// The head is at least here, though the server did not say where.
    pub(super) fn raise_head(&mut self, place: Seq) {
        self.head = self.head.max(place);
    }

    /// Until when the head told last is fresh enough to be idle by it.
    pub(super) fn idle_until(&self) -> Moment {
        self.head_at.plus(2 * self.heartbeat)
    }

    pub(super) fn next_ping(&self) -> Moment {
        self.head_at.max(self.pinged_at).plus(self.heartbeat)
    }

    pub(super) fn ping_due(&self, now: Moment) -> bool {
        self.next_ping() <= now
    }

    pub(super) fn pinged(&mut self, now: Moment) {
        self.pinged_at = now;
        self.missed += 1;
    }

    pub(super) fn is_dead(&self, now: Moment) -> bool {
        // Who pings more often than the server asked for does not lose patience sooner.
        let most = (MISSED_PINGS * self.patience.div_ceil(self.heartbeat)).max(MISSED_PINGS);
        self.missed >= most && self.ping_due(now)
    }

    /// When pushes, or fetches for them, have been without an answer for too long.
    pub(super) fn push_stalls_at(&self) -> Option<Moment> {
        let since = [self.push.waiting_since(), self.fetch.waiting_since()];
        let first = since.into_iter().flatten().min();
        first.map(|since| since.plus(2 * self.patience))
    }

    pub(super) fn push_stalls(&self, now: Moment) -> bool {
        self.push_stalls_at().is_some_and(|at| at <= now)
    }
}

impl Session {
    /// Whether the server has told of places that are not here yet, or owes a page whatever it has told.
    pub(super) fn is_behind(&self) -> bool {
        let (Some(live), Some(replica)) = (self.link.live(), self.store.replica()) else {
            return false;
        };
        // What waits for places that were read long ago takes one more page, even if nothing is on it.
        let waits = replica.waiting > replica.undecided + replica.unread;
        // So does reading everything again, even where there is nothing: nothing is sent until its end was told.
        let checkpoint = &replica.checkpoint;
        let reads_again = checkpoint.resyncing && !checkpoint.sweeping;
        checkpoint.seq < live.head || !checkpoint.joining.is_empty() || waits || reads_again
    }

    /// Whether the server owes a page for which it is asked again, should it not come.
    pub(super) fn is_owed(&self) -> bool {
        let forgets = pocket_core::mutants::active("pocket-mutant:resync-not-asked-again")
            && self.store.is_resyncing();
        self.is_behind() && !forgets
    }
}
