//! `pocket count`: how many documents a collection has.

use pocket_core::Value;

use crate::args::{CountArgs, Global};
use crate::failure::Result;
use crate::open;
use crate::output::{Output, object};

pub(super) async fn run(global: &Global, args: CountArgs, out: &mut Output) -> Result {
    let database = open::existing(global).await?;
    let count = match open::collection(&database, &args.collection)? {
        Some(collection) => collection.count().await?,
        None => 0,
    };
    let counted = object([
        ("collection", Value::from(args.collection.as_str())),
        ("count", Value::from(count)),
    ]);
    out.either(&counted, count)?;
    Ok(database.close().await?)
}
