//! What happened how often. A fault that never happens tests nothing, so each kind is counted and none may be zero.

use std::fmt;

macro_rules! kinds {
    ($($name:ident = $text:literal,)*) => {
        /// Everything that is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Kind {
            $(#[doc = $text] $name,)*
        }

        impl Kind {
            const ALL: &[(Self, &str)] = &[$((Self::$name, $text),)*];
        }
    };
}

kinds! {
    FrameDelivered = "frame delivered",
    FrameDropped = "fault: frame dropped",
    FrameDoubled = "fault: frame doubled",
    FrameReordered = "fault: frame overtaken by others",
    FrameLate = "fault: frame delayed for long",
    FrameCut = "fault: connection cut at a frame",
    FrameOfThePast = "frame of an earlier connection arrived",
    HalfOpen = "fault: connection gone, unnoticed by one side",
    KilledBySending = "fault: connection ended by what was sent on it",
    OpenRefused = "fault: connection refused",
    PartitionIn = "fault: partition, nothing comes in",
    PartitionOut = "fault: partition, nothing goes out",
    PartitionBoth = "fault: partition, both ways",
    Connected = "connection opened",
    Reconnected = "connection opened again",
    ClientKill = "fault: client killed",
    ClientPowerLoss = "fault: client lost power",
    ClientCrashBefore = "fault: client crashed before a storage call",
    ClientCrashAfter = "fault: client crashed after a storage call",
    ClientCommitsLost = "unsynced client commits lost with the power",
    ServerKill = "fault: server killed",
    ServerPowerLoss = "fault: server lost power",
    ServerCrashBefore = "fault: server crashed before a storage call",
    ServerCrashAfter = "fault: server crashed after a storage call",
    ServerShutdown = "server shut down in order",
    IoErrorClient = "fault: I/O error on a client",
    IoErrorServer = "fault: I/O error on the server",
    FullClient = "fault: client disk full",
    FullServer = "fault: server disk full",
    LateCallClient = "fault: late storage call on a client",
    LateCallServer = "fault: late storage call on the server",
    LateAnswer = "fault: late store answer",
    LateDoorbell = "fault: late doorbell",
    DigestsSame = "digests compared, the same",
    DigestsOpen = "digests not compared, something was on its way",
    ClockJump = "fault: client clock jumped",
    ServerClockJump = "fault: server clock jumped",
    TokenExpired = "fault: token expired",
    AuthUnavailable = "fault: token check unavailable",
    ClientCopied = "fault: client's store copied, both go on",
    ClientBackedUp = "client backed up",
    ClientRestored = "fault: client restored from its older copy",
    ServerBackedUp = "server backed up",
    ServerRestored = "fault: server restored from its older copy",
    PlacesLost = "fault: places of a log lost by that",
    BroughtBack = "lost record brought back by a device",
    Forgetting = "server told to forget",
    TombstoneForgotten = "fault: deletion forgotten",
    ClientForgotten = "fault: client forgotten",
    Renewed = "client took another id",
    RightsChanged = "fault: rights of a user changed",
    DeliveryChecked = "record judged by the rights of its reader",
    RemovalSent = "removal sent to a reader who may read no more",
    Swept = "sweep by the server's time",
    SweptAlone = "sweep before a server told its time",
    SweptByWrongClock = "fault: sweep on a device whose clock is wrong",
    ExpiredSwept = "document swept",
    ExpiredDeleted = "deletion of what expired: applied",
    SweepYielded = "fault: deletion of what expired met another version",
    ExpiryChecked = "document looked for by the end of its time",
    Upgraded = "fault: device gets a newer program",
    Migrated = "store migrated",
    MigratedPending = "fault: store migrated with changes pending",
    MigrationCrashed = "fault: crash amid a migration",
    MigrationResumed = "migration taken up again",
    OldProgram = "fault: older program started once more",
    OldProgramRefused = "older program refused by a newer store",
    MigratedSent = "document of a newer shape: applied",
    MigratedYielded = "fault: document of a newer shape met another version",
    Reshaped = "document that arrived in an older shape reshaped",
    ShapeChecked = "document of a migrated store looked at",
    RulesCopied = "fault: client's store copied, with rules",
    RulesRestored = "fault: client restored from its older copy, with rules",
    RulesForgotten = "fault: client forgotten, with rules",
    RulesRenewed = "client took another id, with rules",
    PolledSession = "session that polls opened",
    SessionReplaced = "session replaced by a newer one",
    HelloTooLate = "hello that came behind that of a newer connection",
    Inserted = "write: insert",
    Updated = "write: update",
    Upserted = "write: upsert",
    Deleted = "write: delete",
    Erased = "write: hard delete",
    ManyWritten = "write: several documents at once",
    Cleared = "write: collection cleared",
    Transacted = "write: transaction",
    Transferred = "write: transfer between two accounts",
    Poisoned = "write: document too large for the server",
    Killer = "write: document that ends the connection it is sent on",
    ReadBack = "read",
    WriteUnknown = "write of unknown result",
    SyncSwitchedOff = "sync switched off for a collection",
    SyncSwitchedOn = "sync switched on for a collection",
    ScopeWidened = "collection added to a client's scope",
    Stopped = "session stopped and started",
    Command = "command: force sync, push or pull",
    CommandDone = "command finished well",
    CommandFailed = "command finished with an error",
    PushReceived = "push committed",
    PushRepeated = "mutation sent again and answered from the record",
    Joined = "pushes joined into one commit",
    Applied = "outcome: applied",
    Conflict = "outcome: conflict",
    RejectedClock = "outcome: rejected for the clock",
    RejectedForbidden = "outcome: rejected for rights",
    RejectedOther = "outcome: rejected for its content",
    Withdrawn = "mutation withdrawn",
    Gap = "answer: gap",
    StalePage = "stale page refused by a store",
    PageApplied = "page applied",
    JoinPageApplied = "page of a joining collection applied",
    Resynced = "everything read again from the start",
    ResyncedForked = "... since the server was restored",
    ResyncedForgotten = "... since deletions were forgotten",
    ResyncedRights = "... since rights were changed",
    ResolvedLater = "conflict decided by last-write-wins",
    ResolvedServer = "conflict decided by server-wins",
    ResolvedClient = "conflict decided by client-wins",
    ResolvedMerge = "conflict decided by merge",
    ResolvedCustom = "conflict decided by the application's rule",
    ResolvedDoubt = "conflict of a change whose outcome is unknown",
    ResolvedRevoked = "change lost with the right to read",
    Journaled = "journal entry",
    Asked = "conflict put before the application's rule",
    RuleFailed = "fault: the application's rule failed",
    RuleSlow = "fault: the application's rule was slow",
    LateJoiner = "device that joined late",
    ViewChecked = "view checked",
    ErasureChecked = "erased write looked for in all stores",
    RevocationChecked = "document that may not be read any more looked for on a device",
    IdleChecked = "idle status checked",
}

