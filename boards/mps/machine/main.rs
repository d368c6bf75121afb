//! LightWafer on one of Arm's MPS2 and MPS3 boards: it classifies wafer maps over UART 0.
//!
//! Every package `mps2-…` and `mps3-…` builds this file for its board.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use lightwafer_board::signals::{NoTrigger, Outputs};
use lightwafer_board::{Board, reset, serve};
use lightwafer_device::StationMemory;
use lightwafer_mps::{Machine, Peripherals, Watchdog};

lightwafer_mps::machine!(Mps);
lightwafer_board::model_and_arena!("../../../models/light-int8.lw");
lightwafer_board::ram_as_model_flash!(Mps::MAP.model_flash);

#[entry]
fn main() -> ! {
    static mut MEMORY: StationMemory = StationMemory::new();
    let (Some(peripherals), Some(arena)) = (Peripherals::<Mps>::take(), arena()) else {
        reset::restart()
    };
    let board = Board {
        name: Mps::BOARD.name,
        serial: peripherals.serial,
        clock: peripherals.clock,
        outputs: Outputs {
            ready: peripherals.ready,
            busy: peripherals.busy,
            reject: peripherals.reject,
        },
        trigger: NoTrigger,
        models: model_flash(),
        watchdog: Watchdog::<Mps>::start(),
        cause: None,
    };
    serve(board, &MODEL.0, arena, MEMORY)
}
