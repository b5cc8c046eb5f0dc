//! An entry in words: what met what, who decided by which rule, and what can be done.

use std::fmt;

use crate::journal::{
    Journal, JournalDocument, JournalEntry, JournalKind, JournalState, JournalVersion, Winner,
};
use crate::{Map, Result, Shown, Timestamp};
use pocket_storage::ordered::BTreeSet;

/// Who decided which version stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DecidedBy {
    /// A built-in rule, on this device.
    Strategy,
    /// A rule of the application, on this device.
    Application,
    /// The server, which refused the change.
    Server,
}

/// An entry of the journal in words; [`Display`](fmt::Display) tells all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The entry.
    pub entry: JournalEntry,
    /// Who decided.
    pub decided_by: DecidedBy,
    /// What happened, in a sentence.
    pub happened: String,
    /// By which rule it was decided, in a sentence.
    pub rule: String,
    /// What stands now, in a sentence.
    pub outcome: String,
    /// What can be done, in a sentence.
    pub advice: String,
    /// For each document what base, local and remote version are, in lines.
    pub documents: Vec<String>,
}

impl Journal {
    /// Explains an entry: what base, local and remote version were, who decided, and by which rule.
    ///
    /// # Errors
    /// `journal-entry-not-found`, `corrupt`, and what the store says.
    pub async fn explain(&self, number: u64) -> Result<Explanation> {
        Explanation::of(self.get(number).await?)
    }
}

impl Explanation {
    /// Of this entry.
    ///
    /// # Errors
    /// `corrupt` when a stored body cannot be read.
    pub fn of(entry: JournalEntry) -> Result<Self> {
        let documents = entry.documents.iter().map(|shown| match entry.kind {
            JournalKind::UniqueViolation => Ok(stands(shown)),
            _ => document(shown),
        });
        let documents = documents.collect::<Result<_>>()?;
        let (decided_by, rule) = rule(&entry);
        Ok(Self {
            happened: happened(&entry),
            outcome: outcome(&entry),
            advice: advice(&entry),
            decided_by,
            rule,
            documents,
            entry,
        })
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.happened)?;
        for document in &self.documents {
            writeln!(f, "{document}")?;
        }
        writeln!(f, "{}", self.rule)?;
        writeln!(f, "{}", self.outcome)?;
        write!(f, "{}", self.advice)
    }
}

fn happened(entry: &JournalEntry) -> String {
    let change = match entry.documents.as_slice() {
        [document] => format!("a change of {}", name(document)),
        documents => format!("a transaction on {} documents", documents.len()),
    };
    match entry.kind {
        JournalKind::Conflict => {
            format!(
                "At {}, {change} made here met another version on the server.",
                entry.time
            )
        }
        JournalKind::Refusal => format!("At {}, the server refused {change}.", entry.time),
        JournalKind::UniqueViolation => {
            let names = entry.documents.iter().map(name);
            format!(
                "At {}, {} were found to have the same values in a unique index.",
                entry.time,
                names.collect::<Vec<_>>().join(" and ")
            )
        }
    }
}

fn name(document: &JournalDocument) -> String {
    let id = Shown(document.id.as_str());
    format!("{}/{id}", document.collection)
}

fn rule(entry: &JournalEntry) -> (DecidedBy, String) {
    let code = Shown(entry.code.as_deref().unwrap_or("no code"));
    let reason = entry.reason.as_deref().map(Shown);
    let because = reason.map_or_else(String::new, |reason| format!(": {reason}"));
    if entry.kind == JournalKind::Refusal {
        let text = format!("The server decided, with the code `{code}`{because}.");
        return (DecidedBy::Server, text);
    }
    if entry.kind == JournalKind::UniqueViolation {
        let text = format!(
            "A unique index refuses only what is written here; what sync brought and what was there before stays{because}."
        );
        return (DecidedBy::Strategy, text);
    }
    let (by, text) = match entry.rule.as_str() {
        "last-write-wins" => {
            let times = times(entry);
            let text = format!("the write with the greater revision stands, the later one{times}");
            (DecidedBy::Strategy, text)
        }
        "server-wins" => (
            DecidedBy::Strategy,
            "the server's version stands, whatever it is".to_owned(),
        ),
        "client-wins" => (
            DecidedBy::Strategy,
            "the version of this device stands, whatever it is".to_owned(),
        ),
        "merge" => {
            let times = times(entry);
            let text = if entry.documents.iter().any(is_merged_without_base) {
                format!(
                    "what both were made of is not known here, so the fields of both stand together; where both have the \
                     same field, that of the later write does{times}"
                )
            } else {
                format!(
                    "what one side changed stands; where both changed the same field, the later write does{times}"
                )
            };
            (DecidedBy::Strategy, text)
        }
        "erased" => (
            DecidedBy::Strategy,
            "the document was erased for good, which beats every strategy".to_owned(),
        ),
        "server-version-not-readable" => (
            DecidedBy::Server,
            "the server's version may not be read here or is gone, so the change cannot stand on it"
                .to_owned(),
        ),
        "resolver-failed" => {
            let text = format!("it gave no answer, so the server's version stands{because}");
            (DecidedBy::Application, text)
        }
        "custom" => {
            let text = reason.unwrap_or(Shown("it gave no reason")).to_string();
            (DecidedBy::Application, text)
        }
        other => (DecidedBy::Strategy, format!("`{other}`{because}")),
    };
    let who = match by {
        DecidedBy::Strategy => format!("This device decided, by the rule `{}`", entry.rule),
        DecidedBy::Application => "A rule of the application decided".to_owned(),
        DecidedBy::Server => "The server decided".to_owned(),
    };
    (by, format!("{who}: {text}."))
}

