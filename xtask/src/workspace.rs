//! The workspace as cargo and git see it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::process;
use crate::report::Outcome;

/// The workspace: its root and the manifests of its members.
pub(crate) struct Workspace {
    /// The directory of the root manifest.
    pub(crate) root: PathBuf,
    /// The members, sorted by name.
    pub(crate) members: Vec<Package>,
}

/// A package, as `cargo metadata` prints it.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) repository: Option<String>,
    pub(crate) readme: Option<PathBuf>,
    #[serde(default)]
    pub(crate) keywords: Vec<String>,
    pub(crate) rust_version: Option<String>,
    /// Where it comes from; none for a member.
    pub(crate) source: Option<String>,
    /// Nothing = anywhere, an empty list = nowhere.
    pub(crate) publish: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) dependencies: Vec<Dependency>,
    #[serde(default)]
    pub(crate) targets: Vec<Target>,
    /// The features of the manifest, each with what it turns on.
    #[serde(default)]
    pub(crate) features: BTreeMap<String, Vec<String>>,
    pub(crate) manifest_path: PathBuf,
}

/// A dependency as the manifest writes it, before features are unified.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// The version requirement; `*` when there is none.
    pub(crate) req: String,
    /// `dev`, `build`, or nothing for a normal one.
    pub(crate) kind: Option<String>,
    #[serde(default)]
    pub(crate) features: Vec<String>,
    /// Set when it is a member.
    pub(crate) path: Option<PathBuf>,
}

/// Something cargo can build from a package.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
}

impl Workspace {
    /// Reads the manifests of the members; needs no network.
    pub(crate) fn load() -> Outcome<Self> {
        let here = Self {
            root: PathBuf::from("."),
            members: Vec::new(),
        };
        let mut command = process::cargo(
            &here,
            &["metadata", "--format-version=1", "--no-deps", "--offline"],
        );
        // Run from wherever the caller stands, so that cargo finds the root by itself.
        let metadata = parse(&process::read(&mut command)?)?;
        let mut members = metadata.packages;
        members.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self {
            root: metadata.workspace_root,
            members,
        })
    }

    /// Every package of the graph, members too, for the platforms named (none: for all).
    pub(crate) fn graph(&self, platforms: &[String]) -> Outcome<Vec<Package>> {
        let mut command = process::cargo(
            self,
            &[
                "metadata",
                "--format-version=1",
                "--locked",
                "--offline",
                "--all-features",
            ],
        );
        for platform in platforms {
            command.args(["--filter-platform", platform]);
        }
        Ok(parse(&process::read(&mut command)?)?.packages)
    }

    /// The members that are published, sorted by name.
    pub(crate) fn published(&self) -> impl Iterator<Item = &Package> {
        self.members.iter().filter(|package| package.is_published())
    }

    /// The member of this name.
    pub(crate) fn member(&self, name: &str) -> Outcome<&Package> {
        self.members
            .iter()
            .find(|package| package.name == name)
            .ok_or_else(|| format!("the workspace has no package `{name}`").into())
    }

    /// The files that git tracks, or would if they were added; relative, `/` between parts.
    pub(crate) fn files(&self) -> Outcome<Vec<String>> {
        let mut command = Command::new("git");
        command
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .current_dir(&self.root);
        let mut files: Vec<String> = process::read(&mut command)?
            .split('\0')
            .filter(|path| self.root.join(path).is_file())
            .map(str::to_owned)
            .collect();
        files.sort();
        files.dedup();
        Ok(files)
    }

    /// The text of a file of the workspace, or nothing if there is none.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.root.join(path)).ok()
    }

    /// The folder of a member relative to the root, `/` between parts.
    pub(crate) fn folder(&self, package: &Package) -> String {
        let folder = package.manifest_path.parent().unwrap_or(Path::new(""));
        let relative = folder.strip_prefix(&self.root).unwrap_or(folder);
        relative.to_string_lossy().replace('\\', "/")
    }
}

impl Package {
    /// Whether it may go to a registry.
    pub(crate) fn is_published(&self) -> bool {
        self.publish
            .as_ref()
            .is_none_or(|registries| !registries.is_empty())
    }

    /// The names of its targets of a kind (`bin`, `test`, …).
    pub(crate) fn targets_of(&self, kind: &str) -> impl Iterator<Item = &str> {
        let kind = kind.to_owned();
        self.targets
            .iter()
            .filter(move |target| target.kind.contains(&kind))
            .map(|target| target.name.as_str())
    }
}

/// Whether a file name has this extension.
pub(crate) fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|found| found == extension)
}

fn parse(json: &str) -> Outcome<Metadata> {
    Ok(serde_json::from_str(json)
        .map_err(|error| format!("cannot read what `cargo metadata` printed: {error}"))?)
}
