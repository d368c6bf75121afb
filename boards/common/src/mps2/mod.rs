//! Arm's MPS2 boards with the AN385, AN386 and AN500 images: 25 MHz, CMSDK UARTs, FPGA I/O.
//!
//! Run on QEMU's emulation of them; nobody has tried the real boards.

mod leds;
mod uart;

pub use leds::Led;

use crate::clock::{Clock, InstructionRate};
use crate::line::Line;
use crate::stack;

/// The core's clock.
const CORE_HZ: u32 = 25_000_000;
/// The serial line's speed, 8 data bits, no parity, 1 stop bit.
const BAUD: u32 = 115_200;
/// QEMU's `-icount shift=6`: 64 ns an instruction are 1.6 ticks of 25 MHz.
const INSTRUCTION_RATE: Option<InstructionRate> = InstructionRate::new(8, 5);

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
}

impl Peripherals {
    /// Starts the peripherals and guards the stack; `None` the second time.
    pub fn take() -> Option<Self> {
        let core = cortex_m::Peripherals::take()?;
        stack::guard(&core.MPU);
        Some(Self {
            line: uart::start(core.NVIC, CORE_HZ / BAUD)?,
            clock: Clock::start(core.SYST, CORE_HZ, INSTRUCTION_RATE),
            led0: Led::new(0),
            led1: Led::new(1),
        })
    }
}
