//! `pocket count`: how many documents a collection has, or how many of them match.

use pocket_core::{QuerySpec, Value};

use super::chosen;
use super::find::of_query;
use crate::args::{CountArgs, Global};
use crate::failure::Result;
use crate::open;
use crate::output::{Output, object};

pub(super) async fn run(global: &Global, args: CountArgs, out: &mut Output) -> Result {
    let filter = chosen::filter(global, &args.chosen).await?;
    let database = open::existing(global).await?;
    let count = match open::collection(&database, &args.collection)? {
        Some(collection) if args.chosen.is_empty() => collection.count().await?,
        Some(collection) => {
            let mut spec = QuerySpec::default();
            spec.filter = filter;
            let count = collection.query(spec).count().await;
            count.map_err(|error| of_query(error.into()))?
        }
        None => 0,
    };
    let counted = object([
        ("collection", Value::from(args.collection.as_str())),
        ("count", Value::from(count)),
    ]);
    out.either(&counted, count)?;
    Ok(database.close().await?)
}
