//! The one pass that decides whether bytes from outside are a document or a message.

use std::{fmt, str};

use pocket_storage::sorting;

use super::limits::DocumentLimits;
use super::serial::{key_fault, shown};
use super::timestamp::{EXT_TYPE, Timestamp};
use super::token::{Reader, Token, malformed};
use crate::{Error, Result, codes};

/// The field that holds a document's id.
pub(crate) const ID_FIELD: &str = "_id";

/// The fields only the system sets, besides the id.
pub(crate) const SYSTEM_FIELDS: [&str; 3] = ["_rev", "_updatedAt", "_deleted"];

/// Up to this many keys are compared one by one as they come; more are sorted at the end of their map.
const COMPARED: usize = 16;

/// Levels for which there is room at first.
const LEVELS: usize = 4;

/// Checks that `bytes` are the body of a document: a MessagePack map by the rules of `docs/values.md`.
///
/// One pass without recursion; memory grows with what is there, never with what a length claims.
///
/// # Errors
/// `document-too-large` when there are more bytes than the limit; `validation` for everything else, with the
/// place of the fault: bytes that are no MessagePack or more than one value, too many levels or values, a key
/// that is no text, occurs twice, contains NUL or begins with `$`, text that is not UTF-8, a float that is not
/// finite, an extension that is no timestamp of whole milliseconds, a system field at the top.
pub fn check_body(bytes: &[u8], limits: &DocumentLimits) -> Result<()> {
    limits.check_bytes(bytes.len())?;
    Walker::new(bytes, limits.depth, limits.nodes, Rules::Body).walk()?;
    Ok(())
}

/// Checks that `bytes` are one MessagePack map, as messages are, before anything is built from it.
///
/// The rules of [`check_body`], except that keys may contain or begin with anything and there are no system
/// fields. What stands in `bin` is not looked into.
///
/// # Errors
/// `validation`, with the place of the fault.
pub fn check_frame(bytes: &[u8], max_depth: usize, max_nodes: usize) -> Result<()> {
    Walker::new(bytes, max_depth, max_nodes, Rules::Frame).walk()?;
    Ok(())
}

/// Checks a document that may have an `_id` and finds it.
pub(super) fn check_document(bytes: &[u8], limits: &DocumentLimits) -> Result<Document> {
    Walker::new(bytes, limits.depth, limits.nodes, Rules::Document).walk()
}

/// What was found at the top of a document.
pub(super) struct Document {
    /// The number of entries, the `_id` included.
    pub(super) entries: u32,
    /// Where the first entry begins.
    pub(super) first: usize,
    /// The entry of the `_id`, if there is one.
    pub(super) id: Option<IdEntry>,
}

/// The place and the value of the `_id`.
pub(super) struct IdEntry {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Where the text stands; nothing for null.
    pub(super) text: Option<(usize, usize)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Rules {
    /// A body: no system field.
    Body,
    /// A document: an `_id` is allowed.
    Document,
    /// A message.
    Frame,
}

/// An array or map whose values are not all read yet.
struct Level {
    /// Values, or entries, still to come.
    left: u32,
    /// For a map, where its keys begin in [`Walker::keys`].
    keys: Option<usize>,
}

struct Walker<'a> {
    reader: Reader<'a>,
    rules: Rules,
    max_depth: usize,
    max_nodes: usize,
    nodes: usize,
    levels: Vec<Level>,
    /// The keys of all open maps, outermost first, with their places.
    keys: Vec<(&'a [u8], usize)>,
    /// The field at the top that is being read, to name it in an error.
    field: Option<&'a str>,
}

impl<'a> Walker<'a> {
    fn new(bytes: &'a [u8], max_depth: usize, max_nodes: usize, rules: Rules) -> Self {
        Self {
            reader: Reader::new(bytes),
            rules,
            max_depth,
            max_nodes,
            nodes: 0,
            levels: Vec::with_capacity(LEVELS),
            keys: Vec::with_capacity(COMPARED),
            field: None,
        }
    }

    fn walk(mut self) -> Result<Document> {
        let head = self.reader.next()?;
        let Token::Map(entries) = head else {
            return Err(malformed(
                "this is no map; a document is a map or struct with named fields",
                0,
            ));
        };
        let mut found = Document {
            entries,
            first: self.reader.position(),
            id: None,
        };
        self.value(head, 0)?;
        while let Some(level) = self.levels.last_mut() {
            let keys = level.keys;
            if level.left == 0 {
                self.close()?;
                continue;
            }
            level.left -= 1;
            let start = self.reader.position();
            let key = keys.map(|first| self.key(first)).transpose()?;
            let is_id =
                key == Some(ID_FIELD) && self.levels.len() == 1 && self.rules == Rules::Document;
            let at = self.reader.position();
            let token = self.reader.next()?;
            self.value(token, at)?;
            if is_id {
                found.id = Some(self.id_entry(token, start)?);
            }
        }
        if self.reader.left() > 0 {
            return Err(malformed(
                "there is more behind the end",
                self.reader.position(),
            ));
        }
        Ok(found)
    }

