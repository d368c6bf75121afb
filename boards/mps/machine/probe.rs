//! Firmware for tests and measurements on one of Arm's MPS2 and MPS3 boards: see [`probe`].
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use lightwafer_board::{probe, reset};
use lightwafer_mps::{Peripherals, Watchdog};

lightwafer_mps::machine!(Mps);
lightwafer_board::model_and_arena!("../../../models/light-int8.lw");

#[entry]
fn main() -> ! {
    let (Some(peripherals), Some(arena)) = (Peripherals::<Mps>::take(), arena()) else {
        reset::restart()
    };
    probe::run(
        peripherals.serial,
        &peripherals.clock,
        &MODEL.0,
        arena,
        Watchdog::<Mps>::start,
    )
}
