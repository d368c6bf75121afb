//! `cargo xtask miri`: the kernels' tests and some of the decoders' under Miri, which finds undefined behaviour that
//! no machine shows.
//!
//! Miri is a component of nightly toolchains (`rustup component add miri`); where it is missing the step is
//! skipped and says so. It is some hundred times slower than the machine: only small tests run, no inference.

use std::time::Duration;

use anyhow::Result;

use crate::lightwafer;
use crate::nightly;
use crate::process::{self, say};

/// Tests by (part of) name: those of the kernels, and quick ones of the decoders.
const TESTS: [&str; 4] = [
    "kernels::",
    "dies::die_map",
    "tests::a_wafer_goes_through",
    "tests::refuses_by_name",
];
/// No longer than this.
const LIMIT: Duration = Duration::from_secs(900);

/// How to run.
#[derive(clap::Args)]
pub struct Args {}

/// Runs the tests.
///
/// # Errors
/// When a test fails, behaves undefined, or takes too long.
pub fn run(_: &Args) -> Result<()> {
    let Some(toolchain) = nightly::toolchain("miri") else {
        return Ok(());
    };
    let mut probe = process::cargo_of(&toolchain);
    if process::probe(probe.args(["miri", "--version"])).is_none() {
        say(format_args!(
            "miri: skipped: {toolchain} has no Miri; run: rustup component add miri --toolchain {toolchain}"
        ));
        return Ok(());
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
        "--",
    ]);
    process::run_within(cargo.args(TESTS), LIMIT)
}
