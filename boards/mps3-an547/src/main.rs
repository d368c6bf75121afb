//! LightWafer on Arm's MPS3 with the image an547: a Cortex-M55 with Helium that classifies wafer maps over UART 0.
#![no_std]
#![no_main]

mod map;

use cortex_m_rt::entry;
use lightwafer_board::signals::{Lines, NoTrigger};
use lightwafer_board::{Board, mps2, reset, serve};
use lightwafer_device::StationMemory;

use map::Fpga;

lightwafer_board::model_and_arena!("../../../models/light-int8.lw", 320 * 1024);
lightwafer_board::ram_as_model_flash!(136 * 1024);

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
            reject: peripherals.led2,
        },
        trigger: NoTrigger,
        models: model_flash(),
        watchdog: mps2::Watchdog::<Fpga>::start(),
        cause: None,
    };
    serve(board, &MODEL.0, arena, MEMORY)
}
