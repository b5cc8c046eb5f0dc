//! Erases that were refused: nothing is left here to go back to.

use pocket_storage::ordered::BTreeMap;

use super::erases;
use crate::damage::Server;
use crate::keys::{self, CollectionId, Target};
use crate::outbox::Slot;
use crate::replica::resync;
use crate::stored::{ChangeRow, StoredDocument, TargetRow};
use crate::tx::Tx;
use crate::{DocumentId, Result, Seq};

/// The documents of erases that were refused, each with the place at which the server is known to have it.
#[derive(Default)]
pub(super) struct Unerased(BTreeMap<(CollectionId, DocumentId), Seq>);

impl Unerased {
    /// Adds the documents that a mutation would have erased. To be called before they go back to what the server has,
    /// which may leave nothing that tells its place.
    pub(super) async fn add(&mut self, tx: &mut Tx, changes: &[ChangeRow]) -> Result<()> {
        for (collection, id) in erases(changes) {
            let slot = Slot::recover(tx, collection, &id, Server::ReadAgain).await?;
            let server = slot.after.and_then(|document| document.head.server);
            let place = server.map_or(Seq::ZERO, |server| server.seq);
            self.0.insert((collection, id), place);
        }
        Ok(())
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
