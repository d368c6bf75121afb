//! LightWafer on ST's Nucleo-H743ZI: a Cortex-M7 that classifies wafer maps over the debugger's serial port.
#![no_std]
#![no_main]

mod flash;
mod hardware;

use cortex_m_rt::entry;
use lightwafer_board::{Board, reset, serve};
use lightwafer_device::StationMemory;

use flash::EccFlash;
use hardware::Hardware;

lightwafer_board::model_and_arena!("../../../models/light-int8.lw", ".axi.arena");
lightwafer_board::model_flash!(EccFlash);

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
        models: model_flash(hardware.flash, flash::START),
        watchdog: hardware.watchdog,
        cause: hardware.cause,
    };
    serve(board, &MODEL.0, arena, MEMORY)
}
