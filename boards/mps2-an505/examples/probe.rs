//! Firmware for tests and measurements on this board: see [`probe`].
#![no_std]
#![no_main]

#[path = "../src/map.rs"]
mod map;

use cortex_m_rt::entry;
use lightwafer_board::{mps2, probe, reset};

use map::Fpga;

lightwafer_board::model_and_arena!("../../../models/light-int8.lw", 320 * 1024);

#[entry]
fn main() -> ! {
    let (Some(peripherals), Some(arena)) = (mps2::Peripherals::take::<Fpga>(), arena()) else {
        reset::restart()
    };
    probe::run(
        peripherals.line,
        &peripherals.clock,
        &MODEL.0,
        arena,
        mps2::Watchdog::<Fpga>::start,
    )
}
