//! `cargo xtask cross`: Linux boards' processors, emulated: the runtime's tests and the daemon's for AArch64 and
//! Armv7, under QEMU's user mode.
//!
//! Needs Rust's libraries for these targets (`rustup target add`), a C linker and QEMU; where the libraries
//! can't be had a target is skipped and says so.

use std::time::Duration;

use anyhow::Result;

use crate::lightwafer;
use crate::process::{self, say};

/// A target, and what Debian and QEMU call it.
struct Target {
    triple: &'static str,
    packages: [&'static str; 2],
    linker: &'static str,
    emulator: &'static str,
    libraries: &'static str,
}

const TARGETS: [Target; 2] = [
    Target {
        triple: "aarch64-unknown-linux-gnu",
        packages: ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"],
        linker: "aarch64-linux-gnu-gcc",
        emulator: "qemu-aarch64",
        libraries: "/usr/aarch64-linux-gnu",
    },
    Target {
        triple: "armv7-unknown-linux-gnueabihf",
        packages: ["gcc-arm-linux-gnueabihf", "libc6-dev-armhf-cross"],
        linker: "arm-linux-gnueabihf-gcc",
        emulator: "qemu-arm",
        libraries: "/usr/arm-linux-gnueabihf",
    },
];

/// A server that hangs must not hold up the rest for longer.
const RUSTUP_LIMIT: Duration = Duration::from_secs(90);

/// How to run.
#[derive(clap::Args)]
pub struct Args {}

/// Runs the tests for every target that can be had.
///
/// # Errors
/// When the packages can't be installed or a test fails.
pub fn run(_: &Args) -> Result<()> {
    for target in &TARGETS {
        let mut rustup = process::command("rustup");
        if let Err(error) =
            process::run_within(rustup.args(["target", "add", target.triple]), RUSTUP_LIMIT)
        {
            say(format_args!(
                "cross: {}: skipped: its libraries can't be had: {error:#}; run by hand: rustup target add {}",
                target.triple, target.triple
            ));
            continue;
        }
        let tools = [target.linker, target.emulator];
        let missing =
            |tool: &&str| process::probe(process::command(tool).arg("--version")).is_none();
        if tools.iter().any(missing) {
            process::apt_install(&["qemu-user", target.packages[0], target.packages[1]])?;
        }
        say(format_args!("cross: {}", target.triple));
        let emulate = format!("{} -L {}", target.emulator, target.libraries);
        let name = target.triple.replace('-', "_").to_uppercase();
        let folder = lightwafer::target()?.join("cross");
        let cargo = |command: &str, package: &str| {
            let mut cargo = process::cargo();
            cargo.env(format!("CARGO_TARGET_{name}_LINKER"), target.linker);
            cargo.env(format!("CARGO_TARGET_{name}_RUNNER"), &emulate);
            cargo.env("CARGO_TARGET_DIR", &folder);
            cargo.args([command, "--release", "--target", target.triple]);
            cargo.args(["--package", package]);
            cargo
        };
        process::run(&mut cargo("test", "lightwafer-runtime"))?;
        process::run(&mut cargo("test", "lightwafer-compiler"))?;
        process::run(&mut cargo("test", "lightwafer-device"))?;
        process::run(&mut cargo("build", "lightwafer-linux"))?;
        // This machine's tests and client, the other's daemon.
        let daemon = folder.join(target.triple).join("release/lightwafer-linux");
        let mut tests = process::cargo();
        tests.env(
            "LIGHTWAFER_DAEMON",
            format!("{emulate} {}", daemon.display()),
        );
        process::run(tests.args(["test", "--package", "lightwafer-linux", "--test", "daemon"]))?;
    }
    Ok(())
}
