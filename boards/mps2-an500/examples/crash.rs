//! Firmware that comes to grief when told to, for the test of what a panic or a fault leaves behind.
//!
//! It says why it started, as a line of text on UART 0, then waits for a letter: `p` panics, `f`
//! faults, `s` runs the stack over, `r` restarts.
#![no_std]
#![no_main]

use core::fmt::Write as _;
use core::hint::black_box;

use cortex_m_rt::entry;
use embedded_io::{Read, Write};
use lightwafer_board::{mps2, reset};

#[entry]
fn main() -> ! {
    let Some(mut peripherals) = mps2::Peripherals::take() else {
        reset::restart()
    };
    let line = &mut peripherals.line;
    let note = reset::Note::take();
    let mut text = heapless::String::<160>::new();
    let (cause, file) = (note.cause, note.file());
    let _ = writeln!(
        text,
        "{cause:?} at {} status {:#x} {file}",
        note.at, note.status
    );
    let _ = line.write_all(text.as_bytes());
    let _ = line.flush();
    loop {
        let mut letter = [0];
        let _ = line.read(&mut letter);
        match letter {
            [b'p'] => {
                #[expect(clippy::panic, reason = "that is the point")]
                {
                    panic!("told to")
                }
            }
            [b'f'] => fault(),
            [b's'] => _ = deeper(1),
            [b'r'] => reset::restart(),
            _ => {}
        }
    }
}

/// Reads where nothing is.
fn fault() {
    // SAFETY: nothing answers at this address, so nothing is changed; the fault is wanted.
    #[allow(unsafe_code)]
    let word = unsafe { core::ptr::read_volatile(0xd000_0000 as *const u32) };
    black_box(word);
}

/// Takes stack until there is none.
fn deeper(depth: u32) -> u32 {
    let room = black_box([depth; 16]);
    let below = if black_box(true) {
        deeper(depth + 1)
    } else {
        0
    };
    below + black_box(room).iter().sum::<u32>()
}
