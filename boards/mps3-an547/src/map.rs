//! Where the image an547 of Arm's MPS3 puts things.

use lightwafer_board::clock::InstructionRate;
use lightwafer_board::mps2::Map;

/// The board's FPGA image.
pub struct Fpga;

impl Map for Fpga {
    const CORE_HZ: u32 = 32_000_000;
    const INSTRUCTION_RATE: Option<InstructionRate> = InstructionRate::new(256, 125);
    const UART: usize = 0x5930_3000;
    const UART_INTERRUPTS: [u16; 3] = [33, 34, 48];
    const LEDS: usize = 0x5930_2000;
    const WATCHDOG: usize = 0x5802_e000;
    const WATCHDOG_HZ: u32 = 32_000;
}

lightwafer_board::mps2_interrupts!(Fpga);
