//! `cargo xtask sanitize`: under AddressSanitizer, the tests of what parses bytes from outside or is unsafe.
//!
//! That is the runtime, whose kernels are the project's only `unsafe` code on the host, the protocol and the faults
//! on the line. Other crates have neither and are left out, with the dependencies that they would bring (building
//! tract alone takes a quarter of an hour). It needs a nightly compiler.

use anyhow::Result;

use crate::outcome::Outcome;
use crate::process;
use crate::{lightwafer, toolchain};

/// Packages whose unit tests run; the second package's are whole-system tests.
const ARGUMENTS: [&str; 14] = [
    "--package",
    "lightwafer-runtime",
    "--features",
    "lightwafer-runtime/npz,lightwafer-runtime/sign,lightwafer-runtime/sim,lightwafer-runtime/writer,\
     lightwafer-runtime/twins,lightwafer-runtime/synth",
    "--package",
    "lightwafer-tests",
    "--lib",
    "--test",
    "faults",
    "--test",
    "protocol_page",
    "--",
    // Minutes of inference that the runtime's own tests have already.
    "--skip",
    "faults_with_the_real_engine",
];

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
    cargo
        .args(["test", "--target", toolchain::HOST])
        .args(ARGUMENTS);
    process::run(&mut cargo)?;
    Ok(Outcome::Whole)
}
