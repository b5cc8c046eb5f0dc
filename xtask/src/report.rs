//! What a check found, and the table of steps.

use std::fmt;
use std::time::Duration;

/// The result of a check or chore.
pub(crate) type Outcome<T = ()> = Result<T, Problems>;

/// What is wrong, one complaint a line, each saying what to do.
#[derive(Debug)]
pub(crate) struct Problems(Vec<String>);

impl Problems {
    /// Fails if there is anything in `found`.
    pub(crate) fn of(found: Vec<String>) -> Outcome {
        if found.is_empty() {
            Ok(())
        } else {
            Err(Self(found))
        }
    }
}

impl From<String> for Problems {
    fn from(problem: String) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "error: {problem}")?;
        }
        Ok(())
    }
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Everything held.
    Passed,
    /// Something did not hold.
    Failed,
    /// It could not run here, and said why.
    Skipped,
    /// An earlier step failed.
    NotRun,
}

impl Ending {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Passed => "ok",
            Self::Failed => "FAILED",
            Self::Skipped => "SKIPPED",
            Self::NotRun => "not run",
        }
    }
}

/// One line of the table.
pub(crate) struct Row {
    /// The name of the step.
    pub(crate) name: &'static str,
    /// How it ended.
    pub(crate) ending: Ending,
    /// How long it took.
    pub(crate) took: Duration,
}

/// The table of steps with the time of each and of all.
pub(crate) fn table(rows: &[Row]) -> String {
    let width = rows
        .iter()
        .map(|row| row.name.len())
        .max()
        .unwrap_or(0)
        .max("total".len());
    let line =
        |name: &str, result: &str, time: &str| format!("{name:width$}  {result:7}  {time:>9}\n");
    let total: Duration = rows.iter().map(|row| row.took).sum();
    let mut text = line("step", "result", "time");
    for row in rows {
        text += &line(row.name, row.ending.word(), &seconds(row.took));
    }
    text + &line("total", "", &seconds(total))
}

/// A duration as a person reads it: `9.4 s`, `3 min 07 s`.
pub(crate) fn seconds(took: Duration) -> String {
    let whole = took.as_secs();
    if whole < 60 {
        format!("{:.1} s", took.as_secs_f64())
    } else {
        format!("{} min {:02} s", whole / 60, whole % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_each_step_its_result_and_its_time() {
        let rows = [
            Row {
                name: "fmt",
                ending: Ending::Passed,
                took: Duration::from_millis(1_240),
            },
            Row {
                name: "mutant-free",
                ending: Ending::Failed,
                took: Duration::from_secs(187),
            },
            Row {
                name: "demo",
                ending: Ending::NotRun,
                took: Duration::ZERO,
            },
        ];
        let expected = "\
step         result        time
fmt          ok           1.2 s
mutant-free  FAILED   3 min 07 s
demo         not run      0.0 s
total                 3 min 08 s
";
        assert_eq!(table(&rows), expected);
    }

    #[test]
    fn problems_are_printed_one_a_line_and_none_is_a_success() {
        let problems = Problems::of(vec!["a".into(), "b".into()]).unwrap_err();
        assert_eq!(problems.to_string(), "error: a\nerror: b");
        assert!(Problems::of(Vec::new()).is_ok());
    }
}
