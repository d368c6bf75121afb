//! The kernels' code for this core against its portable twins: see [`twins`].
//!
//! Answers with one line of text on UART 0: how many cases of which kernel were compared and how many
//! differed.
#![no_std]
#![no_main]

use core::fmt::Write as _;

use cortex_m_rt::entry;
use embedded_io::Write;
use lightwafer_board::{mps2, reset};
use lightwafer_runtime::kernels::arch::twins::{self, Twins};

/// Cases of each kernel.
const CASES: u32 = 3000;

#[entry]
fn main() -> ! {
    static mut TWINS: Twins = Twins::new();
    let Some(mut peripherals) = mps2::Peripherals::take() else {
        reset::restart()
    };
    let mut text = heapless::String::<160>::new();
    for outcome in TWINS.compare(&twins::CHOSEN, CASES) {
        let _ = write!(
            text,
            "{} {CASES} cases {} differ",
            outcome.kernel, outcome.differ
        );
        if outcome.differ > 0 {
            let _ = write!(text, " from {:#x}", outcome.first);
        }
        let _ = text.push_str("; ");
    }
    let _ = text.push('\n');
    let _ = peripherals.line.write_all(text.as_bytes());
    let _ = peripherals.line.flush();
    loop {
        cortex_m::asm::wfi();
    }
}
