//! The project's own `lightwafer` command, as the demo and the measurements use it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::firmware;
use crate::process::{self, say};
use crate::project::{self, Board};
use crate::setup;

/// Makes the board's image and the emulator ready, and the command itself.
///
/// # Errors
/// When a set-up step or a build fails, or a board is not emulated.
pub fn prepare(boards: &[Board]) -> Result<()> {
    if let Some(real) = boards.iter().find(|board| board.part().is_some()) {
        bail!(
            "{} is not emulated: flash it (boards/README.md)",
            real.name()
        );
    }
    setup::arm::setup()?;
    setup::qemu::setup()?;
    firmware::build(boards, firmware::Features::All)?;
    say("lightwafer: building the command");
    process::run(process::cargo().arg("build").args(PACKAGE))
}

const PACKAGE: [&str; 4] = ["--package", "lightwafer-equipment", "--bin", "lightwafer"];

/// The command itself; what it was built from is up to date.
pub fn command() -> Command {
    let mut cargo = process::cargo();
    cargo.args(["run", "--quiet"]).args(PACKAGE).arg("--");
    cargo
}

/// One line of `classify --json`, as far as the measurements need it.
#[derive(Deserialize)]
struct Answer {
    instructions: Option<u64>,
}

/// The line that `classify --json --statistics` ends with.
#[derive(Deserialize)]
struct Last {
    statistics: Statistics,
}

/// A board's counters, as far as the measurements need them.
#[derive(Deserialize)]
struct Statistics {
    stack_max: u64,
    wafers: u64,
}

/// What `info --json` says, as far as the measurements need it.
#[derive(Deserialize)]
struct Info {
    macs: u64,
    arena_bytes: u64,
}

/// What a running board told.
pub struct Measured {
    /// Instructions of one inference: the median over the wafers.
    pub instructions: u64,
    /// Multiply-accumulates of one inference.
    pub macs: u64,
    /// Bytes of arena an inference needs.
    pub arena_bytes: u64,
    /// Deepest use of the stack, in bytes.
    pub stack_max: u64,
}

/// Wafers that a measurement classifies: the count hardly varies with what is on them.
const WAFERS: usize = 5;

/// Boots the board's image in the emulator and has it classify a few synthetic wafers.
///
/// # Errors
/// When the board does not answer as it should.
pub fn measure(board: Board) -> Result<Measured> {
    let folder = target()?.join("measure");
    std::fs::create_dir_all(&folder)?;
    let wafers = folder.join("wafers.npz");
    synthesize(&wafers)?;
    say(format_args!(
        "{}: classifying {WAFERS} wafers",
        board.name()
    ));
    let answers = process::read(
        emulated(command().arg("classify").arg(&wafers), board).args([
            "--limit",
            &WAFERS.to_string(),
            "--json",
            "--statistics",
        ]),
    )?;
    let mut lines: Vec<&str> = answers.lines().collect();
    let last = lines
        .pop()
        .context("`lightwafer classify` printed nothing")?;
    let statistics = serde_json::from_str::<Last>(last)
        .with_context(|| format!("not a board's statistics: {last}"))?
        .statistics;
    let mut instructions = Vec::new();
    for line in lines {
        let answer: Answer =
            serde_json::from_str(line).with_context(|| format!("not an answer: {line}"))?;
        instructions.push(
            answer
                .instructions
                .context("the board counted no instructions")?,
        );
    }
    if statistics.wafers != WAFERS as u64 || instructions.len() != WAFERS {
        bail!(
            "{} answered {} of {WAFERS} wafers",
            board.name(),
            instructions.len()
        );
    }
    instructions.sort_unstable();

    let info = process::read(emulated(command().arg("info"), board).arg("--json"))?;
    let info: Info =
        serde_json::from_str(&info).with_context(|| format!("not a board's facts: {info}"))?;
    Ok(Measured {
        instructions: instructions[WAFERS / 2],
        macs: info.macs,
        arena_bytes: info.arena_bytes,
        stack_max: statistics.stack_max,
    })
}

/// Adds the board's image in the emulator to a command.
pub fn emulated(command: &mut Command, board: Board) -> &mut Command {
    command
        .args(["--emulate", board.name(), "--firmware"])
        .arg(board.elf())
}

/// Writes one synthetic wafer of each class, the same ones every time.
///
/// # Errors
/// When the command fails.
pub fn synthesize(wafers: &Path) -> Result<()> {
    process::run(
        command()
            .arg("synth")
            .arg(wafers)
            .args(["--per-class", "1", "--seed", "42"]),
    )
}

/// Where cargo builds, and the demo's and the measurements' files go.
///
/// # Errors
/// When the current folder is not known.
pub fn target() -> Result<PathBuf> {
    Ok(match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => std::path::absolute(dir)?,
        None => project::root().join("target"),
    })
}
