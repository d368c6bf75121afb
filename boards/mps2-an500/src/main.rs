//! LightWafer on Arm's MPS2 with the image an500: a Cortex-M7 that classifies wafer maps over UART 0.
#![no_std]
#![no_main]

mod map;

use cortex_m_rt::entry;
use lightwafer_board::signals::{Lines, NoPin, NoTrigger};
use lightwafer_board::{Board, mps2, reset, serve};
use lightwafer_device::StationMemory;

use map::Fpga;

lightwafer_board::model_and_arena!("../../../models/light-int8.lw", 320 * 1024);
lightwafer_board::ram_as_model_flash!(256 * 1024);

#[entry]
fn main() -> ! {
    static mut MEMORY: StationMemory = StationMemory::new();
    let (Some(peripherals), Some(arena)) = (mps2::Peripherals::take::<Fpga>(), arena()) else {
        reset::restart()
    };
    let board = Board {
        name: env!("CARGO_PKG_NAME"),
        line: peripherals.line,
        clock: peripherals.clock,
        lines: Lines {
            ready: peripherals.led0,
            busy: peripherals.led1,
            reject: NoPin,
        },
        trigger: NoTrigger,
        models: model_flash(),
        watchdog: mps2::Watchdog::<Fpga>::start(),
        cause: None,
    };
    serve(board, &MODEL.0, arena, MEMORY)
}