    /// Counts a value and, if it is a container, opens it.
    fn value(&mut self, token: Token<'a>, at: usize) -> Result<()> {
        self.nodes += 1;
        match token {
            Token::Float(value) if !value.is_finite() => {
                return Err(self.fault(
                    format_args!("{value} is not finite; leave it out or use null"),
                    at,
                ));
            }
            // Most texts are ASCII, which is seen at a glance.
            Token::String(text) if !text.is_ascii() && str::from_utf8(text).is_err() => {
                return Err(self.fault("a text is not UTF-8", at));
            }
            Token::Ext(EXT_TYPE, payload) => {
                if let Err(what) = Timestamp::from_ext(payload) {
                    return Err(self.fault(what, at));
                }
            }
            Token::Ext(kind, _) => {
                let what = format_args!("extension {kind} is unknown; only -1 (timestamp) is used");
                return Err(self.fault(what, at));
            }
            Token::Array(len) => self.open(len, 1, None, at)?,
            Token::Map(len) => self.open(len, 2, Some(self.keys.len()), at)?,
            _ => {}
        }
        if self.nodes > self.max_nodes {
            return Err(self.too_many(at));
        }
        Ok(())
    }

    fn open(&mut self, len: u32, least: u64, keys: Option<usize>, at: usize) -> Result<()> {
        if self.levels.len() >= self.max_depth {
            let what = format_args!(
                "more than {} levels of arrays and maps; flatten it",
                self.max_depth
            );
            return Err(self.fault(what, at));
        }
        // Each value takes a byte, and each key another.
        if u64::from(len) * least > self.reader.left() as u64 {
            return Err(self.fault("more values are announced than bytes are left", at));
        }
        if len as usize > self.max_nodes.saturating_sub(self.nodes) {
            return Err(self.too_many(at));
        }
        self.levels.push(Level { left: len, keys });
        Ok(())
    }

    /// Ends the innermost container.
    fn close(&mut self) -> Result<()> {
        let Some(Level {
            keys: Some(first), ..
        }) = self.levels.pop()
        else {
            return Ok(());
        };
        let keys = &mut self.keys[first..];
        if keys.len() > COMPARED {
            sorting::sort_unstable(keys);
            if let Some(pair) = keys.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                let (key, at) = pair[1];
                return Err(self.twice(key, at));
            }
        }
        self.keys.truncate(first);
        Ok(())
    }

    /// Reads and checks a key of the innermost map, whose keys begin at `first`.
    fn key(&mut self, first: usize) -> Result<&'a str> {
        let at = self.reader.position();
        let Token::String(bytes) = self.reader.next()? else {
            return Err(self.fault("a key is no text; use text keys", at));
        };
        let Ok(key) = str::from_utf8(bytes) else {
            return Err(self.fault("a key is not UTF-8", at));
        };
        let is_top = self.levels.len() == 1;
        if is_top {
            self.field = Some(key);
        }
        if self.rules != Rules::Frame {
            if let Some(fault) = key_fault(key) {
                return Err(self.fault(format_args!("the key {:?} {fault}", shown(key)), at));
            }
            let is_forbidden_id = key == ID_FIELD && self.rules == Rules::Body;
            let is_system = || key.starts_with('_') && SYSTEM_FIELDS.contains(&key);
            if is_top && (is_forbidden_id || is_system()) {
                return Err(self.fault(
                    format_args!("`{key}` is set by the system; leave it out"),
                    at,
                ));
            }
        }
        let seen = &self.keys[first..];
        if seen.len() < COMPARED && seen.iter().any(|(seen, _)| *seen == bytes) {
            return Err(self.twice(bytes, at));
        }
        self.keys.push((bytes, at));
        Ok(key)
    }

    fn id_entry(&self, token: Token<'a>, start: usize) -> Result<IdEntry> {
        let end = self.reader.position();
        match token {
            Token::Null => Ok(IdEntry {
                start,
                end,
                text: None,
            }),
            Token::String(text) => Ok(IdEntry {
                start,
                end,
                text: Some((end - text.len(), end)),
            }),
            _ => Err(Error::new(
                codes::BAD_ID,
                "the `_id` is no text; use text or leave it out",
            )
            .at(ID_FIELD)),
        }
    }

    fn twice(&self, key: &[u8], at: usize) -> Error {
        let key = String::from_utf8_lossy(key);
        self.fault(
            format_args!("the key {:?} occurs twice in its map", shown(&key)),
            at,
        )
    }

    fn too_many(&self, at: usize) -> Error {
        self.fault(
            format_args!("more than {} values; divide it", self.max_nodes),
            at,
        )
    }

    fn fault(&self, what: impl fmt::Display, at: usize) -> Error {
        match self.field {
            Some(field) => {
                Error::validation(format!("{what} (field {:?}, byte {at})", shown(field))).at(field)
            }
            None => Error::validation(format!("{what} (byte {at})")),
        }
    }
}
