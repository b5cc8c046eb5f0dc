//! What JavaScript gets as MessagePack. Bodies pass through as they are stored.

use pocket_core::replica::Conflict;
use pocket_core::{
    ChangeEvent, ChangeItem, CommitSequence, DecidedBy, Document, Explanation, JournalDocument,
    JournalEntry, JournalKind, JournalState, JournalVersion, LiveChange, Operation, Timestamp,
    Winner,
};
use rmp::encode;

/// MessagePack in the making.
#[derive(Default)]
pub(crate) struct Writer(Vec<u8>);

/// Writing into memory cannot fail.
fn written<T, E>(_: Result<T, E>) {}

impl Writer {
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn array(&mut self, elements: usize) {
        written(encode::write_array_len(&mut self.0, elements as u32));
    }

    pub(crate) fn map(&mut self, entries: usize) {
        written(encode::write_map_len(&mut self.0, entries as u32));
    }

    pub(crate) fn text(&mut self, text: &str) {
        written(encode::write_str(&mut self.0, text));
    }

    pub(crate) fn number(&mut self, number: u64) {
        written(encode::write_uint(&mut self.0, number));
    }

    fn nil(&mut self) {
        written(encode::write_nil(&mut self.0));
    }

    fn bool(&mut self, value: bool) {
        written(encode::write_bool(&mut self.0, value));
    }

    /// Milliseconds since 1970.
    fn time(&mut self, time: Timestamp) {
        written(encode::write_sint(&mut self.0, time.millis()));
    }

    fn optional<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match value {
            Some(value) => write(self, value),
            None => self.nil(),
        }
    }

    pub(crate) fn texts(&mut self, texts: &[String]) {
        self.array(texts.len());
        for text in texts {
            self.text(text);
        }
    }

    /// `_id` in front of the fields is for JavaScript to add: here a body is a body.
    fn body(&mut self, document: &Document) {
        match &document.body {
            Some(body) => self.0.extend_from_slice(body.as_bytes()),
            None => self.nil(),
        }
    }

    /// `[id, rev, updatedAt, body]`.
    pub(crate) fn row(&mut self, document: &Document) {
        self.array(4);
        self.text(document.id.as_str());
        self.text(&document.rev.to_string());
        self.time(document.updated_at());
        self.body(document);
    }

    pub(crate) fn rows(&mut self, documents: &[Document]) {
        self.array(documents.len());
        for document in documents {
            self.row(document);
        }
    }

    fn change(&mut self, change: &ChangeEvent) {
        self.map(8);
        self.text("collection");
        self.text(change.collection.as_str());
        self.text("operation");
        self.text(match change.operation {
            Operation::Insert => "insert",
            Operation::Update => "update",
            _ => "delete",
        });
        self.text("documentId");
        self.text(change.document_id.as_str());
        self.text("document");
        self.optional(change.document.as_ref(), Self::body);
        self.text("previousDocument");
        self.optional(change.previous_document.as_ref(), Self::body);
        self.text("isFromSync");
        self.bool(change.is_from_sync);
        self.text("timestamp");
        self.time(change.timestamp);
        self.text("sequence");
        self.number(change.sequence.get());
    }

    fn version(&mut self, version: &JournalVersion) {
        self.map(3);
        self.text("rev");
        self.optional(version.rev, |to, rev| to.text(&rev.to_string()));
        self.text("seq");
        self.optional(version.seq, |to, seq| to.number(seq.get()));
        self.text("document");
        match &version.body {
            Some(body) => self.0.extend_from_slice(body.as_bytes()),
            None => self.nil(),
        }
    }

    fn journal_document(&mut self, document: &JournalDocument) {
        self.map(6);
        self.text("collection");
        self.text(document.collection.as_str());
        self.text("documentId");
        self.text(document.id.as_str());
        self.text("base");
        self.optional(document.base.as_ref(), Self::version);
        self.text("local");
        self.version(&document.local);
        self.text("remote");
        self.optional(document.remote.as_ref(), Self::version);
        self.text("erased");
        self.bool(document.erased);
    }

    pub(crate) fn entry(&mut self, entry: &JournalEntry) {
        self.map(9);
        self.text("number");
        self.number(entry.number);
        self.text("kind");
        self.text(kind(entry.kind));
        self.text("state");
        self.text(state(entry.state));
        self.text("time");
        self.time(entry.time);
        self.text("winner");
        self.text(winner(entry.winner));
        self.text("rule");
        self.text(&entry.rule);
        self.text("code");
        self.optional(entry.code.as_deref(), Self::text);
        self.text("reason");
        self.optional(entry.reason.as_deref(), Self::text);
        self.text("documents");
        self.array(entry.documents.len());
        for document in &entry.documents {
            self.journal_document(document);
        }
    }

    pub(crate) fn explanation(&mut self, explanation: &Explanation) {
        self.map(7);
        self.text("entry");
        self.entry(&explanation.entry);
        self.text("decidedBy");
        self.text(decided_by(explanation.decided_by));
        self.text("happened");
        self.text(&explanation.happened);
        self.text("rule");
        self.text(&explanation.rule);
        self.text("outcome");
        self.text(&explanation.outcome);
        self.text("advice");
        self.text(&explanation.advice);
        self.text("documents");
        self.texts(&explanation.documents);
    }
}

