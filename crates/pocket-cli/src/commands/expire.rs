//! `pocket expire`: deletes for good what is over by its time to live.

use pocket_core::Value;

use crate::args::Global;
use crate::failure::Result;
use crate::open;
use crate::output::{Output, counted, object};

pub(super) async fn run(global: &Global, out: &mut Output) -> Result {
    let database = open::existing(global).await?;
    let expired = database.expire().await?;
    let summary = object([("expired", Value::from(expired))]);
    let text = format!("{} deleted", counted(expired, "document"));
    out.either(&summary, text)?;
    Ok(database.close().await?)
}
