//! Arm's MPS2 and MPS3 boards: CMSDK UARTs and watchdogs, FPGA I/O. Where those lie is a board's own [`Map`].
//!
//! Run on QEMU's emulation of them; nobody has tried the real boards.

mod leds;
mod uart;
mod watchdog;

pub use leds::Led;
pub use uart::{vector_count, vectors};
pub use watchdog::{PERIOD, Watchdog, expired};

use crate::clock::{Clock, InstructionRate};
use crate::line::Line;
use crate::stack;

/// The serial line's speed, 8 data bits, no parity, 1 stop bit.
const BAUD: u32 = 115_200;

/// Where a board's FPGA image puts things.
pub trait Map {
    /// The core's clock, in Hz.
    const CORE_HZ: u32;
    /// SysTick's ticks an instruction under QEMU's `-icount shift=6`: of 64 ns each.
    const INSTRUCTION_RATE: Option<InstructionRate>;
    /// UART 0's registers.
    const UART: usize;
    /// UART 0's interrupts: receive, send, overrun.
    const UART_INTERRUPTS: [u16; 3];
    /// The FPGA I/O register of the user LEDs, one bit each.
    const LEDS: usize;
    /// The registers of a watchdog whose interrupt is the NMI.
    const WATCHDOG: usize;
    /// What it counts, in Hz.
    const WATCHDOG_HZ: u32;
}

/// The peripherals, ready to use.
pub struct Peripherals {
    /// UART 0.
    pub line: Line,
    /// SysTick.
    pub clock: Clock,
    /// LED 0.
    pub led0: Led,
    /// LED 1.
    pub led1: Led,
    /// LED 2, which MPS3 boards have.
    pub led2: Led,
}

impl Peripherals {
    /// Starts the peripherals and guards the stack; `None` the second time.
    pub fn take<M: Map>() -> Option<Self> {
        let core = cortex_m::Peripherals::take()?;
        stack::guard(&core.MPU);
        Some(Self {
            line: uart::start::<M>(core.NVIC)?,
            clock: Clock::start(core.SYST, M::CORE_HZ, M::INSTRUCTION_RATE),
            led0: Led::new(M::LEDS, 0),
            led1: Led::new(M::LEDS, 1),
            led2: Led::new(M::LEDS, 2),
        })
    }
}

/// Puts the vectors of a [`Map`]'s interrupts into a board's image.
#[macro_export]
macro_rules! mps2_interrupts {
    ($map:ty) => {
        /// The vector table behind the core's own exceptions.
        #[used]
        #[unsafe(link_section = ".vector_table.interrupts")]
        #[unsafe(no_mangle)]
        #[allow(unsafe_code)]
        static __INTERRUPTS: [unsafe extern "C" fn(); $crate::mps2::vector_count::<$map>()] =
            $crate::mps2::vectors::<$map, { $crate::mps2::vector_count::<$map>() }>();

        /// The watchdog's warning; naked, since the handler reads the stack as the processor left it.
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        #[allow(unsafe_code, non_snake_case)]
        unsafe extern "C" fn NonMaskableInt() -> ! {
            ::core::arch::naked_asm!("b {expired}", expired = sym $crate::mps2::expired)
        }
    };
}
