//! defmt's frames to the debugger's (or emulator's) console, by semihosting, byte by byte.
//!
//! The console rather than the file `:tt`: QEMU writes the latter to its own standard output, among its
//! messages, and the former to wherever it is told to.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

use cortex_m::interrupt;
use cortex_m::register::primask;
use semihosting::sys::arm_compat::sys_writec;

use super::MUTE;

#[defmt::global_logger]
struct Console;

/// Whether a frame is being written.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// Whether interrupts were on before it.
static INTERRUPTS: AtomicBool = AtomicBool::new(false);
static ENCODER: Encoder = Encoder(UnsafeCell::new(defmt::Encoder::new()));

struct Encoder(UnsafeCell<defmt::Encoder>);

// SAFETY: used only between `acquire` and `release`, where interrupts are off and TAKEN keeps a second
// user out.
#[allow(unsafe_code)]
unsafe impl Sync for Encoder {}

impl Encoder {
    fn with(&self, work: impl FnOnce(&mut defmt::Encoder)) {
        // SAFETY: as for `Sync`; `work` does not log, so there is no second reference.
        #[allow(unsafe_code)]
        work(unsafe { &mut *self.0.get() });
    }
}

fn put(bytes: &[u8]) {
    for byte in bytes {
        if !MUTE.load(Ordering::Relaxed) {
            sys_writec(*byte);
        }
    }
}

// SAFETY: `acquire` keeps everyone else out until `release`: interrupts are off, and logging from
// within a log panics, which does not log.
#[allow(unsafe_code)]
unsafe impl defmt::Logger for Console {
    fn acquire() {
        let on = primask::read().is_active();
        interrupt::disable();
        #[expect(clippy::panic, reason = "defmt demands it")]
        if TAKEN.swap(true, Ordering::Relaxed) {
            panic!("a log within a log");
        }
        INTERRUPTS.store(on, Ordering::Relaxed);
        ENCODER.with(|encoder| encoder.start_frame(put));
    }

    unsafe fn flush() {
        // Each byte has left when its call returns.
    }

    unsafe fn release() {
        ENCODER.with(|encoder| encoder.end_frame(put));
        TAKEN.store(false, Ordering::Relaxed);
        if INTERRUPTS.load(Ordering::Relaxed) {
            // SAFETY: they were on before `acquire`, so no critical section of the caller ends here.
            unsafe { interrupt::enable() }
        }
    }

    unsafe fn write(bytes: &[u8]) {
        ENCODER.with(|encoder| encoder.write(bytes, put));
    }
}
