//! The steps that are calls of cargo: format, lints, documentation, tests, firmware.

use std::process::Command;

use anyhow::{Result, bail};

use crate::outcome::Outcome;
use crate::project::{self, Board};
use crate::{firmware, process, setup, toolchain, workspaces};

/// The engine that is built in a step of its own: tract takes minutes, and only it needs tract.
const TRACT: &str = "lightwafer-tract";
/// All other packages of the host.
const WORKSPACE: [&str; 3] = ["--workspace", "--exclude", TRACT];

/// What the example firmware says to a wafer without a failing die, as the runtime's first doctest does.
const EMBED_ANSWER: &str = "Normal, 0 pixels marked";

/// Formatting, in all workspaces.
///
/// # Errors
/// When a file is formatted in another way; rustfmt shows how.
pub fn format() -> Result<Outcome> {
    toolchain::components()?;
    let mut failed = Vec::new();
    for workspace in workspaces::folders(project::root())? {
        let mut cargo = process::cargo();
        cargo
            .current_dir(&workspace)
            .args(["fmt", "--all", "--check"]);
        if process::run(&mut cargo).is_err() {
            failed.push(workspace.display().to_string());
        }
    }
    if !failed.is_empty() {
        bail!("run cargo fmt --all in {}", failed.join(" and "));
    }
    Ok(Outcome::Whole)
}

/// The package of the runtime, unpacked and built apart from the repository.
///
/// # Errors
/// When a file that it needs is not in it, or cargo warns of its metadata.
pub fn package() -> Result<Outcome> {
    let mut cargo = process::cargo();
    // What is not committed yet is packaged too: only its contents are of interest.
    cargo.args([
        "package",
        "--package",
        "lightwafer-runtime",
        "--allow-dirty",
    ]);
    process::run(&mut cargo)?;
    Ok(Outcome::Whole)
}

/// Clippy on everything that is built for the host, tests and examples included.
///
/// # Errors
/// When there is a warning.
pub fn lint() -> Result<Outcome> {
    toolchain::components()?;
    setup::torch::setup(true, false)?;
    let mut cargo = process::cargo();
    cargo.arg("clippy").args(WORKSPACE);
    process::run(cargo.args(["--all-targets", "--", "-D", "warnings"]))?;
    Ok(Outcome::Whole)
}

/// The documentation of all host crates.
///
/// # Errors
/// When there is a warning: a link to nothing, for example.
pub fn docs() -> Result<Outcome> {
    setup::torch::setup(true, false)?;
    let mut cargo = process::cargo();
    cargo.env("RUSTDOCFLAGS", "-D warnings");
    process::run(cargo.arg("doc").args(WORKSPACE).arg("--no-deps"))?;
    Ok(Outcome::Whole)
}

/// The tests of all host crates; those on emulated boards are the step `emulated`.
///
/// # Errors
/// When one fails.
pub fn tests() -> Result<Outcome> {
    setup::torch::setup(true, true)?;
    let mut cargo = process::cargo();
    cargo.env("LIGHTWAFER_SKIP_EMULATED", "1");
    let mut left_out = Vec::new();
    match setup::pytorch::python()? {
        Some(python) => _ = cargo.env(setup::pytorch::PYTHON, python),
        None => left_out.push("comparisons with PyTorch and onnxruntime".to_owned()),
    }
    process::run(cargo.arg("test").args(WORKSPACE).arg("--no-fail-fast"))?;
    Ok(Outcome::without(left_out))
}

/// The tests that boot emulated boards.
///
/// # Errors
/// When one fails, or the boards' firmware cannot be built.
pub fn emulated() -> Result<Outcome> {
    firmware()?;
    setup::qemu::setup()?;
    let mut cargo = process::cargo();
    cargo.env_remove("LIGHTWAFER_SKIP_EMULATED");
    let mut left_out = Vec::new();
    match setup::client::python()? {
        Ok(python) => _ = cargo.env(setup::client::PYTHON, python),
        Err(why) => left_out.push(format!("the Python client: {why}")),
    }
    // Of the whole workspace, so that crates have the features that the step `tests` has built them with.
    cargo.arg("test").args(WORKSPACE);
    process::run(cargo.args(["--test", "boards", "--no-fail-fast"]))?;
    Ok(Outcome::without(left_out))
}

/// The tests of the tract engine, and of the Linux daemon with it.
///
/// # Errors
/// When one fails.
pub fn tract() -> Result<Outcome> {
    let mut cargo = process::cargo();
    cargo.args(["test", "--package", TRACT, "--package", "lightwafer-linux"]);
    process::run(cargo.args(["--features", "lightwafer-linux/tract"]))?;
    Ok(Outcome::Whole)
}

/// The firmware of all boards.
///
/// # Errors
/// When the targets cannot be had, or a build fails.
pub fn firmware() -> Result<Outcome> {
    setup::arm::setup()?;
    firmware::build(Board::all(), firmware::Features::All)?;
    Ok(Outcome::Whole)
}

/// The example firmware, linted and run in the emulator on a Cortex-M7 and a Cortex-M33.
///
/// # Errors
/// When there is a warning, or it prints another answer.
pub fn embed() -> Result<Outcome> {
    toolchain::components()?;
    let toolchain = setup::arm::setup()?;
    setup::qemu::setup()?;
    for target in lightwafer_board_list::TARGETS {
        let cargo = |command: &str| {
            let mut cargo = process::cargo_of(&toolchain);
            cargo.current_dir(project::root().join("examples/embed"));
            cargo.args([command, "--release", "--target", target]);
            cargo
        };
        process::run(cargo("clippy").args(["--", "-D", "warnings"]))?;
        let answer = process::read(&mut cargo("run"))?;
        if answer != EMBED_ANSWER {
            bail!("examples/embed on {target} says {answer:?} instead of {EMBED_ANSWER:?}");
        }
    }
    Ok(Outcome::Whole)
}

/// Clippy on the firmware of all boards.
///
/// # Errors
/// When there is a warning.
pub fn lint_boards() -> Result<Outcome> {
    toolchain::components()?;
    let toolchain = setup::arm::setup()?;
    for board in Board::all() {
        let mut cargo: Command = process::cargo_of(&toolchain);
        cargo
            .current_dir(board.folder())
            .args(["clippy", "--release", "--target-dir"]);
        cargo.arg(project::boards().join("target"));
        cargo.args(["--bins", "--examples", "--", "-D", "warnings"]);
        process::run(&mut cargo)?;
    }
    Ok(Outcome::Whole)
}
