//! The emulated boards as wholes: their firmware, booted in QEMU, on a pseudo-terminal of this machine.
//!
//! Needs `qemu-system-arm` and the firmware of `cargo xtask firmware`. LIGHTWAFER_SKIP_EMULATED in the
//! environment skips these tests, and says so.

mod crash;
mod line;
mod parity;
mod python;
mod refusal;
mod twins;
mod update;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use lightwafer_equipment::emulator::{Emulator, EmulatorOptions};

/// Where cargo puts the boards' release builds.
const RELEASE: &str = "boards/target/thumbv7em-none-eabihf/release";

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Whether emulated boards are not to be tested here.
fn skipped() -> bool {
    let skipped = std::env::var_os("LIGHTWAFER_SKIP_EMULATED").is_some();
    if skipped {
        eprintln!("skipped: LIGHTWAFER_SKIP_EMULATED is set");
    }
    skipped
}

/// What to boot: a board's firmware, or an example built for it.
fn options(machine: &str, image: &str) -> EmulatorOptions {
    let firmware: PathBuf = root().join(RELEASE).join(image);
    assert!(
        firmware.is_file(),
        "no firmware at {}; run: cargo xtask firmware",
        firmware.display()
    );
    EmulatorOptions::new(machine, firmware)
}

/// A board that runs, and its line.
fn power_on(options: &EmulatorOptions) -> (Emulator, line::RawLine) {
    let mut emulator = Emulator::start(options).unwrap();
    let line = line::RawLine::new(emulator.line().unwrap());
    emulator.resume().unwrap();
    (emulator, line)
}

/// Builds an example as one would in the board's folder.
fn build_example(board: &str, example: &str) {
    let mut cargo = Command::new("cargo");
    // Set by the toolchain that runs this test; the board's folder may need another.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let leaked = name.starts_with("CARGO") && name != "CARGO_HOME";
        if leaked || name == "RUSTUP_TOOLCHAIN" || name == "LD_LIBRARY_PATH" {
            cargo.env_remove(&*name);
        }
    }
    let status = cargo
        .current_dir(root().join("boards").join(board))
        .args(["build", "--quiet", "--release", "--example", example])
        .status()
        .unwrap();
    assert!(
        status.success(),
        "the example was not built; run: cargo xtask setup"
    );
}

/// The next line of text.
fn first_words(line: &mut line::RawLine, within: Duration) -> String {
    let mut text = Vec::new();
    let end = Instant::now() + within;
    while Instant::now() < end {
        match line.byte(Duration::from_millis(200)) {
            Some(b'\n') => return String::from_utf8(text).unwrap(),
            Some(byte) => text.push(byte),
            None => {}
        }
    }
    panic!("no text, but {text:?}");
}
