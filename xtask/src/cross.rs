//! `cargo xtask cross`: Linux boards' processors, emulated: the runtime's tests and the daemon's for AArch64 and
//! Armv7, under QEMU's user mode.
//!
//! Needs Rust's libraries for these targets (`rustup target add`), a C linker and QEMU; where the libraries
//! can't be had a target is skipped and says so.

use std::time::Duration;

use anyhow::Result;

use crate::outcome::Outcome;
use crate::process::{self, say};
use crate::{lightwafer, toolchain};

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

/// Packages whose tests run on the emulated processor: what a Linux board runs, kernels above all.
const TESTED: [&str; 3] = [
    "lightwafer-runtime",
    "lightwafer-compiler",
    "lightwafer-device",
];
/// A server that hangs must not hold up the rest for longer.
const RUSTUP_LIMIT: Duration = Duration::from_secs(90);

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

/// Runs the tests for every target that can be had.
///
/// # Errors
/// When the packages can't be installed or a test fails.
pub fn check() -> Result<Outcome> {
    let mut left_out = Vec::new();
    for target in &TARGETS {
        match target.setup()? {
            Ok(()) => target.test()?,
            Err(why) => left_out.push(why),
        }
    }
    match left_out.len() == TARGETS.len() {
        true => Ok(Outcome::Skipped(left_out.join("; "))),
        false => Ok(Outcome::without(left_out)),
    }
}

impl Target {
    /// Makes Rust's libraries, a C linker and the emulator available; why not, where the libraries can't be had.
    fn setup(&self) -> Result<Result<(), String>> {
        let active = toolchain::active()?;
        if !toolchain::has_target(&toolchain::sysroot(&active)?, self.triple) {
            let mut rustup = process::command("rustup");
            if let Err(error) =
                process::run_within(rustup.args(["target", "add", self.triple]), RUSTUP_LIMIT)
            {
                let by_hand = format!("run by hand: rustup target add {}", self.triple);
                return Ok(Err(format!(
                    "{}: its libraries can't be had: {error:#}; {by_hand}",
                    self.triple
                )));
            }
        }
        let missing =
            |tool: &&str| process::probe(process::command(tool).arg("--version")).is_none();
        if [self.linker, self.emulator].iter().any(missing) {
            process::apt_install(&["qemu-user", self.packages[0], self.packages[1]])?;
        }
        Ok(Ok(()))
    }

    /// Runs tests on the emulated processor, and this machine's client against the other's daemon.
    fn test(&self) -> Result<()> {
        say(format_args!("cross: {}", self.triple));
        let emulate = format!("{} -L {}", self.emulator, self.libraries);
        let name = self.triple.replace('-', "_").to_uppercase();
        let folder = lightwafer::target()?.join("cross");
        let cargo = |command: &str, packages: &[&str]| {
            let mut cargo = process::cargo();
            cargo.env(format!("CARGO_TARGET_{name}_LINKER"), self.linker);
            cargo.env(format!("CARGO_TARGET_{name}_RUNNER"), &emulate);
            cargo.env("CARGO_TARGET_DIR", &folder);
            cargo.args([command, "--target", self.triple]);
            cargo.args(packages.iter().flat_map(|package| ["--package", package]));
            cargo
        };
        process::run(&mut cargo("test", &TESTED))?;
        process::run(&mut cargo("build", &["lightwafer-linux"]))?;
        let daemon = folder.join(self.triple).join("debug/lightwafer-linux");
        let mut tests = process::cargo();
        tests.env(
            "LIGHTWAFER_DAEMON",
            format!("{emulate} {}", daemon.display()),
        );
        process::run(tests.args(["test", "--package", "lightwafer-linux", "--test", "daemon"]))
    }
}
