//! `cargo xtask deny`: licences and sources of all dependencies, by `deny.toml`.
//!
//! Needs cargo-deny (`cargo install cargo-deny --locked`); where it is missing the step is skipped and says so.
//! Advisories are left to `cargo deny check advisories`: their data base is fetched anew each time.

use anyhow::Result;

use crate::process::{self, say};
use crate::project;

/// What to check.
#[derive(clap::Args)]
pub struct Args {}

/// Checks the project's three workspaces.
///
/// # Errors
/// When a dependency is none that `deny.toml` allows.
pub fn run(_: &Args) -> Result<()> {
    if process::probe(process::cargo().args(["deny", "--version"])).is_none() {
        say("deny: skipped: there is no cargo-deny; run: cargo install cargo-deny --locked");
        return Ok(());
    }
    let root = project::root();
    for folder in [root.to_owned(), project::boards(), root.join("fuzz")] {
        let mut cargo = process::cargo();
        cargo.args(["deny", "--manifest-path"]);
        cargo.arg(folder.join("Cargo.toml"));
        cargo.arg("--config").arg(root.join("deny.toml"));
        process::run(cargo.args(["check", "licenses", "bans", "sources"]))?;
    }
    Ok(())
}
