//! LightWafer on Raspberry Pi's Pico 2: a Cortex-M33 that classifies wafer maps over USB.
#![no_std]
#![no_main]

mod hardware;
mod usb;

use cortex_m_rt::entry;
use lightwafer_board::{Board, reset, serve};
use lightwafer_device::StationMemory;

use hardware::{FLASH, Flash, Hardware};

lightwafer_board::model_and_arena!("../../../models/light-int8.lw");
lightwafer_board::model_flash!(Flash);

#[entry]
fn main() -> ! {
    static mut MEMORY: StationMemory = StationMemory::new();
    let (Some(hardware), Some(arena)) = (Hardware::take(), arena()) else {
        reset::restart()
    };
    let board = Board {
        name: env!("CARGO_PKG_NAME"),
        serial: hardware.serial,
        clock: hardware.clock,
        outputs: hardware.outputs,
        trigger: hardware.trigger,
        models: model_flash(hardware.flash, FLASH),
        watchdog: hardware.watchdog,
        cause: hardware.cause,
    };
    serve(board, &MODEL.0, arena, MEMORY)
}
