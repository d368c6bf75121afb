//! Why the board started, and what a panic or a fault does: log it, leave a note in RAM, reset.
//!
//! The note lies in RAM that start-up does not clear, under a CRC-32, so that the next start can say
//! what ended the one before. After power-on the RAM holds anything and no note is found.
//!
//! A processor's own register of reset causes is asked too, where a board has one ([`Note::take`]): it knows
//! resets that left no note, and a loss of power too short for the RAM to forget.

mod fault;
mod note;
mod starts;

use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use cortex_m::interrupt;
use cortex_m::peripheral::SCB;
use lightwafer_device::protocol::message::ResetCause;

pub use note::Note;
pub use starts::starts;

use crate::log;

/// Set once a panic or fault is being reported; a second one goes straight to the reset.
static REPORTING: AtomicBool = AtomicBool::new(false);

/// Resets the board; the next start says `Software`.
pub fn restart() -> ! {
    Note::new(ResetCause::Software).store();
    SCB::sys_reset()
}

/// For a watchdog's last warning: resets the board, and the next start says `Watchdog`. `at` is the program counter
/// that hung, 0 where not known. A panic or fault that is being reported is what the next start says instead.
pub fn hung(at: u32) -> ! {
    if !REPORTING.swap(true, Ordering::Relaxed) {
        let mut note = Note::new(ResetCause::Watchdog);
        note.at = at;
        note.store();
    }
    SCB::sys_reset()
}

// By itself, so that `cargo xtask nopanic` sees it where anything can panic.
#[inline(never)]
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    interrupt::disable();
    if !REPORTING.swap(true, Ordering::Relaxed) {
        let mut note = Note::new(ResetCause::Panic);
        if let Some(location) = info.location() {
            note.at = location.line();
            note.keep_file(location.file());
        }
        note.store();
        log!(error, "{}", log::Shown(info));
    }
    SCB::sys_reset()
}