/// One document as a row.
pub(crate) fn row(document: &Document) -> Vec<u8> {
    let mut to = Writer::default();
    to.row(document);
    to.into_bytes()
}

/// Documents as rows.
pub(crate) fn rows(documents: &[Document]) -> Vec<u8> {
    let mut to = Writer::default();
    to.rows(documents);
    to.into_bytes()
}

/// Documents as rows, with nil where one is missing.
pub(crate) fn rows_with_holes(documents: &[Option<Document>]) -> Vec<u8> {
    let mut to = Writer::default();
    to.array(documents.len());
    for document in documents {
        to.optional(document.as_ref(), Writer::row);
    }
    to.into_bytes()
}

/// What a subscriber to changes is told.
pub(crate) fn change(item: &ChangeItem) -> Vec<u8> {
    let mut to = Writer::default();
    match item {
        ChangeItem::Change(change) => to.change(change),
        ChangeItem::Lagged { from, to: last } => {
            to.map(1);
            to.text("lagged");
            to.map(2);
            to.text("from");
            to.number(from.get());
            to.text("to");
            to.number(last.get());
        }
        // A kind that is not known yet: whoever reads again misses nothing.
        _ => to.map(0),
    }
    to.into_bytes()
}

/// What a rule of the application is asked about.
pub(crate) fn conflict(conflict: &Conflict) -> Vec<u8> {
    let mut to = Writer::default();
    to.map(6);
    to.text("collection");
    to.text(conflict.collection.as_str());
    to.text("documentId");
    to.text(conflict.document_id.as_str());
    to.text("localDocument");
    to.body(&conflict.local_document());
    to.text("remoteDocument");
    to.body(&conflict.remote_document());
    to.text("baseDocument");
    to.optional(conflict.base_document().as_ref(), Writer::body);
    to.text("timestamp");
    to.time(conflict.timestamp);
    to.into_bytes()
}

/// A step of a live query: its edits, in order.
pub(crate) fn step(sequence: CommitSequence, changes: &[LiveChange]) -> Vec<u8> {
    let mut to = Writer::default();
    to.map(2);
    to.text("sequence");
    to.number(sequence.get());
    to.text("changes");
    to.array(changes.len());
    for change in changes {
        let (kind, at, moved, document) = match change {
            LiveChange::Removed { at, .. } => ("r", *at, None, None),
            LiveChange::Moved { from, to, document } => ("m", *from, Some(*to), Some(document)),
            LiveChange::Updated { at, document } => ("u", *at, None, Some(document)),
            LiveChange::Inserted { at, document } => ("i", *at, None, Some(document)),
            // An edit that this file does not know yet: whoever sees it asks anew.
            _ => ("?", 0, None, None),
        };
        to.array(4);
        to.text(kind);
        to.number(at as u64);
        to.optional(moved, |to, moved| to.number(moved as u64));
        to.optional(document, Writer::row);
    }
    to.into_bytes()
}

fn kind(kind: JournalKind) -> &'static str {
    match kind {
        JournalKind::Conflict => "conflict",
        JournalKind::UniqueViolation => "unique-violation",
        _ => "refusal",
    }
}

fn state(state: JournalState) -> &'static str {
    match state {
        JournalState::Restored => "restored",
        JournalState::Dismissed => "dismissed",
        _ => "open",
    }
}

fn winner(winner: Winner) -> &'static str {
    match winner {
        Winner::Local => "local",
        Winner::Remote => "remote",
        Winner::Merged => "merged",
        _ => "both",
    }
}

fn decided_by(decider: DecidedBy) -> &'static str {
    match decider {
        DecidedBy::Strategy => "strategy",
        DecidedBy::Application => "application",
        _ => "server",
    }
}
