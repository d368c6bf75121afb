//! The repository's cargo workspaces and their packages, as `cargo metadata` tells them.
//!
//! Found by looking for manifests with a `[workspace]` table, so a new workspace joins the checks by itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::process;

/// A package, as far as the checks need it.
#[derive(Deserialize)]
pub struct Package {
    /// Its name for cargo.
    pub name: String,
    /// The lowest Rust version that it states.
    pub rust_version: Option<String>,
    /// Registries that it may be published to; none when empty, any when `None`.
    pub publish: Option<Vec<String>>,
    /// Where its Cargo.toml lies.
    pub manifest_path: PathBuf,
    /// Features, each with what it turns on.
    pub features: BTreeMap<String, Vec<String>>,
    /// What it depends on.
    pub dependencies: Vec<Dependency>,
    /// Libraries, programs, examples, tests.
    pub targets: Vec<Target>,
}

/// A dependency of a package.
#[derive(Deserialize)]
pub struct Dependency {
    /// The other package's name.
    pub name: String,
    /// `None` for an ordinary one, else `dev` or `build`.
    pub kind: Option<String>,
    /// Its folder, when it lies on this disk.
    pub path: Option<PathBuf>,
}

/// What cargo builds of a package.
#[derive(Deserialize)]
pub struct Target {
    /// `lib`, `bin`, `example`, `test`, `custom-build`, …
    pub kind: Vec<String>,
    /// Its root file.
    pub src_path: PathBuf,
}

impl Package {
    /// The folder that holds its Cargo.toml, seen from `root`, with `/` between names.
    pub fn folder(&self, root: &Path) -> String {
        let folder = self.manifest_path.parent().unwrap_or(Path::new(""));
        folder
            .strip_prefix(root)
            .unwrap_or(folder)
            .to_string_lossy()
            .replace('\\', "/")
    }

    /// Whether it may go to crates.io.
    pub fn is_published(&self) -> bool {
        self.publish
            .as_ref()
            .is_none_or(|registries| !registries.is_empty())
    }

    /// The root file of its library.
    pub fn library(&self) -> Option<&Target> {
        let is_library = |target: &&Target| {
            let kinds = ["lib", "rlib", "staticlib", "cdylib", "proc-macro"];
            target
                .kind
                .iter()
                .any(|kind| kinds.contains(&kind.as_str()))
        };
        self.targets.iter().find(is_library)
    }
}

/// The folders of all workspaces below `root`, the root's first.
///
/// # Errors
/// When a folder or a manifest cannot be read.
pub fn folders(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    look(root, &mut found)?;
    found.sort();
    Ok(found)
}

fn look(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let manifest = folder.join("Cargo.toml");
    if manifest.is_file() {
        let text = fs::read_to_string(&manifest)
            .with_context(|| format!("cannot read {}", manifest.display()))?;
        if text.lines().any(|line| line.trim_end() == "[workspace]") {
            found.push(folder.to_owned());
        }
    }
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // `file_type` does not follow links: nothing outside of the repository is looked at.
        if entry.file_type()?.is_dir() && !name.starts_with('.') && name != "target" {
            look(&entry.path(), found)?;
        }
    }
    Ok(())
}

/// The packages of a workspace.
///
/// # Errors
/// When cargo cannot read its manifests.
pub fn packages(workspace: &Path) -> Result<Vec<Package>> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    let mut cargo = process::cargo();
    cargo.current_dir(workspace).args([
        "metadata",
        "--no-deps",
        "--offline",
        "--format-version",
        "1",
    ]);
    let text = process::read(&mut cargo)?;
    let metadata: Metadata = serde_json::from_str(&text)
        .with_context(|| format!("not the metadata of {}", workspace.display()))?;
    Ok(metadata.packages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project;

    #[test]
    fn all_workspaces_are_found_and_readable() {
        let root = project::root();
        let folders = folders(root).unwrap();
        assert_eq!(folders[0], root);
        for folder in ["boards", "fuzz"] {
            assert!(folders.contains(&root.join(folder)), "{folder}");
        }
        let packages = packages(root).unwrap();
        let own = packages
            .iter()
            .find(|package| package.name == "xtask")
            .unwrap();
        assert_eq!(own.folder(root), "xtask");
        assert!(!own.is_published());
    }
}
