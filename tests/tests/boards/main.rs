//! The emulated boards as wholes: their firmware, booted in QEMU, on a pseudo-terminal of this machine.
//!
//! Needs `qemu-system-arm` and the firmware of `cargo xtask firmware`. LIGHTWAFER_SKIP_EMULATED in the
//! environment skips these tests, and says so.

mod crash;
mod differential;
mod hang;
mod line;
mod parity;
mod python;
mod refusal;
mod soak;
mod update;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use lightwafer_board_list as list;
use lightwafer_equipment::emulator::{Emulator, EmulatorOptions};

/// Every emulated board, as its folder and QEMU's machine are called.
fn boards() -> impl Iterator<Item = &'static str> {
    list::emulated().map(|board| board.name)
}

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

/// A board's firmware to boot.
fn options(board: &str) -> EmulatorOptions {
    built(board, board)
}

fn built(board: &str, image: &str) -> EmulatorOptions {
    let core = list::Board::named(board).expect("a board of the list").core;
    let firmware = root().join(core.release_folder()).join(image);
    assert!(
        firmware.is_file(),
        "no firmware {image}; run: cargo xtask firmware"
    );
    EmulatorOptions::new(board, firmware)
}

/// A board that runs, and its line.
fn power_on(options: &EmulatorOptions) -> (Emulator, line::RawLine) {
    let mut emulator = Emulator::start(options).unwrap();
    let line = line::RawLine::new(emulator.line().unwrap());
    emulator.resume().unwrap();
    (emulator, line)
}

/// A board's probe (`lightwafer_board::probe`) to boot, built as one would in the board's folder.
fn probe(board: &str) -> EmulatorOptions {
    let mut cargo = Command::new("cargo");
    // Set by the toolchain that runs this test; the board's folder may need another.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let leaked = name.starts_with("CARGO") && name != "CARGO_HOME";
        if leaked || name == "RUSTUP_TOOLCHAIN" || name == "LD_LIBRARY_PATH" {
            cargo.env_remove(&*name);
        }
    }
    let probe = format!("{board}-probe");
    let status = cargo
        .current_dir(root().join("boards").join(board))
        .args(["build", "--quiet", "--release", "--example", &probe])
        .status()
        .unwrap();
    assert!(
        status.success(),
        "the probe was not built; run: cargo xtask setup"
    );
    built(board, &format!("examples/{probe}"))
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
