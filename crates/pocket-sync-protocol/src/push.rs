//! A push and the mutations it stands for.

use pocket_core::storage::ordered::BTreeMap;
use pocket_core::{
    Body, Change, ChangeKind, ClientId, CollectionName, DocumentId, DocumentLimits, Error,
    Mutation, MutationContent, MutationNumber, Revision,
};

use crate::{ProtocolError, Push, PushChange, PushChangeKind, PushContent, TableBase};

/// A mutation that cannot take effect, and the rejection it deserves.
///
/// It uses up its number like any rejected mutation, and the connection goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadMutation {
    /// Its number.
    pub number: MutationNumber,
    /// The rejection code, one of [`codes::rejection`](crate::codes::rejection).
    pub code: &'static str,
    /// What is wrong, and what to do.
    pub reason: String,
}

/// A mutation of a push, or why it is rejected.
pub type PushedMutation = Result<Mutation, BadMutation>;

impl Push {
    /// The push that carries `mutations`, which are `client`'s own and contiguous from `first`.
    ///
    /// # Errors
    /// `bad-frame` when they are not, `too-large` when they are more than a push may hold: both
    /// are defects of the caller.
    pub fn build(
        id: u32,
        client: ClientId,
        first: MutationNumber,
        confirmed: MutationNumber,
        mutations: &[Mutation],
    ) -> Result<Self, ProtocolError> {
        let mut collections = Table::default();
        let mut clients = Table::default();
        let mut contents = Vec::with_capacity(mutations.len());
        let mut expected = first;
        for mutation in mutations {
            if mutation.number != expected {
                let found = mutation.number;
                return Err(ProtocolError::bad_frame(format!(
                    "mutation {found} stands where {expected} belongs"
                )));
            }
            expected = expected.next();
            contents.push(match &mutation.content {
                MutationContent::Withdrawn => PushContent::Withdrawn,
                MutationContent::Changes(changes) => {
                    let mut packed = Vec::with_capacity(changes.len());
                    for change in changes {
                        packed.push(pack(change, client, &mut collections, &mut clients)?);
                    }
                    PushContent::Changes(packed)
                }
            });
        }
        let push = Self {
            id,
            confirmed,
            first,
            collections: collections
                .into_values()
                .iter()
                .map(ToString::to_string)
                .collect(),
            clients: clients.into_values(),
            mutations: contents,
        };
        crate::codec::check_push_size(&push)?;
        Ok(push)
    }

    /// The mutations it carries, pushed by `client`, their bodies checked against `limits`.
    ///
    /// What is wrong inside one mutation (its names, ids and bodies) is told for that mutation.
    ///
    /// # Errors
    /// `bad-frame` when an index points nowhere or the numbers leave their range.
    pub fn mutations(
        &self,
        client: ClientId,
        limits: &DocumentLimits,
    ) -> Result<Vec<PushedMutation>, ProtocolError> {
        let collections: Vec<_> = self
            .collections
            .iter()
            .map(|name| CollectionName::new(name))
            .collect();
        let mut mutations = Vec::with_capacity(self.mutations.len());
        for (place, content) in (0_u64..).zip(&self.mutations) {
            let number = self.first.get().checked_add(place).ok_or_else(|| {
                ProtocolError::bad_frame("the numbers of the push leave their range")
            })?;
            let number = MutationNumber::new(number);
            let content = match content {
                PushContent::Withdrawn => Ok(MutationContent::Withdrawn),
                PushContent::Changes(changes) => {
                    self.unpack(changes, client, &collections, limits)?
                }
            };
            mutations.push(match content {
                Ok(content) => Ok(Mutation { number, content }),
                Err(error) => Err(BadMutation {
                    number,
                    code: error.code(),
                    reason: error.to_string(),
                }),
            });
        }
        Ok(mutations)
    }

    /// The outer error ends the connection, the inner one only the mutation.
    fn unpack(
        &self,
        changes: &[PushChange],
        client: ClientId,
        collections: &[Result<CollectionName, Error>],
        limits: &DocumentLimits,
    ) -> Result<Result<MutationContent, Error>, ProtocolError> {
        let mut unpacked = Vec::with_capacity(changes.len());
        let mut bad = None;
        for change in changes {
            // Indexes are looked up behind a bad change too: that a frame is broken must not
            // depend on what else is wrong with it.
            let collection = at(collections, change.collection, "collection")?;
            let base = match change.base {
                None => None,
                Some(TableBase { hlc, client }) => {
                    Some(Revision::new(hlc, *at(&self.clients, client, "client")?))
                }
            };
            if bad.is_none() {
                match unpack(
                    change,
                    collection,
                    Revision::new(change.hlc, client),
                    base,
                    limits,
                ) {
                    Ok(change) => unpacked.push(change),
                    Err(error) => bad = Some(error),
                }
            }
        }
        Ok(bad.map_or(Ok(MutationContent::Changes(unpacked)), Err))
    }
}

fn unpack(
    change: &PushChange,
    collection: &Result<CollectionName, Error>,
    rev: Revision,
    base: Option<Revision>,
    limits: &DocumentLimits,
) -> Result<Change, Error> {
    Ok(Change {
        collection: collection.clone()?,
        id: DocumentId::new(&change.id)?,
        rev,
        base,
        kind: match &change.kind {
            PushChangeKind::Put(body) => ChangeKind::Put(Body::from_msgpack(body.clone(), limits)?),
            PushChangeKind::Delete => ChangeKind::Delete,
            PushChangeKind::Erase => ChangeKind::Erase,
        },
    })
}

fn pack(
    change: &Change,
    client: ClientId,
    collections: &mut Table<CollectionName>,
    clients: &mut Table<ClientId>,
) -> Result<PushChange, ProtocolError> {
    if change.rev.client != client {
        return Err(ProtocolError::bad_frame(format!(
            "revision {} is not one of the pushing client {client}",
            change.rev
        )));
    }
    Ok(PushChange {
        collection: collections.index(&change.collection),
        id: change.id.as_str().to_owned(),
        hlc: change.rev.hlc,
        base: change.base.map(|base| TableBase {
            hlc: base.hlc,
            client: clients.index(&base.client),
        }),
        kind: match &change.kind {
            ChangeKind::Put(body) => PushChangeKind::Put(body.clone().into_bytes()),
            ChangeKind::Delete => PushChangeKind::Delete,
            ChangeKind::Erase => PushChangeKind::Erase,
        },
    })
}

/// The entry an index names.
pub(crate) fn at<'a, T>(table: &'a [T], index: u32, what: &str) -> Result<&'a T, ProtocolError> {
    usize::try_from(index)
        .ok()
        .and_then(|index| table.get(index))
        .ok_or_else(|| {
            ProtocolError::bad_frame(format!(
                "{what} {index} is named, but the message lists only {}",
                table.len()
            ))
        })
}

/// Values listed once per message, and named by their place.
#[derive(Debug)]
pub(crate) struct Table<T> {
    values: Vec<T>,
    places: BTreeMap<T, u32>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            places: BTreeMap::new(),
        }
    }
}

impl<T: Clone + Ord> Table<T> {
    /// Its place, new ones at the end.
    pub(crate) fn index(&mut self, value: &T) -> u32 {
        if let Some(place) = self.places.get(value) {
            return *place;
        }
        let place = u32::try_from(self.values.len()).expect("a message lists at most thousands");
        self.values.push(value.clone());
        self.places.insert(value.clone(), place);
        place
    }

    pub(crate) fn contains(&self, value: &T) -> bool {
        self.places.contains_key(value)
    }

    pub(crate) fn into_values(self) -> Vec<T> {
        self.values
    }
}
