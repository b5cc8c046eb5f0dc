//! `pocket export`: all documents as JSON lines, by id.

use crate::args::{ExportArgs, Global};
use crate::failure::Result;
use crate::open;
use crate::output::{Output, json};

pub(super) async fn run(global: &Global, args: ExportArgs, out: &mut Output) -> Result {
    let database = open::existing(global).await?;
    let Some(collection) = open::collection(&database, &args.collection)? else {
        return Ok(());
    };
    let mut documents = collection.find().stream();
    while let Some(document) = documents.next().await {
        let document = document?;
        let map = if args.meta {
            document.to_map_with_meta()?
        } else {
            document.to_map()?
        };
        out.line(json(&map))?;
    }
    out.flush()?;
    drop(documents);
    Ok(database.close().await?)
}
