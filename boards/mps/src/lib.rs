//! Arm's MPS2 and MPS3 boards, of which QEMU emulates several: CMSDK UART and watchdog, LEDs.
//!
//! What differs between them is a row of [`Map`]'s table, `memory.x` and `.cargo/config.toml`; the folders
//! `boards/mps2-…` and `boards/mps3-…` hold the latter two. Their program, their probe and their build script are one each
//! and lie in `machine/`.
//!
//! Run on QEMU's emulation of them; nobody has tried the real boards.
#![no_std]

mod leds;
mod machines;
mod uart;
mod watchdog;

pub use leds::{Led, Reject};
#[doc(hidden)]
pub use lightwafer_board_list;
pub use machines::Map;
pub use uart::{vector_count, vectors};
pub use watchdog::{PERIOD, Watchdog, expired};

use lightwafer_board::clock::{Clock, InstructionRate};
use lightwafer_board::serial::SerialPort;
use lightwafer_board::stack;
use lightwafer_board_list::{Board, ICOUNT_SHIFT};

/// The serial line's speed, 8 data bits, no parity, 1 stop bit.
const BAUD: u32 = 115_200;

/// A machine of the family, an MPS2 or MPS3 board with one of Arm's FPGA images, as a type that drivers are generic
/// over. [`machine!`](crate::machine) defines it.
pub trait Machine {
    /// Its name and its clock.
    const BOARD: Board;
    /// Where it puts things.
    const MAP: Map;
}

/// The peripherals, ready to use.
pub struct Peripherals<M> {
    /// UART 0.
    pub serial: SerialPort,
    /// SysTick.
    pub clock: Clock,
    /// LED 0, for READY.
    pub ready: Led,
    /// LED 1, for BUSY.
    pub busy: Led,
    /// The LED for REJECT, or nothing.
    pub reject: Reject<M>,
}

impl<M: Machine> Peripherals<M> {
    /// Starts the peripherals and guards the stack; `None` the second time.
    pub fn take() -> Option<Self> {
        let core = cortex_m::Peripherals::take()?;
        stack::guard(&core.MPU);
        let clock_hz = M::BOARD.clock_hz;
        let rate = const { InstructionRate::under_icount(M::BOARD.clock_hz, ICOUNT_SHIFT) };
        Some(Self {
            serial: uart::start::<M>(core.NVIC)?,
            clock: Clock::start(core.SYST, clock_hz, rate),
            ready: Led::new(M::MAP.leds, 0),
            busy: Led::new(M::MAP.leds, 1),
            reject: Reject::new(),
        })
    }
}

/// Defines a type for the [`Machine`] that has the name of the package, and puts its interrupt vectors into the image.
#[macro_export]
macro_rules! machine {
    ($name:ident) => {
        /// The machine that this package is for.
        struct $name;

        impl $crate::Machine for $name {
            const BOARD: $crate::lightwafer_board_list::Board =
                match $crate::lightwafer_board_list::Board::named(env!("CARGO_PKG_NAME")) {
                    Some(board) => board,
                    None => panic!("boards/list/src/lib.rs does not have this board: add it to BOARDS"),
                };
            const MAP: $crate::Map = match $crate::Map::named(env!("CARGO_PKG_NAME")) {
                Some(map) => map,
                None => panic!("boards/mps/src/machines.rs does not have this machine: add a row"),
            };
        }

        /// The vector table behind the core's own exceptions.
        #[used]
        #[unsafe(link_section = ".vector_table.interrupts")]
        #[unsafe(no_mangle)]
        #[allow(unsafe_code)]
        static __INTERRUPTS: [unsafe extern "C" fn(); $crate::vector_count::<$name>()] =
            $crate::vectors::<$name, { $crate::vector_count::<$name>() }>();

        /// The watchdog's warning; naked, since the handler reads the stack as the processor left it.
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        #[allow(unsafe_code, non_snake_case)]
        unsafe extern "C" fn NonMaskableInt() -> ! {
            ::core::arch::naked_asm!("b {expired}", expired = sym $crate::expired)
        }
    };
}
