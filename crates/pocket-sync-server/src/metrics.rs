//! What a server counts, in the text form of Prometheus.
//!
//! The form is that of <https://prometheus.io/docs/instrumenting/exposition_formats/>, version 0.0.4.

mod text;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pocket_core::{Outcome, Seq, Timestamp};

use self::text::Text;
use crate::Namespace;
use crate::decide::{PushAnswer, PushRequest};
use crate::engine::Compacted;
use crate::locks::lock;

/// Refusals and conflicts that are remembered for people.
const RECENT: usize = 100;

/// Characters of a reason that are remembered.
const REASON: usize = 200;

/// Codes that are counted apart; a server has a few dozen.
const CODES: usize = 200;

/// Namespaces whose horizon is told.
const HORIZONS: usize = 200;

/// Upper bounds, in seconds.
const SECONDS: [f64; 10] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0,
];

/// Upper bounds, in changes.
const CHANGES: [f64; 8] = [1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0];

/// What a server counts since it was made.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) sessions: Counter,
    pub(crate) polls: Counter,
    pub(crate) pushes: Counter,
    applied: Counter,
    conflicts: Counter,
    rejected: Codes,
    errors: Codes,
    pub(crate) received_bytes: Counter,
    pub(crate) sent_bytes: Counter,
    commits: Counter,
    failed_commits: Counter,
    commit_seconds: Histogram<{ SECONDS.len() }>,
    commit_changes: Histogram<{ CHANGES.len() }>,
    forgotten_deletions: Counter,
    forgotten_clients: Counter,
    forgetting_rounds: Counter,
    failed_forgetting: Counter,
    horizons: Mutex<BTreeMap<Namespace, Seq>>,
    recent: Mutex<VecDeque<Recent>>,
}

/// A conflict or a refusal, for people.
#[derive(Clone, Debug)]
pub(crate) struct Recent {
    pub(crate) time: Timestamp,
    pub(crate) namespace: Namespace,
    pub(crate) user: String,
    pub(crate) client: String,
    /// `conflict`, or the code of the refusal.
    pub(crate) code: String,
    pub(crate) reason: String,
    /// `collection/id` of the first document.
    pub(crate) document: String,
}

/// What is so at the moment of asking.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gauges {
    pub(crate) connections: usize,
    pub(crate) clients: usize,
    pub(crate) namespaces: usize,
    /// Places of the feed that the slowest reader was not sent yet.
    pub(crate) lag: u64,
    pub(crate) ready: bool,
}

/// What has happened, in all.
#[derive(Clone, Debug)]
pub(crate) struct Totals {
    pub(crate) pushes: u64,
    pub(crate) applied: u64,
    pub(crate) conflicts: u64,
    pub(crate) rejected: BTreeMap<String, u64>,
    pub(crate) errors: BTreeMap<String, u64>,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
}

