//! Planted bugs: a simulator that was never shown a bug proves nothing.

/// Every planted bug, by its name behind `pocket-mutant:`.
pub(crate) const MUTANTS: &[&str] = &[
    "joins-not-read",
    "loser-not-journaled",
    "checkpoint-not-stored",
    "pull-overwrites-pending",
    "resend-skipped",
    "idle-with-outbox",
    "confirmed-before-stored",
    "no-dedup",
    "gap-accepted",
    "rejected-stops-queue",
    "half-transaction-applied",
    "base-compared-by-existence-only",
    "ack-before-commit",
    "outbox-dropped-when-sent",
    "number-given-without-durability",
    "resend-changes-content",
    "tombstone-ignored",
    "conflict-resolved-before-outcome",
    "half-transaction-repushed",
    "erase-keeps-content",
    "withdrawn-counts-as-done",
];

/// Planted bugs that take more histories than a short run has, a sharper generator, or faults that are not there yet
/// (stores that are copied or restored, deletions that are forgotten): run them one by one with
/// `mutants --only NAME --histories N`. None of them counts as caught.
pub(crate) const RARE: &[&str] = &[
    "stale-page-accepted",
    "echo-suppressed-always",
    "relaxed-store-confirms",
    "erase-overtakes",
    "token-forgotten",
    "copies-unnoticed",
    "doubt-is-done",
    "epoch-by-name-only",
    "horizon-ignored",
    "places-compared-across-histories",
    "tombstones-left-out-to-the-head",
];

/// Makes this thread run with a planted bug.
#[cfg(feature = "mutants")]
pub(crate) fn plant(name: Option<&str>) {
    let marked = name.map(|name| format!("pocket-mutant:{name}"));
    pocket_core::mutants::plant(marked.as_deref());
}

/// There are none in this build.
#[cfg(not(feature = "mutants"))]
pub(crate) const fn plant(_name: Option<&str>) {}
