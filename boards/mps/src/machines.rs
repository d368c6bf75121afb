//! Where each machine puts things: addresses, interrupts, LEDs, and the RAM that plays its model flash.

use lightwafer_board_list::same;

/// Where a machine puts things.
#[derive(Debug, Clone, Copy)]
pub struct Map {
    /// The board's name.
    pub name: &'static str,
    /// UART 0's registers.
    pub uart: usize,
    /// UART 0's interrupts: receive, send, overrun.
    pub uart_interrupts: [u16; 3],
    /// The FPGA I/O register of the user LEDs, one bit each.
    pub leds: usize,
    /// The LED that shows REJECT, where there is a third one.
    pub reject_led: Option<u32>,
    /// The registers of a watchdog whose interrupt is the NMI.
    pub watchdog: usize,
    /// What the watchdog counts, in Hz.
    pub watchdog_hz: u32,
    /// Bytes of RAM that play a flash for model updates.
    pub model_flash: usize,
}

/// Every machine; its clock is in `lightwafer_board_list`.
const MAPS: [Map; 4] = [
    Map {
        name: "mps2-an386",
        uart: 0x4000_4000,
        uart_interrupts: [0, 1, 12],
        leds: 0x4002_8000,
        reject_led: None,
        watchdog: 0x4000_8000,
        watchdog_hz: 25_000_000,
        model_flash: 256 * 1024,
    },
    Map {
        name: "mps2-an500",
        uart: 0x4000_4000,
        uart_interrupts: [0, 1, 12],
        leds: 0x4002_8000,
        reject_led: None,
        watchdog: 0x4000_8000,
        watchdog_hz: 25_000_000,
        model_flash: 256 * 1024,
    },
    // The secure addresses, of this machine and the next.
    Map {
        name: "mps2-an505",
        uart: 0x5020_0000,
        uart_interrupts: [32, 33, 47],
        leds: 0x5030_2000,
        reject_led: None,
        watchdog: 0x5008_1000,
        watchdog_hz: 20_000_000,
        model_flash: 256 * 1024,
    },
    Map {
        name: "mps3-an547",
        uart: 0x5930_3000,
        uart_interrupts: [33, 34, 48],
        leds: 0x5930_2000,
        reject_led: Some(2),
        watchdog: 0x5802_e000,
        watchdog_hz: 32_000,
        // Of 512 KiB in all.
        model_flash: 136 * 1024,
    },
];

impl Map {
    /// The map of this machine; `None` where there is none.
    pub const fn named(name: &str) -> Option<Self> {
        let mut maps: &[Self] = &MAPS;
        while let Some((map, rest)) = maps.split_first() {
            if same(map.name, name) {
                return Some(*map);
            }
            maps = rest;
        }
        None
    }
}
