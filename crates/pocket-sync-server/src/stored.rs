//! What the values of a server's store hold. `docs/storage-layout.md` describes them; fixtures guard them.
//!
//! Each is a MessagePack array whose last element is nil or a map for later fields, inside an envelope. A live
//! record's body follows its array.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use pocket_core::envelope::decode_prefix;
pub(crate) use pocket_core::envelope::{Later, damaged};
use pocket_core::{
    Body, CollectionName, Digest, DocumentId, Epoch, Hlc, Lineage, MutationNumber, Outcome, Record,
    RecordState, Result, Revision, Seq, SessionToken, Timestamp, envelope,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use crate::decide::{Current, DocumentKey};
use crate::rules::{Audience, Marks, Readership};

/// `l`: where a namespace's order stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogRow {
    /// The newest opening.
    pub(crate) epoch: Epoch,
    pub(crate) head: Seq,
    /// Deletions at or below this are forgotten.
    pub(crate) horizon: Seq,
    /// The server's hybrid clock.
    pub(crate) clock: Hlc,
    /// Always empty: digests have rows of their own.
    pub(crate) digests: BTreeMap<String, ByteBuf>,
    pub(crate) later: LogLater,
}

/// What a namespace holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Documents that are not deleted.
    pub documents: u64,
    /// The bytes of their bodies and ids.
    pub bytes: u64,
}

impl Usage {
    /// What it holds once a document of version `before` is one of `after` bytes, or gone.
    pub(crate) fn moved(self, before: Option<Current>, after: Option<u64>) -> Self {
        let before = before.filter(|current| current.live);
        let gone = before.map_or(0, |current| current.bytes);
        Self {
            documents: (self.documents + u64::from(after.is_some()))
                .saturating_sub(u64::from(before.is_some())),
            bytes: (self.bytes + after.unwrap_or_default()).saturating_sub(gone),
        }
    }
}

pocket_core::later_fields! {
    /// Later fields of a log.
    pub(crate) struct LogLater {
        /// What is there, where it is counted.
        usage: Option<Usage> = "u",
        /// Whether digests are kept. None in a log that is older than they are.
        digests: Option<bool> = "g",
    }
}

/// `g…`: the digest of the documents of a collection that have the same readers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DigestRow {
    /// The rules that gave the labels; none for documents written without rules.
    rules: Option<ByteBuf>,
    labels: Vec<String>,
    pub(crate) digest: Digest,
    later: Later,
}

impl DigestRow {
    pub(crate) fn new(readership: &Readership, digest: Digest) -> Self {
        let labels = readership.iter().flat_map(|(_, audience)| audience.iter());
        Self {
            rules: readership.as_ref().map(|(rules, _)| ByteBuf::from(*rules)),
            labels: labels.map(str::to_owned).collect(),
            digest,
            later: Later,
        }
    }

    /// Whose digest it is.
    pub(crate) fn readership(&self) -> Result<Readership> {
        let Some(rules) = &self.rules else {
            return Ok(None);
        };
        let rules = rules.as_slice().try_into();
        let rules = rules.map_err(|_| damaged("the rules of a digest have not 8 bytes"))?;
        Ok(Some((rules, Audience::labels(self.labels.clone()))))
    }
}

/// `h`: the openings of a namespace's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HistoryRow {
    pub(crate) lineage: Lineage,
    /// Each opening with the first sequence it could give, oldest first.
    pub(crate) epochs: Vec<(Epoch, Seq)>,
    pub(crate) later: Later,
}

pocket_core::later_fields! {
    /// Later fields of an entry of the feed. One that has neither is older than they are.
    pub(crate) struct FeedLater {
        /// When the document was deleted or erased here, in milliseconds since 1970.
        deleted: Option<i64> = "d",
        /// It is neither.
        live: bool = "l",
    }
}

/// `f…`: which document changed last at a sequence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FeedRow {
    pub(crate) collection: CollectionName,
    pub(crate) id: DocumentId,
    pub(crate) later: FeedLater,
}

