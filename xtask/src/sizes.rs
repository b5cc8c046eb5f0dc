//! Source files that have grown past the size a person reads in one sitting.

use crate::report::Outcome;
use crate::workspace::{Workspace, has_extension};

/// Past this, think again.
const THINK_AGAIN: usize = 500;

/// Lists the files past the limit, the longest first. A report, not a rule: it never fails.
pub(crate) fn run(workspace: &Workspace) -> Outcome {
    let files = workspace.files()?;
    let sources = files.iter().filter(|path| has_extension(path, "rs"));
    let counted = sources.filter_map(|path| {
        let text = workspace.text(path)?;
        Some((text.lines().count(), path.as_str()))
    });
    let long = past(counted, THINK_AGAIN);
    println!("sizes: {} files past {THINK_AGAIN} lines", long.len());
    for (lines, path) in long {
        println!("{lines:6}  {path}");
    }
    Ok(())
}

fn past<'a>(files: impl Iterator<Item = (usize, &'a str)>, limit: usize) -> Vec<(usize, &'a str)> {
    let mut long: Vec<_> = files.filter(|(lines, _)| *lines > limit).collect();
    long.sort_by(|a, b| b.cmp(a));
    long
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_past_the_limit_are_listed_the_longest_first() {
        let files = [(500, "a.rs"), (501, "b.rs"), (900, "c.rs"), (3, "d.rs")];
        assert_eq!(past(files.into_iter(), 500), [(900, "c.rs"), (501, "b.rs")]);
    }
}
