//! Figures: medians of runs, and their ratios to limits.

use std::time::Duration;

use serde::Serialize;

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unit {
    DocumentsPerSecond,
    MegabytesPerSecond,
    Milliseconds,
    BytesPerDocument,
    /// How many times more.
    Times,
    EntriesPerInsert,
    Mebibytes,
    /// Memory of a server for each of its connections.
    KibibytesEach,
    RoundTrips,
}

impl Unit {
    fn higher_is_better(self) -> bool {
        matches!(self, Self::DocumentsPerSecond | Self::MegabytesPerSecond)
    }

    /// A value with its unit, for a table.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::DocumentsPerSecond => format!("{} docs/s", thousands(value)),
            Self::MegabytesPerSecond => format!("{value:.1} MB/s"),
            Self::Milliseconds => format!("{value:.3} ms"),
            Self::BytesPerDocument => format!("{value:.1} B/doc"),
            Self::Times => format!("{value:.2}×"),
            Self::EntriesPerInsert => format!("{value:.3} per insert"),
            Self::Mebibytes => format!("{value:.1} MiB"),
            Self::KibibytesEach => format!("{value:.1} KiB each"),
            Self::RoundTrips => format!("{value:.0} round trips"),
        }
    }

    /// A value without its unit.
    pub(crate) fn bare(self, value: f64) -> String {
        match self {
            Self::DocumentsPerSecond => thousands(value),
            Self::Milliseconds | Self::EntriesPerInsert => format!("{value:.3}"),
            Self::MegabytesPerSecond
            | Self::BytesPerDocument
            | Self::Mebibytes
            | Self::KibibytesEach => format!("{value:.1}"),
            Self::Times => format!("{value:.2}"),
            Self::RoundTrips => format!("{value:.0}"),
        }
    }
}

/// The results of all runs of one thing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// A figure that is the same in every run.
    pub(crate) fn exact(value: f64) -> Self {
        Self(vec![value])
    }

    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// Adds a run that moved `documents` in `time`.
    pub(crate) fn push_rate(&mut self, documents: usize, time: Duration) {
        self.push(documents as f64 / time.as_secs_f64());
    }

    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.sorted();
        let middle = sorted.len() / 2;
        if sorted.len() % 2 == 1 {
            return sorted.swap_remove(middle);
        }
        match (
            middle.checked_sub(1).map(|below| sorted[below]),
            sorted.get(middle),
        ) {
            (Some(below), Some(above)) => f64::midpoint(below, *above),
            _ => f64::NAN,
        }
    }

    /// The value that `share` of all samples do not exceed.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let sorted = self.sorted();
        #[expect(clippy::cast_sign_loss, reason = "a share of a length is not negative")]
        let place = (share * sorted.len() as f64).ceil() as usize;
        sorted
            .get(place.saturating_sub(1))
            .copied()
            .unwrap_or(f64::NAN)
    }

    fn lowest(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    fn highest(&self) -> f64 {
        self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

/// One measured thing and what it is held against.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) group: &'static str,
    pub(crate) what: String,
    pub(crate) unit: Unit,
    pub(crate) median: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
    pub(crate) limits: Vec<Limit>,
}

/// What the same work costs without Pocket, in the same run.
#[derive(Debug, Serialize)]
pub(crate) struct Limit {
    pub(crate) what: String,
    pub(crate) median: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
    /// How many times better the limit is.
    pub(crate) ratio: f64,
    /// The ratio that is aimed at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) aim: Option<f64>,
    /// Whether the aim is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) met: Option<bool>,
}

impl Row {
    pub(crate) fn new(
        group: &'static str,
        what: impl Into<String>,
        unit: Unit,
        samples: &Samples,
    ) -> Self {
        Self {
            group,
            what: what.into(),
            unit,
            median: samples.median(),
            lowest: samples.lowest(),
            highest: samples.highest(),
            limits: Vec::new(),
        }
    }

    /// Holds it against a limit, with the ratio that is aimed at, if there is an aim.
    #[must_use]
    pub(crate) fn limit(
        mut self,
        what: impl Into<String>,
        samples: &Samples,
        aim: Option<f64>,
    ) -> Self {
        let median = samples.median();
        let ratio = if self.unit.higher_is_better() {
            median / self.median
        } else {
            self.median / median
        };
        self.limits.push(Limit {
            what: what.into(),
            median,
            lowest: samples.lowest(),
            highest: samples.highest(),
            ratio,
            aim,
            met: aim.map(|aim| ratio <= aim),
        });
        self
    }
}

/// A whole number with its thousands apart.
fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[f64]) -> Samples {
        Samples(values.to_vec())
    }

    #[test]
    fn medians_and_quantiles_are_those_of_the_sorted_values() {
        assert!((samples(&[9.0, 1.0, 5.0]).median() - 5.0).abs() < 1e-9);
        assert!((samples(&[1.0, 3.0]).median() - 2.0).abs() < 1e-9);
        assert!(Samples::default().median().is_nan());
        let hundred = samples(&(1..=100).rev().map(f64::from).collect::<Vec<_>>());
        assert!((hundred.quantile(0.99) - 99.0).abs() < 1e-9);
        assert!((hundred.quantile(0.5) - 50.0).abs() < 1e-9);
    }

    #[test]
    fn a_ratio_says_how_many_times_better_the_limit_is() {
        let fast = Row::new("g", "w", Unit::DocumentsPerSecond, &samples(&[100.0])).limit(
            "l",
            &samples(&[300.0]),
            Some(2.0),
        );
        assert!((fast.limits[0].ratio - 3.0).abs() < 1e-9);
        assert_eq!(fast.limits[0].met, Some(false));
        let late = Row::new("g", "w", Unit::Milliseconds, &samples(&[3.0])).limit(
            "l",
            &samples(&[2.0]),
            Some(2.0),
        );
        assert!((late.limits[0].ratio - 1.5).abs() < 1e-9);
        assert_eq!(late.limits[0].met, Some(true));
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(thousands(999.4), "999");
        assert_eq!(thousands(1_234_567.0), "1,234,567");
    }
}
