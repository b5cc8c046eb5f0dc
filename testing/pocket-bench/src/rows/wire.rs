//! Bytes at the socket, for each document.

use super::traffic::{Passes, Recorded};
use crate::Outcome;
use crate::documents::{self, ID_BYTES};
use crate::figure::{Row, Samples, Unit};
use crate::plan::Plan;

pub(super) fn rows(plan: &Plan, passes: &Passes) -> Outcome<Vec<Row>> {
    let bodies = documents::bodies(&documents::tasks(plan.documents))?;
    let bytes: usize = bodies.iter().map(|body| body.len() + ID_BYTES).sum();
    let each = |bytes: u64| Samples::exact(bytes as f64 / plan.documents as f64);
    let least = each(bytes as u64);
    let rows = |name: &str, recorded: &Recorded| {
        let what = format!("bytes on the wire, {name}");
        let back = format!("{what}: what flows back");
        [
            Row::new(
                "wire",
                what,
                Unit::BytesPerDocument,
                &each(recorded.frame_bytes),
            )
            .limit(
                "nothing but the MessagePack body and the text of the `_id`",
                &least,
                Some(1.15),
            ),
            Row::new(
                "wire",
                back,
                Unit::BytesPerDocument,
                &each(recorded.answer_bytes),
            ),
        ]
    };
    let mut all = Vec::from(rows("push", &passes.push));
    all.extend(rows("cold pull", &passes.pull));
    Ok(all)
}