impl Metrics {
    /// A commit was tried.
    pub(crate) fn commit(&self, took: Duration, changes: usize, is_stored: bool) {
        let counter = if is_stored {
            &self.commits
        } else {
            &self.failed_commits
        };
        counter.add(1);
        self.commit_seconds.record(&SECONDS, took.as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a count of changes is small")]
        self.commit_changes.record(&CHANGES, changes as f64);
    }

    /// A push was answered.
    pub(crate) fn answered(
        &self,
        now: Timestamp,
        namespace: &Namespace,
        push: &PushRequest,
        answer: &PushAnswer,
    ) {
        self.pushes.add(1);
        for (mutation, outcome) in push.mutations.iter().zip(&answer.outcomes) {
            let (code, reason) = match outcome {
                Outcome::Applied { .. } => {
                    self.applied.add(1);
                    continue;
                }
                Outcome::Conflict { .. } => {
                    self.conflicts.add(1);
                    ("conflict", "somebody else's version came before it")
                }
                Outcome::Rejected { code, reason, .. } => {
                    self.rejected.add(code);
                    (&**code, &**reason)
                }
            };
            let change = mutation.as_ref().ok().and_then(|one| one.changes().first());
            let document = change.map(|change| format!("{}/{}", change.collection, change.id));
            let mut recent = lock(&self.recent);
            if recent.len() >= RECENT {
                recent.pop_front();
            }
            recent.push_back(Recent {
                time: now,
                namespace: namespace.clone(),
                user: push.user.to_string(),
                client: push.client.to_string(),
                code: code.to_owned(),
                reason: reason.chars().take(REASON).collect(),
                document: document.unwrap_or_default(),
            });
        }
    }

    /// A client was told an error of this code.
    pub(crate) fn error(&self, code: &str) {
        self.errors.add(code);
    }

    /// A batch was forgotten.
    pub(crate) fn forgot(&self, namespace: &Namespace, batch: &Compacted) {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        self.forgotten_deletions.add(count(batch.tombstones));
        self.forgotten_clients.add(count(batch.clients));
        let mut horizons = lock(&self.horizons);
        if batch.horizon > Seq::ZERO
            && (horizons.len() < HORIZONS || horizons.contains_key(namespace))
        {
            horizons.insert(namespace.clone(), batch.horizon);
        }
    }

    /// All namespaces were looked through.
    pub(crate) fn forgetting_round(&self) {
        self.forgetting_rounds.add(1);
    }

    /// What is old in a namespace could not be forgotten.
    pub(crate) fn forgetting_failed(&self) {
        self.failed_forgetting.add(1);
    }

    fn forgetting_text(&self, text: &mut Text) {
        let name = "pocket_forgotten_total";
        text.head(name, "Old deletions and clients forgotten.", "counter");
        for (kind, counter) in [
            ("deletion", &self.forgotten_deletions),
            ("client", &self.forgotten_clients),
        ] {
            text.labelled(name, "kind", kind, counter.get());
        }
        text.counter(
            "pocket_forgetting_rounds_total",
            "Times that all namespaces were looked through for what is old.",
            &self.forgetting_rounds,
        );
        text.counter(
            "pocket_forgetting_failures_total",
            "Namespaces in which forgetting failed; it is tried again.",
            &self.failed_forgetting,
        );
        let name = "pocket_horizon";
        let help = "Deletions at or below this place are forgotten; of the first 200 namespaces in which any are.";
        text.head(name, help, "gauge");
        for (namespace, horizon) in &*lock(&self.horizons) {
            text.labelled(name, "namespace", namespace.as_str(), horizon.get());
        }
    }

    /// The newest conflicts and refusals, the newest first.
    pub(crate) fn recent(&self) -> Vec<Recent> {
        lock(&self.recent).iter().rev().cloned().collect()
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals {
            pushes: self.pushes.get(),
            applied: self.applied.get(),
            conflicts: self.conflicts.get(),
            rejected: lock(&self.rejected.0).clone(),
            errors: lock(&self.errors.0).clone(),
            received_bytes: self.received_bytes.get(),
            sent_bytes: self.sent_bytes.get(),
        }
    }

    /// Everything, as Prometheus reads it.
    pub(crate) fn text(&self, gauges: &Gauges) -> String {
        let mut text = Text(String::with_capacity(4 * 1024));
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        text.gauge(
            "pocket_ready",
            "Whether the server takes connections.",
            gauges.ready.into(),
        );
        text.gauge(
            "pocket_connections",
            "Connections that are served.",
            count(gauges.connections),
        );
        text.gauge(
            "pocket_clients",
            "Clients that have come in.",
            count(gauges.clients),
        );
        text.gauge(
            "pocket_namespaces",
            "Namespaces in use.",
            count(gauges.namespaces),
        );
        text.gauge(
            "pocket_reader_lag_max",
            "Places of the feed that the slowest reader was not sent yet.",
            gauges.lag,
        );
        text.counter(
            "pocket_sessions_total",
            "Sessions that have begun.",
            &self.sessions,
        );
        text.counter(
            "pocket_polls_total",
            "Requests over HTTP that were taken for a session.",
            &self.polls,
        );
        text.counter("pocket_pushes_total", "Pushes answered.", &self.pushes);
        text.head(
            "pocket_outcomes_total",
            "Outcomes of mutations told, by kind.",
            "counter",
        );
        for (kind, counter) in [("applied", &self.applied), ("conflict", &self.conflicts)] {
            text.labelled("pocket_outcomes_total", "kind", kind, counter.get());
        }
        let rejected = lock(&self.rejected.0).clone();
        text.labelled(
            "pocket_outcomes_total",
            "kind",
            "rejected",
            rejected.values().sum(),
        );
        text.codes(
            "pocket_rejections_total",
            "Mutations rejected, by code.",
            &rejected,
        );
        let errors = lock(&self.errors.0).clone();
        text.codes(
            "pocket_errors_total",
            "Errors told to clients, by code.",
            &errors,
        );
        text.counter(
            "pocket_received_bytes_total",
            "Bytes of messages received from clients.",
            &self.received_bytes,
        );
        text.counter(
            "pocket_sent_bytes_total",
            "Bytes of messages sent to clients.",
            &self.sent_bytes,
        );
        text.counter("pocket_commits_total", "Commits stored.", &self.commits);
        text.counter(
            "pocket_commit_failures_total",
            "Commits that failed.",
            &self.failed_commits,
        );
        text.histogram(
            "pocket_commit_seconds",
            "How long commits took, the disk included.",
            &SECONDS,
            &self.commit_seconds,
        );
        text.histogram(
            "pocket_commit_changes",
            "Changes in one commit, of all pushes that were joined.",
            &CHANGES,
            &self.commit_changes,
        );
        self.forgetting_text(&mut text);
        text.0
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Numbers by code.
#[derive(Debug, Default)]
struct Codes(Mutex<BTreeMap<String, u64>>);

impl Codes {
    fn add(&self, code: &str) {
        let mut codes = lock(&self.0);
        if let Some(count) = codes.get_mut(code) {
            *count += 1;
            return;
        }
        // Codes of an application's own validator are not known beforehand.
        let code = if codes.len() < CODES { code } else { "other" };
        *codes.entry(code.to_owned()).or_default() += 1;
    }
}

/// How values spread. The last bucket has no bound.
#[derive(Debug)]
struct Histogram<const N: usize> {
    buckets: [AtomicU64; N],
    count: AtomicU64,
    sum: Mutex<f64>,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self {
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
            count: AtomicU64::new(0),
            sum: Mutex::new(0.0),
        }
    }
}

impl<const N: usize> Histogram<N> {
    fn record(&self, bounds: &[f64; N], value: f64) {
        if let Some(place) = bounds.iter().position(|bound| value <= *bound) {
            self.buckets[place].fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        *lock(&self.sum) += value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_as_prometheus_reads_them() {
        let metrics = Metrics::default();
        metrics.commit(Duration::from_micros(700), 3, true);
        metrics.commit(Duration::from_secs(60), 100_000, false);
        metrics.error("bad-frame");
        metrics.rejected.add("my \"own\"\n\\");
        let text = metrics.text(&Gauges {
            connections: 2,
            clients: 1,
            namespaces: 1,
            lag: 7,
            ready: true,
        });
        for line in [
            "pocket_connections 2",
            "pocket_reader_lag_max 7",
            "pocket_outcomes_total{kind=\"rejected\"} 1",
            "pocket_rejections_total{code=\"my \\\"own\\\"\\n\\\\\"} 1",
            "pocket_errors_total{code=\"bad-frame\"} 1",
            "pocket_commits_total 1",
            "pocket_commit_failures_total 1",
            "pocket_commit_seconds_bucket{le=\"0.0005\"} 0",
            "pocket_commit_seconds_bucket{le=\"0.001\"} 1",
            "pocket_commit_seconds_bucket{le=\"5\"} 1",
            "pocket_commit_seconds_bucket{le=\"+Inf\"} 2",
            "pocket_commit_seconds_count 2",
            "pocket_commit_changes_sum 100003",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
        for line in text.lines() {
            let is_comment = line.starts_with("# HELP ") || line.starts_with("# TYPE ");
            let value = line
                .rsplit_once(' ')
                .and_then(|(_, value)| value.parse::<f64>().ok());
            assert!(is_comment || value.is_some(), "{line}");
        }
    }

    #[test]
    fn endless_codes_of_an_application_cost_a_bounded_amount() {
        let codes = Codes::default();
        for number in 0..10_000 {
            codes.add(&format!("code-{number}"));
        }
        assert!(lock(&codes.0).len() <= CODES + 1);
        assert_eq!(lock(&codes.0).values().sum::<u64>(), 10_000);
    }
}