/// `d…`: the head of a document's record; the body of a live one follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecordRow {
    pub(crate) seq: Seq,
    pub(crate) rev: Revision,
    /// 0 live, 1 deleted, 2 erased.
    state: u8,
    /// Who may read it.
    labels: Vec<String>,
    /// Labels it no longer has, each with the sequence at which it left.
    left: Vec<(String, Seq)>,
    later: RecordLater,
}

impl RecordRow {
    pub(crate) fn is_live(&self) -> bool {
        self.state == 0
    }

    pub(crate) fn into_marks(self) -> Marks {
        Marks::from_parts(
            self.labels,
            self.left,
            self.later.rules.map(ByteArray::into_array),
        )
    }
}

pocket_core::later_fields! {
    /// Later fields of a record.
    struct RecordLater {
        /// The rules that gave the labels.
        rules: Option<ByteArray<8>> = "r",
    }
}

/// A record as it is stored under `key`.
pub(crate) fn seal_record(key: &[u8], record: &Record, marks: &Marks) -> Bytes {
    let (labels, left, rules) = marks.parts();
    let state = match record.state {
        RecordState::Live(_) => 0,
        RecordState::Deleted => 1,
        RecordState::Erased => 2,
    };
    let row = RecordRow {
        seq: record.seq,
        rev: record.rev,
        state,
        labels,
        left,
        later: RecordLater {
            rules: rules.map(ByteArray::new),
        },
    };
    let body = record.state.body().map_or(&[][..], Body::as_bytes);
    envelope::seal_row(key, &row, body)
}

/// The head of a stored record, and its body if it is live.
pub(crate) fn open_record_row(key: &[u8], value: &Bytes) -> Result<(RecordRow, Option<Body>)> {
    let (row, rest) = decode_prefix::<RecordRow>(&envelope::open(key, value)?)?;
    let body = row.is_live().then(|| Body::from_trusted(rest));
    Ok((row, body))
}

/// A stored record; its body is a slice of `value`.
pub(crate) fn open_record(
    key: &[u8],
    value: &Bytes,
    collection: CollectionName,
    id: DocumentId,
) -> Result<(Record, Marks)> {
    let (row, rest) = decode_prefix::<RecordRow>(&envelope::open(key, value)?)?;
    let state = match row.state {
        0 => RecordState::Live(Body::from_trusted(rest)),
        1 => RecordState::Deleted,
        2 => RecordState::Erased,
        other => return Err(damaged(format!("{other} is no state of a record"))),
    };
    let record = Record {
        collection,
        id,
        rev: row.rev,
        seq: row.seq,
        state,
    };
    Ok((record, row.into_marks()))
}

/// `c…`: what is known of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRecord {
    /// Whose client it is.
    pub user: String,
    /// The last number that has an outcome.
    pub last: MutationNumber,
    /// The client has stored the outcomes up to here; they are no longer kept.
    pub confirmed: MutationNumber,
    /// The outcomes of the numbers behind `confirmed`, up to `last`.
    pub outcomes: VecDeque<Outcome>,
    /// The session token given last.
    pub issued: SessionToken,
    /// Session tokens given before that one and since the last presented one, oldest first.
    pub outstanding: Vec<SessionToken>,
    /// The session token presented last.
    pub presented: Option<SessionToken>,
    /// When it was seen last.
    pub last_seen: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct ClientRow {
    user: String,
    last: MutationNumber,
    confirmed: MutationNumber,
    outcomes: Vec<OutcomeRow>,
    issued: SessionToken,
    presented: Option<SessionToken>,
    last_seen: i64,
    later: ClientLater,
}

pocket_core::later_fields! {
    /// Later fields of a client.
    struct ClientLater {
        /// Session tokens that were given out and may still be shown.
        outstanding: Vec<SessionToken> = "t",
    }
}

