//! `pocket conflicts`: the journal, with all versions in full.

use pocket_core::{
    JournalDocument, JournalEntry, JournalKind, JournalState, JournalVersion, Map, Value, Winner,
};

use crate::args::Global;
use crate::failure::Result;
use crate::open;
use crate::output::{Output, json, object};

/// Entries read at once.
const PAGE: usize = 100;

pub(super) async fn run(global: &Global, out: &mut Output) -> Result {
    let database = open::existing(global).await?;
    let journal = database.journal();
    let mut after = None;
    let mut count = 0_u64;
    loop {
        let entries = journal.list(after, PAGE).await?;
        let Some(last) = entries.last() else { break };
        after = Some(last.number);
        for entry in &entries {
            count += 1;
            if out.is_json() {
                out.line(json(&report(entry)?))?;
                continue;
            }
            for line in lines(entry)? {
                out.line(line)?;
            }
        }
    }
    if count == 0 && !out.is_json() {
        out.note("the journal is empty: no conflict and no refusal so far");
    }
    Ok(database.close().await?)
}

fn report(entry: &JournalEntry) -> Result<Map> {
    let documents: Vec<Value> = entry
        .documents
        .iter()
        .map(|document| document_report(document).map(Value::Map))
        .collect::<Result<_>>()?;
    Ok(object([
        ("number", Value::from(entry.number)),
        ("kind", Value::from(kind(entry.kind))),
        ("time", Value::from(entry.time.to_string())),
        ("winner", Value::from(winner(entry.winner))),
        ("rule", Value::from(entry.rule.as_str())),
        ("code", entry.code.as_deref().into()),
        ("reason", entry.reason.as_deref().into()),
        ("state", Value::from(state(entry.state))),
        ("documents", Value::Array(documents)),
    ]))
}

fn document_report(document: &JournalDocument) -> Result<Map> {
    let version = |version: Option<&JournalVersion>| -> Result<Value> {
        let Some(version) = version else {
            return Ok(Value::Null);
        };
        Ok(Value::Map(object([
            ("rev", version.rev.map(|rev| rev.to_string()).into()),
            ("seq", version.seq.map(pocket_core::Seq::get).into()),
            ("deleted", Value::from(version.body.is_none())),
            ("document", whole(document, version)?.into()),
        ])))
    };
    Ok(object([
        ("collection", Value::from(document.collection.as_str())),
        ("_id", Value::from(document.id.as_str())),
        ("base", version(document.base.as_ref())?),
        ("local", version(Some(&document.local))?),
        ("remote", version(document.remote.as_ref())?),
    ]))
}

/// The document with its `_id`, or none of a tombstone.
fn whole(document: &JournalDocument, version: &JournalVersion) -> Result<Option<Map>> {
    let Some(body) = &version.body else {
        return Ok(None);
    };
    let mut map = object([("_id", Value::from(document.id.as_str()))]);
    map.extend(body.to_map()?);
    Ok(Some(map))
}

fn lines(entry: &JournalEntry) -> Result<Vec<String>> {
    let outcome = match (&entry.code, entry.winner) {
        (Some(code), _) => format!(
            "refused: {code}, {}",
            entry.reason.as_deref().unwrap_or("without a reason")
        ),
        (None, Winner::Local) => format!("the local version won ({})", entry.rule),
        (None, Winner::Remote) => format!("the server's version won ({})", entry.rule),
        (None, _) => format!("both were merged ({})", entry.rule),
    };
    let mut lines = vec![format!(
        "#{}  {}  {}  {outcome}  [{}]",
        entry.number,
        entry.time,
        kind(entry.kind),
        state(entry.state)
    )];
    for document in &entry.documents {
        lines.push(format!("    {}/{}", document.collection, document.id));
        let versions = [
            ("base", document.base.as_ref()),
            ("local", Some(&document.local)),
            ("remote", document.remote.as_ref()),
        ];
        for (name, version) in versions {
            let text = match version {
                None => "nothing".to_owned(),
                Some(version) => {
                    whole(document, version)?.map_or("deleted".to_owned(), |map| json(&map))
                }
            };
            lines.push(format!("      {name:<6}  {text}"));
        }
    }
    Ok(lines)
}

fn kind(kind: JournalKind) -> &'static str {
    match kind {
        JournalKind::Refusal => "refusal",
        _ => "conflict",
    }
}

fn winner(winner: Winner) -> &'static str {
    match winner {
        Winner::Local => "local",
        Winner::Remote => "remote",
        _ => "merged",
    }
}

fn state(state: JournalState) -> &'static str {
    match state {
        JournalState::Restored => "restored",
        JournalState::Dismissed => "dismissed",
        _ => "open",
    }
}
