//! Where the image an505 of Arm's MPS2 puts things.

use lightwafer_board::clock::InstructionRate;
use lightwafer_board::mps2::Map;

/// The board's FPGA image.
pub struct Fpga;

impl Map for Fpga {
    const CORE_HZ: u32 = 20_000_000;
    const INSTRUCTION_RATE: Option<InstructionRate> = InstructionRate::new(32, 25);
    const UART: usize = 0x5020_0000;
    const UART_INTERRUPTS: [u16; 3] = [32, 33, 47];
    const LEDS: usize = 0x5030_2000;
    const WATCHDOG: usize = 0x5008_1000;
    const WATCHDOG_HZ: u32 = Self::CORE_HZ;
}

lightwafer_board::mps2_interrupts!(Fpga);
