//! LightWafer on Nordic's nRF52840 DK: a Cortex-M4F that classifies wafer maps over the debugger's serial port.
#![no_std]
#![no_main]

mod hardware;

use cortex_m_rt::entry;
use embassy_nrf::nvmc::Nvmc;
use lightwafer_board::{Board, reset, serve};
use lightwafer_device::StationMemory;

use hardware::Hardware;

lightwafer_board::model_and_arena!(concat!(env!("OUT_DIR"), "/model.lw"));
lightwafer_board::model_flash!(Nvmc<'static>);

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
        models: model_flash(hardware.flash, 0),
        watchdog: hardware.watchdog,
        cause: hardware.cause,
    };
    serve(board, &MODEL.0, arena, MEMORY)
}
