//! `cargo xtask deny`: licences and sources of all dependencies, by `deny.toml`.
//!
//! Needs cargo-deny (`cargo install cargo-deny --locked`). Advisories are left to `cargo deny check advisories`:
//! their data base is fetched anew each time.

use anyhow::Result;

use crate::outcome::Outcome;
use crate::process;
use crate::{project, workspaces};

/// What to check.
#[derive(clap::Args)]
pub struct Args {}

/// Checks all workspaces.
///
/// # Errors
/// As [`check`].
pub fn run(_: &Args) -> Result<()> {
    check().map(Outcome::say)
}

/// Checks all workspaces, where cargo-deny is installed.
///
/// # Errors
/// When a dependency is none that `deny.toml` allows.
pub fn check() -> Result<Outcome> {
    if process::probe(process::cargo().args(["deny", "--version"])).is_none() {
        return Ok(Outcome::Skipped(
            "there is no cargo-deny; run: cargo install cargo-deny --locked".into(),
        ));
    }
    let root = project::root();
    for folder in workspaces::folders(root)? {
        let mut cargo = process::cargo();
        cargo
            .args(["deny", "--manifest-path"])
            .arg(folder.join("Cargo.toml"));
        cargo.arg("--config").arg(root.join("deny.toml"));
        process::run(cargo.args(["check", "licenses", "bans", "sources"]))?;
    }
    Ok(Outcome::Whole)
}
