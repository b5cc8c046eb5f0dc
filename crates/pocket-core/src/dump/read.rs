//! Reading the lines of a dump: each is told from damage, and so is the whole.

use sha2::{Digest as _, Sha256};

use super::index::{read_index, read_ttl};
use super::{
    COLLECTION, DOCUMENT, DUMP_FORMAT, DumpHead, DumpTotals, END, HEAD, INDEX, hex, strategy_named,
};
use crate::{
    Body, CollectionConfig, CollectionName, DocumentId, DocumentLimits, Error, IndexConfig, Map,
    Result, Value, codes,
};

/// What a line of a dump says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum DumpItem {
    /// The dump begins.
    Head(DumpHead),
    /// A collection begins; the documents that follow are in it.
    Collection(CollectionConfig),
    /// A document of the collection that began last.
    Document(DocumentId, Body),
    /// An index of the collection that began last.
    Index(IndexConfig),
    /// Something of a later version, which means nothing here.
    Unknown,
    /// The dump is whole, and ends.
    End(DumpTotals),
}

/// Reads a dump line by line, without a database.
#[derive(Debug)]
pub struct DumpReader {
    limits: DocumentLimits,
    sum: Sha256,
    line: u64,
    stage: Stage,
    totals: DumpTotals,
    /// The last document of the collection at work.
    last: Option<DocumentId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Head,
    Collections,
    Documents,
    Behind,
}

impl DumpReader {
    /// A reader before the first line. Documents over `limits` are refused.
    pub fn new(limits: DocumentLimits) -> Self {
        Self {
            limits,
            sum: Sha256::new(),
            line: 0,
            stage: Stage::Head,
            totals: DumpTotals::default(),
            last: None,
        }
    }

    /// The number of the last line that was read, from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Reads the next line, with or without its end.
    ///
    /// # Errors
    /// Each names the line. `corrupt` when it is damaged, out of place or behind the end, or when the sum of the last
    /// line does not fit; `newer-format`; `validation`, `bad-id` and `document-too-large` for a document that cannot
    /// be stored here.
    pub fn read(&mut self, line: &str) -> Result<DumpItem> {
        let text = line.strip_suffix('\n').unwrap_or(line);
        let text = text.strip_suffix('\r').unwrap_or(text);
        self.line += 1;
        let before = self.sum.clone();
        self.sum.update(text.as_bytes());
        self.sum.update(b"\n");
        self.item(text, before)
            .map_err(|error| Error::new(error.code(), format!("line {}: {error}", self.line)))
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// `corrupt` when the last line has not come: the dump was cut.
    pub fn finish(&self) -> Result<DumpTotals> {
        match self.stage {
            Stage::Behind => Ok(self.totals),
            _ => Err(damaged(format!(
                "the dump is cut behind line {}: its last line is missing",
                self.line
            ))),
        }
    }

    fn item(&mut self, text: &str, before: Sha256) -> Result<DumpItem> {
        let foreign = |error| damaged(format!("this is no line of a dump: {error}"));
        let Value::Map(line) = Value::from_json_str(text).map_err(foreign)? else {
            return Err(damaged("this is no line of a dump: it is no object"));
        };
        if self.stage == Stage::Head {
            return self.head(&line);
        }
        if self.stage == Stage::Behind {
            return Err(damaged("there is something behind the end of the dump"));
        }
        if line.contains_key(COLLECTION) {
            self.collection(&line)
        } else if let Some(document) = line.get(DOCUMENT) {
            self.document(document)
        } else if line.contains_key(INDEX) {
            self.index(&line)
        } else if line.contains_key(END) {
            self.end(&line, before)
        } else {
            Ok(DumpItem::Unknown)
        }
    }

    fn head(&mut self, line: &Map) -> Result<DumpItem> {
        let format = number(line, HEAD).ok_or_else(|| damaged("this is no dump of Pocket"))?;
        if format > u64::from(DUMP_FORMAT) {
            return Err(Error::new(
                codes::NEWER_FORMAT,
                format!(
                    "the dump has format {format}, this program knows {DUMP_FORMAT}; use a newer program"
                ),
            ));
        }
        self.stage = Stage::Collections;
        let version = number(line, "schema_version").and_then(|it| u32::try_from(it).ok());
        // The first version is 1, and no migration leads from one before it.
        let version = version.filter(|version| *version > 0);
        Ok(DumpItem::Head(DumpHead {
            database: text(line, "database").unwrap_or_default().to_owned(),
            schema_version: version
                .ok_or_else(|| damaged("it lacks a schema version from 1 on"))?,
            one_state: line
                .get("one_state")
                .and_then(Value::as_bool)
                .unwrap_or(false),
        }))
    }

    fn collection(&mut self, line: &Map) -> Result<DumpItem> {
        let name = text(line, COLLECTION).ok_or_else(|| damaged("a collection has no name"))?;
        CollectionName::new(name)?;
        let mut config = CollectionConfig::new(name)
            .sync(line.get("sync").and_then(Value::as_bool).unwrap_or(false));
        if let Some(strategy) = text(line, "conflict_strategy") {
            let strategy = strategy_named(strategy)
                .ok_or_else(|| damaged(format!("there is no strategy {strategy:?}")))?;
            config = config.conflict_strategy(strategy);
        }
        if let Some(ttl) = line.get("ttl").map(read_ttl).transpose()?.flatten() {
            config = config.ttl(ttl);
        }
        self.stage = Stage::Documents;
        self.last = None;
        self.totals.collections += 1;
        Ok(DumpItem::Collection(config))
    }

    fn document(&mut self, document: &Value) -> Result<DumpItem> {
        if self.stage != Stage::Documents {
            return Err(damaged("a document comes before the first collection"));
        }
        let (id, body) = Body::from_serialize(document, &self.limits)?;
        let id = id.ok_or_else(|| damaged("a document has no `_id`"))?;
        if self.last.as_ref().is_some_and(|last| *last >= id) {
            return Err(damaged(format!(
                "document {id:?} is out of place: they come by id"
            )));
        }
        self.last = Some(id.clone());
        self.totals.documents += 1;
        Ok(DumpItem::Document(id, body))
    }

    fn index(&self, line: &Map) -> Result<DumpItem> {
        if self.stage != Stage::Documents {
            return Err(damaged("an index comes before the first collection"));
        }
        Ok(DumpItem::Index(read_index(line)?))
    }

    fn end(&mut self, line: &Map, before: Sha256) -> Result<DumpItem> {
        let told = (number(line, "collections"), number(line, "documents"));
        let found = (Some(self.totals.collections), Some(self.totals.documents));
        if told != found || text(line, "sha256") != Some(&hex(&before.finalize())) {
            return Err(damaged(
                "the lines before are not those that were written: some are missing, or were changed",
            ));
        }
        self.stage = Stage::Behind;
        Ok(DumpItem::End(self.totals))
    }
}

fn number(line: &Map, name: &str) -> Option<u64> {
    line.get(name)?.as_integer()?.as_u64()
}

fn text<'a>(line: &'a Map, name: &str) -> Option<&'a str> {
    line.get(name)?.as_str()
}

pub(super) fn damaged(message: impl std::fmt::Display) -> Error {
    Error::new(codes::CORRUPT, message)
}
