//! The emulated boards as wholes: their firmware, booted in QEMU, on a pseudo-terminal of this machine.
//!
//! Needs `qemu-system-arm` and the firmware of `cargo xtask firmware`. LIGHTWAFER_SKIP_EMULATED in the
//! environment skips these tests, and says so.

mod crash;
mod line;
mod parity;
mod refusal;

use std::path::{Path, PathBuf};

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
