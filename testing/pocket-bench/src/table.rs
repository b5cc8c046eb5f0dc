//! The report: one table that reads as text and as Markdown, or JSON.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use crate::documents::{BATCH, ID_BYTES, bodies, tasks};
use crate::figure::Row;
use crate::machine;
use crate::plan::Plan;
use crate::rows::{Measured, Peak};

/// Everything that was measured.
#[derive(Serialize)]
pub(crate) struct Report {
    runs: usize,
    documents: usize,
    document_bytes: f64,
    batch: usize,
    file_system: Option<String>,
    rows: Vec<Row>,
    peaks: Vec<Peak>,
}

impl Report {
    pub(crate) fn new(plan: &Plan, measured: Measured) -> Self {
        let Measured { rows, mut peaks } = measured;
        let own = machine::own_memory();
        peaks.extend(
            own.map(|own| Peak::new("everything else: servers, devices and limits at once", own)),
        );
        Self {
            runs: plan.runs,
            documents: plan.documents,
            document_bytes: document_bytes(plan.documents),
            batch: BATCH,
            file_system: machine::file_system(&plan.directory),
            rows,
            peaks,
        }
    }
}

/// The average size of the documents, id included.
fn document_bytes(count: usize) -> f64 {
    let bytes: usize = bodies(&tasks(count))
        .unwrap_or_default()
        .iter()
        .map(|body| body.len() + ID_BYTES)
        .sum();
    bytes as f64 / count.max(1) as f64
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let header = [
            "what",
            "Pocket",
            "lowest–highest",
            "limit: the same work by",
            "limit",
            "ratio",
            "aim",
        ];
        let mut lines = vec![header.map(str::to_owned)];
        for row in &self.rows {
            lines.extend(cells(row));
        }
        write_table(f, &lines)?;
        writeln!(f)?;
        writeln!(
            f,
            "Medians of {} runs; a ratio says how many times better the limit is. Documents of {:.0} bytes on the \
             average, body and `_id`. Durable = survives loss of power, on {}.",
            self.runs,
            self.document_bytes,
            self.file_system
                .as_deref()
                .unwrap_or("an unknown file system"),
        )?;
        if self.peaks.is_empty() {
            return writeln!(f, "\nPeak memory: this system does not tell.");
        }
        writeln!(f)?;
        let header = ["process", "peak memory"].map(str::to_owned);
        let lines = self.peaks.iter().map(|peak| {
            let most = machine::mebibytes(peak.bytes);
            [peak.process.clone(), format!("{most:.1} MiB")]
        });
        write_table(f, &std::iter::once(header).chain(lines).collect::<Vec<_>>())
    }
}

/// The lines of a row: one for each limit, the row's own figures in the first.
fn cells(row: &Row) -> Vec<[String; 7]> {
    let own = [
        row.what.clone(),
        row.unit.show(row.median),
        format!(
            "{}–{}",
            row.unit.bare(row.lowest),
            row.unit.bare(row.highest)
        ),
    ];
    let nothing = [const { String::new() }; 3];
    if row.limits.is_empty() {
        let [what, median, range] = own;
        return vec![[
            what,
            median,
            range,
            String::new(),
            String::new(),
            String::new(),
            String::new(),
        ]];
    }
    let line = |(place, limit): (usize, &crate::figure::Limit)| {
        let [what, median, range] = if place == 0 {
            own.clone()
        } else {
            nothing.clone()
        };
        let aim = match (limit.aim, limit.met) {
            (Some(aim), Some(true)) => format!("≤ {aim:.2}× reached"),
            (Some(aim), _) => format!("≤ {aim:.2}× missed"),
            (None, _) => String::new(),
        };
        [
            what,
            median,
            range,
            limit.what.clone(),
            row.unit.show(limit.median),
            format!("{:.2}×", limit.ratio),
            aim,
        ]
    };
    row.limits.iter().enumerate().map(line).collect()
}

fn write_table<const COLUMNS: usize>(
    f: &mut Formatter<'_>,
    lines: &[[String; COLUMNS]],
) -> fmt::Result {
    let mut widths = [0; COLUMNS];
    for line in lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for (place, line) in lines.iter().enumerate() {
        for (width, cell) in widths.iter().zip(line) {
            write!(f, "| {cell:<width$} ")?;
        }
        writeln!(f, "|")?;
        if place == 0 {
            for width in widths {
                write!(f, "|{}", "-".repeat(width + 2))?;
            }
            writeln!(f, "|")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{Samples, Unit};

    #[test]
    fn a_row_with_two_limits_has_two_lines_of_one_width() {
        let row = Row::new(
            "g",
            "push",
            Unit::DocumentsPerSecond,
            &Samples::exact(1_000.0),
        )
        .limit("a bare pair", &Samples::exact(2_500.0), Some(3.0))
        .limit("a füßchen", &Samples::exact(500.0), Some(0.1));
        let report = Report {
            runs: 5,
            documents: 1,
            document_bytes: 200.0,
            batch: 1,
            file_system: None,
            rows: vec![row],
            peaks: vec![Peak {
                process: "a server".to_owned(),
                bytes: 1 << 20,
            }],
        };
        let text = report.to_string();
        let table: Vec<&str> = text
            .lines()
            .take_while(|line| line.starts_with('|'))
            .collect();
        assert_eq!(table.len(), 4, "{text}");
        let width = |line: &str| line.chars().count();
        assert!(
            table.iter().all(|line| width(line) == width(table[0])),
            "{text}"
        );
        assert!(table[2].contains("2.50×") && table[2].contains("≤ 3.00× reached"));
        assert!(table[3].contains("0.50×") && table[3].contains("missed"));
        assert!(text.contains("a server") && text.contains("1.0 MiB"));
    }
}
