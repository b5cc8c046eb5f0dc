//! `pocket export`: all documents as JSON lines, by id.

use super::dump::passed_over;
use crate::args::{ExportArgs, Global};
use crate::failure::Result;
use crate::open;
use crate::output::{Output, json};

/// How the line of a document begins in a dump.
const DOCUMENT: &str = "{\"document\":";

pub(super) async fn run(global: &Global, args: ExportArgs, out: &mut Output) -> Result {
    let database = open::to_read_from(global, args.skip_damaged).await?;
    let Some(collection) = open::collection(&database, &args.collection)? else {
        return Ok(());
    };
    if args.skip_damaged {
        let mut dump = database.dump().await?.skip_damaged().only(&args.collection);
        while let Some(line) = dump.next_line().await? {
            // As the line of a dump has it, so would this command print it.
            let document = line
                .strip_prefix(DOCUMENT)
                .and_then(|rest| rest.strip_suffix('}'));
            if let Some(document) = document {
                out.line(document)?;
            }
        }
        out.flush()?;
        let (damaged, unread) = (dump.damaged(), dump.unread());
        drop(dump);
        database.close().await?;
        return passed_over(damaged, unread);
    }
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
