//! `cargo xtask setup`: what the project needs and cargo does not bring.
//!
//! Every step can be repeated at no cost: what is present is only checked.

pub mod arm;
pub mod client;
mod libtorch;
pub mod pytorch;
pub mod qemu;
mod wheels;

use std::fs::File;

use anyhow::{Context, Result};

use crate::process::{self, say};
use crate::project;
use wheels::{VERSION, Wheels};

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
        torch(all || args.libtorch, all || args.pytorch)?;
    }
    if all || args.logs {
        logs()?;
    }
    Ok(())
}

/// Makes libtorch and a Python with PyTorch out of one download.
///
/// # Errors
/// When they can't be made; the way to bring one's own is named.
pub fn torch(libtorch: bool, pytorch: bool) -> Result<()> {
    let cache = project::cache()?;
    std::fs::create_dir_all(&cache)?;
    let lock = File::create(cache.join("torch.lock"))?;
    // Two set-ups at once wait for each other.
    lock.lock().context("cannot lock the cache")?;
    let missing = (
        libtorch && libtorch::is_missing()?,
        pytorch && pytorch::is_missing()?,
    );
    let make = || {
        let wheels = Wheels::fetch()?;
        if missing.0 {
            wheels::compiler()?;
            libtorch::unpack(&wheels)?;
        }
        if missing.1 {
            pytorch::unpack(&wheels)?;
        }
        wheels.remove()
    };
    if missing != (false, false) {
        make().with_context(|| {
            format!(
                "run by hand: pip install torch=={VERSION} numpy safetensors, then set \
                 LIBTORCH_USE_PYTORCH=1 and {}=python3",
                pytorch::PYTHON
            )
        })?;
    }
    if libtorch {
        libtorch::finish()?;
    }
    if pytorch {
        pytorch::finish()?;
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
