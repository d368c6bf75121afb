//! `cargo xtask miri`: the kernels' tests and some of the decoders' under Miri, which finds undefined behaviour that
//! no machine shows.
//!
//! Miri is a component of nightly toolchains (`rustup component add miri`). It is some hundred times slower than the
//! machine: only small tests run, no inference.

use std::time::Duration;

use anyhow::Result;

use crate::outcome::Outcome;
use crate::process;
use crate::{lightwafer, toolchain};

/// Tests by (part of) name: those of the kernels, and quick ones of the decoders.
const TESTS: [&str; 4] = [
    "kernels::",
    "dies::die_map",
    "a_wafer_goes_through",
    "refuses_by_name",
];
/// No longer than this.
const LIMIT: Duration = Duration::from_secs(900);

/// How to run.
#[derive(clap::Args)]
pub struct Args {}

/// Runs the tests.
///
/// # Errors
/// As [`check`].
pub fn run(_: &Args) -> Result<()> {
    check().map(Outcome::say)
}

/// Runs the tests, where there is Miri.
///
/// # Errors
/// When a test fails, behaves undefined, or takes too long.
pub fn check() -> Result<Outcome> {
    let toolchain = match toolchain::nightly() {
        Ok(toolchain) => toolchain,
        Err(why) => return Ok(Outcome::Skipped(why)),
    };
    let mut probe = process::cargo_of(&toolchain);
    if process::probe(probe.args(["miri", "--version"])).is_none() {
        return Ok(Outcome::Skipped(format!(
            "{toolchain} has no Miri; run: rustup component add miri --toolchain {toolchain}"
        )));
    }
    let mut cargo = process::cargo_of(&toolchain);
    cargo.env("CARGO_TARGET_DIR", lightwafer::target()?.join("miri"));
    cargo.env("MIRIFLAGS", "-Zmiri-permissive-provenance");
    cargo.args([
        "miri",
        "test",
        "--package",
        "lightwafer-runtime",
        "--package",
        "lightwafer-device",
        "--lib",
        "--test",
        "station",
        "--",
    ]);
    process::run_within(cargo.args(TESTS), LIMIT)?;
    Ok(Outcome::Whole)
}
