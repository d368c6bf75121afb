//! Whether the Rust version that the project states is one and the same everywhere, and compiles it.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::outcome::Outcome;
use crate::{process, project, setup, toolchain, workspaces};

/// Compares what manifests and `rust-toolchain.toml` state, then compiles with that version where it is installed.
///
/// # Errors
/// When two statements differ, or the code does not compile.
pub fn check() -> Result<Outcome> {
    let root = project::root();
    let mut stated = Vec::new();
    for workspace in workspaces::folders(root)? {
        for package in workspaces::packages(&workspace)? {
            // The fuzz targets state none: they need a nightly compiler.
            if let Some(version) = &package.rust_version {
                stated.push((package.folder(root) + "/Cargo.toml", version.clone()));
            }
        }
    }
    let file = "rust-toolchain.toml";
    let text =
        fs::read_to_string(root.join(file)).with_context(|| format!("cannot read {file}"))?;
    stated.push((
        file.to_owned(),
        channel(&text).with_context(|| format!("{file} names no channel"))?,
    ));
    let version = env!("CARGO_PKG_RUST_VERSION");
    let other = stated
        .iter()
        .filter(|(_, other)| whole(other) != whole(version));
    let other: Vec<String> = other
        .map(|(file, other)| format!("{file} states {other}"))
        .collect();
    if !other.is_empty() {
        bail!(
            "xtask/Cargo.toml states Rust {version}, but {}",
            other.join(", ")
        );
    }
    let Some(toolchain) = installed(version)? else {
        return Ok(Outcome::Partly(vec![format!(
            "compiling with Rust {version}; run: rustup toolchain install {}",
            whole(version)
        )]));
    };
    let mut cargo = process::cargo_of(&toolchain);
    // tract takes minutes, and nobody depends on it.
    cargo.args(["check", "--workspace", "--exclude", "lightwafer-tract"]);
    // Nor on the trainer, which is left out where libtorch is not there anyway.
    if !setup::torch::has_libtorch() {
        cargo.args(["--exclude", "trainer"]);
    }
    process::run(&mut cargo)?;
    Ok(Outcome::Whole)
}

/// `1.95` and `1.95.0` are the same.
fn whole(version: &str) -> String {
    match version.split('.').count() {
        2 => format!("{version}.0"),
        _ => version.to_owned(),
    }
}

/// The toolchain that `rust-toolchain.toml` names.
fn channel(text: &str) -> Option<String> {
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix("channel")?.trim_start().strip_prefix('='))?;
    Some(value.trim().trim_matches('"').to_owned())
}

/// An installed toolchain of this version, the active one first.
fn installed(version: &str) -> Result<Option<String>> {
    let active = toolchain::active()?;
    let named = whole(version) + "-";
    let all = toolchain::installed();
    let named = all.into_iter().find(|name| name.starts_with(&named));
    let active_is = toolchain::version(&active)? == whole(version);
    Ok(if active_is { Some(active) } else { named })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_channel_is_read() {
        let text = "# a note\n[toolchain]\nchannel = \"1.95.0\"\nprofile = \"default\"\n";
        assert_eq!(channel(text).as_deref(), Some("1.95.0"));
        assert_eq!(channel("[toolchain]\n"), None);
        assert_eq!(whole("1.95"), whole("1.95.0"));
        assert_ne!(whole("1.95"), whole("1.95.1"));
    }
}
