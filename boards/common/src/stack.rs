//! How deep the stack went: cortex-m-rt paints it before `main`, this looks where the paint begins.

use core::ptr;

/// What cortex-m-rt's `paint-stack` writes.
const PAINT: u32 = 0xcccc_cccc;

#[allow(unsafe_code)]
unsafe extern "C" {
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
