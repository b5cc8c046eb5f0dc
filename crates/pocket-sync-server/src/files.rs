//! Files that are read again when they change.

use std::path::PathBuf;
use std::time::SystemTime;

/// Files, and what they looked like when somebody last asked whether they have changed.
///
/// A change is seen by the time of the last write and the length, of what a path leads to through links; a file that
/// appears or vanishes has changed. Nothing of a file is read.
#[derive(Clone, Debug)]
pub struct WatchedFiles {
    paths: Vec<PathBuf>,
    seen: Vec<Option<(SystemTime, u64)>>,
}

impl WatchedFiles {
    /// Watches these from now on. Call it before they are read: what is written meanwhile has then changed.
    pub fn new(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut files = Self {
            paths: paths.into_iter().collect(),
            seen: Vec::new(),
        };
        files.seen = files.look();
        files
    }

    /// Whether one of them has changed since this was last asked. Read them behind it, for the same reason.
    pub fn have_changed(&mut self) -> bool {
        let seen = self.look();
        let changed = seen != self.seen;
        self.seen = seen;
        changed
    }

    /// Whether it watches none.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    fn look(&self) -> Vec<Option<(SystemTime, u64)>> {
        let about = |path: &PathBuf| {
            let about = std::fs::metadata(path).ok()?;
            Some((about.modified().ok()?, about.len()))
        };
        self.paths.iter().map(about).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_changed_once_after_each_change() {
        let directory = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| directory.path().join(name));
        std::fs::write(&one, "a").unwrap();
        let mut files = WatchedFiles::new([one.clone(), two.clone()]);
        assert!(!files.have_changed());
        std::fs::write(&one, "ab").unwrap();
        assert!(files.have_changed() && !files.have_changed());
        std::fs::write(&two, "").unwrap();
        assert!(files.have_changed(), "it has appeared");
        std::fs::remove_file(&one).unwrap();
        assert!(files.have_changed() && !files.have_changed());
    }
}
