//! The Rust toolchains of this machine: the active one, a nightly one, and what they have.
//!
//! `rust-toolchain.toml` names the one that the project is developed with. Sanitizers, fuzzing and Miri need a
//! nightly compiler; the project itself does not.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{self, say};

/// The target that is named to nightly's cargo, so that build scripts are built without instrumentation.
pub const HOST: &str = "x86_64-unknown-linux-gnu";

/// The toolchain that runs `cargo xtask`.
///
/// # Errors
/// When there is no rustup, or no toolchain.
pub fn active() -> Result<String> {
    if let Ok(name) = std::env::var("RUSTUP_TOOLCHAIN") {
        return Ok(name);
    }
    let text = process::read(process::command("rustup").args(["show", "active-toolchain"]))
        .context("rustup is needed: install it from https://rustup.rs")?;
    let name = text.split_whitespace().next();
    Ok(name
        .context("rustup has no active toolchain; run by hand: rustup toolchain install")?
        .to_owned())
}

/// The names of all installed toolchains.
pub fn installed() -> Vec<String> {
    let list = process::probe(process::command("rustup").args(["toolchain", "list"]));
    let lines = list.as_deref().unwrap_or_default().lines();
    lines
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// The compiler of a toolchain.
pub fn rustc(toolchain: &str) -> Command {
    let mut rustc = process::command("rustup");
    rustc.env_remove("RUSTUP_TOOLCHAIN");
    rustc.args(["run", toolchain, "rustc"]);
    rustc
}

/// The compiler's version, as `1.95.0`.
///
/// # Errors
/// When it does not start.
pub fn version(toolchain: &str) -> Result<String> {
    let text = process::read(rustc(toolchain).arg("--version"))?;
    let version = text.split_whitespace().nth(1);
    Ok(version
        .with_context(|| format!("`{text}` is no version of rustc"))?
        .to_owned())
}

/// The folder of a toolchain.
///
/// # Errors
/// When its compiler does not start.
pub fn sysroot(toolchain: &str) -> Result<PathBuf> {
    Ok(PathBuf::from(process::read(
        rustc(toolchain).args(["--print", "sysroot"]),
    )?))
}

/// The folder of a target's libraries in a toolchain.
pub fn libraries(sysroot: &Path, target: &str) -> PathBuf {
    sysroot.join("lib/rustlib").join(target).join("lib")
}

/// Whether a toolchain has a target's core library.
pub fn has_target(sysroot: &Path, target: &str) -> bool {
    std::fs::read_dir(libraries(sysroot, target)).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
    })
}

/// Makes rustfmt and clippy available.
///
/// # Errors
/// When they cannot be installed.
pub fn components() -> Result<()> {
    let missing =
        |tool: &&str| process::probe(process::cargo().args([*tool, "--version"])).is_none();
    if ["fmt", "clippy"].iter().any(missing) {
        say("Rust: rustup component add rustfmt clippy");
        process::run(process::command("rustup").args(["component", "add", "rustfmt", "clippy"]))?;
    }
    Ok(())
}

/// A nightly toolchain, for what only a nightly compiler can do.
///
/// # Errors
/// When there is none, why: the step is skipped then.
pub fn nightly() -> Result<String, String> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err("only on x86-64 Linux".into());
    }
    installed()
        .into_iter()
        .find(|name| name.starts_with("nightly"))
        .ok_or_else(|| "needs a nightly compiler; run: rustup toolchain install nightly".into())
}
