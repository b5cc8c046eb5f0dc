//! `pocket update`: sets fields of a document.

use pocket_core::{Value, codes};

use crate::args::{Global, UpdateArgs};
use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::{documents, open};

pub(super) async fn run(global: &Global, args: UpdateArgs, out: &mut Output) -> Result {
    let patch = Value::Map(documents::parse(&args.patch)?);
    let database = open::existing(global).await?;
    let Some(collection) = open::collection(&database, &args.collection)? else {
        return Err(Failure::new(
            codes::DOCUMENT_NOT_FOUND,
            format!(
                "there is no document in `{}` yet; `pocket insert {}` makes one",
                args.collection, args.collection
            ),
        ));
    };
    let updated = collection.update(&args.id, &patch).await?;
    out.line(updated.to_json_string()?)?;
    Ok(database.close().await?)
}
