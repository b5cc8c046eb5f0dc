//! Who may depend on whom: the table of `ARCHITECTURE.md` as a check.

use crate::report::{Outcome, Problems};
use crate::workspace::{Dependency, Package, Workspace};

/// A layer: who is in it and what its manifest may name.
struct Layer {
    /// A package's name, or the beginning of one before a `*`.
    member: &'static str,
    /// The members its normal and build dependencies may name.
    may_use: &'static [&'static str],
    /// Whether it lies below the layer that owns tasks and sockets.
    below_l3: bool,
}

/// The first line that fits a package counts.
const LAYERS: &[Layer] = &[
    Layer {
        member: "pocket-storage",
        may_use: &[],
        below_l3: true,
    },
    Layer {
        member: "pocket-storage-*",
        may_use: &["pocket-storage"],
        below_l3: true,
    },
    Layer {
        member: "pocket-core",
        may_use: &["pocket-storage"],
        below_l3: true,
    },
    Layer {
        member: "pocket-sync-protocol",
        may_use: &["pocket-core"],
        below_l3: true,
    },
    Layer {
        member: "pocket-sync-client",
        may_use: &["pocket-core", "pocket-sync-protocol", "pocket-storage"],
        below_l3: false,
    },
    Layer {
        member: "pocket-sync-server",
        may_use: &["pocket-core", "pocket-sync-protocol", "pocket-storage"],
        below_l3: false,
    },
    Layer {
        member: "pocket-web",
        may_use: &[
            "pocket-sync-client",
            "pocket-core",
            "pocket-storage-indexeddb",
            "pocket-storage-memory",
        ],
        below_l3: false,
    },
    Layer {
        member: "pocket-engine-*",
        may_use: &["pocket-sync-server"],
        below_l3: false,
    },
    Layer {
        member: "pocket-cli",
        may_use: &["*"],
        below_l3: false,
    },
];

/// Folders whose packages may use everything: they stand on top.
const TOP_FOLDERS: &[&str] = &["testing/", "examples/", "xtask"];

/// What dev-dependencies may name besides: the contract and its backends.
const FOR_TESTS: &[&str] = &["pocket-storage", "pocket-storage-*"];

/// The features of tokio below L3: channels and `select!`, but no runtime, clock or socket.
const TOKIO_BELOW_L3: &[&str] = &["sync", "macros"];

/// Holds every manifest of the workspace against the table.
pub(crate) fn run(workspace: &Workspace) -> Outcome {
    let found: Vec<String> = workspace
        .members
        .iter()
        .flat_map(|package| check(package, &workspace.folder(package)))
        .collect();
    Problems::of(found)?;
    println!(
        "layers: {} packages, each depends only downward",
        workspace.members.len()
    );
    Ok(())
}

/// What a package's manifest names that its layer does not allow.
fn check(package: &Package, folder: &str) -> Vec<String> {
    if TOP_FOLDERS.iter().any(|top| folder.starts_with(top)) {
        return Vec::new();
    }
    let Some(layer) = LAYERS
        .iter()
        .find(|layer| fits(&package.name, layer.member))
    else {
        return vec![format!(
            "`{}` is in no layer; give it a line in xtask/src/layers.rs and in ARCHITECTURE.md",
            package.name
        )];
    };
    let mut found = Vec::new();
    for dependency in &package.dependencies {
        found.extend(wrong_direction(package, layer, dependency));
        if layer.below_l3 {
            found.extend(wrong_tokio(package, dependency));
        }
    }
    if layer.below_l3 {
        found.extend(tokio_through_features(package));
    }
    found
}

fn wrong_direction(package: &Package, layer: &Layer, dependency: &Dependency) -> Option<String> {
    let own = dependency.path.is_some() || dependency.name.starts_with("pocket-");
    let for_tests = dependency.kind.as_deref() == Some("dev");
    let allowed = |patterns: &[&str]| patterns.iter().any(|one| fits(&dependency.name, one));
    // A package may name itself in dev-dependencies, to turn on features for its tests.
    let allowed = allowed(layer.may_use)
        || for_tests && (allowed(FOR_TESTS) || dependency.name == package.name);
    (own && !allowed).then(|| {
        let kind = if for_tests {
            "dev-dependency"
        } else {
            "dependency"
        };
        format!(
            "`{}` has the {kind} `{}`; its layer may use {}",
            package.name,
            dependency.name,
            if layer.may_use.is_empty() {
                "none".into()
            } else {
                layer.may_use.join(", ")
            },
        )
    })
}

fn wrong_tokio(package: &Package, dependency: &Dependency) -> Option<String> {
    if dependency.name != "tokio" || dependency.kind.as_deref() == Some("dev") {
        return None;
    }
    let refused: Vec<&str> = dependency
        .features
        .iter()
        .map(String::as_str)
        .filter(|feature| !TOKIO_BELOW_L3.contains(feature))
        .collect();
    (!refused.is_empty()).then(|| {
        format!(
            "`{}` turns on tokio's {}; below L3 only {} are allowed",
            package.name,
            refused.join(", "),
            TOKIO_BELOW_L3.join(" and "),
        )
    })
}

