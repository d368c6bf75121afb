//! `cargo xtask setup`: what the project needs and cargo does not bring.
//!
//! Every step can be repeated at no cost: what is present is only checked.

pub mod arm;
mod cc;
pub mod client;
mod offline;
mod python;
pub mod pytorch;
pub mod qemu;
pub mod torch;

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
    /// libtorch, which the trainer links (about 190 MB to download, 550 MB without PyTorch's own index)
    #[arg(long)]
    libtorch: bool,
    /// A Python with PyTorch, which the trainer's tests compare it with (from the same download)
    #[arg(long)]
    pytorch: bool,
    /// defmt-print, which decodes the boards' logs
    #[arg(long)]
    logs: bool,
}

/// Runs the steps asked for.
///
/// # Errors
/// The first step that fails, with the command to run by hand.
pub fn run(args: &Args) -> Result<()> {
    let torches = args.libtorch || args.pytorch;
    let all = !(args.arm || args.qemu || torches || args.logs);
    if all || args.arm {
        arm::setup()?;
    }
    if all || args.qemu {
        qemu::setup()?;
    }
    if all || torches {
        torch::setup(all || args.libtorch, all || args.pytorch)?;
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
