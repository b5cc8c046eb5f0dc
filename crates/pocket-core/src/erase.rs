//! Erasing, and rights that end: what is kept of a document's content beside the document itself.
//!
//! The body goes with the document; here go the server's version under a pending change, the bodies that pending
//! changes were made on, and those in the journal. Entries of the journal stay. A change that is to be sent keeps its
//! own body until it is answered.

use pocket_storage::ScanLimit;
use pocket_storage::ordered::BTreeSet;

use crate::keys::{self, BodyOf, CollectionId, Target};
use crate::outbox;
use crate::stored::{self, JournalRow, Presence};
use crate::tx::Tx;
use crate::{DocumentId, Result, Revision};

/// The documents an erase is about.
pub(crate) type Erased = BTreeSet<(CollectionId, DocumentId)>;

/// What is forgotten of documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forget {
    /// All content: the document was erased for good.
    Everything,
    /// What others wrote: this user may no longer read it, but what he wrote himself is his.
    TheirParts,
}

/// Entries of the journal read at once.
const CHUNK: usize = 256;

/// Forgets the content of erased documents, but for entries of the journal that the running job wrote: an erase is sent
/// when nothing is pending before it, so they are of changes behind it.
///
/// It scans the journal for bodies, which only jobs that run alone write there, so any job may call it: what others write
/// into the journal, such as entries about unique indexes, has none.
pub(crate) async fn forget_content(
    tx: &mut Tx,
    target: Target,
    erased: &Erased,
    forget: Forget,
) -> Result<()> {
    forget_beside(tx, target, erased, forget).await?;
    forget_in_journal(tx, erased, forget).await
}

/// As [`forget_content`], but for the journal.
pub(crate) async fn forget_beside(
    tx: &mut Tx,
    target: Target,
    erased: &Erased,
    forget: Forget,
) -> Result<()> {
    if crate::mutants::active("pocket-mutant:erase-keeps-content") {
        return Ok(());
    }
    for (collection, id) in erased {
        let document = outbox::load_document(tx, *collection, id).await?;
        let Some(head) = document.map(|document| document.head) else {
            continue;
        };
        let on_server = head.server.map(|server| server.presence);
        let gone = forget == Forget::TheirParts
            || [Some(head.presence), on_server].contains(&Some(Presence::Erased));
        // A version that somebody wrote after the erase stays where it waits.
        if gone && !head.pending.is_empty() {
            tx.delete(keys::shadow(target, *collection, id));
        }
        // The base of a pending change may be the only copy of what was written there after the erase.
        let anew = head.server.and_then(|server| server.counted());
        let anew = anew.filter(|_| forget == Forget::Everything);
        for place in head.pending {
            forget_base(tx, target, place, (*collection, id), anew).await?;
        }
    }
    Ok(())
}

/// As [`forget_content`], in the journal alone.
pub(crate) async fn forget_in_journal(tx: &mut Tx, erased: &Erased, forget: Forget) -> Result<()> {
    let keeps = crate::mutants::active("pocket-mutant:erase-keeps-content");
    if erased.is_empty() || tx.state().last_journal == 0 || keeps {
        return Ok(());
    }
    let mut range = keys::journal_after(None);
    loop {
        let rows = tx.scan(range.clone(), ScanLimit::entries(CHUNK)).await?;
        let Some((last, _)) = rows.last() else {
            return Ok(());
        };
        range = range.after(last.clone());
        for (key, payload) in &rows {
            let number = keys::trailing_number(key)
                .ok_or_else(|| stored::damaged("a journal key is too short"))?;
            forget_entry(tx, number, &stored::decode(payload)?, erased, forget);
        }
    }
}

async fn forget_base(
    tx: &mut Tx,
    target: Target,
    place: crate::Place,
    (collection, id): (CollectionId, &DocumentId),
    anew: Option<Revision>,
) -> Result<()> {
    let mut row = outbox::load_row(tx, target, place).await?;
    let mut changed = false;
    for (index, change) in (0..).zip(&mut row.changes) {
        let is_erased = change.collection() == collection && change.id == *id;
        let is_older = anew.is_none() || change.base != anew;
        if is_erased && is_older && std::mem::take(&mut change.has_base_body) {
            tx.delete(keys::outbox_body(target, place, index, BodyOf::Base));
            changed = true;
        }
    }
    if changed {
        tx.put(keys::outbox(target, place), &[&stored::encode(&row)]);
    }
    Ok(())
}

fn forget_entry(tx: &mut Tx, number: u64, row: &JournalRow, erased: &Erased, forget: Forget) {
    let which = match forget {
        Forget::Everything => &[BodyOf::Local, BodyOf::Base, BodyOf::Remote][..],
        Forget::TheirParts => &[BodyOf::Base, BodyOf::Remote],
    };
    for (index, change) in (0..).zip(&row.changes) {
        if erased.contains(&(change.collection(), change.id.clone())) {
            for which in which {
                tx.delete(keys::journal_body(number, index, *which));
            }
        }
    }
}
