//! Why the board started, and what a panic or a fault does: log it, leave a note in RAM, reset.
//!
//! The note lies in RAM that start-up does not clear, under a CRC-32, so that the next start can say
//! what ended the one before. After power-on the RAM holds anything and no note is found.
//!
//! A processor's own register of reset causes is asked too, where a board has one ([`Note::take`]): it knows
//! resets that left no note, and a loss of power too short for the RAM to forget.

use core::arch::naked_asm;
use core::panic::PanicInfo;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};

use cortex_m::interrupt;
use cortex_m::peripheral::SCB;
use lightwafer_device::protocol::message::ResetCause;
use lightwafer_runtime::crc32;

use crate::{log, stack};

/// Bytes of a note's text.
const TEXT: usize = 52;
/// Bytes of a note without its CRC-32.
const BODY: usize = 12 + TEXT;
/// A note's words: read and written as such, since each is an instruction.
type Words = [u32; (BODY + 4) / 4];

/// What a start leaves for the next.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Note {
    /// What ended the start before.
    pub cause: ResetCause,
    /// The line of a panic, or the program counter of a fault (0 when the stack ran over) or of a hang (0 where the
    /// watchdog reset without a word before).
    pub at: u32,
    /// A fault's status register (CFSR).
    pub status: u32,
    text: [u8; TEXT],
}

/// The note; all of its bytes may hold anything at power-on.
#[unsafe(link_section = ".uninit.lightwafer.note")]
#[allow(unsafe_code)]
static mut NOTE: Words = [0; (BODY + 4) / 4];

/// Set once a panic or fault is being reported; a second one goes straight to the reset.
static REPORTING: AtomicBool = AtomicBool::new(false);

impl Note {
    const fn new(cause: ResetCause) -> Self {
        Self {
            cause,
            at: 0,
            status: 0,
            text: [0; TEXT],
        }
    }

    /// The end of the path of the file that panicked; empty otherwise.
    pub fn file(&self) -> &str {
        let len = self.text.iter().position(|b| *b == 0).unwrap_or(TEXT);
        let text = self.text.get(..len).unwrap_or(&[]);
        core::str::from_utf8(text).unwrap_or("")
    }

    /// Keeps the end of a path, whole characters only.
    fn keep_file(&mut self, path: &str) {
        let mut start = path.len().saturating_sub(TEXT);
        while !path.is_char_boundary(start) {
            start += 1;
        }
        let end = path.as_bytes().get(start..).unwrap_or(&[]);
        for (place, byte) in self.text.iter_mut().zip(end) {
            *place = *byte;
        }
    }

    /// What ended the start before; from here on an unexplained end counts as External.
    ///
    /// `hardware` is what the processor's register says. A note of a panic, a fault, a restart or the watchdog
    /// says more than that; but no note outlives a loss of power.
    pub fn take(hardware: Option<ResetCause>) -> Self {
        let note = Self::load().unwrap_or(Self::new(ResetCause::PowerOn));
        let note = match (hardware, note.cause) {
            (None, _) => note,
            (Some(ResetCause::PowerOn), _) => Self::new(ResetCause::PowerOn),
            (Some(hardware), ResetCause::PowerOn | ResetCause::External) => Self::new(hardware),
            (Some(_), _) => note,
        };
        Self::new(ResetCause::External).store();
        count(note.cause);
        note
    }

    #[allow(unsafe_code)]
    fn load() -> Option<Self> {
        // SAFETY: no reference to NOTE exists anywhere; any bytes are a valid value; volatile because
        // its content comes from before this start.
        let words = unsafe { ptr::read_volatile(&raw const NOTE) };
        let mut bytes = [0; BODY + 4];
        for (place, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
            *place = word.to_le_bytes();
        }
        let (body, crc) = bytes.split_first_chunk::<BODY>()?;
        if *crc != crc32(body).to_le_bytes() {
            return None;
        }
        let (numbers, text) = body.split_first_chunk::<12>()?;
        let number = |at: usize| {
            let bytes = numbers.get(at..at + 4)?.try_into().ok()?;
            Some(u32::from_le_bytes(bytes))
        };
        let cause = match number(0)? {
            1 => ResetCause::External,
            2 => ResetCause::Software,
            3 => ResetCause::Panic,
            4 => ResetCause::Fault,
            5 => ResetCause::Watchdog,
            _ => return None,
        };
        Some(Self {
            cause,
            at: number(4)?,
            status: number(8)?,
            text: text.try_into().ok()?,
        })
    }

    #[allow(unsafe_code)]
    fn store(&self) {
        let cause: u32 = match self.cause {
            ResetCause::External => 1,
            ResetCause::Software => 2,
            ResetCause::Panic => 3,
            ResetCause::Fault => 4,
            ResetCause::Watchdog => 5,
            ResetCause::PowerOn => 0,
        };
        let mut bytes = [0; BODY + 4];
        let (body, crc) = bytes.split_at_mut(BODY);
        let numbers = [cause, self.at, self.status];
        let fields = numbers.iter().flat_map(|n| n.to_le_bytes());
        for (place, byte) in body.iter_mut().zip(fields.chain(self.text)) {
            *place = byte;
        }
        crc.copy_from_slice(&crc32(body).to_le_bytes());
        let mut words: Words = [0; (BODY + 4) / 4];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        // SAFETY: no reference to NOTE exists anywhere, and what interrupts this and writes it never returns.
        unsafe { ptr::write_volatile(&raw mut NOTE, words) }
    }
}

/// How often the board started since power came on, by cause, and a CRC-32; all of it may hold anything at
/// power-on.
#[unsafe(link_section = ".uninit.lightwafer.starts")]
#[allow(unsafe_code)]
static mut STARTS: Counts = [0; ResetCause::COUNT + 1];

type Counts = [u32; ResetCause::COUNT + 1];

/// How often the board started since power came on, by [`ResetCause`] in order, this start included.
#[allow(unsafe_code)]
pub fn starts() -> [u32; ResetCause::COUNT] {
    // SAFETY: no reference to STARTS exists anywhere; any bytes are a valid value; volatile because its content
    // may come from before this start.
    let words = unsafe { ptr::read_volatile(&raw const STARTS) };
    match words.split_last_chunk::<1>() {
        Some((counts, [crc])) if *crc == crc_of(counts) => {
            core::array::from_fn(|at| counts.get(at).copied().unwrap_or(0))
        }
        _ => [0; ResetCause::COUNT],
    }
}

fn crc_of(counts: &[u32]) -> u32 {
    let mut bytes = [0; 4 * ResetCause::COUNT];
    for (place, count) in bytes.as_chunks_mut().0.iter_mut().zip(counts) {
        *place = count.to_le_bytes();
    }
    crc32(&bytes)
}

#[allow(unsafe_code)]
fn count(cause: ResetCause) {
    let mut counts = match cause {
        // Whatever was counted, it was before the power went.
        ResetCause::PowerOn => [0; ResetCause::COUNT],
        _ => starts(),
    };
    if let Some(count) = counts.get_mut(cause as usize) {
        *count = count.saturating_add(1);
    }
    let mut words: Counts = [0; ResetCause::COUNT + 1];
    let crc = crc_of(&counts);
    for (place, word) in words.iter_mut().zip(counts.into_iter().chain([crc])) {
        *place = word;
    }
    // SAFETY: no reference to STARTS exists anywhere, and interrupts never touch it.
    unsafe { ptr::write_volatile(&raw mut STARTS, words) }
}

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
