//! Which documents `--filter` and `--where` mean.

use std::io::{self, Read};
use std::path::Path;

use pocket_core::{Filter, field};

use super::find::{bad_query, condition};
use crate::args::{Chosen, Global};
use crate::codes;
use crate::failure::{Failure, Result};
use crate::held::Held;

/// A longer file holds no filter: the values of one have much fewer bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// The filter that the options describe; that of every document when there are none.
pub(super) async fn filter(global: &Global, chosen: &Chosen) -> Result<Filter> {
    let mut filter = match (chosen.file(), &chosen.filter) {
        (Some(file), _) => {
            let text = text_of(file, global.held.as_ref().map(Held::input)).await?;
            parse(&text, &format!("--filter @{}", file.display()))?
        }
        (None, Some(text)) => parse(text, "--filter")?,
        (None, None) => Filter::all(),
    };
    for text in &chosen.conditions {
        let (path, value) = condition(text)?;
        let condition = field(path).eq(value);
        condition
            .check()
            .map_err(bad_query(&format!("--where {text}")))?;
        filter = filter.and(condition);
    }
    // Each one may be right and all together too many.
    filter.check().map_err(bad_query("the conditions"))?;
    Ok(filter)
}

fn parse(text: &str, option: &str) -> Result<Filter> {
    Filter::from_json_str(text).map_err(bad_query(option))
}

/// The text of a file; `-` is stdin. A process that holds the database is given the content by the one that asks.
async fn text_of(file: &Path, content: Option<Box<dyn Read + Send>>) -> Result<String> {
    let path = file.to_owned();
    let reading = tokio::task::spawn_blocking(move || {
        let from: Box<dyn Read> = match content {
            Some(content) => content,
            None if path.as_os_str() == "-" => Box::new(io::stdin()),
            None => Box::new(std::fs::File::open(&path)?),
        };
        let mut text = String::new();
        from.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
        Ok(text)
    });
    let read = reading
        .await
        .map_err(|error| Failure::new(codes::IO, format!("reading broke off: {error}")))?;
    read.map_err(|error: io::Error| {
        Failure::io(format!("cannot read the filter {}", file.display()), &error)
    })
}
