//! Changes that the server did not take: they go back, or get later revisions once the clock is right.

use super::super::resolve::{Loss, Resolution};
use crate::config::MAX_CLOCK_AHEAD_MS;
use crate::damage::Server;
use crate::expire;
use crate::journal::JournalKind;
use crate::keys::{self, CollectionId, Target};
use crate::outbox::{self, Entry, Slot};
use crate::stored::{self, Progress};
use crate::tx::Tx;
use crate::{DocumentId, Hlc, Place, Result, Revision, Timestamp, codes};

pub(super) async fn rejected(
    resolution: &mut Resolution<'_>,
    entry: Entry,
    code: &str,
    reason: &str,
) -> Result<Vec<Place>> {
    let loss = Loss {
        kind: JournalKind::Refusal,
        rule: "refused-by-server",
        code: Some(code.to_owned()),
        reason: Some(reason.to_owned()),
    };
    refused(resolution, entry, loss).await
}

pub(super) async fn withdrawn(resolution: &mut Resolution<'_>, entry: Entry) -> Result<Vec<Place>> {
    let reason = format!(
        "{} connections ended while this change was on its way, the last ones with nothing else on them; it was taken \
         back so that the others arrive. Change the document, or look at what lies between here and the server",
        entry.ended
    );
    let loss = Loss {
        kind: JournalKind::Refusal,
        rule: "withdrawn",
        code: Some(codes::WITHDRAWN.to_owned()),
        reason: Some(reason),
    };
    refused(resolution, entry, loss).await
}

/// The mutation leaves the outbox, its documents go back to the server's versions.
async fn refused(
    resolution: &mut Resolution<'_>,
    entry: Entry,
    loss: Loss<'_>,
) -> Result<Vec<Place>> {
    let (slots, remotes) = resolution.sides_of(&entry).await?;
    let expired = expire::deletions(&entry);
    let next = resolution.lose(entry, slots, remotes, loss).await?;
    for (collection, id) in expired {
        expire::give_up(resolution.tx, collection, &id).await?;
    }
    Ok(next)
}

/// The clock was ahead: it is set back, and the mutation gets new revisions and is sent again.
///
/// `server_time` is that of the server's hybrid clock, which may be ahead of its time of day.
pub(super) async fn restamp(
    resolution: &mut Resolution<'_>,
    mut entry: Entry,
    server_time: Timestamp,
) -> Result<()> {
    let tx = &mut *resolution.tx;
    tx.bound_server_time(server_time);
    // Only a clock that is ahead is set back, so restamped mutations rise among themselves.
    let limit = Timestamp::from_millis(server_time.millis().saturating_add(MAX_CLOCK_AHEAD_MS));
    if tx.state().clock > Hlc::from_time(limit) {
        // What a server accepted was no later than its limit, which moves on: a refusal that was told late knows an old one.
        let seen = tx.state().seen;
        let given = latest_given(tx, resolution.target, limit.max(seen.time())).await?;
        let clock = Hlc::from_time(server_time).max(seen).max(given);
        // It may be ahead by what the server itself accepted before its own clock went back: then it goes on.
        if clock.time() < tx.state().clock.time() {
            tx.state().clock = clock;
        }
    }
    let place = entry.place;
    for change in &mut entry.changes {
        let old = change.rev;
        change.rev = tx.next_revision();
        let mut slot = Slot::recover(tx, change.collection, &change.id, Server::ReadAgain).await?;
        let at = slot.pending().iter().position(|pending| *pending == place);
        let before = at
            .and_then(|at| at.checked_sub(1))
            .and_then(|at| slot.pending().get(at))
            .copied();
        if let Some(before) = before {
            let earlier = outbox::load(tx, resolution.target, before).await?;
            let stands_on = earlier
                .changes
                .iter()
                .find(|earlier| earlier.document() == change.document());
            change.base = stands_on.and_then(|earlier| earlier.kind.body().map(|_| earlier.rev));
        }
        let behind = at.and_then(|at| slot.pending().get(at + 1)).copied();
        if let Some(behind) = behind {
            let (old, new) = (old, change.rev);
            restand(tx, resolution.target, behind, change.document(), old, new).await?;
        } else if let Some(document) = &mut slot.after {
            // A version written since sync was switched off has a revision of its own.
            document.head.rename(old, change.rev);
        }
        slot.store(tx);
    }
    entry.acquit();
    resolution.requeue(entry).await
}

/// The clock was set back, and a revision of before took effect all the same, as the server's clock had moved on: what is
/// pending from that time may do so, too, and its revisions are not given again.
pub(in crate::replica) async fn catch_up(tx: &mut Tx, target: Target) -> Result<()> {
    let time = tx.state().clock.time();
    let given = latest_given(tx, target, time).await?;
    let clock = tx.state().clock.max(given);
    tx.state().clock = clock;
    Ok(())
}

/// The latest revision up to a time that something pending bears. A clock that was set back before has given it, and it
/// may take effect still: none of its documents may get that revision twice.
async fn latest_given(tx: &mut Tx, target: Target, limit: Timestamp) -> Result<Hlc> {
    let mut latest = Hlc::ZERO;
    for key in tx.keys(keys::outbox_from(target, Place::ZERO)).await? {
        let place = keys::trailing_number(&key)
            .ok_or_else(|| stored::damaged("a key of the outbox is too short"))?;
        let row = outbox::load_row(tx, target, Place::new(place)).await?;
        let given = row.changes.iter().map(|change| change.rev.hlc);
        let may_stand = given.filter(|hlc| hlc.time() <= limit);
        latest = may_stand.fold(latest, Hlc::max);
    }
    Ok(latest)
}

/// A later unsent change that stood on `old` stands on `new`. One that was sent never changes: it meets a conflict,
/// or is restamped itself.
async fn restand(
    tx: &mut Tx,
    target: Target,
    place: Place,
    document: (CollectionId, DocumentId),
    old: Revision,
    new: Revision,
) -> Result<()> {
    let mut entry = outbox::load(tx, target, place).await?;
    if entry.progress != Progress::Unsent {
        return Ok(());
    }
    for change in &mut entry.changes {
        if change.document() == document && change.base == Some(old) {
            change.base = Some(new);
        }
    }
    outbox::store_head(tx, target, &entry);
    Ok(())
}
