//! LightWafer on Arm's MPS2 with the image an500: a Cortex-M7 that classifies wafer maps over UART 0.
#![no_std]
#![no_main]

use cortex_m_rt::entry;
use lightwafer_board::{Aligned, Board, mps2, reset, serve};
use lightwafer_runtime::serial::StationMemory;

/// The model image; `cargo xtask size` finds it and the arena by name.
#[used]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".rodata.model")]
#[allow(unsafe_code)]
static MODEL: Aligned<[u8; include_bytes!("../../../models/light-int8.lw").len()]> =
    Aligned(*include_bytes!("../../../models/light-int8.lw"));

/// Working memory for inference. A model that needs more is refused at start, with a named error.
const ARENA_BYTES: usize = 352 * 1024;
#[unsafe(no_mangle)]
#[allow(unsafe_code)]
static mut ARENA: Aligned<[i8; ARENA_BYTES]> = Aligned([0; ARENA_BYTES]);

#[entry]
fn main() -> ! {
    static mut MEMORY: StationMemory = StationMemory::new();
    let Some(peripherals) = mps2::Peripherals::take() else {
        reset::restart()
    };
    // SAFETY: main runs once, and nothing else names ARENA.
    #[allow(unsafe_code)]
    let arena = unsafe {
        let arena = &raw mut ARENA.0;
        &mut *arena
    };
    let board = Board {
        name: env!("CARGO_PKG_NAME"),
        line: peripherals.line,
        clock: peripherals.clock,
        ready: peripherals.led0,
        busy: peripherals.led1,
    };
    serve(board, &MODEL.0, arena, MEMORY)
}
