//! `cargo xtask sanitize`: the runtime's tests, the protocol's and the faults on the line under AddressSanitizer.
//!
//! The kernels of `runtime/src/kernels/arch` are the project's only `unsafe` code on the host; whatever they read
//! or write beyond their rows ends the test. It needs a nightly compiler and is skipped where there is none.

use anyhow::Result;

use crate::lightwafer;
use crate::nightly;
use crate::process::{self, say};

/// How to run.
#[derive(clap::Args)]
pub struct Args {}

/// Runs the tests.
///
/// # Errors
/// When a test fails or memory is misused.
pub fn run(_: &Args) -> Result<()> {
    let Some(toolchain) = nightly::toolchain("sanitize") else {
        return Ok(());
    };
    let sets: [&[&str]; 2] = [
        &[
            "--package",
            "lightwafer-runtime",
            "--package",
            "lightwafer-compiler",
            "--package",
            "lightwafer-device",
            "--package",
            "lightwafer-maps",
            "--all-features",
            "--lib",
            "--tests",
        ],
        &[
            "--package",
            "lightwafer-tests",
            "--test",
            "faults",
            "--test",
            "protocol_page",
            "--",
            // Minutes of inference that the runtime's own tests have already.
            "--skip",
            "faults_with_the_real_engine",
        ],
    ];
    for set in sets {
        say(format_args!("sanitize: {}", set[1]));
        let mut cargo = nightly::cargo(&toolchain, "-Zsanitizer=address");
        // Apart from what the stable compiler built.
        cargo.env("CARGO_TARGET_DIR", lightwafer::target()?.join("sanitize"));
        // Tests hand memory out for ever where a board's flash and arena are meant; the runtime itself allocates none.
        cargo.env("ASAN_OPTIONS", "detect_leaks=0");
        cargo.args(["test", "--target", nightly::TARGET]).args(set);
        process::run(&mut cargo)?;
    }
    Ok(())
}
