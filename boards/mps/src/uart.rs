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

use lightwafer_board::serial::{Buffers, InterruptSide, SerialPort};

use crate::{BAUD, Machine};

/// Registers, as offsets from [`Map::uart`](crate::Map::uart).
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

/// An interrupt's number.
#[derive(Clone, Copy)]
struct Interrupt(u16);

// SAFETY: a map names the numbers of its board's interrupts.
#[allow(unsafe_code)]
unsafe impl InterruptNumber for Interrupt {
    fn number(self) -> u16 {
        self.0
    }
}

#[allow(unsafe_code)]
unsafe extern "C" {
    /// cortex-m-rt's handler of everything else.
    fn DefaultHandler();
}

/// How many vectors a board needs.
pub const fn vector_count<M: Machine>() -> usize {
    let [a, b, c] = M::MAP.uart_interrupts;
    let largest = if a > b { a } else { b };
    1 + if largest > c { largest } else { c } as usize
}

/// The vectors of a board's first `N` interrupts.
pub const fn vectors<M: Machine, const N: usize>() -> [unsafe extern "C" fn(); N] {
    let mut table: [unsafe extern "C" fn(); N] = [DefaultHandler; N];
    let [receive, send, overrun] = M::MAP.uart_interrupts;
    #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
    {
        table[receive as usize] = receive_interrupt::<M>;
        table[send as usize] = send_interrupt::<M>;
        table[overrun as usize] = overrun_interrupt::<M>;
    }
    table
}

/// The interrupts' side of the line, there once [`start`] has run.
static SIDE: Mutex<RefCell<Option<InterruptSide>>> = Mutex::new(RefCell::new(None));
/// Whether bytes were lost (see [`Buffers::split`]).
static LOST: AtomicBool = AtomicBool::new(false);

/// Starts the UART; `None` the second time.
pub(crate) fn start<M: Machine>(_: NVIC) -> Option<SerialPort> {
    let buffers = singleton!(: Buffers = Buffers::new())?;
    let (serial, side) = buffers.split(&LOST, || NVIC::pend(Interrupt(M::MAP.uart_interrupts[1])));
    interrupt::free(|cs| {
        if let Ok(mut place) = SIDE.borrow(cs).try_borrow_mut() {
            *place = Some(side);
        }
    });
    write::<M>(Register::BaudDivider, (M::BOARD.clock_hz / BAUD).max(16));
    write::<M>(Register::Control, control::ALL);
    for interrupt in M::MAP.uart_interrupts.map(Interrupt) {
        // SAFETY: the handlers are in place, and no critical section relies on these being masked.
        #[allow(unsafe_code)]
        unsafe {
            NVIC::unmask(interrupt);
        }
    }
    Some(serial)
}

fn with_side(work: impl FnOnce(&InterruptSide)) {
    interrupt::free(|cs| {
        if let Ok(side) = SIDE.borrow(cs).try_borrow()
            && let Some(side) = side.as_ref()
        {
            work(side);
        }
    });
}

extern "C" fn receive_interrupt<M: Machine>() {
    // Cleared first: a byte that comes from here on interrupts again.
    write::<M>(Register::Interrupt, event::RECEIVED);
    with_side(|side| {
        while read::<M>(Register::State) & state::RECEIVE_FULL != 0 {
            side.received(read::<M>(Register::Data) as u8);
        }
    });
}

extern "C" fn send_interrupt<M: Machine>() {
    write::<M>(Register::Interrupt, event::SENT);
    with_side(|side| {
        while read::<M>(Register::State) & state::SEND_FULL == 0
            && let Some(byte) = side.to_send()
        {
            write::<M>(Register::Data, byte.into());
        }
    });
}

extern "C" fn overrun_interrupt<M: Machine>() {
    write::<M>(Register::State, state::RECEIVE_OVERRUN);
    write::<M>(Register::Interrupt, event::RECEIVE_OVERRUN);
    with_side(InterruptSide::lost);
}

#[allow(unsafe_code)]
fn read<M: Machine>(register: Register) -> u32 {
    // SAFETY: a register of the UART, aligned and always there.
    unsafe { ptr::read_volatile((M::MAP.uart + register as usize) as *const u32) }
}

#[allow(unsafe_code)]
fn write<M: Machine>(register: Register, value: u32) {
    // SAFETY: a register of the UART, aligned and always there; it reaches no memory.
    unsafe { ptr::write_volatile((M::MAP.uart + register as usize) as *mut u32, value) }
}
