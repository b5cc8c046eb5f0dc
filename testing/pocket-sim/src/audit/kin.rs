//! Devices whose stores were one store once.

use super::{Audit, State, Write, WriteId};

impl Audit {
    /// A device was made from the store of another one.
    pub(crate) fn copied(&mut self, from: usize, to: usize) {
        self.doubles = true;
        self.origins.insert(to, self.origin(from));
        // Both have written what the store holds.
        let of_both =
            |(client, key): &(usize, super::DocKey)| (*client == from).then(|| (to, key.clone()));
        let open: Vec<_> = self.open.iter().filter_map(of_both).collect();
        self.open.extend(open);
        // What is being written is in the copy, or is not.
        let planned = self
            .writes
            .values()
            .filter(|write| write.client == from && write.state == State::Planned);
        let planned: Vec<_> = planned.map(|write| (to, write.document.clone())).collect();
        let newest = self.newest.iter();
        let newest: Vec<_> = newest
            .filter_map(|(own, id)| Some((of_both(own)?, *id)))
            .collect();
        self.newest.extend(newest);
        self.open.extend(planned);
    }

    /// Whether a delete took back what was never sent from there: a copy of that device sends it all the same, or the
    /// device had done so before it was restored, as somebody who had not heard of it. What somebody else had a part in came
    /// from the server, and its delete is everybody's affair.
    pub(crate) fn is_local_affair(&self, id: WriteId, write: &Write) -> bool {
        let is_copied = || {
            let origin = self.origin(write.client);
            self.origins.values().any(|other| *other == origin)
        };
        let is_restored = self.restored.contains(&write.client);
        let is_own = |made: &WriteId| {
            let made = self.writes.get(made);
            made.is_some_and(|made| self.are_kin(made.client, write.client))
        };
        !write.kind.puts()
            && !self.sent.contains(&id)
            && (is_restored || is_copied())
            && self.made_of(id).iter().all(is_own)
    }

    fn origin(&self, client: usize) -> usize {
        self.origins.get(&client).copied().unwrap_or(client)
    }

    /// Whether two devices go back to one store; each is its own kin.
    pub(crate) fn are_kin(&self, one: usize, other: usize) -> bool {
        self.origin(one) == self.origin(other)
    }
}
