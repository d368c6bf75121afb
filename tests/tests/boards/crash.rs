//! What a panic, a fault, a hang and a stack that runs over leave behind: a reset, and the reason.

use std::time::Duration;

use super::{boards, first_words, power_on, probe, skipped};

/// Longest wait for a line of text.
const PATIENCE: Duration = Duration::from_secs(60);

/// CFSR: a precise bus fault, its address known.
const BUS_FAULT: u32 = 0x8200;
/// CFSR: the guard below the stack was touched, its address known.
const GUARD: u32 = 0x82;
/// CFSR of Armv8-M: the stack would have passed its limit.
const STACK_LIMIT: u32 = 1 << 20;

#[test]
fn the_next_start_knows_what_ended_the_one_before() {
    if skipped() {
        return;
    }
    for machine in boards() {
        let (_emulator, mut line) = power_on(&probe(machine));
        assert_eq!(
            first_words(&mut line, PATIENCE).trim(),
            "PowerOn at 0 status 0x0",
            "{machine}"
        );
        let mut after = |letter: u8| {
            line.send(&[letter]);
            first_words(&mut line, PATIENCE)
        };

        let panic = after(b'p');
        assert!(panic.starts_with("Panic at "), "{machine}: {panic}");
        assert!(panic.ends_with("src/probe.rs"), "{machine}: {panic}");
        // Again and again: the first reset leaves nothing behind that disturbs the next.
        for _ in 0..2 {
            let fault = after(b'f');
            assert!(fault.starts_with("Fault at "), "{machine}: {fault}");
            assert_eq!(status(&fault), BUS_FAULT, "{machine}: {fault}");
            let overflow = after(b's');
            assert!(overflow.starts_with("Fault at "), "{machine}: {overflow}");
            let seen = status(&overflow);
            let known = seen & GUARD == GUARD || seen & STACK_LIMIT != 0;
            assert!(known, "{machine}: {overflow}");
            let hang = after(b'h');
            assert!(hang.starts_with("Watchdog at "), "{machine}: {hang}");
            assert!(!hang.contains(" at 0 "), "{machine}: {hang}");
        }
        assert_eq!(after(b'r').trim(), "Software at 0 status 0x0", "{machine}");
    }
}

/// The status register that a line of text names.
fn status(text: &str) -> u32 {
    let (_, status) = text.split_once("status 0x").unwrap();
    let digits = status.split_whitespace().next().unwrap();
    u32::from_str_radix(digits, 16).unwrap()
}