/// Whether nothing told which side of a document had changed what.
fn is_merged_without_base(document: &JournalDocument) -> bool {
    let base = document.base.as_ref();
    !document.erased && base.is_none_or(|base| base.body.is_none())
}

/// Whether all that an entry is about was erased, so that it keeps nothing of it.
fn is_erased(entry: &JournalEntry) -> bool {
    !entry.documents.is_empty() && entry.documents.iter().all(|document| document.erased)
}

/// When both sides were written, where that decided.
fn times(entry: &JournalEntry) -> String {
    let [document] = entry.documents.as_slice() else {
        return String::new();
    };
    let time = |version: &JournalVersion| version.rev.map(|rev| rev.hlc.time());
    let local = time(&document.local);
    let remote = document.remote.as_ref().and_then(time);
    match (local, remote) {
        (Some(local), Some(remote)) => format!(" (here {local}, there {remote})"),
        _ => String::new(),
    }
}

fn outcome(entry: &JournalEntry) -> String {
    if is_erased(entry) && entry.kind != JournalKind::UniqueViolation {
        let what = match entry.documents.as_slice() {
            [_] => "The document is",
            _ => "The documents are",
        };
        return format!(
            "{what} erased since, and with it both versions that this entry was about."
        );
    }
    match (entry.kind, entry.winner) {
        (JournalKind::Refusal, _) => {
            "The change left the queue, and the document is as the server has it.".to_owned()
        }
        (JournalKind::UniqueViolation, _) | (_, Winner::Both) => {
            "Both documents stand as they are, here and on the server.".to_owned()
        }
        (_, Winner::Local) => {
            "The local version stands and was sent again, on top of the server's.".to_owned()
        }
        (_, Winner::Remote) => {
            "The server's version stands; the local one is kept in this entry only.".to_owned()
        }
        (_, Winner::Merged) => {
            "Something made of both stands and was sent; both versions are kept in this entry."
                .to_owned()
        }
    }
}

fn advice(entry: &JournalEntry) -> String {
    let number = entry.number;
    match entry.state {
        JournalState::Open if entry.kind == JournalKind::UniqueViolation => {
            format!(
                "Change or delete one of the documents; dismissing entry {number} leaves all as it is."
            )
        }
        JournalState::Open | JournalState::Dismissed
            if entry.documents.iter().any(|document| document.erased) =>
        {
            format!(
                "What was erased cannot be restored, its content is kept nowhere; dismissing entry {number} leaves all as \
                 it is."
            )
        }
        JournalState::Open => {
            let loser = if entry.winner == Winner::Local {
                "the server's version"
            } else {
                "the local version"
            };
            format!(
                "Restoring entry {number} writes {loser} again as a new edit; dismissing it leaves all as it is."
            )
        }
        JournalState::Restored => format!("Entry {number} was restored."),
        JournalState::Dismissed => {
            format!("Entry {number} was dismissed; it can still be restored.")
        }
    }
}

fn document(document: &JournalDocument) -> Result<String> {
    if document.erased {
        return Ok(format!(
            "  {}\n    erased for good: no version of it is kept",
            name(document)
        ));
    }
    let base = document.base.as_ref().map(fields).transpose()?.flatten();
    let mut lines = vec![format!("  {}", name(document))];
    lines.push(match (&document.base, &base) {
        (None, _) => "    base: there was nothing, so this was a create".to_owned(),
        (Some(version), Some(fields)) => format!("    base: {}{}", json(fields)?, written(version)),
        (Some(version), None) => {
            format!(
                "    base: a version whose body is not kept{}",
                written(version)
            )
        }
    });
    let local = side("here", Some(&document.local), base.as_ref())?;
    let remote = side("there", document.remote.as_ref(), base.as_ref())?;
    lines.extend([local, remote]);
    Ok(lines.join("\n"))
}

/// A document that is there as it is.
fn stands(document: &JournalDocument) -> String {
    format!("  {}{}", name(document), written(&document.local))
}

fn side(name: &str, version: Option<&JournalVersion>, base: Option<&Map>) -> Result<String> {
    let Some(version) = version else {
        return Ok(format!("    {name}: nothing is known"));
    };
    let Some(map) = fields(version)? else {
        return Ok(format!("    {name}: deleted{}", written(version)));
    };
    let changed = base.map_or_else(String::new, |base| changes(base, &map));
    Ok(format!(
        "    {name}: {}{changed}{}",
        json(&map)?,
        written(version)
    ))
}

/// Which fields a side changed.
fn changes(base: &Map, side: &Map) -> String {
    let names: BTreeSet<&str> = base.keys().chain(side.keys()).collect();
    let same = |name: &&&str| match (base.get(name), side.get(name)) {
        (Some(base), Some(side)) => base.is_same(side),
        (base, side) => base.is_none() && side.is_none(),
    };
    let changed: Vec<&str> = names.iter().filter(|name| !same(name)).copied().collect();
    if changed.is_empty() {
        return ", as the base".to_owned();
    }
    format!(", changed {}", changed.join(", "))
}

fn written(version: &JournalVersion) -> String {
    let time = version.rev.map(|rev| rev.hlc.time());
    time.map_or_else(String::new, |time: Timestamp| format!(" ({time})"))
}

fn fields(version: &JournalVersion) -> Result<Option<Map>> {
    version.body.as_ref().map(crate::Body::to_map).transpose()
}

fn json(map: &Map) -> Result<String> {
    crate::Value::Map(map.clone()).to_json_string()
}
