//! The bytes of what a server says.

use std::time::Duration;

use bytes::Bytes;
use pocket_core::{Epoch, Lineage, MutationNumber, Outcome, Seq, SessionToken, Timestamp};

use super::page;
use super::reader::{Reader, required};
use super::writer::Writer;
use crate::limits::{MAX_REASON_BYTES, MAX_TEXT_BYTES};
use crate::{
    EpochStart, ErrorMessage, Outcomes, Pong, ProtocolError, ServerLimits, ServerMessage, Welcome,
};

type Result<T> = std::result::Result<T, ProtocolError>;

const APPLIED: u64 = 0;
const CONFLICT: u64 = 1;
const REJECTED: u64 = 2;

pub(super) fn encode(message: &ServerMessage) -> Bytes {
    match message {
        ServerMessage::Welcome(welcome) => encode_welcome(welcome),
        ServerMessage::Outcomes(outcomes) => encode_outcomes(outcomes),
        ServerMessage::Page(page) => page::encode(page),
        ServerMessage::Records(records) => page::encode_records(records),
        ServerMessage::Error(error) => encode_error(error),
        ServerMessage::Pong(pong) => {
            let mut w = Writer::message(48, "pong", 3);
            w.field("i").u32(pong.id);
            w.field("h").u64(pong.head.get());
            w.field("t").i64(pong.time.millis());
            w.finish()
        }
    }
}

pub(super) fn decode(name: &str, reader: &mut Reader<'_>) -> Result<Option<ServerMessage>> {
    Ok(Some(match name {
        "welcome" => decode_welcome(reader)?.into(),
        "outcomes" => decode_outcomes(reader)?.into(),
        "page" => page::decode(reader)?.into(),
        "records" => page::decode_records(reader)?.into(),
        "error" => decode_error(reader)?.into(),
        "pong" => decode_pong(reader)?.into(),
        _ => return Ok(None),
    }))
}

fn encode_welcome(welcome: &Welcome) -> Bytes {
    let fields = 12 + usize::from(welcome.rights.is_some()) + usize::from(welcome.is_new);
    let mut w = Writer::message(256 + 32 * welcome.epochs.len(), "welcome", fields);
    w.field("v").u32(u32::from(welcome.version));
    w.field("l").bin(welcome.lineage.as_bytes());
    w.field("u").text(&welcome.user);
    w.field("e").list(&welcome.epochs, |w, start| {
        w.array(2);
        w.bin(start.epoch.as_bytes());
        w.u64(start.first.get());
    });
    w.field("q").bin(welcome.epoch.as_bytes());
    w.field("h").u64(welcome.head.get());
    w.field("z").u64(welcome.horizon.get());
    w.field("t").i64(welcome.time.millis());
    w.field("s").bin(welcome.session.as_bytes());
    w.field("k").u64(welcome.last_number.get());
    let limits = &welcome.limits;
    w.field("m").map(6);
    w.field("d").usize(limits.document_bytes);
    w.field("f").usize(limits.message_bytes);
    w.field("n").usize(limits.nodes);
    w.field("l").usize(limits.levels);
    w.field("c").usize(limits.changes);
    w.field("p").usize(limits.pushes);
    w.field("b").u64(millis(welcome.heartbeat));
    if let Some(rights) = &welcome.rights {
        w.field("f").bin(rights);
    }
    w.optional("n", welcome.is_new.then_some(true), Writer::bool);
    w.finish()
}

