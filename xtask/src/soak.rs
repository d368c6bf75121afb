//! `cargo xtask soak`: a board at work for hours, on a line that goes wrong (see `tests/src/soak.rs`).

use anyhow::Result;

use crate::lightwafer;
use crate::process::{self, say};
use crate::project::{self, Board};

/// How long, and on which board.
#[derive(clap::Args)]
pub struct Args {
    /// Wafers to classify
    #[arg(long, default_value_t = 2000)]
    wafers: u32,
    /// The board
    #[arg(long, default_value = "mps2-an386")]
    board: Board,
    /// Of everything that is drawn: wafers, faults, resets
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

/// Builds what is needed and runs the soak.
///
/// # Errors
/// When a step fails, or the soak finds something.
pub fn run(args: &Args) -> Result<()> {
    lightwafer::prepare(&[args.board])?;
    say(format_args!(
        "soak: {} wafers on {}",
        args.wafers,
        args.board.name()
    ));
    let mut cargo = process::cargo();
    cargo.args([
        "run",
        "--quiet",
        "--release",
        "--package",
        "lightwafer-tests",
        "--bin",
        "soak",
        "--",
    ]);
    cargo.arg("--board").arg(args.board.name());
    cargo.arg("--firmware").arg(args.board.elf());
    cargo
        .arg("--model")
        .arg(project::root().join("models/light-int8.lw"));
    cargo.arg("--wafers").arg(args.wafers.to_string());
    cargo.arg("--seed").arg(args.seed.to_string());
    if args.json {
        cargo.arg("--json");
    }
    process::answer(&mut cargo)
}
