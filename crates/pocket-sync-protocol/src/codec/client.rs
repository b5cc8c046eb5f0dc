//! The bytes of what a client says.

use bytes::Bytes;
use pocket_core::{ClientId, Epoch, Seq, SessionToken, Timestamp};

use super::reader::{Reader, required};
use super::record::document_id;
use super::writer::Writer;
use super::{check_count, collection_name, push};
use crate::limits::MAX_TEXT_BYTES;
use crate::push::{Table, at};
use crate::{
    ClientMessage, Direction, Fetch, Hello, HelloCheckpoint, More, Ping, ProtocolError, Pull,
    VersionRange,
};

type Result<T> = std::result::Result<T, ProtocolError>;

const BOTH_WAYS: u64 = 0;
const ONLY_PUSH: u64 = 1;
const ONLY_PULL: u64 = 2;

pub(super) fn encode(message: &ClientMessage) -> Bytes {
    match message {
        ClientMessage::Hello(hello) => encode_hello(hello),
        ClientMessage::Push(push) => push::encode(push),
        ClientMessage::Pull(pull) => encode_pull(pull),
        ClientMessage::More(more) => {
            let mut w = Writer::message(32, "more", 2);
            w.field("i").u32(more.id);
            w.field("a").u64(more.applied.get());
            w.finish()
        }
        ClientMessage::Fetch(fetch) => encode_fetch(fetch),
        ClientMessage::Ping(ping) => {
            let mut w = Writer::message(32, "ping", 1 + usize::from(ping.time.is_some()));
            w.field("i").u32(ping.id);
            w.optional("t", ping.time, |w, time| w.i64(time.millis()));
            w.finish()
        }
    }
}

pub(super) fn decode(name: &str, reader: &mut Reader<'_>) -> Result<Option<ClientMessage>> {
    Ok(Some(match name {
        "hello" => decode_hello(reader)?.into(),
        "push" => push::decode(reader)?.into(),
        "pull" => decode_pull(reader)?.into(),
        "more" => decode_more(reader)?.into(),
        "fetch" => decode_fetch(reader)?.into(),
        "ping" => decode_ping(reader)?.into(),
        _ => return Ok(None),
    }))
}

fn encode_hello(hello: &Hello) -> Bytes {
    let optional = usize::from(hello.token.is_some())
        + usize::from(hello.session.is_some())
        + usize::from(hello.checkpoint.is_some());
    let mut w = Writer::message(256, "hello", 6 + optional);
    w.field("v")
        .list([hello.versions.min, hello.versions.max], |w, v| {
            w.u32(u32::from(v));
        });
    w.field("c").bin(hello.client.as_bytes());
    w.field("n").text(&hello.namespace);
    w.optional("k", hello.token.as_deref(), Writer::text);
    w.optional("s", hello.session, |w, session| w.bin(session.as_bytes()));
    w.field("o")
        .list(&hello.collections, |w, name| w.text(name.as_str()));
    w.field("d").u64(match hello.direction {
        Direction::Both => BOTH_WAYS,
        Direction::Push => ONLY_PUSH,
        Direction::Pull => ONLY_PULL,
    });
    w.optional("p", hello.checkpoint.as_ref(), |w, checkpoint| {
        let optional =
            usize::from(checkpoint.rights.is_some()) + usize::from(checkpoint.fixed_head.is_some());
        w.map(2 + optional);
        w.field("e").bin(checkpoint.epoch.as_bytes());
        w.field("s").u64(checkpoint.seq.get());
        w.optional("f", checkpoint.rights.as_deref(), Writer::bin);
        w.optional("x", checkpoint.fixed_head, |w, head| w.u64(head.get()));
    });
    w.field("a").cut_text(&hello.agent, MAX_TEXT_BYTES);
    w.finish()
}

