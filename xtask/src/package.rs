//! Whether each published crate packs cleanly and can be published after those it needs.

use std::collections::BTreeSet;

use crate::process;
use crate::report::{Outcome, Problems};
use crate::workspace::{Package, Workspace, has_extension};

/// Checks every published crate; `cargo package --list` must have nothing to say about any.
pub(crate) fn run(workspace: &Workspace) -> Outcome {
    let published: Vec<&Package> = workspace.published().collect();
    let mut found: Vec<String> = published.iter().flat_map(|one| manifest(one)).collect();
    found.extend(stuck(&published));
    for package in &published {
        let arguments = [
            "package",
            "--list",
            "--locked",
            "--offline",
            "--package",
            &package.name,
        ];
        let mut command = process::cargo(workspace, &arguments);
        if std::env::var_os("CI").is_none() {
            // While one works on them, files differ from the last commit; a fresh clone's do not.
            command.arg("--allow-dirty");
        }
        match process::capture(&mut command) {
            Ok(listed) => found.extend(listing(&package.name, &listed.stdout, &listed.stderr)),
            Err(problems) => found.push(format!("{}: {problems}", package.name)),
        }
    }
    Problems::of(found)?;
    println!("package: {} crates pack cleanly", published.len());
    Ok(())
}

/// What a crate's page on the registry would lack.
fn manifest(package: &Package) -> Vec<String> {
    let mut found = Vec::new();
    let mut need = |present: bool, what: &str| {
        if !present {
            found.push(format!("`{}` needs {what} in its Cargo.toml", package.name));
        }
    };
    need(package.description.is_some(), "a description");
    need(
        package.license.as_deref() == Some("MIT OR Apache-2.0"),
        "`license.workspace = true`",
    );
    need(package.readme.is_some(), "a readme");
    need(package.repository.is_some(), "a repository");
    need(package.rust_version.is_some(), "a rust-version");
    need(
        (1..=5).contains(&package.keywords.len()),
        "one to five keywords",
    );
    for dependency in &package.dependencies {
        let versioned = dependency.path.is_none() || dependency.req != "*";
        // Cargo strips a dev-dependency without a version from the published manifest.
        let stripped = dependency.kind.as_deref() == Some("dev");
        need(
            versioned || stripped,
            &format!("a version beside the path of `{}`", dependency.name),
        );
    }
    found
}

/// What is odd about the files of a package, and what cargo complained about.
fn listing(name: &str, files: &str, complaints: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in complaints.lines().filter(|line| !line.trim().is_empty()) {
        found.push(format!("`{name}`: cargo says: {}", line.trim()));
    }
    let files: BTreeSet<&str> = files.lines().collect();
    for needed in ["Cargo.toml", "README.md"] {
        if !files.contains(needed) {
            found.push(format!("`{name}` would be packed without {needed}"));
        }
    }
    let known = [
        "src/",
        "tests/",
        "benches/",
        "examples/",
        "fixtures/",
        "golden/",
        "data/",
    ];
    let generated = ["Cargo.lock", "Cargo.toml.orig", ".cargo_vcs_info.json"];
    for file in files {
        let at_top = !file.contains('/')
            && (has_extension(file, "md") || file == "Cargo.toml" || file.starts_with("LICENSE"));
        let expected = at_top
            || file == "build.rs"
            || generated.contains(&file)
            || known.iter().any(|folder| file.starts_with(folder));
        if !expected {
            found.push(format!(
                "`{name}` would pack {file}, which looks like no part of it"
            ));
        }
    }
    found
}

/// Published crates that wait for each other: none of them could be the first.
fn stuck(published: &[&Package]) -> Vec<String> {
    let names: BTreeSet<&str> = published.iter().map(|one| one.name.as_str()).collect();
    let mut waiting: Vec<(&str, BTreeSet<&str>)> = published
        .iter()
        .map(|package| {
            let needs = package
                .dependencies
                .iter()
                .filter(|one| one.req != "*" && one.name != package.name)
                .map(|one| one.name.as_str())
                .filter(|name| names.contains(name))
                .collect();
            (package.name.as_str(), needs)
        })
        .collect();
    loop {
        let before = waiting.len();
        let left: BTreeSet<&str> = waiting.iter().map(|(name, _)| *name).collect();
        waiting.retain(|(_, needs)| needs.iter().any(|name| left.contains(name)));
        if waiting.is_empty() {
            return Vec::new();
        }
        if waiting.len() == before {
            let names: Vec<&str> = left.into_iter().collect();
            return vec![format!(
                "{} wait for each other, so none can be published first; write the \
                 dev-dependency that closes the circle with its path alone",
                names.join(", ")
            )];
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::workspace::Dependency;

    fn package(name: &str, needs: &[(&str, &str, Option<&str>)]) -> Package {
        Package {
            name: name.into(),
            license: Some("MIT OR Apache-2.0".into()),
            description: Some("d".into()),
            repository: Some("r".into()),
            readme: Some("README.md".into()),
            keywords: vec!["k".into()],
            rust_version: Some("1.90".into()),
            dependencies: needs
                .iter()
                .map(|(name, req, kind)| Dependency {
                    name: (*name).into(),
                    req: (*req).into(),
                    kind: kind.map(Into::into),
                    path: Some(PathBuf::from("/w")),
                    ..Dependency::default()
                })
                .collect(),
            ..Package::default()
        }
    }

    #[test]
    fn a_manifest_without_its_page_or_versions_fails() {
        assert!(manifest(&package("a", &[("b", "^0.1.0", None)])).is_empty());
        assert_eq!(manifest(&package("a", &[("b", "*", None)])).len(), 1);
        assert!(manifest(&package("a", &[("b", "*", Some("dev"))])).is_empty());
        let mut bare = package("a", &[]);
        bare.description = None;
        bare.keywords.clear();
        bare.license = Some("MIT".into());
        assert_eq!(manifest(&bare).len(), 3);
    }

    #[test]
    fn complaints_missing_and_stray_files_fail() {
        let clean = "Cargo.lock\nCargo.toml\nCargo.toml.orig\nREADME.md\nsrc/lib.rs\n";
        assert!(listing("a", clean, "").is_empty());
        assert_eq!(
            listing("a", clean, "warning: manifest has no description\n").len(),
            1
        );
        assert_eq!(listing("a", "Cargo.toml\nsrc/lib.rs\n", "").len(), 1);
        assert_eq!(listing("a", &format!("{clean}dump.bin\n"), "").len(), 1);
    }

    #[test]
    fn crates_that_wait_for_each_other_fail() {
        let a = package("a", &[("b", "^0.1.0", None)]);
        let b = package("b", &[]);
        assert!(stuck(&[&a, &b]).is_empty());
        let b = package("b", &[("a", "^0.1.0", Some("dev"))]);
        assert_eq!(stuck(&[&a, &b]).len(), 1);
        let b = package("b", &[("a", "*", Some("dev"))]);
        assert!(stuck(&[&a, &b]).is_empty());
    }
}
