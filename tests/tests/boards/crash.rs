//! What a panic, a fault and a stack that runs over leave behind: a reset, and the reason.
//!
//! The firmware is `boards/mps2-an500/examples/crash.rs`, which this builds.

use std::process::Command;
use std::time::{Duration, Instant};

use super::line::RawLine;
use super::{options, power_on, root, skipped};

const EXAMPLE: &str = "examples/crash";

/// Builds the example as one would in the board's folder.
fn build() {
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
        .current_dir(root().join("boards/mps2-an500"))
        .args(["build", "--quiet", "--release", "--example", "crash"])
        .status()
        .unwrap();
    assert!(
        status.success(),
        "the example was not built; run: cargo xtask setup"
    );
}

/// The line of text with which the firmware starts.
fn first_words(line: &mut RawLine) -> String {
    let mut text = Vec::new();
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {
        match line.byte(Duration::from_millis(200)) {
            Some(b'\n') => return String::from_utf8(text).unwrap(),
            Some(byte) => text.push(byte),
            None => {}
        }
    }
    panic!("no text, but {text:?}");
}

#[test]
fn the_next_start_knows_what_ended_the_one_before() {
    if skipped() {
        return;
    }
    build();
    let (_emulator, mut line) = power_on(&options("mps2-an500", EXAMPLE));
    assert_eq!(first_words(&mut line).trim(), "PowerOn at 0 status 0x0");
    let mut after = |letter: u8| {
        line.send(&[letter]);
        first_words(&mut line)
    };

    let panic = after(b'p');
    assert!(panic.starts_with("Panic at "), "{panic}");
    assert!(panic.ends_with("examples/crash.rs"), "{panic}");
    // Again and again: the first reset leaves nothing behind that disturbs the next.
    for _ in 0..2 {
        // CFSR: precise bus fault, its address known.
        let fault = after(b'f');
        assert!(fault.starts_with("Fault at "), "{fault}");
        assert!(fault.contains("status 0x8200"), "{fault}");
        // CFSR: the guard below the stack was touched.
        let overflow = after(b's');
        assert!(overflow.starts_with("Fault at "), "{overflow}");
        let status = overflow.split("0x").nth(1).unwrap().trim();
        let status = u32::from_str_radix(status, 16).unwrap();
        assert_eq!(status & 0x82, 0x82, "{overflow}");
    }
    assert_eq!(after(b'r').trim(), "Software at 0 status 0x0");
}
