//! `pocket conflicts`: the journal, with all versions in full, and what is done about its entries.

use pocket_core::{
    CollectionName, Document, Journal, JournalDocument, JournalEntry, JournalFilter, JournalKind,
    JournalState, JournalVersion, Map, Shown, Value, Winner, codes as core_codes,
};

use crate::args::{ConflictsAction, ConflictsArgs, ConflictsListArgs, Global};
use crate::failure::{Failure, Result};
use crate::open;
use crate::output::{Output, counted, json, object};

/// Entries read at once.
const PAGE: usize = 100;

pub(super) async fn run(global: &Global, args: ConflictsArgs, out: &mut Output) -> Result {
    let database = open::existing(global).await?;
    let journal = database.journal();
    let list = || ConflictsAction::List(ConflictsListArgs::default());
    let done = match args.action.unwrap_or_else(list) {
        ConflictsAction::List(args) => print_all(&journal, &args, out).await,
        ConflictsAction::Show { entry } => show(&journal, entry, out).await,
        ConflictsAction::Restore { entry } => restore(&journal, entry, out).await,
        ConflictsAction::Dismiss { entries } => dismiss(&journal, &entries, out).await,
    };
    let closed = database.close().await;
    done?;
    Ok(closed?)
}

async fn print_all(journal: &Journal, args: &ConflictsListArgs, out: &mut Output) -> Result {
    let mut filter = if args.open {
        JournalFilter::open()
    } else {
        JournalFilter::default()
    };
    if let Some(name) = &args.collection {
        filter = filter.collection(CollectionName::new(name)?);
    }
    let mut after = None;
    let mut count = 0_u64;
    loop {
        let entries = journal.list_matching(&filter, after, PAGE).await?;
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
        out.note(if filter == JournalFilter::default() {
            "the journal is empty: no conflict and no refusal so far"
        } else {
            "the journal has no such entry"
        });
    }
    Ok(())
}

async fn show(journal: &Journal, number: u64, out: &mut Output) -> Result {
    let explanation = journal.explain(number).await?;
    if out.is_json() {
        let mut object = report(&explanation.entry)?;
        object.insert("explanation", explanation.to_string());
        return out.line(json(&object));
    }
    out.line(explanation)
}

async fn restore(journal: &Journal, number: u64, out: &mut Output) -> Result {
    let documents = journal.restore(number).await?;
    let entry = journal.get(number).await?;
    let written = |document: &Document| {
        let mut map = document.to_map_with_meta()?;
        let of = entry.documents.iter().find(|of| of.id == document.id);
        map.insert("collection", of.map_or("", |of| of.collection.as_str()));
        Ok::<_, pocket_core::Error>(Value::Map(map))
    };
    let documents = documents
        .iter()
        .map(written)
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let text = format!(
        "entry {number} is restored: {} written anew",
        counted(documents.len() as u64, "document")
    );
    let mut object = report(&entry)?;
    object.insert("written", Value::Array(documents));
    out.either(&object, text)
}

/// All, or none if one of them is not there or not open.
async fn dismiss(journal: &Journal, numbers: &[u64], out: &mut Output) -> Result {
    for number in numbers {
        let found = journal.get(*number).await;
        let entry = found.map_err(|error| Failure::from(error).and("nothing was dismissed"))?;
        if entry.state != JournalState::Open {
            return Err(Failure::new(
                core_codes::JOURNAL_ENTRY_CLOSED,
                format!(
                    "entry {number} of the journal is {} already; nothing was dismissed",
                    state(entry.state)
                ),
            ));
        }
    }
    for number in numbers {
        journal.dismiss(*number).await?;
        let object = report(&journal.get(*number).await?)?;
        out.either(&object, format!("entry {number} is dismissed"))?;
    }
    Ok(())
}

fn report(entry: &JournalEntry) -> Result<Map> {
    let documents: Vec<Value> = entry
        .documents
        .iter()
        .map(|document| document_report(entry.kind, document).map(Value::Map))
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

fn document_report(kind: JournalKind, document: &JournalDocument) -> Result<Map> {
    // The documents of a unique violation are there; the entry has no bodies of its own.
    let is_there = kind == JournalKind::UniqueViolation;
    // A base was a document, or there would be none: its body may only not be kept.
    let is_base = |version: &JournalVersion| document.base.as_ref() == Some(version);
    let version = |version: Option<&JournalVersion>| -> Result<Value> {
        let Some(version) = version else {
            return Ok(Value::Null);
        };
        Ok(Value::Map(object([
            ("rev", version.rev.map(|rev| rev.to_string()).into()),
            ("seq", version.seq.map(pocket_core::Seq::get).into()),
            (
                "deleted",
                Value::from(
                    version.body.is_none() && !document.erased && !is_there && !is_base(version),
                ),
            ),
            ("document", whole(document, version)?.into()),
        ])))
    };
    Ok(object([
        ("collection", Value::from(document.collection.as_str())),
        ("_id", Value::from(document.id.as_str())),
        ("erased", Value::from(document.erased)),
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
    let reason = entry.reason.as_deref().map(Shown);
    let because = reason.map_or_else(String::new, |reason| format!(": {reason}"));
    let outcome = match (entry.kind, entry.winner) {
        (JournalKind::Refusal, _) => format!(
            "refused: {}, {}",
            Shown(entry.code.as_deref().unwrap_or("without a code")),
            reason.unwrap_or(Shown("without a reason"))
        ),
        (JournalKind::UniqueViolation, _) => format!(
            "both documents stay: {}",
            reason.unwrap_or(Shown("a unique index has them twice"))
        ),
        (_, Winner::Local) => format!("the local version won ({}{because})", entry.rule),
        (_, Winner::Remote) => format!("the server's version won ({}{because})", entry.rule),
        (_, _) => format!("both were merged ({}{because})", entry.rule),
    };
    let mut lines = vec![format!(
        "#{}  {}  {}  {outcome}  [{}]",
        entry.number,
        entry.time,
        kind(entry.kind),
        state(entry.state)
    )];
    for document in &entry.documents {
        let id = Shown(document.id.as_str());
        lines.push(format!("    {}/{id}", document.collection));
        if entry.kind == JournalKind::UniqueViolation {
            continue;
        }
        let versions = [
            ("base", document.base.as_ref()),
            ("local", Some(&document.local)),
            ("remote", document.remote.as_ref()),
        ];
        for (name, version) in versions {
            let text = match version {
                None => "nothing".to_owned(),
                Some(version) => {
                    let gone = match name {
                        _ if document.erased => "erased",
                        // It was a document, or there would be none.
                        "base" => "not kept",
                        _ => "deleted",
                    };
                    whole(document, version)?.map_or(gone.to_owned(), |map| json(&map))
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
        JournalKind::UniqueViolation => "unique-violation",
        _ => "conflict",
    }
}

fn winner(winner: Winner) -> &'static str {
    match winner {
        Winner::Local => "local",
        Winner::Remote => "remote",
        Winner::Both => "both",
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
