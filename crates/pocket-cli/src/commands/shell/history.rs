//! Where the lines of earlier shells are kept.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The usual place, below the user's directory of state; none where there is no such directory.
pub(super) fn place() -> Option<PathBuf> {
    let variable = |name: &str| env::var_os(name);
    base(variable).map(|base| base.join("pocket").join("history"))
}

/// As the XDG Base Directory Specification says; a path that is not absolute is ignored.
fn base(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let directory = |name: &str| {
        let path = PathBuf::from(variable(name)?);
        path.is_absolute().then_some(path)
    };
    directory("XDG_STATE_HOME")
        .or_else(|| Some(directory("HOME")?.join(".local").join("state")))
        .or_else(|| directory("LOCALAPPDATA"))
}

/// Makes the directory of a history, for its owner only.
pub(super) fn prepare(history: &Path) -> std::io::Result<()> {
    let Some(directory) = history.parent().filter(|path| *path != Path::new("")) else {
        return Ok(());
    };
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_history_is_in_the_directory_of_state() {
        let of = |known: &[(&str, &str)]| {
            let known = known.to_vec();
            base(move |name| {
                let found = known.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| value.into())
            })
        };
        assert_eq!(
            of(&[("XDG_STATE_HOME", "/s"), ("HOME", "/h")]),
            Some("/s".into())
        );
        let fallback = Some("/h/.local/state".into());
        assert_eq!(of(&[("HOME", "/h")]), fallback);
        assert_eq!(of(&[("XDG_STATE_HOME", "s"), ("HOME", "/h")]), fallback);
        assert_eq!(of(&[("XDG_STATE_HOME", ""), ("HOME", "")]), None);
    }
}
