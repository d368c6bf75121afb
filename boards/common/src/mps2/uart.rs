//! The CMSDK APB UART 0, interrupt-driven in both directions.
//!
//! Receiving: each byte interrupts and goes into the line's buffer. Sending: the program pends the
//! transmit interrupt, which feeds the UART for as long as it takes bytes; each byte that has left
//! interrupts again.

use core::cell::RefCell;
use core::ptr;
use core::sync::atomic::AtomicBool;

use cortex_m::interrupt::{InterruptNumber, Mutex};
use cortex_m::peripheral::NVIC;
use cortex_m::{interrupt, singleton};

use crate::line::{Buffers, InterruptSide, Line};

/// UART 0.
const BASE: usize = 0x4000_4000;

/// Registers, as offsets from [`BASE`].
#[derive(Clone, Copy)]
#[repr(usize)]
enum Register {
    /// The byte that came, or is to leave.
    Data = 0x00,
    /// [`state`].
    State = 0x04,
    /// [`control`].
    Control = 0x08,
    /// [`event`]: which happened when read, which to clear when written.
    Interrupt = 0x0c,
    /// Core clock ticks a bit, at least 16.
    BaudDivider = 0x10,
}

mod state {
    pub const SEND_FULL: u32 = 1;
    pub const RECEIVE_FULL: u32 = 1 << 1;
    pub const RECEIVE_OVERRUN: u32 = 1 << 3;
}

mod control {
    /// Transmitter and receiver, and interrupts for both and for receive overruns.
    pub const ALL: u32 = 0b10_1111;
}

mod event {
    pub const SENT: u32 = 1;
    pub const RECEIVED: u32 = 1 << 1;
    pub const RECEIVE_OVERRUN: u32 = 1 << 3;
}

/// Interrupt numbers.
#[derive(Clone, Copy)]
#[repr(u16)]
enum Interrupt {
    Receive = 0,
    Send = 1,
    Overrun = 12,
}

// SAFETY: these are the numbers of the interrupts, fixed by the hardware.
#[allow(unsafe_code)]
unsafe impl InterruptNumber for Interrupt {
    fn number(self) -> u16 {
        self as u16
    }
}

#[allow(unsafe_code)]
unsafe extern "C" {
    /// cortex-m-rt's handler of everything else.
    fn DefaultHandler();
}

/// The vector table behind the core's own exceptions.
#[used]
#[unsafe(link_section = ".vector_table.interrupts")]
#[unsafe(no_mangle)]
#[allow(unsafe_code)]
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
static __INTERRUPTS: [unsafe extern "C" fn(); 13] = {
    let mut table: [unsafe extern "C" fn(); 13] = [DefaultHandler; 13];
    table[Interrupt::Receive as usize] = receive_interrupt;
    table[Interrupt::Send as usize] = send_interrupt;
    table[Interrupt::Overrun as usize] = overrun_interrupt;
    table
};

/// The interrupts' side of the line, there once [`start`] has run.
static SIDE: Mutex<RefCell<Option<InterruptSide>>> = Mutex::new(RefCell::new(None));
/// Whether bytes were lost (see [`Buffers::split`]).
static LOST: AtomicBool = AtomicBool::new(false);

/// Starts the UART; `None` the second time.
pub(super) fn start(_: NVIC, baud_divider: u32) -> Option<Line> {
    let buffers = singleton!(: Buffers = Buffers::new())?;
    let (line, side) = buffers.split(&LOST, || NVIC::pend(Interrupt::Send));
    interrupt::free(|cs| {
        if let Ok(mut place) = SIDE.borrow(cs).try_borrow_mut() {
            *place = Some(side);
        }
    });
    write(Register::BaudDivider, baud_divider.max(16));
    write(Register::Control, control::ALL);
    for interrupt in [Interrupt::Receive, Interrupt::Send, Interrupt::Overrun] {
        // SAFETY: the handlers are in place, and no critical section relies on these being masked.
        #[allow(unsafe_code)]
        unsafe {
            NVIC::unmask(interrupt);
        }
    }
    Some(line)
}

fn with_side(work: impl FnOnce(&mut InterruptSide)) {
    interrupt::free(|cs| {
        if let Ok(mut side) = SIDE.borrow(cs).try_borrow_mut()
            && let Some(side) = side.as_mut()
        {
            work(side);
        }
    });
}

extern "C" fn receive_interrupt() {
    // Cleared first: a byte that comes from here on interrupts again.
    write(Register::Interrupt, event::RECEIVED);
    with_side(|side| {
        while read(Register::State) & state::RECEIVE_FULL != 0 {
            side.received(read(Register::Data) as u8);
        }
    });
}

extern "C" fn send_interrupt() {
    write(Register::Interrupt, event::SENT);
    with_side(|side| {
        while read(Register::State) & state::SEND_FULL == 0
            && let Some(byte) = side.to_send()
        {
            write(Register::Data, byte.into());
        }
    });
}

extern "C" fn overrun_interrupt() {
    write(Register::State, state::RECEIVE_OVERRUN);
    write(Register::Interrupt, event::RECEIVE_OVERRUN);
    with_side(InterruptSide::lost);
}

#[allow(unsafe_code)]
fn read(register: Register) -> u32 {
    // SAFETY: a register of the UART, aligned and always there.
    unsafe { ptr::read_volatile((BASE + register as usize) as *const u32) }
}

#[allow(unsafe_code)]
fn write(register: Register, value: u32) {
    // SAFETY: a register of the UART, aligned and always there; it reaches no memory.
    unsafe { ptr::write_volatile((BASE + register as usize) as *mut u32, value) }
}
