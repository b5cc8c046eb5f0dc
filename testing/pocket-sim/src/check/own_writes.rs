//! P1, P7: what a client wrote is what it shows, unless it was replaced or lost, and then its journal says so.

use crate::audit::{DocKey, Verdict, WriteId, broken};
use crate::view::{JournalView, Seen};
use crate::world::World;

impl World {
    pub(super) fn check_own_write(
        &self,
        index: usize,
        key: &DocKey,
        seen: Option<&Seen>,
        journal: &mut Option<JournalView>,
        restarted: bool,
    ) -> Verdict {
        let own = (index, key.clone());
        let Some(id) = self.audit.newest.get(&own).copied() else {
            return Ok(());
        };
        let toggled = self.clients[index].toggled && key.collection.as_str() == "late";
        // Whoever gives a document away, or loses the right to read it, shows it no longer.
        let reads = self.audit.always_read(index, key);
        if self.audit.open.contains(&own) || toggled || !reads {
            return Ok(());
        }
        let under_way = self.clients[index].up().and_then(|up| up.working.as_ref());
        if under_way.is_some_and(|operation| operation.concerns(key, &self.audit)) {
            // It may have taken effect, and has not ended yet.
            return Ok(());
        }
        let write = &self.audit.writes[&id];
        if self.audit.is_local_affair(id, write) {
            return Ok(());
        }
        // What is over is hidden, and deleted when somebody sweeps.
        let latest = self.latest_at(index);
        if self.audit.may_be_over(id, latest)
            || seen.is_some_and(|seen| self.audit.is_over(key, seen, latest))
        {
            return Ok(());
        }
        let live = seen.filter(|seen| seen.live);
        let shows = match live {
            Some(seen) if write.kind.puts() => seen.ids.contains(&id),
            // Somebody else's newer document, or one that was never deleted since it never left.
            Some(seen) => {
                let deleted = self.audit.closure([id]);
                seen.ids.iter().any(|other| !deleted.contains(other))
            }
            None => !write.kind.puts(),
        };
        if shows || self.was_superseded(key, id, seen) || self.came_back(index, key, id, seen) {
            return Ok(());
        }
        // What took effect and nobody was told of, as the server ended first, may have given it away.
        if live.is_none() && self.audit.rights.is_some() && self.audit.may_have_moved(key) {
            return Ok(());
        }
        // Or it deleted what had arrived.
        if live.is_none() && self.audit.had(key, id) && self.was_taken_away(index, key) {
            return Ok(());
        }
        if journal.is_none() {
            *journal = Some(self.journal_of(index)?);
        }
        let journaled = journal
            .as_ref()
            .is_some_and(|journal| self.has_lost(journal, key, id));
        if journaled {
            return Ok(());
        }
        let promise = if restarted { "P1" } else { "P7" };
        broken(
            promise,
            format!(
                "client {index} acknowledged write {id} ({:?}) on {key}, and shows {seen:?}; it is in no journal, and nothing newer replaced it",
                write.kind
            ),
        )
    }

    /// Whether the server applied a write and the client shows something that came later.
    fn was_superseded(&self, key: &DocKey, id: WriteId, seen: Option<&Seen>) -> bool {
        let holds = |version: &crate::audit::Version| {
            self.audit
                .writes_in(key, version.live, &version.ids, version.rev)
                .contains(&id)
        };
        // What came behind it was lost by the server, and is here still. What it was made on came before.
        let made_of = self.audit.made_of(id);
        let came_before =
            |seen: &Seen| seen.live && seen.ids.iter().all(|shown| made_of.contains(shown));
        let shows_lost =
            seen.is_some_and(|seen| self.audit.forks.has(key, seen.rev) && !came_before(seen));
        if shows_lost || self.audit.forks.superseded(key, holds) {
            return true;
        }
        let Some(versions) = self.audit.history.get(key) else {
            return false;
        };
        let first = versions
            .iter()
            .find(|(_, version)| holds(version))
            .map(|(seq, _)| *seq)
            .or_else(|| self.audit.deleted_by_another(key, id));
        if first.is_some_and(|first| self.audit.forks.lost_behind(key, first)) {
            return true;
        }
        let shown = seen.and_then(|seen| self.audit.place_of(key, seen.rev));
        match (first, shown) {
            (Some(first), Some(shown)) => shown > first,
            // What is shown is local and younger, or the deletion that came after it.
            (Some(first), None) => versions
                .last_key_value()
                .is_some_and(|(seq, _)| *seq > first),
            _ => false,
        }
    }

    /// Whether a copy of this device created anew what this one deleted: it was in doubt about that, and had read from
    /// the start, where deletions are left out. Which place the deletion got may never have been told, for the device has
    /// another id since.
    fn came_back(&self, index: usize, key: &DocKey, id: WriteId, seen: Option<&Seen>) -> bool {
        let write = &self.audit.writes[&id];
        let Some(seen) = seen.filter(|_| !write.kind.puts() && self.audit.renewed) else {
            return false;
        };
        let place = self.audit.place_of(key, seen.rev);
        let by = place.and_then(|place| self.audit.history[key][&place].by);
        let Some((client, _, None)) = by else {
            return false;
        };
        let author = self.audit.clients.get(&client);
        author.is_some_and(|author| *author != index && self.audit.are_kin(*author, index))
    }

    /// Whether a journal keeps a write as the loser.
    pub(crate) fn has_lost(&self, journal: &JournalView, key: &DocKey, id: WriteId) -> bool {
        let by_tombstone = || {
            let mut tombstones = journal.local_tombstones.iter();
            tombstones.any(|(document, rev)| {
                document == key && self.audit.tombstone(key, *rev) == Some(id)
            })
        };
        // Whose body it was cannot be seen any more; that there was an entry can.
        journal.local.contains(&id) || journal.erased.contains(key) || by_tombstone()
    }
}
