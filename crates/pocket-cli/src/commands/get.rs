//! `pocket get`: one document.

use pocket_core::{Shown, codes};

use crate::args::{GetArgs, Global};
use crate::failure::{Failure, Result};
use crate::open;
use crate::output::{Output, json};

pub(super) async fn run(global: &Global, args: GetArgs, out: &mut Output) -> Result {
    let database = open::existing(global).await?;
    let document = match open::collection(&database, &args.collection)? {
        Some(collection) => collection.get_document(&args.id).await?,
        None => None,
    };
    let missing = |code, what: &str| {
        Failure::new(
            code,
            format!(
                "{}/{} {what}; `pocket find {}` lists what there is",
                args.collection,
                Shown(&args.id),
                args.collection
            ),
        )
    };
    match document {
        None => Err(missing(codes::DOCUMENT_NOT_FOUND, "is not there")),
        Some(document) if document.is_deleted() => {
            Err(missing(codes::DOCUMENT_DELETED, "was deleted"))
        }
        Some(document) => {
            out.line(json(&document.to_map()?))?;
            Ok(database.close().await?)
        }
    }
}
