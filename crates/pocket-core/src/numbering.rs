//! Numbers: how mutations of the outbox are chosen for a push, and found again.

use bytes::Bytes;
use pocket_storage::ScanLimit;
use pocket_storage::ordered::{BTreeMap, BTreeSet};

use crate::keys::{self, CollectionId, Target};
use crate::outbox::{self, Entry};
use crate::replica::Resent;
use crate::stored::{self, ChangeRow, MutationRow, Progress, StoredKind};
use crate::tx::Tx;
use crate::{DocumentId, Mutation, MutationNumber, Place, Result};

/// How much one push may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushLimit {
    /// Changes; exceeded only by a single mutation.
    pub changes: usize,
    /// Bytes of ids and bodies; exceeded only by a single mutation.
    pub bytes: usize,
}

impl PushLimit {
    /// Whether an entry still fits, and if so, what is left behind it.
    fn take(&mut self, entry: &Entry, is_first: bool) -> bool {
        let (changes, bytes) = (entry.changes.len(), entry.size());
        let fits = changes <= self.changes && bytes <= self.bytes;
        if fits || is_first {
            self.changes = self.changes.saturating_sub(changes);
            self.bytes = self.bytes.saturating_sub(bytes);
        }
        fits || is_first
    }
}

/// What got its number, and what did not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pinned {
    /// The mutations that have a number now, in its order.
    pub mutations: Vec<Mutation>,
    /// Mutations passed over because the scope leaves a collection of theirs out, or because they stand on such a
    /// one. Of the whole outbox, unless the limit was reached before its end.
    pub left_out: u64,
}

/// Rows read from the outbox at once.
const CHUNK: usize = 256;

/// Gives the next unsent mutations their numbers, but for those that touch a collection of `left_out`.
pub(crate) async fn pin(
    tx: &mut Tx,
    target: Target,
    last_number: &mut MutationNumber,
    left_out: BTreeSet<CollectionId>,
    mut limit: PushLimit,
) -> Result<Pinned> {
    let mut pinned = Pinned::default();
    let mut beyond = Beyond::new(left_out);
    let mut held = waiting(tx, target).await?;
    let mut range = keys::outbox_from(target, Place::ZERO);
    loop {
        let Some(rows) = outbox::page(tx, target, &mut range, CHUNK).await? else {
            return Ok(pinned);
        };
        let mut unsent = unsent(&rows)?;
        unsent.retain(|(place, row)| !beyond.takes(*place, row));
        pinned.left_out = beyond.count;
        read_bodies_ahead(tx, target, &unsent, limit).await?;
        for (place, row) in unsent {
            if must_wait(tx, place, &row, &held).await? {
                hold(&mut held, place, &row);
                continue;
            }
            let mut entry = outbox::from_row(tx, target, place, row).await?;
            if !limit.take(&entry, pinned.mutations.is_empty()) {
                return Ok(pinned);
            }
            *last_number = last_number.next();
            entry.progress = Progress::Pinned(*last_number);
            outbox::store_head(tx, target, &entry);
            tx.put_row(keys::number(target, *last_number), &place);
            pinned.mutations.push(entry.to_mutation(tx, *last_number)?);
            if crate::mutants::active("pocket-mutant:outbox-dropped-when-sent") {
                outbox::drop_sent(tx, target, &entry).await?;
            }
        }
        if limit.changes == 0 || limit.bytes == 0 {
            return Ok(pinned);
        }
    }
}

/// Unsent mutations that touch a collection of `left_out`, or stand on one that does.
pub(crate) async fn count_left_out(
    tx: &mut Tx,
    target: Target,
    left_out: BTreeSet<CollectionId>,
) -> Result<u64> {
    let mut beyond = Beyond::new(left_out);
    if beyond.collections.is_empty() {
        return Ok(0);
    }
    let mut range = keys::outbox_from(target, Place::ZERO);
    loop {
        let Some(rows) = outbox::page(tx, target, &mut range, CHUNK).await? else {
            return Ok(beyond.count);
        };
        for (place, row) in unsent(&rows)? {
            beyond.takes(place, &row);
        }
    }
}

/// The part of the outbox that the scope leaves out.
struct Beyond {
    collections: BTreeSet<CollectionId>,
    held: Held,
    count: u64,
}

impl Beyond {
    fn new(collections: BTreeSet<CollectionId>) -> Self {
        Self {
            collections,
            held: Held::new(),
            count: 0,
        }
    }

    /// Whether an unsent mutation belongs to it; they are asked about in the order of their places.
    ///
    /// What stands on one of them does too: its base is a version that the server will not have.
    fn takes(&mut self, place: Place, row: &MutationRow) -> bool {
        if self.collections.is_empty() {
            return false;
        }
        let touches = documents(row).any(|document| {
            self.collections.contains(&document.0) || self.held.contains_key(&document)
        });
        if touches {
            hold(&mut self.held, place, row);
            self.count += 1;
        }
        touches
    }
}

