//! Many histories, on some threads; and what came of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::command::open_promise;
use crate::counts::Counts;
use crate::family::{Family, Seed};
use crate::history::{self, Ending};
use crate::swarm::Profile;

/// Every so many histories one is run twice, to see that nothing but the seed decides.
const TWICE_EVERY: u64 = 100;

/// Fewer histories than this may leave a kind of fault out.
pub(crate) const ENOUGH: u64 = 1_000;

/// What to run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) first_seed: u64,
    /// Where none is named, each seed has its own.
    pub(crate) family: Option<Family>,
    pub(crate) histories: u64,
    pub(crate) most_clients: usize,
    pub(crate) threads: usize,
    /// Stop at the first broken promise.
    pub(crate) stops: bool,
    pub(crate) mutant: Option<&'static str>,
    pub(crate) profile: Profile,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) histories: u64,
    pub(crate) counts: Counts,
    pub(crate) virtual_millis: u64,
    /// By seed.
    pub(crate) broken: BTreeMap<Seed, Ending>,
    /// Seeds that ended otherwise the second time.
    pub(crate) differing: Vec<Seed>,
    pub(crate) run_twice: u64,
}

/// Runs the seeds of `plan`. Each is decided by itself, so threads change nothing but the time it takes.
pub(crate) fn run(plan: Plan) -> Report {
    let next = AtomicU64::new(0);
    let report = Mutex::new(Report::default());
    std::thread::scope(|scope| {
        for _ in 0..plan.threads.max(1) {
            scope.spawn(|| {
                crate::mutants::plant(plan.mutant);
                work(plan, &next, &report);
            });
        }
    });
    report.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn work(plan: Plan, next: &AtomicU64, report: &Mutex<Report>) {
    loop {
        let place = next.fetch_add(1, Ordering::Relaxed);
        if place >= plan.histories {
            return;
        }
        let number = plan.first_seed.wrapping_add(place);
        let family = plan.family.unwrap_or_else(|| Family::of_seed(number));
        let seed = Seed { number, family };
        let ending = history::run(seed, plan.most_clients, plan.profile, false);
        let again = place
            .is_multiple_of(TWICE_EVERY)
            .then(|| history::run(seed, plan.most_clients, plan.profile, false).hash);
        let shows = ending.broken.is_none() || is_good_without_bug(plan, seed);
        let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
        report.histories += 1;
        report.virtual_millis += ending.virtual_millis;
        report.counts.merge(&ending.counts);
        if let Some(again) = again {
            report.run_twice += 1;
            if again != ending.hash {
                report.differing.push(seed);
            }
        }
        if let Some(violation) = &ending.broken {
            let open = open_promise(seed, plan.most_clients) == Some(violation.promise);
            let stops = plan.stops && shows && (plan.mutant.is_some() || !open);
            if shows {
                report.broken.insert(seed, ending);
            }
            if stops {
                next.store(plan.histories, Ordering::Relaxed);
            }
        }
    }
}

/// Whether the history of a seed is good without the planted bug, if there is one: what is broken without it, too, shows
/// nothing about it.
fn is_good_without_bug(plan: Plan, seed: Seed) -> bool {
    if plan.mutant.is_none() {
        return true;
    }
    crate::mutants::plant(None);
    let without = history::run(seed, plan.most_clients, plan.profile, false);
    crate::mutants::plant(plan.mutant);
    without.broken.is_none()
}
