//! The suite that every backend passes: one list of cases, each quoting the promise that it shows.
//!
//! ```
//! use std::sync::Arc;
//! use pocket_storage::conformance::{self, Place};
//! use pocket_storage::{BoxFuture, Result, Storage};
//!
//! /// Opens the store at one place, again and again.
//! struct At<F>(F);
//!
//! impl<F: Fn() -> Result<Arc<dyn Storage>> + Send + Sync> Place for At<F> {
//!     fn open(&self) -> BoxFuture<'_, Result<Arc<dyn Storage>>> {
//!         Box::pin(async { (self.0)() })
//!     }
//! }
//!
//! async fn my_storage_keeps_the_contract(open: fn(u32) -> Result<Arc<dyn Storage>>) {
//!     let mut place = 0;
//!     conformance::run(|| {
//!         place += 1;
//!         let here = place;
//!         At(move || open(here))
//!     })
//!     .await;
//! }
//! ```

mod commits;
#[cfg(not(target_arch = "wasm32"))]
pub mod crash;
mod life;
mod random;
mod reads;
mod scans;
mod snapshots;
mod support;
mod visits;

use std::fmt::Write as _;
use std::sync::Arc;

use crate::{BoxFuture, MaybeSend, MaybeSync, Result, Storage};
use support::Outcome;

/// Where a store under test lives: a directory, a database name, a map.
pub trait Place: MaybeSend + MaybeSync {
    /// Opens the store at this place; empty the first time, then with what was committed. The suite opens it
    /// again only after the store before was closed or dropped.
    fn open(&self) -> BoxFuture<'_, Result<Arc<dyn Storage>>>;
}

struct Case {
    name: &'static str,
    /// A sentence of the contract, word for word.
    promise: &'static str,
    run: for<'a> fn(&'a dyn Place) -> BoxFuture<'a, Outcome>,
}

/// Runs every case, each in a place of its own that `new_place` makes.
///
/// # Panics
/// If a case fails. The message lists every case that failed, what it shows, and how it failed.
pub async fn run<P: Place>(mut new_place: impl FnMut() -> P) {
    let mut failures = String::new();
    let mut failed = 0;
    let cases: Vec<&Case> = all_cases().collect();
    for case in &cases {
        let place = new_place();
        if let Err(failure) = (case.run)(&place).await {
            failed += 1;
            let (name, promise) = (case.name, case.promise);
            let _ = write!(failures, "\n- {name}: {failure}\n  promised: {promise}");
        }
    }
    assert!(
        failed == 0,
        "{failed} of {} conformance cases failed:{failures}",
        cases.len()
    );
}

fn all_cases() -> impl Iterator<Item = &'static Case> {
    [
        reads::CASES,
        scans::CASES,
        snapshots::CASES,
        visits::CASES,
        commits::CASES,
        life::CASES,
        random::CASES,
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text of doc comments and string literals, without their line breaks.
    fn normalized(source: &str) -> String {
        let text = source.replace("///", " ");
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_case_quotes_the_contract_word_for_word() {
        let contract = [
            include_str!("../storage.rs"),
            include_str!("../batch.rs"),
            include_str!("../error.rs"),
        ]
        .map(normalized)
        .join(" ");
        for case in all_cases() {
            let promise = normalized(case.promise);
            assert!(
                contract.contains(&promise),
                "{} quotes what the contract does not say: {promise}",
                case.name
            );
        }
    }

    #[test]
    fn no_two_cases_have_one_name() {
        let mut names: Vec<_> = all_cases().map(|case| case.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
