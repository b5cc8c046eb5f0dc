//! Licences, sources and doubled crates, from `cargo metadata` alone.
//!
//! The rules are those of `deny.toml`, so that cargo-deny in the workflow and this check cannot
//! come apart. Advisories need a database and are cargo-deny's part.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::report::{Outcome, Problems};
use crate::spdx;
use crate::workspace::{Package, Workspace};

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// The part of `deny.toml` that this check holds.
#[derive(Deserialize)]
struct Rules {
    graph: Graph,
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Graph {
    targets: Vec<String>,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    #[serde(default)]
    skip: Vec<Skip>,
}

/// A version that may exist beside another one of the same crate.
#[derive(Deserialize)]
struct Skip {
    /// `name@version`.
    #[serde(rename = "crate")]
    spec: String,
    /// Who brings it, and what would make it go.
    #[serde(default)]
    reason: String,
}

/// Holds every crate of the graph against `deny.toml`.
pub(crate) fn run(workspace: &Workspace) -> Outcome {
    let text = workspace
        .text("deny.toml")
        .ok_or_else(|| "there is no deny.toml".to_owned())?;
    let rules: Rules =
        toml::from_str(&text).map_err(|error| format!("cannot read deny.toml: {error}"))?;
    let graph = workspace.graph(&rules.graph.targets)?;
    let own: BTreeSet<&str> = workspace
        .members
        .iter()
        .map(|one| one.id.as_str())
        .collect();
    Problems::of(check(&graph, &own, &rules))?;
    println!(
        "licences: {} crates on {} platforms, {} doubled ones explained",
        graph.len(),
        rules.graph.targets.len(),
        rules.bans.skip.len()
    );
    Ok(())
}

fn check(graph: &[Package], own: &BTreeSet<&str>, rules: &Rules) -> Vec<String> {
    let mut found = Vec::new();
    for package in graph {
        found.extend(licence(package, &rules.licenses.allow));
        found.extend(source(package, own.contains(package.id.as_str())));
    }
    found.extend(doubled(graph, &rules.bans.skip));
    found
}

fn licence(package: &Package, allowed: &[String]) -> Option<String> {
    let expression = package.license.as_deref().unwrap_or_default();
    (!spdx::satisfied(expression, allowed)).then(|| {
        format!(
            "{} {} has the licence `{expression}`, which deny.toml does not allow",
            package.name, package.version
        )
    })
}

fn source(package: &Package, own: bool) -> Option<String> {
    let wrong = match package.source.as_deref() {
        None => !own,
        Some(source) => source != CRATES_IO,
    };
    wrong.then(|| {
        let source = package
            .source
            .as_deref()
            .unwrap_or("a folder outside the workspace");
        format!(
            "{} {} comes from {source}; only crates.io is allowed",
            package.name, package.version
        )
    })
}

/// Crates in several versions of which more than one is not explained, and explanations that
/// nothing needs any more.
fn doubled(graph: &[Package], skips: &[Skip]) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in graph {
        versions
            .entry(&package.name)
            .or_default()
            .insert(&package.version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    let mut found = Vec::new();
    for skip in skips {
        let (name, version) = skip.spec.split_once('@').unwrap_or((&skip.spec, ""));
        if !versions
            .get(name)
            .is_some_and(|versions| versions.contains(version))
        {
            found.push(format!(
                "deny.toml skips `{}`, which is no doubled crate any more; remove the line",
                skip.spec
            ));
        }
        if skip.reason.trim().is_empty() {
            found.push(format!("deny.toml skips `{}` without a reason", skip.spec));
        }
    }
    for (name, versions) in versions {
        let explained = |version: &str| {
            skips
                .iter()
                .any(|skip| skip.spec == format!("{name}@{version}"))
        };
        let open: Vec<&str> = versions.into_iter().filter(|one| !explained(one)).collect();
        if open.len() > 1 {
            found.push(format!(
                "`{name}` is compiled in several versions ({}); make it one, or give all but one \
                 a line with a reason in deny.toml ([bans] skip). `cargo tree -i {name}@{}` says \
                 who needs it",
                open.join(", "),
                open[0]
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str, license: &str, source: Option<&str>) -> Package {
        Package {
            id: format!("{name}@{version}"),
            name: name.into(),
            version: version.into(),
            license: Some(license.into()),
            source: source.map(Into::into),
            ..Package::default()
        }
    }

    fn rules(skip: &str) -> Rules {
        let text = format!(
            "[graph]\ntargets = []\n[licenses]\nallow = [\"MIT\"]\n[bans]\nskip = [{skip}]\n"
        );
        toml::from_str(&text).expect("written above")
    }

    fn found(graph: &[Package], skip: &str) -> Vec<String> {
        check(graph, &BTreeSet::from(["own@0.1.0"]), &rules(skip))
    }

    #[test]
    fn allowed_licences_from_crates_io_pass() {
        let graph = [
            package("own", "0.1.0", "MIT", None),
            package("a", "1.0.0", "MIT", Some(CRATES_IO)),
        ];
        assert_eq!(found(&graph, ""), Vec::<String>::new());
    }

    #[test]
    fn a_licence_that_is_not_allowed_or_missing_fails() {
        let mut unlicensed = package("b", "1.0.0", "", Some(CRATES_IO));
        unlicensed.license = None;
        let graph = [
            package("a", "1.0.0", "GPL-3.0", Some(CRATES_IO)),
            unlicensed,
        ];
        assert_eq!(found(&graph, "").len(), 2);
    }

    #[test]
    fn a_crate_from_anywhere_else_fails() {
        let graph = [
            package("a", "1.0.0", "MIT", Some("git+https://example.org/a")),
            package("stray", "1.0.0", "MIT", None),
        ];
        assert_eq!(found(&graph, "").len(), 2);
    }

    #[test]
    fn a_doubled_crate_fails_until_it_is_explained() {
        let graph = [
            package("a", "1.0.0", "MIT", Some(CRATES_IO)),
            package("a", "2.0.0", "MIT", Some(CRATES_IO)),
        ];
        assert_eq!(found(&graph, "").len(), 1);
        assert_eq!(
            found(&graph, r#"{ crate = "a@1.0.0", reason = "b needs it" }"#).len(),
            0
        );
        assert_eq!(found(&graph, r#"{ crate = "a@1.0.0" }"#).len(), 1);
    }

    #[test]
    fn an_explanation_nothing_needs_fails() {
        let graph = [package("a", "2.0.0", "MIT", Some(CRATES_IO))];
        assert_eq!(
            found(&graph, r#"{ crate = "a@1.0.0", reason = "b needs it" }"#).len(),
            1
        );
    }
}
