//! `cargo xtask firmware`: builds the boards' images with the toolchain that has their target.

use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{self, say};
use crate::project::{self, Board};
use crate::setup;

/// What to build.
#[derive(clap::Args)]
pub struct Args {
    /// The boards to build for; all of them when none is named
    boards: Vec<Board>,
    /// Leave out the logs
    #[arg(long)]
    no_logs: bool,
}

/// Which of the boards' features an image has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Features {
    /// Logs and model updates.
    All,
    /// Model updates; as it ships.
    NoLogs,
    /// Neither.
    Core,
}

impl Features {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::All => &[],
            Self::NoLogs => &["--no-default-features", "--features", "update"],
            Self::Core => &["--no-default-features"],
        }
    }
}

/// Builds and prints each image's path.
///
/// # Errors
/// When the targets can't be had or a build fails.
pub fn run(args: &Args) -> Result<()> {
    setup::arm::setup()?;
    let boards = if args.boards.is_empty() {
        Board::all()
    } else {
        &args.boards[..]
    };
    let features = match args.no_logs {
        true => Features::NoLogs,
        false => Features::All,
    };
    build(boards, features)?;
    for board in boards {
        println!("{}", board.elf().display());
    }
    Ok(())
}

/// Builds the boards' images, release.
///
/// # Errors
/// When no toolchain has the targets or a build fails.
pub fn build(boards: &[Board], features: Features) -> Result<()> {
    let toolchain = setup::arm::toolchain()?;
    let names: Vec<&str> = boards.iter().map(|board| board.name()).collect();
    say(format_args!(
        "firmware: building {} with {toolchain}",
        names.join(", ")
    ));
    for board in boards {
        let mut cargo = cargo(&toolchain, *board);
        cargo.args(features.arguments());
        process::run(&mut cargo)?;
        let elf = board.elf();
        elf.metadata()
            .with_context(|| format!("the build left no {}", elf.display()))?;
    }
    Ok(())
}

/// Builds a board's probe, the firmware for tests and measurements, without logs.
///
/// # Errors
/// As [`build`].
pub fn build_probe(board: Board) -> Result<()> {
    let mut cargo = cargo(&setup::arm::toolchain()?, board);
    let probe = board.probe_name();
    process::run(cargo.args(["--no-default-features", "--example", &probe]))
}

/// A release build in a board's own folder, whose .cargo/config.toml names its processor.
fn cargo(toolchain: &str, board: Board) -> Command {
    let mut cargo = process::cargo_of(toolchain);
    cargo
        .current_dir(board.folder())
        .args(["build", "--release", "--target-dir"])
        .arg(project::boards().join("target"));
    cargo
}
