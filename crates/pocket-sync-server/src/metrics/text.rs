//! The text form of Prometheus.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::atomic::Ordering;

use super::{Counter, Histogram};
use crate::locks::lock;

/// What is written.
pub(super) struct Text(pub(super) String);

impl Text {
    pub(super) fn line(&mut self, line: fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "{line}");
    }

    pub(super) fn head(&mut self, name: &str, help: &str, kind: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, help, "gauge");
        self.line(format_args!("{name} {value}"));
    }

    pub(super) fn counter(&mut self, name: &str, help: &str, value: &Counter) {
        self.head(name, help, "counter");
        self.line(format_args!("{name} {}", value.get()));
    }

    pub(super) fn labelled(&mut self, name: &str, label: &str, value: &str, number: u64) {
        let value = value
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n");
        self.line(format_args!("{name}{{{label}=\"{value}\"}} {number}"));
    }

    pub(super) fn codes(&mut self, name: &str, help: &str, codes: &BTreeMap<String, u64>) {
        self.head(name, help, "counter");
        for (code, count) in codes {
            self.labelled(name, "code", code, *count);
        }
    }

    pub(super) fn histogram<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        bounds: &[f64; N],
        values: &Histogram<N>,
    ) {
        self.head(name, help, "histogram");
        let bucket = format!("{name}_bucket");
        let mut below = 0;
        for (bound, count) in bounds.iter().zip(&values.buckets) {
            below += count.load(Ordering::Relaxed);
            self.labelled(&bucket, "le", &bound.to_string(), below);
        }
        // Read behind the buckets, so that it is never below them.
        let count = values.count.load(Ordering::Relaxed).max(below);
        self.labelled(&bucket, "le", "+Inf", count);
        self.line(format_args!("{name}_sum {}", *lock(&values.sum)));
        self.line(format_args!("{name}_count {count}"));
    }
}
