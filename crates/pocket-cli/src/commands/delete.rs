//! `pocket delete`: documents by id, all or none, or all that match.

use std::collections::BTreeSet;

use pocket_core::{Collection, Database, DocumentId, Filter, QuerySpec, Value, codes};

use super::chosen;
use super::find::of_query;
use crate::args::{DeleteArgs, Global};
use crate::failure::{Failure, Result};
use crate::open;
use crate::output::{Output, counted, object};

/// Documents of one transaction, when all that match are deleted.
const BATCH: usize = 500;

/// How often in a row a transaction may fail because somebody else wrote.
const CONFLICTS: u32 = 100;

pub(super) async fn run(global: &Global, args: DeleteArgs, out: &mut Output) -> Result {
    let filter = chosen::filter(global, &args.chosen).await?;
    let how = if args.hard { "hard" } else { "soft" };
    let database = open::existing(global).await?;
    let Some(collection) = open::collection(&database, &args.collection)? else {
        return Err(Failure::new(
            codes::DOCUMENT_NOT_FOUND,
            format!("there is no document in `{}`", args.collection),
        ));
    };
    if !args.chosen.is_empty() {
        let count = matching(&database, &collection, &filter, args.hard).await?;
        let deleted = object([
            ("collection", Value::from(args.collection.as_str())),
            ("count", Value::from(count)),
            ("deleted", Value::from(how)),
        ]);
        let told = format!("{} deleted", counted(count, "document"));
        out.either(&deleted, told)?;
        return Ok(database.close().await?);
    }
    // An id named twice is deleted once.
    let mut seen = BTreeSet::new();
    let ids: Vec<&str> = args
        .id
        .iter()
        .map(String::as_str)
        .filter(|id| seen.insert(*id))
        .collect();
    if args.hard {
        erase(&collection, &ids).await?;
    } else {
        collection.delete_many(ids.iter().copied()).await?;
    }
    for id in ids {
        let deleted = object([("_id", Value::from(id)), ("deleted", Value::from(how))]);
        out.either(&deleted, id)?;
    }
    Ok(database.close().await?)
}

/// Deletes the documents that pass, and counts them.
async fn matching(
    database: &Database,
    collection: &Collection<Value>,
    filter: &Filter,
    hard: bool,
) -> Result<u64> {
    let mut spec = QuerySpec::default();
    spec.filter = filter.clone();
    spec.limit = Some(BATCH);
    spec.include = vec!["_id".to_owned()];
    let (mut deleted, mut conflicts) = (0, 0);
    loop {
        let mut ids = Vec::with_capacity(BATCH);
        let mut found = collection.query(spec.clone()).stream();
        while let Some(document) = found.next().await {
            let document = document.map_err(|error| broken_off(of_query(error.into()), deleted))?;
            ids.push(document.id);
        }
        if ids.is_empty() {
            return Ok(deleted);
        }
        match together(database, collection, filter, &ids, hard).await {
            Ok(count) => {
                deleted += count;
                conflicts = 0;
            }
            // Somebody changed one of them: what passes now is looked for again.
            Err(error) if error.code() == codes::TRANSACTION_CONFLICT && conflicts < CONFLICTS => {
                conflicts += 1;
            }
            Err(error) => return Err(broken_off(error.into(), deleted)),
        }
    }
}

/// What is deleted of the documents that pass when the rest is not.
fn broken_off(failure: Failure, deleted: u64) -> Failure {
    match deleted {
        0 => failure,
        _ => failure.and(&format!(
            "{} deleted before; the same command deletes the rest",
            counted(deleted, "document")
        )),
    }
}

/// Deletes those of these documents that pass as they are when the transaction is stored.
async fn together(
    database: &Database,
    collection: &Collection<Value>,
    filter: &Filter,
    ids: &[DocumentId],
    hard: bool,
) -> pocket_core::Result<u64> {
    let mut transaction = database.transaction();
    let mut count = 0;
    for id in ids {
        // Has the commit fail when it is changed behind this.
        transaction.get(collection, id.as_str()).await?;
        let Some(document) = collection.get_document(id.as_str()).await? else {
            continue;
        };
        let passes = match &document.body {
            Some(body) => filter.matches(id, body)?,
            None => false,
        };
        if !passes {
            continue;
        }
        if hard {
            transaction.hard_delete(collection, id.as_str())?;
        } else {
            transaction.delete(collection, id.as_str())?;
        }
        count += 1;
    }
    transaction.commit().await?;
    Ok(count)
}

/// Erases documents, or none if one of them is missing.
async fn erase(collection: &Collection<Value>, ids: &[&str]) -> Result {
    for id in ids {
        let found = match collection.get_document(id).await {
            // It is there, and what it is need not be known.
            Err(error) if error.is_of_a_document() => continue,
            found => found?,
        };
        if found.is_none() {
            return Err(Failure::new(
                codes::DOCUMENT_NOT_FOUND,
                format!(
                    "{}/{id} is not there; nothing was erased",
                    collection.name()
                ),
            ));
        }
    }
    for id in ids {
        collection.hard_delete(id).await?;
    }
    Ok(())
}
