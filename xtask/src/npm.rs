//! npm, for what is written in TypeScript.

use std::path::Path;
use std::process::Command;

use crate::process;
use crate::report::{Outcome, Problems};
use crate::workspace::Workspace;

/// The oldest Node that the packages promise.
const NODE: u32 = 20;

const LOCKFILE: &str = "package-lock.json";

/// Where npm installs.
const MODULES: &str = "node_modules";

/// In there, the lockfile whose packages they are.
const INSTALLED: &str = ".installed-from";

/// What Debian calls them.
const PACKAGES: [&str; 2] = ["nodejs", "npm"];

/// Why there is no npm to use, and what to do. With `install`, Debian's is installed where there is none and this user may.
pub(crate) fn missing(workspace: &Workspace, install: bool) -> Option<String> {
    let what_to_do = unusable()?;
    if !install {
        return Some(what_to_do);
    }
    let packages = [
        &["install", "-qy", "--no-install-recommends"][..],
        &PACKAGES,
    ]
    .concat();
    for arguments in [&["update", "-q"][..], &packages] {
        let mut command = process::program_in(workspace, "apt-get", arguments);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        if let Err(problems) = process::run(&mut command) {
            return Some(format!("{what_to_do} (tried: {problems})"));
        }
    }
    unusable()
}

fn unusable() -> Option<String> {
    let said = |name: &str| process::read(Command::new(name).arg("--version")).ok();
    let node = said("node");
    let is_new = node.as_deref().and_then(major).is_some_and(|it| it >= NODE);
    (!is_new || said("npm").is_none()).then(|| {
        format!(
            "the npm packages need npm and Node {NODE} or later, here is {}; install them",
            node.as_deref().map_or("none", str::trim)
        )
    })
}

/// The first number of `v20.20.2`.
fn major(version: &str) -> Option<u32> {
    let (major, _) = version.trim().strip_prefix('v')?.split_once('.')?;
    major.parse().ok()
}

/// Installs what the lockfile of a folder names, unless that is there already.
pub(crate) fn install(workspace: &Workspace, folder: &str) -> Outcome {
    let place = workspace.root.join(folder);
    let told = std::fs::read(place.join(LOCKFILE))
        .map_err(|error| in_folder(&format_args!("cannot read {LOCKFILE}: {error}"), folder))?;
    if is_installed(&place, &told) {
        return Ok(());
    }
    let arguments = ["ci", "--prefer-offline", "--no-audit", "--no-fund"];
    process::run(&mut npm(workspace, folder, &arguments))
        .map_err(|problems| in_folder(&problems, folder))?;
    // npm makes no such folder where there is nothing to install.
    let noted = std::fs::create_dir_all(place.join(MODULES))
        .and_then(|()| std::fs::write(place.join(MODULES).join(INSTALLED), told));
    noted.map_err(|error| {
        in_folder(
            &format_args!("cannot note what is installed: {error}"),
            folder,
        )
    })
}

/// As [`install`] for several folders.
pub(crate) fn install_all(workspace: &Workspace, folders: &[String]) -> Outcome {
    folders
        .iter()
        .try_for_each(|folder| install(workspace, folder))
}

/// Runs a script of a folder's `package.json`.
pub(crate) fn script(workspace: &Workspace, folder: &str, name: &str) -> Outcome {
    process::run(&mut script_of(workspace, folder, name))
        .map_err(|problems| in_folder(&problems, folder))
}

/// The same as a command, for whom it needs more.
pub(crate) fn script_of(workspace: &Workspace, folder: &str, name: &str) -> Command {
    npm(workspace, folder, &["run", "--silent", name])
}

fn npm(workspace: &Workspace, folder: &str, arguments: &[&str]) -> Command {
    let mut command = process::program_in(workspace, "npm", arguments);
    command.current_dir(workspace.root.join(folder));
    command
}

fn in_folder(problems: &impl std::fmt::Display, folder: &str) -> Problems {
    format!("{problems}, in {folder}").into()
}

/// Whether what is installed in a folder is what this lockfile names. By what is in it, not by its time: another commit may
/// bring an older one back, and a checkout makes all of them new.
fn is_installed(folder: &Path, told: &[u8]) -> bool {
    // npm writes its own note last, so without it nothing is whole.
    let modules = folder.join(MODULES);
    let is_whole = modules.join(".package-lock.json").is_file();
    is_whole && std::fs::read(modules.join(INSTALLED)).is_ok_and(|noted| noted == told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_node_are_told_apart() {
        assert_eq!(major("v20.20.2\n"), Some(20));
        assert_eq!(major("v8.0.0"), Some(8));
        assert_eq!(major("20"), None);
    }

    #[test]
    fn what_is_installed_is_installed_again_when_the_lockfile_is_another_one() {
        let folder = std::env::temp_dir().join(format!("pocket-npm-{}", std::process::id()));
        let modules = folder.join(MODULES);
        std::fs::create_dir_all(&modules).unwrap();
        assert!(!is_installed(&folder, b"{1}"));
        std::fs::write(modules.join(INSTALLED), "{1}").unwrap();
        assert!(!is_installed(&folder, b"{1}"), "npm did not end");
        std::fs::write(modules.join(".package-lock.json"), "").unwrap();
        assert!(is_installed(&folder, b"{1}"));
        assert!(!is_installed(&folder, b"{2}"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
