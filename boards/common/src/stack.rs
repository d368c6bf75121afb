//! The stack: a guard below it, and how deep it went.
//!
//! cortex-m-rt paints the stack before `main`; [`deepest`] finds where the paint begins. [`guard`] turns a stack overflow
//! into a fault, which is reported: on Armv7-M it makes [`GUARD`] bytes below the stack inaccessible, which the linker script keeps
//! free; Armv8-M has a register for the stack's end.

use core::ptr;

#[cfg(not(armv8m))]
use cortex_m::asm;
use cortex_m::peripheral::MPU;

/// Bytes of the guard; it starts at a multiple of this.
pub const GUARD: u32 = 1024;

/// What cortex-m-rt's `paint-stack` writes.
const PAINT: u32 = 0xcccc_cccc;

#[allow(unsafe_code)]
unsafe extern "C" {
    /// Lowest address of the guard (linker script).
    #[cfg(not(armv8m))]
    static _stack_guard: u32;
    /// Lowest address of the stack (linker script).
    static _stack_end: u32;
    /// One past its highest (linker script).
    static _stack_start: u32;
}

/// Addresses of the stack.
pub(crate) fn range() -> core::ops::Range<usize> {
    ptr::addr_of!(_stack_end) as usize..ptr::addr_of!(_stack_start) as usize
}

/// Bytes the stack may take.
pub fn size() -> u32 {
    range().len() as u32
}

/// Deepest use of the stack so far, in bytes.
pub fn deepest() -> u32 {
    let stack = range();
    let first_used = stack.clone().step_by(4).find(|address| {
        // SAFETY: the address is aligned and lies in the stack's RAM; words below the stack pointer
        // change only by interrupts, which a volatile read allows.
        #[allow(unsafe_code)]
        let word = unsafe { ptr::read_volatile(*address as *const u32) };
        word != PAINT
    });
    first_used.map_or(0, |address| (stack.end - address) as u32)
}

/// Lets the stack fault when it would grow below its end.
#[cfg(armv8m)]
pub fn guard(_: &MPU) {
    // SAFETY: the stack is in use and above its end; nothing else sets this register.
    #[allow(unsafe_code)]
    unsafe {
        cortex_m::register::msplim::write(range().start as u32);
    }
}

/// Lets every access below the stack fault, except those of the fault handler itself.
#[cfg(not(armv8m))]
pub fn guard(mpu: &MPU) {
    const VALID: u32 = 1 << 4;
    const EXECUTE_NEVER: u32 = 1 << 28;
    const SIZE: u32 = (GUARD.trailing_zeros() - 1) << 1;
    const ENABLE: u32 = 1;
    const DEFAULT_MAP: u32 = 1 << 2;
    let start = ptr::addr_of!(_stack_guard) as u32;
    // SAFETY: the region is the guard's alone, no access is allowed in it (AP = 0), and everything else
    // keeps the processor's default map.
    #[allow(unsafe_code)]
    unsafe {
        mpu.rbar.write(start | VALID);
        mpu.rasr.write(EXECUTE_NEVER | SIZE | ENABLE);
        mpu.ctrl.write(DEFAULT_MAP | ENABLE);
    }
    asm::dsb();
    asm::isb();
}