/// The other way to turn a feature of tokio on: from the package's own `[features]`.
fn tokio_through_features(package: &Package) -> Vec<String> {
    let mut found = Vec::new();
    for (name, parts) in &package.features {
        for part in parts {
            let of_tokio = part
                .strip_prefix("tokio/")
                .or_else(|| part.strip_prefix("tokio?/"));
            if of_tokio.is_some_and(|feature| !TOKIO_BELOW_L3.contains(&feature)) {
                found.push(format!(
                    "`{}` turns on `{part}` in its feature `{name}`; below L3 only {} are allowed",
                    package.name,
                    TOKIO_BELOW_L3.join(" and "),
                ));
            }
        }
    }
    found
}

fn fits(name: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Package {
        Package {
            name: name.into(),
            dependencies: dependencies
                .iter()
                .map(|(name, kind)| Dependency {
                    name: (*name).into(),
                    kind: kind.map(Into::into),
                    path: Some(PathBuf::from("/w")),
                    ..Dependency::default()
                })
                .collect(),
            ..Package::default()
        }
    }

    fn tokio(kind: Option<&str>, features: &[&str]) -> Dependency {
        Dependency {
            name: "tokio".into(),
            kind: kind.map(Into::into),
            features: features.iter().map(|feature| (*feature).into()).collect(),
            ..Dependency::default()
        }
    }

    #[test]
    fn the_table_as_it_is_drawn_passes() {
        for (name, uses) in [
            ("pocket-storage-redb", &["pocket-storage"][..]),
            ("pocket-storage-indexeddb", &["pocket-storage"]),
            ("pocket-core", &["pocket-storage"]),
            ("pocket-sync-protocol", &["pocket-core"]),
            (
                "pocket-sync-server",
                &["pocket-core", "pocket-sync-protocol", "pocket-storage"],
            ),
            ("pocket-engine-postgres", &["pocket-sync-server"]),
            (
                "pocket-cli",
                &[
                    "pocket-sync-client",
                    "pocket-sync-server",
                    "pocket-storage-sled",
                ],
            ),
        ] {
            let uses: Vec<_> = uses.iter().map(|one| (*one, None)).collect();
            assert_eq!(
                check(&package(name, &uses), "crates/x"),
                Vec::<String>::new()
            );
        }
    }

    #[test]
    fn a_dependency_upward_or_sideways_fails() {
        for (name, uses) in [
            ("pocket-storage", "pocket-core"),
            ("pocket-storage", "pocket-storage-memory"),
            ("pocket-storage-redb", "pocket-core"),
            ("pocket-storage-redb", "pocket-storage-memory"),
            ("pocket-core", "pocket-storage-memory"),
            ("pocket-core", "pocket-sync-protocol"),
            ("pocket-sync-protocol", "pocket-storage"),
            ("pocket-sync-client", "pocket-sync-server"),
            ("pocket-sync-server", "pocket-sync-client"),
            ("pocket-engine-postgres", "pocket-core"),
        ] {
            assert_eq!(
                check(&package(name, &[(uses, None)]), "crates/x").len(),
                1,
                "{name}"
            );
            assert_eq!(
                check(&package(name, &[(uses, Some("build"))]), "crates/x").len(),
                1
            );
        }
    }

    #[test]
    fn tests_may_use_backends_but_never_the_other_side() {
        let dev = Some("dev");
        let good = package(
            "pocket-sync-client",
            &[("pocket-storage-redb", dev), ("pocket-sync-client", dev)],
        );
        assert!(check(&good, "crates/x").is_empty());
        let bad = package("pocket-sync-client", &[("pocket-sync-server", dev)]);
        assert_eq!(check(&bad, "crates/x").len(), 1);
        let bad = package("pocket-core", &[("pocket-sync-protocol", dev)]);
        assert_eq!(check(&bad, "crates/x").len(), 1);
    }

    #[test]
    fn a_package_in_no_layer_fails_unless_it_stands_on_top() {
        let stranger = package("pocket-stranger", &[("pocket-core", None)]);
        assert_eq!(check(&stranger, "crates/pocket-stranger").len(), 1);
        assert!(check(&stranger, "testing/pocket-stranger").is_empty());
    }

    #[test]
    fn below_l3_tokio_has_channels_and_select_only() {
        let mut core = package("pocket-core", &[]);
        core.dependencies = vec![
            tokio(None, &["sync", "macros"]),
            tokio(Some("dev"), &["rt"]),
        ];
        assert!(check(&core, "crates/pocket-core").is_empty());
        core.dependencies = vec![tokio(None, &["sync", "rt"])];
        assert_eq!(check(&core, "crates/pocket-core").len(), 1);
        let mut client = package("pocket-sync-client", &[]);
        client.dependencies = vec![tokio(None, &["rt", "net", "time"])];
        assert!(check(&client, "crates/pocket-sync-client").is_empty());
    }

    #[test]
    fn below_l3_a_feature_of_the_package_cannot_turn_a_runtime_on() {
        let mut storage = package("pocket-storage", &[]);
        storage.features.insert(
            "blocking".into(),
            vec!["dep:tokio".into(), "tokio?/sync".into()],
        );
        assert!(check(&storage, "crates/pocket-storage").is_empty());
        storage
            .features
            .insert("driver".into(), vec!["tokio/time".into()]);
        assert_eq!(check(&storage, "crates/pocket-storage").len(), 1);
    }
}
