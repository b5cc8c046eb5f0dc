//! Planted bugs: a simulator that was never shown a bug proves nothing.

use crate::family::Family;
use crate::swarm::Profile;

/// A planted bug.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mutant {
    /// Its name behind `pocket-mutant:`.
    pub(crate) name: &'static str,
    /// What its histories show more of, so that a short run is enough.
    pub(crate) profile: Profile,
    /// The histories that show it.
    pub(crate) family: Family,
}

const fn mutant(name: &'static str) -> Mutant {
    leaning(name, Profile::Any)
}

const fn leaning(name: &'static str, profile: Profile) -> Mutant {
    Mutant {
        name,
        profile,
        family: Family::Plain,
    }
}

const fn among(name: &'static str, family: Family) -> Mutant {
    Mutant {
        name,
        profile: Profile::Any,
        family,
    }
}

/// Every planted bug; each must be caught.
pub(crate) const MUTANTS: &[Mutant] = &[
    mutant("joins-not-read"),
    mutant("loser-not-journaled"),
    mutant("checkpoint-not-stored"),
    mutant("pull-overwrites-pending"),
    mutant("resend-skipped"),
    mutant("idle-with-outbox"),
    mutant("confirmed-before-stored"),
    mutant("no-dedup"),
    mutant("gap-accepted"),
    mutant("rejected-stops-queue"),
    mutant("half-transaction-applied"),
    mutant("base-compared-by-existence-only"),
    mutant("ack-before-commit"),
    mutant("outbox-dropped-when-sent"),
    mutant("number-given-without-durability"),
    mutant("resend-changes-content"),
    mutant("tombstone-ignored"),
    mutant("conflict-resolved-before-outcome"),
    mutant("half-transaction-repushed"),
    mutant("erase-keeps-content"),
    mutant("withdrawn-counts-as-done"),
    mutant("pass-ends-at-an-older-head"),
    mutant("lost-delete-not-journaled"),
    mutant("refusal-not-journaled"),
    mutant("tombstone-loses-in-silence"),
    mutant("older-record-replaces-newer"),
    leaning("stale-page-accepted", Profile::ReadsAgain),
    leaning("echo-suppressed-always", Profile::Forgets),
    leaning("relaxed-store-confirms", Profile::Relaxed),
    leaning("erase-overtakes", Profile::Erases),
    leaning("token-forgotten", Profile::Lossy),
    leaning("copies-unnoticed", Profile::Copies),
    leaning("doubt-is-done", Profile::Restores),
    leaning("epoch-by-name-only", Profile::Forks),
    leaning("horizon-ignored", Profile::Forgets),
    leaning("places-compared-across-histories", Profile::Forks),
    leaning("tombstones-left-out-to-the-head", Profile::SlowReading),
    leaning("removal-not-sent", Profile::Rights),
    leaning("label-filter-forgotten", Profile::Rights),
    leaning("rights-change-unnoticed", Profile::ChangedRights),
    leaning("unreadable-overwritten", Profile::Rights),
    leaning("pass-ends-before-a-sweep", Profile::ReadsAgain),
    leaning("resync-not-asked-again", Profile::LostReading),
    leaning("unknown-commit-not-told", Profile::Unheard),
    leaning("erased-loss-not-journaled", Profile::Erases),
    leaning("unseen-loss-not-journaled", Profile::Forgets),
    leaning("unseen-edit-comes-back", Profile::Forgets),
    leaning("lost-by-server-dropped", Profile::Forks),
    leaning("deletes-in-doubt-dropped", Profile::Copies),
    leaning("doubt-lost-in-silence", Profile::Restores),
    leaning("revoked-loss-not-journaled", Profile::ChangedRights),
    among("blind-writer-forgotten", Family::Rules),
    among("expired-loss-not-journaled", Family::Expiry),
    among("expiry-by-own-clock", Family::Expiry),
    among("migration-counts-as-edit", Family::Schemas),
    among("migration-not-resumed", Family::Schemas),
    among("edit-gives-way-as-a-migration", Family::Schemas),
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
