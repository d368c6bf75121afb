//! `cargo xtask setup`: what the project needs and cargo does not bring.
//!
//! Every step can be repeated at no cost: what is present is only checked.

pub mod arm;
pub mod libtorch;
pub mod qemu;

use anyhow::{Context, Result};

use crate::process::{self, say};
use crate::project;

/// Which parts to set up; all of them when none is named.
#[derive(clap::Args)]
pub struct Args {
    /// The Rust targets of the boards
    #[arg(long)]
    arm: bool,
    /// The emulator that stands in for the boards
    #[arg(long)]
    qemu: bool,
    /// libtorch, which the trainer links (about 550 MB to download, 500 MB kept)
    #[arg(long)]
    libtorch: bool,
    /// defmt-print, which decodes the boards' logs
    #[arg(long)]
    logs: bool,
}

/// Runs the steps asked for.
///
/// # Errors
/// The first step that fails, with the command to run by hand.
pub fn run(args: &Args) -> Result<()> {
    let all = !(args.arm || args.qemu || args.libtorch || args.logs);
    if all || args.arm {
        arm::setup()?;
    }
    if all || args.qemu {
        qemu::setup()?;
    }
    if all || args.libtorch {
        libtorch::setup()?;
    }
    if all || args.logs {
        logs()?;
    }
    Ok(())
}

/// Installs `defmt-print` into the cache's `bin`.
fn logs() -> Result<()> {
    let root = project::cache()?;
    let program = root.join("bin").join("defmt-print");
    if process::probe(process::command(&program).arg("--version")).is_some() {
        say(format_args!("log decoder: present: {}", program.display()));
        return Ok(());
    }
    say("log decoder: building defmt-print from crates.io");
    process::run(
        process::cargo()
            .args(["install", "--quiet", "--locked", "defmt-print", "--root"])
            .arg(&root),
    )
    .context("run by hand: cargo install --locked defmt-print")
}
