//! The bytes of a push.

use bytes::Bytes;
use pocket_core::{ClientId, Hlc, MutationNumber};

use super::check_push_size;
use super::reader::{Reader, required};
use super::writer::Writer;
use crate::{ProtocolError, Push, PushChange, PushChangeKind, PushContent, TableBase};

type Result<T> = std::result::Result<T, ProtocolError>;

const CHANGES: u64 = 0;
const WITHDRAWN: u64 = 1;

const PUT: u64 = 0;
const DELETE: u64 = 1;
const ERASE: u64 = 2;

pub(super) fn encode(push: &Push) -> Bytes {
    let mut w = Writer::message(capacity(push), "push", 6);
    w.field("i").u32(push.id);
    w.field("k").u64(push.confirmed.get());
    w.field("f").u64(push.first.get());
    w.field("c").list(&push.collections, |w, name| w.text(name));
    w.field("r")
        .list(&push.clients, |w, client| w.bin(client.as_bytes()));
    w.field("m").list(&push.mutations, |w, content| {
        w.array(3);
        match content {
            PushContent::Changes(changes) => {
                w.u64(CHANGES);
                w.list(changes, encode_change);
            }
            PushContent::Withdrawn => {
                w.u64(WITHDRAWN);
                w.array(0);
            }
        }
        w.nil();
    });
    w.finish()
}

fn encode_change(w: &mut Writer, change: &PushChange) {
    w.array(7);
    w.u32(change.collection);
    w.text(&change.id);
    w.u64(change.hlc.bits());
    match change.base {
        None => w.nil(),
        Some(base) => {
            w.array(2);
            w.u64(base.hlc.bits());
            w.u32(base.client);
        }
    }
    let (kind, body) = match &change.kind {
        PushChangeKind::Put(body) => (PUT, Some(body)),
        PushChangeKind::Delete => (DELETE, None),
        PushChangeKind::Erase => (ERASE, None),
    };
    w.u64(kind);
    match body {
        Some(body) => w.bin(body),
        None => w.nil(),
    }
    w.nil();
}

/// Enough for all of it, so that the buffer never grows.
fn capacity(push: &Push) -> usize {
    let changes: usize = push
        .mutations
        .iter()
        .map(|content| match content {
            PushContent::Withdrawn => 0,
            PushContent::Changes(changes) => changes
                .iter()
                .map(|change| match &change.kind {
                    PushChangeKind::Put(body) => 48 + change.id.len() + body.len(),
                    PushChangeKind::Delete | PushChangeKind::Erase => 48 + change.id.len(),
                })
                .sum(),
        })
        .sum();
    64 + 9 * push.mutations.len()
        + 18 * push.clients.len()
        + push
            .collections
            .iter()
            .map(|name| 5 + name.len())
            .sum::<usize>()
        + changes
}

pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Push> {
    let (mut id, mut confirmed, mut first) = (None, None, None);
    let (mut collections, mut clients, mut mutations) = (None, None, None);
    reader.fields("push", |name, r| {
        match name {
            "i" => id = Some(r.u32("the id")?),
            "k" => confirmed = Some(MutationNumber::new(r.u64("the confirmed number")?)),
            "f" => first = Some(MutationNumber::new(r.u64("the first number")?)),
            "c" => {
                let text = |r: &mut Reader<'_>| r.text("a collection's name").map(str::to_owned);
                collections = Some(r.list("the collections", text)?);
            }
            "r" => clients = Some(r.list("the clients", client_id)?),
            "m" => mutations = Some(r.list("the mutations", decode_mutation)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let push = Push {
        id: required(id, "push", "i")?,
        confirmed: required(confirmed, "push", "k")?,
        first: required(first, "push", "f")?,
        collections: required(collections, "push", "c")?,
        clients: required(clients, "push", "r")?,
        mutations: required(mutations, "push", "m")?,
    };
    check_push_size(&push)?;
    Ok(push)
}

pub(super) fn client_id(reader: &mut Reader<'_>) -> Result<ClientId> {
    reader.sixteen("a client id").map(ClientId::from_bytes)
}

fn decode_mutation(reader: &mut Reader<'_>) -> Result<PushContent> {
    reader.fixed("a mutation", 3)?;
    let kind = reader.u64("a mutation's kind")?;
    let changes = reader.list("a mutation's changes", decode_change)?;
    reader.later()?;
    match kind {
        CHANGES => Ok(PushContent::Changes(changes)),
        WITHDRAWN if changes.is_empty() => Ok(PushContent::Withdrawn),
        WITHDRAWN => Err(ProtocolError::bad_frame(
            "a withdrawn mutation with changes",
        )),
        other => Err(ProtocolError::bad_frame(format!(
            "{other} is no kind of a mutation"
        ))),
    }
}

fn decode_change(reader: &mut Reader<'_>) -> Result<PushChange> {
    reader.fixed("a change", 7)?;
    let collection = reader.u32("a collection's index")?;
    let id = reader.text("a document's id")?.to_owned();
    let hlc = Hlc::from_bits(reader.u64("a revision's clock")?);
    let base = reader.optional(|reader| {
        reader.fixed("a base", 2)?;
        let hlc = Hlc::from_bits(reader.u64("a base's clock")?);
        Ok(TableBase {
            hlc,
            client: reader.u32("a client's index")?,
        })
    })?;
    let kind = reader.u64("a change's kind")?;
    let body = reader.optional(|reader| reader.bin("a body"))?;
    reader.later()?;
    let kind = match (kind, body) {
        (PUT, Some(body)) => PushChangeKind::Put(body),
        (DELETE, None) => PushChangeKind::Delete,
        (ERASE, None) => PushChangeKind::Erase,
        (PUT | DELETE | ERASE, _) => {
            return Err(ProtocolError::bad_frame(
                "a body goes with a put, and only with that",
            ));
        }
        (other, _) => {
            return Err(ProtocolError::bad_frame(format!(
                "{other} is no kind of a change"
            )));
        }
    };
    Ok(PushChange {
        collection,
        id,
        hlc,
        base,
        kind,
    })
}
