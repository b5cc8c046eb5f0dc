//! What is measured, one file for each group of rows.

mod collections;
mod fan_out;
mod first_sync;
mod growth;
mod idle;
mod insert;
mod propagation;
mod pull;
mod push;
mod reconnect;
mod single;
mod stalled;
mod tombstones;
mod traffic;
mod wire;

use serde::Serialize;

use crate::Outcome;
use crate::figure::Row;
use crate::machine::Memory;
use crate::plan::Plan;

/// The groups, in the order of the table.
pub(crate) const GROUPS: &[&str] = &[
    "insert",
    "single",
    "push",
    "pull",
    "propagation",
    "wire",
    "growth",
    "reconnect",
    "tombstones",
    "fan-out",
    "stalled",
    "idle",
    "first-sync",
    "get",
    "indexes",
    "range",
    "scan",
    "top",
    "live",
    "live-many",
    "open",
];

/// What came of all measurements.
#[derive(Default)]
pub(crate) struct Measured {
    pub(crate) rows: Vec<Row>,
    /// The most memory of each process beside this one.
    pub(crate) peaks: Vec<Peak>,
}

/// The most memory that a process ever had.
#[derive(Debug, Serialize)]
pub(crate) struct Peak {
    pub(crate) process: String,
    pub(crate) bytes: u64,
}

impl Peak {
    pub(crate) fn new(process: impl Into<String>, memory: Memory) -> Self {
        Self {
            process: process.into(),
            bytes: memory.peak,
        }
    }
}

impl Measured {
    fn add(&mut self, more: Self) {
        self.rows.extend(more.rows);
        self.peaks.extend(more.peaks);
    }
}

/// Measures all that `plan` wants.
pub(crate) async fn all(plan: &Plan) -> Outcome<Measured> {
    let mut measured = Measured::default();
    let rows = &mut measured.rows;
    if plan.wants("insert") {
        rows.extend(insert::rows(plan).await?);
    }
    if plan.wants("single") {
        rows.extend(single::rows(plan).await?);
    }
    let recorded = if ["push", "pull", "wire"]
        .iter()
        .any(|group| plan.wants(group))
    {
        Some(traffic::record(plan).await?)
    } else {
        None
    };
    if let Some(recorded) = &recorded {
        if plan.wants("push") {
            rows.extend(push::rows(plan, recorded).await?);
        }
        if plan.wants("pull") {
            rows.extend(pull::rows(plan, recorded).await?);
        }
    }
    if plan.wants("propagation") {
        rows.extend(propagation::rows(plan).await?);
    }
    if let Some(recorded) = recorded.filter(|_| plan.wants("wire")) {
        rows.extend(wire::rows(plan, &recorded)?);
    }
    if plan.wants("growth") {
        rows.extend(growth::rows(plan).await?);
    }
    if plan.wants("reconnect") {
        rows.extend(reconnect::rows(plan).await?);
    }
    if plan.wants("tombstones") {
        rows.extend(tombstones::rows(plan).await?);
    }
    if plan.wants("fan-out") {
        rows.extend(fan_out::rows(plan).await?);
    }
    if plan.wants("stalled") {
        rows.extend(stalled::rows(plan).await?);
    }
    if plan.wants("idle") {
        measured.add(idle::measure(plan).await?);
    }
    if plan.wants("first-sync") {
        measured.add(first_sync::measure(plan).await?);
    }
    measured.rows.extend(collections::rows(plan).await?);
    Ok(measured)
}
