//! Which of the project's crates uses which, from their Cargo.toml files.
//!
//! Dependencies of tests (`[dev-dependencies]`) are left out: tests may use what they like.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::check::{Rows, reason, shown};
use crate::workspaces::{self, Package};

/// A crate of the project, by its folder.
pub struct Crate {
    /// Seen from the repository's root, as `boards/common`.
    pub folder: String,
    /// What cargo knows of it.
    pub package: Package,
    /// The folders of the crates that it uses.
    pub uses: Vec<String>,
}

/// All crates of all workspaces below `root`.
///
/// # Errors
/// When a manifest cannot be read.
pub fn read(root: &Path) -> Result<Vec<Crate>> {
    let mut crates = Vec::new();
    for workspace in workspaces::folders(root)? {
        for package in workspaces::packages(&workspace)? {
            let dependencies = package.dependencies.iter();
            let built_in =
                dependencies.filter(|dependency| dependency.kind.as_deref() != Some("dev"));
            let paths =
                built_in.filter_map(|dependency| dependency.path.as_ref()?.strip_prefix(root).ok());
            let mut uses: Vec<String> = paths.map(|path| path.display().to_string()).collect();
            uses.sort();
            uses.dedup();
            crates.push(Crate {
                folder: package.folder(root),
                package,
                uses,
            });
        }
    }
    crates.sort_by(|a, b| a.folder.cmp(&b.folder));
    Ok(crates)
}

/// The row of a crate, and the entry that it falls under: its folder, or the folder around it with `/*`.
pub fn entry<'a>(rows: Rows<'a>, folder: &str) -> Option<(usize, &'a str)> {
    let entries = rows
        .iter()
        .enumerate()
        .flat_map(|(row, names)| names.iter().map(move |name| (row, *name)));
    let around = folder
        .rsplit_once('/')
        .map(|(around, _)| format!("{around}/*"));
    let mut candidates =
        entries.filter(|(_, name)| *name == folder || Some(*name) == around.as_deref());
    let first = candidates.next()?;
    Some(
        candidates
            .find(|(_, name)| *name == folder)
            .filter(|_| first.1 != folder)
            .unwrap_or(first),
    )
}

/// Dependencies that go up or sideways, crates that the table lacks, and entries that nothing falls under.
///
/// # Errors
/// When a manifest cannot be read.
pub fn order(crates: &[Crate], rows: Rows, root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut used = Vec::new();
    for one in crates {
        let Some(from) = entry(rows, &one.folder) else {
            found.push(format!(
                "{}: stands in no row of xtask/src/layers/table.rs",
                one.folder
            ));
            continue;
        };
        used.push(from.1);
        for folder in &one.uses {
            let Some(to) = entry(rows, folder) else {
                continue;
            };
            if from.0 >= to.0 {
                let manifest = &one.package.manifest_path;
                let line = line(manifest, &one.package, &root.join(folder))?;
                let reason = reason((from.0, &one.folder), (to.0, folder));
                found.push(format!(
                    "{}:{line}: {} uses {folder}, but {reason}",
                    shown(manifest, root),
                    one.folder
                ));
            }
        }
    }
    let entries = rows.iter().flat_map(|names| names.iter());
    for name in entries.filter(|name| !used.contains(name)) {
        found.push(format!(
            "xtask/src/layers/table.rs: there is no crate {name}"
        ));
    }
    Ok(found)
}

/// The line of a manifest that names a dependency.
fn line(manifest: &Path, package: &Package, folder: &Path) -> Result<usize> {
    let text = fs::read_to_string(manifest)
        .with_context(|| format!("cannot read {}", manifest.display()))?;
    let of_folder = |path: &Path| path == folder;
    let named = package
        .dependencies
        .iter()
        .find(|dependency| dependency.path.as_deref().is_some_and(of_folder));
    let name = named.map_or("", |dependency| dependency.name.as_str());
    let mut for_tests = false;
    for (at, line) in text.lines().enumerate() {
        if line.starts_with('[') {
            for_tests = line.contains("dev-dependencies");
        }
        let key = line.split(['=', '.', ' ']).next().unwrap_or_default();
        if !for_tests && (key == name || line.contains(&format!("dependencies.{name}]"))) {
            return Ok(at + 1);
        }
    }
    Ok(1)
}
