//! `pocket delete`: documents, all or none.

use std::collections::BTreeSet;

use pocket_core::{Collection, Value, codes};

use crate::args::{DeleteArgs, Global};
use crate::failure::{Failure, Result};
use crate::open;
use crate::output::{Output, object};

pub(super) async fn run(global: &Global, args: DeleteArgs, out: &mut Output) -> Result {
    let database = open::existing(global).await?;
    let Some(collection) = open::collection(&database, &args.collection)? else {
        return Err(Failure::new(
            codes::DOCUMENT_NOT_FOUND,
            format!("there is no document in `{}`", args.collection),
        ));
    };
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
        let deleted = object([
            ("_id", Value::from(id)),
            (
                "deleted",
                Value::from(if args.hard { "hard" } else { "soft" }),
            ),
        ]);
        out.either(&deleted, id)?;
    }
    Ok(database.close().await?)
}

/// Erases documents, or none if one of them is missing.
async fn erase(collection: &Collection<Value>, ids: &[&str]) -> Result {
    for id in ids {
        if collection.get_document(id).await?.is_none() {
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
