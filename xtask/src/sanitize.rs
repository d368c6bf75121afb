//! `cargo xtask sanitize`: under AddressSanitizer, the tests of what parses bytes from outside or is unsafe.
//!
//! That is the runtime, whose kernels are the project's only `unsafe` code on the host, the image writer, whose tests
//! run them on networks of all shapes, protocol, station and store, the readers of wafer files, and the faults on the
//! line. The other crates have neither; what they would bring is left out (instrumented, tract alone takes a quarter
//! of an hour to build). It needs a nightly compiler.

use anyhow::Result;

use crate::outcome::Outcome;
use crate::process;
use crate::{lightwafer, toolchain};

/// Packages whose tests run.
const PACKAGES: [&str; 5] = [
    "lightwafer-runtime",
    "lightwafer-compiler",
    "lightwafer-device",
    "lightwafer-maps",
    "lightwafer-tests",
];
/// Their features for hosts, so that all of their tests are there.
const FEATURES: &str = "lightwafer-runtime/alloc,lightwafer-runtime/differential,\
    lightwafer-device/sign,lightwafer-device/sim";
/// Minutes of inference that the writer's tests have already.
const SKIPPED: &str = "faults_with_the_real_engine";

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

/// Runs the tests, where there is a nightly compiler.
///
/// # Errors
/// When a test fails or memory is misused.
pub fn check() -> Result<Outcome> {
    let toolchain = match toolchain::nightly() {
        Ok(toolchain) => toolchain,
        Err(why) => return Ok(Outcome::Skipped(why)),
    };
    let mut cargo = process::cargo_of(&toolchain);
    cargo.env("RUSTFLAGS", "-Zsanitizer=address");
    // Apart from what the stable compiler built.
    cargo.env("CARGO_TARGET_DIR", lightwafer::target()?.join("sanitize"));
    // Tests hand memory out for ever where a board's flash and arena are meant; the runtime itself allocates none.
    cargo.env("ASAN_OPTIONS", "detect_leaks=0");
    // Boards have no AddressSanitizer.
    cargo.env("LIGHTWAFER_SKIP_EMULATED", "1");
    // One call, so that what they share is built once.
    cargo.args(["test", "--target", toolchain::HOST]);
    cargo.args(PACKAGES.iter().flat_map(|package| ["--package", package]));
    cargo.args(["--features", FEATURES, "--tests"]);
    process::run(cargo.args(["--", "--skip", SKIPPED]))?;
    Ok(Outcome::Whole)
}
