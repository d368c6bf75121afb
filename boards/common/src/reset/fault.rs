//! What takes every fault: it reports the fault and resets the board.

use core::arch::naked_asm;
use core::ptr;
use core::sync::atomic::Ordering;

use cortex_m::peripheral::SCB;
use lightwafer_device::protocol::message::ResetCause;

use super::REPORTING;
use super::note::Note;
use crate::{log, stack};

/// Takes every fault.
///
/// A semihosting breakpoint that faults (CFSR clear, `bkpt 0xab` at the program counter) is a log with no
/// debugger there to take it: it is stepped over and logs fall silent. Everything else is reported, on a
/// stack that has room: where the fault is that the stack ran over, the report's own first push would fault
/// again and lock the processor up. On Armv8-M the stack pointer then stands at the stack's end.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[allow(unsafe_code, non_snake_case)]
unsafe extern "C" fn HardFault() -> ! {
    naked_asm!(
        "mrs r1, msp",
        "movs r0, #0",
        "movw r2, :lower16:_stack_end",
        "movt r2, :upper16:_stack_end",
        "cmp r1, r2",
        "bls 2f",
        "ldr r0, [r1, #24]",
        "movw r3, #0xed28",
        "movt r3, #0xe000",
        "ldr r12, [r3]",
        "cmp r12, #0",
        "bne 4f",
        "ldrh r3, [r0]",
        "movw r12, #0xbeab",
        "cmp r3, r12",
        "bne 4f",
        "adds r0, #2",
        "str r0, [r1, #24]",
        "movw r3, :lower16:{mute}",
        "movt r3, :upper16:{mute}",
        "movs r0, #1",
        "strb r0, [r3]",
        "bx lr",
        "4: add r2, r2, #2048",
        "cmp r1, r2",
        "bhs 3f",
        "2: movw r2, :lower16:_stack_start",
        "movt r2, :upper16:_stack_start",
        "msr msp, r2",
        "3: b {report}",
        report = sym report_fault,
        mute = sym log::MUTE,
    )
}

/// `at`: program counter of the fault, 0 when the stack had no room to store it.
extern "C" fn report_fault(at: u32) -> ! {
    if !REPORTING.swap(true, Ordering::Relaxed) {
        const CFSR: *const u32 = 0xe000_ed28 as *const u32;
        // SAFETY: a register of every Armv7-M core; reading it changes nothing.
        #[allow(unsafe_code)]
        let status = unsafe { ptr::read_volatile(CFSR) };
        let mut note = Note::new(ResetCause::Fault);
        note.at = at;
        note.status = status;
        note.store();
        log!(
            error,
            "fault at {=u32:#010x}, CFSR {=u32:#010x}, stack {=u32} of {=u32} bytes",
            at,
            status,
            stack::deepest(),
            stack::size()
        );
    }
    SCB::sys_reset()
}
