//! Where the image an386 of Arm's MPS2 puts things.

use lightwafer_board::clock::InstructionRate;
use lightwafer_board::mps2::Map;

/// The board's FPGA image.
pub struct Fpga;

impl Map for Fpga {
    const CORE_HZ: u32 = 25_000_000;
    const INSTRUCTION_RATE: Option<InstructionRate> = InstructionRate::new(8, 5);
    const UART: usize = 0x4000_4000;
    const UART_INTERRUPTS: [u16; 3] = [0, 1, 12];
    const LEDS: usize = 0x4002_8000;
    const WATCHDOG: usize = 0x4000_8000;
    const WATCHDOG_HZ: u32 = Self::CORE_HZ;
}

lightwafer_board::mps2_interrupts!(Fpga);
