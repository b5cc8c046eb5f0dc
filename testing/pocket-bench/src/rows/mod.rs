//! What is measured, one file for each group of rows.

mod growth;
mod insert;
mod propagation;
mod pull;
mod push;
mod traffic;
mod wire;

use crate::Outcome;
use crate::figure::Row;
use crate::plan::Plan;

/// The groups, in the order of the table.
pub(crate) const GROUPS: &[&str] = &["insert", "push", "pull", "propagation", "wire", "growth"];

/// Measures all that `plan` wants.
pub(crate) async fn all(plan: &Plan) -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    if plan.wants("insert") {
        rows.extend(insert::rows(plan).await?);
    }
    if ["push", "pull", "wire"]
        .iter()
        .any(|group| plan.wants(group))
    {
        let recorded = traffic::record(plan).await?;
        if plan.wants("push") {
            rows.extend(push::rows(plan, &recorded).await?);
        }
        if plan.wants("pull") {
            rows.extend(pull::rows(plan, &recorded).await?);
        }
        if plan.wants("propagation") {
            rows.extend(propagation::rows(plan).await?);
        }
        if plan.wants("wire") {
            rows.extend(wire::rows(plan, &recorded)?);
        }
    } else if plan.wants("propagation") {
        rows.extend(propagation::rows(plan).await?);
    }
    if plan.wants("growth") {
        rows.extend(growth::rows(plan).await?);
    }
    Ok(rows)
}
