//! No product binary contains a planted bug.
//!
//! Each planted bug carries the marker below in its binary, and the simulator's build with the
//! feature `mutants` is searched first: if the marker is not found there, the search is broken.

use std::path::PathBuf;

use crate::process;
use crate::report::{Outcome, Problems};
use crate::workspace::Workspace;

/// What every planted bug has in its name. Written in two parts, because this tool is no mutant.
const MARKER: &str = concat!("pocket-", "mutant:");

/// The feature that compiles the planted bugs in.
const FEATURE: &str = "mutants";

/// The simulator: the only program that may be built with them.
const SIMULATOR: &str = "pocket-sim";

/// Builds products and simulator, and searches both, then reads the features of every published
/// crate as cargo resolves them.
pub(crate) fn run(workspace: &Workspace) -> Outcome {
    let mutated = build(workspace, &[SIMULATOR, "--features", FEATURE])?;
    let control = markers(&mutated)?;
    if control == 0 {
        let problem = format!(
            "the control failed: the {FEATURE} build of {SIMULATOR} contains no `{MARKER}`, \
             so finding none in a product would prove nothing"
        );
        return Err(problem.into());
    }
    let mut found = Vec::new();
    let mut searched = 0;
    for package in workspace.published() {
        if package.targets_of("bin").next().is_some() {
            for (name, path) in build(workspace, &[&package.name])? {
                searched += 1;
                if markers(&[(name.clone(), path)])? > 0 {
                    found.push(format!("the release binary `{name}` contains `{MARKER}`"));
                }
            }
        }
        if turned_on(workspace, &["--package", &package.name])? {
            found.push(format!(
                "`{}` is built with `{FEATURE}` by default",
                package.name
            ));
        }
    }
    if searched == 0 {
        found.push("no product binary was found to search".to_owned());
    }
    if !turned_on(workspace, &["--package", SIMULATOR, "--features", FEATURE])? {
        found.push(format!(
            "the control failed: cargo shows no `{FEATURE}` for {SIMULATOR}"
        ));
    }
    Problems::of(found)?;
    println!(
        "mutant-free: {searched} product binaries, none with a marker ({control} in the control)"
    );
    Ok(())
}

fn build(workspace: &Workspace, package: &[&str]) -> Outcome<Vec<(String, PathBuf)>> {
    let mut arguments = vec!["--release", "--locked", "--package"];
    arguments.extend(package);
    process::build(workspace, &arguments)
}

fn markers(binaries: &[(String, PathBuf)]) -> Outcome<usize> {
    let mut sum = 0;
    for (_, path) in binaries {
        let bytes = std::fs::read(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        sum += count(&bytes, MARKER.as_bytes());
    }
    Ok(sum)
}

fn count(bytes: &[u8], word: &[u8]) -> usize {
    bytes
        .windows(word.len())
        .filter(|part| *part == word)
        .count()
}

/// Whether any package of the workspace has the feature on in the graph of this selection.
fn turned_on(workspace: &Workspace, selection: &[&str]) -> Outcome<bool> {
    let mut command = process::cargo(
        workspace,
        &[
            "tree",
            "--locked",
            "--offline",
            "--edges=normal,build",
            "--prefix=none",
        ],
    );
    command
        .args(["--format", "{p} features={f}"])
        .args(selection);
    Ok(names_feature(&process::read(&mut command)?))
}

fn names_feature(tree: &str) -> bool {
    tree.lines()
        .filter(|line| line.starts_with("pocket-"))
        .any(|line| {
            let features = line
                .split_once(" features=")
                .map_or("", |(_, features)| features);
            let features = features.split_whitespace().next().unwrap_or_default();
            features.split(',').any(|feature| feature == FEATURE)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_counted_wherever_they_stand() {
        let binary = format!("\0\u{1}{MARKER}lost-ack\0{MARKER}double");
        assert_eq!(count(binary.as_bytes(), MARKER.as_bytes()), 2);
        assert_eq!(count(b"pocket-mutan", MARKER.as_bytes()), 0);
    }

    #[test]
    fn a_feature_that_is_on_is_seen_in_the_tree() {
        let off = "pocket-cli v0.1.0 (/w) features=\npocket-core v0.1.0 features=default,system-env\n\
                   other v1.0.0 features=mutants\n";
        assert!(!names_feature(off));
        assert!(names_feature(
            "pocket-core v0.1.0 (/w) features=default,mutants (*)\n"
        ));
    }
}
