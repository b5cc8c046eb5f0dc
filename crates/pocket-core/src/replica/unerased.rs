//! Erases that did not take effect: nothing is left here to go back to.

use pocket_storage::ordered::BTreeMap;

use super::resync;
use crate::damage::Server;
use crate::erase::Erased;
use crate::keys::{self, CollectionId, Target};
use crate::outbox::Slot;
use crate::stored::{Presence, StoredDocument, TargetRow};
use crate::tx::Tx;
use crate::{DocumentId, Result, Seq};

/// The documents of erases that lost, whatever they lost by, each with the place at which the server is known to have it.
#[derive(Debug, Default)]
pub(super) struct Unerased(BTreeMap<(CollectionId, DocumentId), Seq>);

impl Unerased {
    /// Adds a document whose erase loses, unless the server is known not to show it. To be called before it goes back to what
    /// the server has, which may leave nothing that tells its place.
    pub(super) fn add(&mut self, slot: &Slot) {
        let document = slot.after.as_ref();
        let server = document.and_then(|document| document.head.server);
        let is_shown = server.is_none_or(|server| server.presence == Presence::Live);
        if is_shown {
            let place = server.map_or(Seq::ZERO, |server| server.seq);
            self.0.insert((slot.collection, slot.id.clone()), place);
        }
    }

    /// These may not be read any more, so that no reading shows them.
    pub(super) fn pass_over(&mut self, hidden: &Erased) {
        self.0.retain(|document, _| !hidden.contains(document));
    }

    /// Has their collections read from the start. That shows what stands up to the checkpoint. What took effect from here
    /// behind it is shown by no reading on, since a server does not send a session back what it pushed, so then everything
    /// is read again.
    pub(super) async fn read_again(
        &self,
        tx: &mut Tx,
        target: Target,
        row: &mut TargetRow,
    ) -> Result<()> {
        let mut is_behind = false;
        for ((collection, id), place) in &self.0 {
            let mut slot = Slot::recover(tx, *collection, id, Server::ReadAgain).await?;
            // An earlier edit took effect behind the erase's back: what is shown is the server's version, body and all.
            let is_whole = |document: &StoredDocument| {
                let server = document.head.server.map(|server| server.rev);
                document.body.is_some() && server == Some(document.head.rev)
            };
            let went_back = slot.pending().is_empty() && slot.after.as_ref().is_some_and(is_whole);
            is_behind |= !went_back && *place > row.checkpoint.seq;
            if let (false, Some(document)) = (went_back, &mut slot.after) {
                // Written anew meanwhile. The version that is known of the server has no body here: it is to come again.
                document.head.server = None;
                tx.delete(keys::shadow(target, *collection, id));
                slot.store(tx);
            }
            let name = tx.registry().name(*collection)?;
            if row.checkpoint.epoch.is_some() {
                let joining = &mut row.checkpoint.joining;
                joining.retain(|(other, _)| *other != name);
                joining.push((name, Seq::ZERO));
            }
        }
        if is_behind {
            resync::begin(tx, target, row, None).await?;
        }
        Ok(())
    }
}
