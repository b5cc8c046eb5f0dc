//! The bytes of what carries records: a page, and the answer to a fetch.

use bytes::Bytes;
use pocket_core::{ClientId, CollectionName, Epoch, Seq};

use super::push::client_id;
use super::reader::{Reader, required};
use super::record::document_id;
use super::writer::Writer;
use super::{check_count, collection_name};
use crate::{Page, ProtocolError, RecordSet, Records, Removal};

type Result<T> = std::result::Result<T, ProtocolError>;

pub(super) fn encode(page: &Page) -> Bytes {
    let removals = usize::from(!page.removals.is_empty());
    let optional = usize::from(page.resync)
        + usize::from(page.joining.is_some())
        + removals
        + usize::from(page.digest.is_some());
    let capacity = 160 + set_capacity(&page.set) + 288 * page.removals.len();
    let mut w = Writer::message(capacity, "page", 9 + optional);
    w.field("i").u32(page.id);
    w.field("q").bin(page.epoch.as_bytes());
    w.field("b").u64(page.start.get());
    w.field("e").u64(page.end.get());
    w.field("h").u64(page.head.get());
    w.optional("z", page.resync.then_some(true), Writer::bool);
    w.optional("j", page.joining.as_ref(), |w, name| w.text(name.as_str()));
    encode_set(&mut w, &page.set);
    w.optional(
        "x",
        (removals > 0).then_some(&page.removals),
        |w, removals| {
            w.list(removals, |w, removal| {
                w.array(4);
                w.u32(removal.collection);
                w.text(removal.id.as_str());
                w.u64(removal.seq.get());
                w.nil();
            });
        },
    );
    w.optional("g", page.digest.as_deref(), Writer::bin);
    w.finish()
}

pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Page> {
    let (mut id, mut epoch, mut start, mut end, mut head) = (None, None, None, None, None);
    let (mut resync, mut joining, mut removals, mut digest) = (false, None, Vec::new(), None);
    let mut set = SetFields::default();
    reader.fields("page", |name, r| {
        match name {
            "i" => id = Some(r.u32("the id")?),
            "q" => epoch = Some(Epoch::from_bytes(r.sixteen("the epoch")?)),
            "b" => start = Some(Seq::new(r.u64("the start")?)),
            "e" => end = Some(Seq::new(r.u64("the end")?)),
            "h" => head = Some(Seq::new(r.u64("the head")?)),
            "z" => resync = r.optional(|r| r.bool("the resync flag"))?.unwrap_or(false),
            "j" => joining = r.optional(collection_name)?,
            "x" => {
                let list = r.optional(|r| r.list("the removals", decode_removal))?;
                removals = list.unwrap_or_default();
            }
            "g" => digest = r.optional(|r| r.bin("the digest"))?,
            _ => return set.field(name, r),
        }
        Ok(true)
    })?;
    let page = Page {
        id: required(id, "page", "i")?,
        epoch: required(epoch, "page", "q")?,
        start: required(start, "page", "b")?,
        end: required(end, "page", "e")?,
        head: required(head, "page", "h")?,
        resync,
        joining,
        set: set.finish("page")?,
        removals,
        digest,
    };
    if page.start > page.end || page.end > page.head {
        return Err(ProtocolError::bad_frame(format!(
            "a page from {} to {} of a feed that ends at {}",
            page.start, page.end, page.head
        )));
    }
    Ok(page)
}

fn decode_removal(reader: &mut Reader<'_>) -> Result<Removal> {
    reader.fixed("a removal", 4)?;
    let collection = reader.u32("a collection's index")?;
    let id = document_id(reader)?;
    let seq = Seq::new(reader.u64("a removal's place")?);
    reader.later()?;
    Ok(Removal {
        collection,
        id,
        seq,
    })
}

pub(super) fn encode_records(records: &Records) -> Bytes {
    let mut w = Writer::message(96 + set_capacity(&records.set), "records", 7);
    w.field("i").u32(records.id);
    w.field("q").bin(records.epoch.as_bytes());
    w.field("h").u64(records.head.get());
    encode_set(&mut w, &records.set);
    w.finish()
}

pub(super) fn decode_records(reader: &mut Reader<'_>) -> Result<Records> {
    let (mut id, mut epoch, mut head) = (None, None, None);
    let mut set = SetFields::default();
    reader.fields("records", |name, r| {
        match name {
            "i" => id = Some(r.u32("the id")?),
            "q" => epoch = Some(Epoch::from_bytes(r.sixteen("the epoch")?)),
            "h" => head = Some(Seq::new(r.u64("the head")?)),
            _ => return set.field(name, r),
        }
        Ok(true)
    })?;
    Ok(Records {
        id: required(id, "records", "i")?,
        epoch: required(epoch, "records", "q")?,
        head: required(head, "records", "h")?,
        set: set.finish("records")?,
    })
}

/// The four fields of records, in the order that lets a reader go through them once.
fn encode_set(w: &mut Writer, set: &RecordSet) {
    w.field("c")
        .list(&set.collections, |w, name| w.text(name.as_str()));
    w.field("r")
        .list(&set.clients, |w, client| w.bin(client.as_bytes()));
    w.field("o").list(&set.heads, |w, (collection, client)| {
        w.array(2);
        w.u32(*collection);
        w.u32(*client);
    });
    w.field("d").list(&set.data, |w, bytes| w.bin(bytes));
}

fn set_capacity(set: &RecordSet) -> usize {
    set.collections
        .iter()
        .map(|name| 2 + name.as_str().len())
        .sum::<usize>()
        + 18 * set.clients.len()
        + 11 * set.heads.len()
        + set.data.iter().map(|bytes| 5 + bytes.len()).sum::<usize>()
}

#[derive(Default)]
struct SetFields {
    collections: Option<Vec<CollectionName>>,
    clients: Option<Vec<ClientId>>,
    heads: Option<Vec<(u32, u32)>>,
    data: Option<Vec<Bytes>>,
}

impl SetFields {
    fn field(&mut self, name: &str, r: &mut Reader<'_>) -> Result<bool> {
        match name {
            "c" => self.collections = Some(r.list("the collections", collection_name)?),
            "r" => self.clients = Some(r.list("the clients", client_id)?),
            "o" => {
                let head = |r: &mut Reader<'_>| {
                    r.fixed("a head", 2)?;
                    Ok((r.u32("a collection's index")?, r.u32("a client's index")?))
                };
                self.heads = Some(r.list("the heads", head)?);
            }
            "d" => self.data = Some(r.list("the records", |r| r.bin("a record"))?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn finish(self, message: &str) -> Result<RecordSet> {
        let set = RecordSet {
            collections: required(self.collections, message, "c")?,
            clients: required(self.clients, message, "r")?,
            heads: required(self.heads, message, "o")?,
            data: required(self.data, message, "d")?,
        };
        check_count(set.data.len())?;
        if set.heads.len() != set.data.len() {
            return Err(ProtocolError::bad_frame(format!(
                "{} heads for {} records",
                set.heads.len(),
                set.data.len()
            )));
        }
        Ok(set)
    }
}
