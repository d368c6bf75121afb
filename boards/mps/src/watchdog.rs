//! The CMSDK APB watchdog of Arm's FPGA images.
//!
//! It counts down from [`PERIOD`] seconds. When it ends for the first time it raises the NMI, whose handler
//! ([`machine!`](crate::machine)) notes where the firmware hung and resets; should not even that
//! work, the second end resets without a word. Between feeds it is locked against stray writes.

use core::arch::naked_asm;
use core::marker::PhantomData;
use core::ptr;

use lightwafer_board::{reset, watchdog};

use crate::Machine;

/// Seconds of the board's time. The longest work between two feeds is an inference: 107 M instructions at
/// most for the published model, 7 s at the 64 ns an instruction that `-icount shift=6` counts.
pub const PERIOD: u32 = 30;

/// Registers, as offsets from [`Map::watchdog`](crate::Map::watchdog).
#[derive(Clone, Copy)]
#[repr(usize)]
enum Register {
    /// Ticks of a period; writing starts one.
    Load = 0x00,
    /// [`control`].
    Control = 0x08,
    /// Written with anything: forgets the first end and starts a period.
    Clear = 0x0c,
    /// [`lock`].
    Lock = 0xc00,
}

mod control {
    /// Count, raise the NMI at the first end, and reset at the second.
    pub const ALL: u32 = 0b11;
}

mod lock {
    pub const OPEN: u32 = 0x1acc_e551;
    pub const SHUT: u32 = 0;
}

/// The watchdog, running.
#[derive(Debug)]
pub struct Watchdog<M>(PhantomData<M>);

impl<M: Machine> Watchdog<M> {
    /// Starts it. Only a reset stops it again.
    pub fn start() -> Self {
        const { assert!(M::MAP.watchdog_hz <= u32::MAX / PERIOD) };
        Self::unlocked(|| {
            write::<M>(Register::Load, M::MAP.watchdog_hz * PERIOD);
            write::<M>(Register::Control, control::ALL);
        });
        Self(PhantomData)
    }

    fn unlocked(work: impl FnOnce()) {
        write::<M>(Register::Lock, lock::OPEN);
        work();
        write::<M>(Register::Lock, lock::SHUT);
    }
}

impl<M: Machine> watchdog::Watchdog for Watchdog<M> {
    // Once in an image: it is fed in many places.
    #[inline(never)]
    fn feed(&mut self) {
        Self::unlocked(|| write::<M>(Register::Clear, 1));
    }
}

#[allow(unsafe_code)]
fn write<M: Machine>(register: Register, value: u32) {
    // SAFETY: a register of the watchdog, aligned and always there; it reaches no memory.
    unsafe { ptr::write_volatile((M::MAP.watchdog + register as usize) as *mut u32, value) }
}

/// The NMI's handler: hands on the program counter that the processor put onto the stack. Nothing runs after it.
///
/// # Safety
/// For the vector table alone.
#[unsafe(naked)]
#[allow(unsafe_code)]
pub unsafe extern "C" fn expired() -> ! {
    naked_asm!(
        "mrs r0, msp",
        "ldr r0, [r0, #24]",
        "b {hung}",
        hung = sym hung,
    )
}

extern "C" fn hung(at: u32) -> ! {
    reset::hung(at)
}
