//! What a panic, a fault and a stack that runs over leave behind: a reset, and the reason.
//!
//! The firmware is `boards/mps2-an500/examples/crash.rs`, which this builds.

use std::time::Duration;

use super::{build_example, first_words, options, power_on, skipped};

/// Longest wait for a line of text.
const PATIENCE: Duration = Duration::from_secs(60);
const EXAMPLE: &str = "examples/crash";

#[test]
fn the_next_start_knows_what_ended_the_one_before() {
    if skipped() {
        return;
    }
    build_example("mps2-an500", "crash");
    let (_emulator, mut line) = power_on(&options("mps2-an500", EXAMPLE));
    assert_eq!(
        first_words(&mut line, PATIENCE).trim(),
        "PowerOn at 0 status 0x0"
    );
    let mut after = |letter: u8| {
        line.send(&[letter]);
        first_words(&mut line, PATIENCE)
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