fn documents(row: &MutationRow) -> impl Iterator<Item = (CollectionId, DocumentId)> {
    let of = |change: &ChangeRow| (CollectionId(change.collection), change.id.clone());
    row.changes.iter().map(of)
}

/// Documents, each with the first mutation that keeps later ones back.
type Held = BTreeMap<(CollectionId, DocumentId), Place>;

fn hold(held: &mut Held, place: Place, row: &MutationRow) {
    for document in documents(row) {
        held.entry(document).or_insert(place);
    }
}

/// The documents of mutations that met a conflict and are not decided yet.
async fn waiting(tx: &mut Tx, target: Target) -> Result<Held> {
    let range = keys::all_waiting(target);
    let rows = tx
        .scan(range, ScanLimit::entries(usize::MAX).bytes(usize::MAX))
        .await?;
    let mut held = Held::new();
    for (key, _) in rows {
        let place = keys::trailing_number(&key)
            .ok_or_else(|| stored::damaged("a waiting key is too short"))?;
        let place = Place::new(place);
        hold(
            &mut held,
            place,
            &outbox::load_row(tx, target, place).await?,
        );
    }
    Ok(held)
}

/// Whether an unsent mutation has to stay behind earlier ones of its documents.
///
/// What stands on a mutation that met a conflict would meet one, too, and keep it from being decided. An erase names no
/// base, so nothing would keep it from overtaking an earlier change that meets a conflict and is sent again.
async fn must_wait(tx: &mut Tx, place: Place, row: &MutationRow, held: &Held) -> Result<bool> {
    let is_held = |document| held.get(&document).is_some_and(|earlier| *earlier < place);
    if !held.is_empty() && documents(row).any(is_held) {
        return Ok(true);
    }
    let erases = row
        .changes
        .iter()
        .filter(|change| change.kind == StoredKind::Erase);
    for change in erases {
        if crate::mutants::active("pocket-mutant:erase-overtakes") {
            break;
        }
        let collection = CollectionId(change.collection);
        let document = outbox::load_document(tx, collection, &change.id).await?;
        if document.is_some_and(|document| document.head.pending.first() != Some(&place)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads the bodies of as many mutations as may fit, in one call to the store.
async fn read_bodies_ahead(
    tx: &mut Tx,
    target: Target,
    unsent: &[(Place, MutationRow)],
    limit: PushLimit,
) -> Result<()> {
    let Some((first, _)) = unsent.first() else {
        return Ok(());
    };
    let mut changes = 0;
    let fits = |(_, row): &&(Place, MutationRow)| {
        changes += row.changes.len();
        changes <= limit.changes
    };
    let rows = unsent.iter().take_while(fits);
    let changes = rows.flat_map(|(_, row)| &row.changes);
    let bodies = changes.map(|change| 1 + usize::from(change.has_base_body));
    let count = ScanLimit::entries(bodies.sum()).bytes(limit.bytes);
    tx.scan_ahead(keys::outbox_bodies_from(target, *first), count)
        .await
}

fn unsent(rows: &[(Vec<u8>, Bytes)]) -> Result<Vec<(Place, MutationRow)>> {
    let mut unsent = Vec::new();
    for (key, payload) in rows {
        // Before them lie those on their way, which each pin passes over.
        if !MutationRow::is_unsent(payload)? {
            continue;
        }
        let place = keys::trailing_number(key)
            .ok_or_else(|| stored::damaged("a key of the outbox is too short"))?;
        unsent.push((Place::new(place), stored::decode(payload)?));
    }
    Ok(unsent)
}

/// The numbered mutations from `from` on whose outcome is unknown, as they were sent first.
pub(crate) async fn resend(
    tx: &mut Tx,
    target: Target,
    from: MutationNumber,
    mut limit: PushLimit,
) -> Result<Resent> {
    let mut resent = Resent::default();
    let rows = tx
        .scan(
            keys::numbers_from(target, from),
            ScanLimit::entries(limit.changes.max(1)),
        )
        .await?;
    for (key, payload) in rows {
        let number = keys::trailing_number(&key)
            .ok_or_else(|| stored::damaged("a key of numbers is too short"))?;
        let number = MutationNumber::new(number);
        let place = stored::decode(&payload)?;
        let row = outbox::load_row(tx, target, place).await?;
        let suspect = row.is_suspect();
        let mut entry = outbox::from_row(tx, target, place, row).await?;
        if !limit.take(&entry, resent.mutations.is_empty()) {
            break;
        }
        if crate::mutants::active("pocket-mutant:resend-changes-content") {
            for change in &mut entry.changes {
                change.rev = tx.next_revision();
            }
        }
        resent.mutations.push(entry.to_mutation(tx, number)?);
        resent.suspects.extend(suspect.then_some(number));
    }
    Ok(resent)
}