#[derive(Serialize, Deserialize)]
enum OutcomeRow {
    /// So many mutations, applied at rising places from this one: runs of single changes are the usual case.
    #[serde(rename = "a")]
    Applied(u64, Seq),
    #[serde(rename = "c")]
    Conflict(Vec<Seq>),
    #[serde(rename = "r")]
    Rejected(String, String, Option<i64>),
}

impl ClientRecord {
    pub(crate) fn seal(&self, key: &[u8]) -> Bytes {
        let row = ClientRow {
            user: self.user.clone(),
            last: self.last,
            confirmed: self.confirmed,
            outcomes: pack(&self.outcomes),
            issued: self.issued,
            presented: self.presented,
            last_seen: self.last_seen.millis(),
            later: ClientLater {
                outstanding: self.outstanding.clone(),
            },
        };
        seal(key, &row)
    }

    pub(crate) fn open(key: &[u8], value: &Bytes) -> Result<Self> {
        let row: ClientRow = open(key, value)?;
        let outcomes = unpack(
            row.outcomes,
            row.last.get().saturating_sub(row.confirmed.get()),
        )?;
        Ok(Self {
            user: row.user,
            last: row.last,
            confirmed: row.confirmed,
            outcomes,
            issued: row.issued,
            outstanding: row.later.outstanding,
            presented: row.presented,
            last_seen: Timestamp::from_millis(row.last_seen),
        })
    }
}

fn pack(outcomes: &VecDeque<Outcome>) -> Vec<OutcomeRow> {
    let mut rows = Vec::new();
    for outcome in outcomes {
        match outcome {
            Outcome::Applied { first } => {
                if let Some(OutcomeRow::Applied(count, start)) = rows.last_mut()
                    && start.plus(*count) == *first
                {
                    *count += 1;
                } else {
                    rows.push(OutcomeRow::Applied(1, *first));
                }
            }
            Outcome::Conflict { seqs } => rows.push(OutcomeRow::Conflict(seqs.clone())),
            Outcome::Rejected {
                code,
                reason,
                server_time,
            } => rows.push(OutcomeRow::Rejected(
                code.clone(),
                reason.clone(),
                server_time.map(Timestamp::millis),
            )),
        }
    }
    rows
}

fn unpack(rows: Vec<OutcomeRow>, expected: u64) -> Result<VecDeque<Outcome>> {
    let mut outcomes = VecDeque::new();
    for row in rows {
        match row {
            OutcomeRow::Applied(count, start) => {
                if count > expected {
                    return Err(damaged("a client has more outcomes than numbers"));
                }
                outcomes.extend((0..count).map(|place| Outcome::Applied {
                    first: start.plus(place),
                }));
            }
            OutcomeRow::Conflict(seqs) => outcomes.push_back(Outcome::Conflict { seqs }),
            OutcomeRow::Rejected(code, reason, time) => outcomes.push_back(Outcome::Rejected {
                code,
                reason,
                server_time: time.map(Timestamp::from_millis),
            }),
        }
    }
    if outcomes.len() as u64 == expected {
        Ok(outcomes)
    } else {
        Err(damaged(format!(
            "a client has {} outcomes for {expected} numbers",
            outcomes.len()
        )))
    }
}

/// An entry of the feed as it is stored under `at`.
pub(crate) fn seal_feed(at: &[u8], key: &DocumentKey, deleted: Option<Timestamp>) -> Bytes {
    let row = FeedRow {
        collection: key.collection.clone(),
        id: key.id.clone(),
        later: FeedLater {
            deleted: deleted.map(Timestamp::millis),
            live: deleted.is_none(),
        },
    };
    seal(at, &row)
}

/// A row as it is stored under `key`.
pub(crate) fn seal<T: Serialize>(key: &[u8], row: &T) -> Bytes {
    envelope::seal_row(key, row, &[])
}

/// A row stored under `key`, nothing behind it.
pub(crate) fn open<T: DeserializeOwned>(key: &[u8], value: &Bytes) -> Result<T> {
    envelope::decode(&envelope::open(key, value)?)
}