/// Kinds that happen once in some hundred or thousand histories.
const RARE: &[Kind] = &[Kind::StalePage, Kind::HelloTooLate];

/// Fewer histories than this may leave a rare one out.
const ENOUGH_FOR_RARE: u64 = 20_000;

/// How often each kind happened.
#[derive(Clone, Debug)]
pub(crate) struct Counts([u64; Kind::ALL.len()]);

impl Default for Counts {
    fn default() -> Self {
        Self([0; Kind::ALL.len()])
    }
}

impl Counts {
    pub(crate) fn add(&mut self, kind: Kind) {
        self.0[kind as usize] += 1;
    }

    pub(crate) fn add_many(&mut self, kind: Kind, count: usize) {
        self.0[kind as usize] += count as u64;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum += more;
        }
    }

    pub(crate) fn of(&self, kind: Kind) -> u64 {
        self.0[kind as usize]
    }

    /// What never happened in so many histories, though it was to be expected.
    pub(crate) fn missing(&self, histories: u64) -> Vec<&'static str> {
        let is_expected = |kind| histories >= ENOUGH_FOR_RARE || !RARE.contains(kind);
        let all = Kind::ALL.iter();
        all.filter(|(kind, _)| self.of(*kind) == 0 && is_expected(kind))
            .map(|(_, text)| *text)
            .collect()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, text) in Kind::ALL {
            writeln!(f, "{:>12}  {text}", self.of(*kind))?;
        }
        Ok(())
    }
}