fn decode_hello(reader: &mut Reader<'_>) -> Result<Hello> {
    let (mut versions, mut client, mut namespace, mut token) = (None, None, None, None);
    let (mut session, mut collections, mut direction) = (None, None, None);
    let (mut checkpoint, mut agent) = (None, None);
    reader.fields("hello", |name, r| {
        match name {
            "v" => {
                r.fixed("the versions", 2)?;
                let (min, max) = (r.u16("a version")?, r.u16("a version")?);
                versions = Some(VersionRange { min, max });
            }
            "c" => client = Some(ClientId::from_bytes(r.sixteen("the client id")?)),
            "n" => namespace = Some(r.short_text("the namespace", MAX_TEXT_BYTES)?),
            "k" => token = r.optional(|r| r.short_text("the token", MAX_TEXT_BYTES))?,
            "s" => {
                session = r
                    .optional(|r| r.sixteen("the session token"))?
                    .map(SessionToken::from_bytes);
            }
            "o" => collections = Some(r.list("the collections", collection_name)?),
            "d" => {
                direction = Some(match r.u64("the direction")? {
                    BOTH_WAYS => Direction::Both,
                    ONLY_PUSH => Direction::Push,
                    ONLY_PULL => Direction::Pull,
                    other => {
                        return Err(ProtocolError::bad_frame(format!("{other} is no direction")));
                    }
                });
            }
            "p" => checkpoint = r.optional(decode_checkpoint)?,
            "a" => agent = Some(r.short_text("the agent", MAX_TEXT_BYTES)?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(Hello {
        versions: required(versions, "hello", "v")?,
        client: required(client, "hello", "c")?,
        namespace: required(namespace, "hello", "n")?,
        token,
        session,
        collections: required(collections, "hello", "o")?,
        direction: required(direction, "hello", "d")?,
        checkpoint,
        agent: required(agent, "hello", "a")?,
    })
}

fn decode_checkpoint(reader: &mut Reader<'_>) -> Result<HelloCheckpoint> {
    let (mut epoch, mut seq, mut rights, mut fixed_head) = (None, None, None, None);
    reader.fields("the checkpoint", |name, r| {
        match name {
            "e" => epoch = Some(Epoch::from_bytes(r.sixteen("the epoch")?)),
            "s" => seq = Some(Seq::new(r.u64("the place")?)),
            "f" => rights = r.optional(|r| r.bin("the rights"))?,
            "x" => fixed_head = r.optional(|r| r.u64("the fixed head"))?.map(Seq::new),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(HelloCheckpoint {
        epoch: required(epoch, "p", "e")?,
        seq: required(seq, "p", "s")?,
        rights,
        fixed_head,
    })
}

fn encode_pull(pull: &Pull) -> Bytes {
    let given = [
        pull.epoch.is_some(),
        pull.until.is_some(),
        pull.fixed_head.is_some(),
    ];
    let optional: usize = given.into_iter().map(usize::from).sum();
    let mut w = Writer::message(96, "pull", 5 + optional);
    w.field("i").u32(pull.id);
    w.optional("e", pull.epoch, |w, epoch| w.bin(epoch.as_bytes()));
    w.field("a").u64(pull.after.get());
    w.optional("u", pull.until, |w, until| w.u64(until.get()));
    w.field("c")
        .list(&pull.collections, |w, name| w.text(name.as_str()));
    w.field("w").u32(pull.window);
    w.field("b").u32(pull.batch);
    w.optional("x", pull.fixed_head, |w, head| w.u64(head.get()));
    w.finish()
}

fn decode_pull(reader: &mut Reader<'_>) -> Result<Pull> {
    let (mut id, mut epoch, mut after, mut until) = (None, None, None, None);
    let (mut collections, mut window, mut batch, mut fixed_head) = (None, None, None, None);
    reader.fields("pull", |name, r| {
        match name {
            "i" => id = Some(r.u32("the id")?),
            "e" => {
                epoch = r
                    .optional(|r| r.sixteen("the epoch"))?
                    .map(Epoch::from_bytes);
            }
            "a" => after = Some(Seq::new(r.u64("the place")?)),
            "u" => until = r.optional(|r| r.u64("the last place"))?.map(Seq::new),
            "c" => collections = Some(r.list("the collections", collection_name)?),
            "w" => window = Some(r.u32("the window")?),
            "b" => batch = Some(r.u32("the batch size")?),
            "x" => fixed_head = r.optional(|r| r.u64("the fixed head"))?.map(Seq::new),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(Pull {
        id: required(id, "pull", "i")?,
        epoch,
        after: required(after, "pull", "a")?,
        until,
        collections: required(collections, "pull", "c")?,
        window: required(window, "pull", "w")?,
        batch: required(batch, "pull", "b")?,
        fixed_head,
    })
}

fn decode_more(reader: &mut Reader<'_>) -> Result<More> {
    let (mut id, mut applied) = (None, None);
    reader.fields("more", |name, r| {
        match name {
            "i" => id = Some(r.u32("the id")?),
            "a" => applied = Some(Seq::new(r.u64("the place")?)),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(More {
        id: required(id, "more", "i")?,
        applied: required(applied, "more", "a")?,
    })
}

fn encode_fetch(fetch: &Fetch) -> Bytes {
    let mut collections = Table::default();
    let documents: Vec<_> = fetch
        .documents
        .iter()
        .map(|(name, id)| (collections.index(name), id))
        .collect();
    let mut w = Writer::message(64 + 40 * documents.len(), "fetch", 3);
    w.field("i").u32(fetch.id);
    w.field("c")
        .list(&collections.into_values(), |w, name| w.text(name.as_str()));
    w.field("d").list(documents, |w, (collection, id)| {
        w.array(2);
        w.u32(collection);
        w.text(id.as_str());
    });
    w.finish()
}

fn decode_fetch(reader: &mut Reader<'_>) -> Result<Fetch> {
    let (mut id, mut collections, mut documents) = (None, None, None);
    reader.fields("fetch", |name, r| {
        match name {
            "i" => id = Some(r.u32("the id")?),
            "c" => collections = Some(r.list("the collections", collection_name)?),
            "d" => {
                let document = |r: &mut Reader<'_>| {
                    r.fixed("a document", 2)?;
                    Ok((r.u32("a collection's index")?, document_id(r)?))
                };
                documents = Some(r.list("the documents", document)?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let collections = required(collections, "fetch", "c")?;
    let documents = required(documents, "fetch", "d")?;
    check_count(documents.len())?;
    let documents = documents.into_iter().map(|(collection, id)| {
        at(&collections, collection, "collection").map(|name| (name.clone(), id))
    });
    Ok(Fetch {
        id: required(id, "fetch", "i")?,
        documents: documents.collect::<Result<_>>()?,
    })
}

fn decode_ping(reader: &mut Reader<'_>) -> Result<Ping> {
    let (mut id, mut time) = (None, None);
    reader.fields("ping", |name, r| {
        match name {
            "i" => id = Some(r.u32("the id")?),
            "t" => {
                time = r
                    .optional(|r| r.i64("the time"))?
                    .map(Timestamp::from_millis);
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(Ping {
        id: required(id, "ping", "i")?,
        time,
    })
}