fn decode_welcome(reader: &mut Reader<'_>) -> Result<Welcome> {
    let (mut version, mut lineage, mut user, mut epochs) = (None, None, None, None);
    let (mut epoch, mut head, mut horizon, mut time) = (None, None, None, None);
    let (mut session, mut last_number, mut limits, mut heartbeat) = (None, None, None, None);
    let mut rights = None;
    let mut is_new = None;
    reader.fields("welcome", |name, r| {
        match name {
            "v" => version = Some(r.u16("the version")?),
            "l" => lineage = Some(Lineage::from_bytes(r.sixteen("the lineage")?)),
            "u" => user = Some(r.short_text("the user", MAX_TEXT_BYTES)?),
            "e" => {
                let start = |r: &mut Reader<'_>| {
                    r.fixed("an epoch", 2)?;
                    let epoch = Epoch::from_bytes(r.sixteen("an epoch's name")?);
                    Ok(EpochStart {
                        epoch,
                        first: Seq::new(r.u64("an epoch's first place")?),
                    })
                };
                epochs = Some(r.list("the epochs", start)?);
            }
            "q" => epoch = Some(Epoch::from_bytes(r.sixteen("the epoch")?)),
            "h" => head = Some(Seq::new(r.u64("the head")?)),
            "z" => horizon = Some(Seq::new(r.u64("the horizon")?)),
            "t" => time = Some(Timestamp::from_millis(r.i64("the time")?)),
            "s" => session = Some(SessionToken::from_bytes(r.sixteen("the session token")?)),
            "k" => last_number = Some(MutationNumber::new(r.u64("the last number")?)),
            "m" => limits = Some(decode_limits(r)?),
            "b" => heartbeat = Some(Duration::from_millis(r.u64("the heartbeat")?)),
            "f" => rights = r.optional(|r| r.bin("the rights"))?,
            "n" => is_new = r.optional(|r| r.bool("whether the client is new"))?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(Welcome {
        version: required(version, "welcome", "v")?,
        lineage: required(lineage, "welcome", "l")?,
        user: required(user, "welcome", "u")?,
        epochs: required(epochs, "welcome", "e")?,
        epoch: required(epoch, "welcome", "q")?,
        head: required(head, "welcome", "h")?,
        horizon: required(horizon, "welcome", "z")?,
        time: required(time, "welcome", "t")?,
        session: required(session, "welcome", "s")?,
        last_number: required(last_number, "welcome", "k")?,
        limits: required(limits, "welcome", "m")?,
        heartbeat: required(heartbeat, "welcome", "b")?,
        rights,
        is_new: is_new.unwrap_or(false),
    })
}

fn decode_limits(reader: &mut Reader<'_>) -> Result<ServerLimits> {
    let (mut document_bytes, mut message_bytes, mut nodes) = (None, None, None);
    let (mut levels, mut changes, mut pushes) = (None, None, None);
    reader.fields("the limits", |name, r| {
        let limit = match name {
            "d" => &mut document_bytes,
            "f" => &mut message_bytes,
            "n" => &mut nodes,
            "l" => &mut levels,
            "c" => &mut changes,
            "p" => &mut pushes,
            _ => return Ok(false),
        };
        *limit = Some(r.usize("a limit")?);
        Ok(true)
    })?;
    Ok(ServerLimits {
        document_bytes: required(document_bytes, "m", "d")?,
        message_bytes: required(message_bytes, "m", "f")?,
        nodes: required(nodes, "m", "n")?,
        levels: required(levels, "m", "l")?,
        changes: required(changes, "m", "c")?,
        pushes: required(pushes, "m", "p")?,
    })
}

fn encode_outcomes(outcomes: &Outcomes) -> Bytes {
    let fields = 3 + usize::from(outcomes.gap.is_some());
    let mut w = Writer::message(48 + 16 * outcomes.outcomes.len(), "outcomes", fields);
    w.field("i").u32(outcomes.id);
    w.field("f").u64(outcomes.first.get());
    w.field("o").list(&outcomes.outcomes, encode_outcome);
    w.optional("g", outcomes.gap, |w, gap| w.u64(gap.get()));
    w.finish()
}

fn encode_outcome(w: &mut Writer, outcome: &Outcome) {
    match outcome {
        Outcome::Applied { first } => {
            w.array(3);
            w.u64(APPLIED);
            w.u64(first.get());
        }
        Outcome::Conflict { seqs } => {
            w.array(3);
            w.u64(CONFLICT);
            w.list(seqs, |w, seq| w.u64(seq.get()));
        }
        Outcome::Rejected {
            code,
            reason,
            server_time,
        } => {
            w.array(5);
            w.u64(REJECTED);
            w.text(code);
            w.cut_text(reason, MAX_REASON_BYTES);
            match server_time {
                Some(time) => w.i64(time.millis()),
                None => w.nil(),
            }
        }
    }
    w.nil();
}

fn decode_outcomes(reader: &mut Reader<'_>) -> Result<Outcomes> {
    let (mut id, mut first, mut outcomes, mut gap) = (None, None, None, None);
    reader.fields("outcomes", |name, r| {
        match name {
            "i" => id = Some(r.u32("the id")?),
            "f" => first = Some(MutationNumber::new(r.u64("the first number")?)),
            "o" => outcomes = Some(r.list("the outcomes", decode_outcome)?),
            "g" => gap = r.optional(|r| r.u64("the gap"))?.map(MutationNumber::new),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(Outcomes {
        id: required(id, "outcomes", "i")?,
        first: required(first, "outcomes", "f")?,
        outcomes: required(outcomes, "outcomes", "o")?,
        gap,
    })
}

fn decode_outcome(reader: &mut Reader<'_>) -> Result<Outcome> {
    let len = reader.array("an outcome")?;
    let outcome = match (reader.u64("an outcome's kind")?, len) {
        (APPLIED, 3) => Outcome::Applied {
            first: Seq::new(reader.u64("a place")?),
        },
        (CONFLICT, 3) => Outcome::Conflict {
            seqs: reader.list("the places", |reader| reader.u64("a place").map(Seq::new))?,
        },
        (REJECTED, 5) => Outcome::Rejected {
            code: reader.short_text("a code", MAX_TEXT_BYTES)?,
            reason: reader.short_text("a reason", MAX_REASON_BYTES)?,
            server_time: reader
                .optional(|reader| reader.i64("a time"))?
                .map(Timestamp::from_millis),
        },
        (kind, len) => {
            return Err(ProtocolError::bad_frame(format!(
                "no outcome of kind {kind} has {len} elements"
            )));
        }
    };
    reader.later()?;
    Ok(outcome)
}

fn encode_error(error: &ErrorMessage) -> Bytes {
    let optional = usize::from(error.id.is_some()) + usize::from(error.retry_after.is_some());
    let mut w = Writer::message(96 + error.message.len(), "error", 4 + optional);
    w.optional("i", error.id, Writer::u32);
    w.field("c").text(&error.code);
    w.field("m").cut_text(&error.message, MAX_TEXT_BYTES);
    w.field("r").bool(error.retryable);
    w.optional("a", error.retry_after, |w, after| w.u64(millis(after)));
    w.field("x").bool(error.fatal);
    w.finish()
}

fn decode_error(reader: &mut Reader<'_>) -> Result<ErrorMessage> {
    let (mut id, mut code, mut message) = (None, None, None);
    let (mut retryable, mut retry_after, mut fatal) = (None, None, None);
    reader.fields("error", |name, r| {
        match name {
            "i" => id = r.optional(|r| r.u32("the id"))?,
            "c" => code = Some(r.short_text("the code", MAX_TEXT_BYTES)?),
            "m" => message = Some(r.short_text("the message", MAX_TEXT_BYTES)?),
            "r" => retryable = Some(r.bool("the retryable flag")?),
            "a" => {
                retry_after = r
                    .optional(|r| r.u64("the wait"))?
                    .map(Duration::from_millis);
            }
            "x" => fatal = Some(r.bool("the fatal flag")?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(ErrorMessage {
        id,
        code: required(code, "error", "c")?,
        message: required(message, "error", "m")?,
        retryable: required(retryable, "error", "r")?,
        retry_after,
        fatal: required(fatal, "error", "x")?,
    })
}

fn decode_pong(reader: &mut Reader<'_>) -> Result<Pong> {
    let (mut id, mut head, mut time) = (None, None, None);
    reader.fields("pong", |name, r| {
        match name {
            "i" => id = Some(r.u32("the id")?),
            "h" => head = Some(Seq::new(r.u64("the head")?)),
            "t" => time = Some(Timestamp::from_millis(r.i64("the time")?)),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(Pong {
        id: required(id, "pong", "i")?,
        head: required(head, "pong", "h")?,
        time: required(time, "pong", "t")?,
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
