//! Inner loops written for an instruction set, and their portable twins.
//!
//! Each set offers the same functions with the same results, bit for bit; `build.rs` and the target
//! choose. What shows it: every image's golden wafer, whose answer the host computes with the portable
//! twins, and the whole-system tests, which compare boards with the host bit for bit.

#[cfg(arm_dsp)]
mod dsp;
#[cfg(any(not(arm_dsp), test))]
pub mod portable;

#[cfg(arm_dsp)]
pub use dsp::{add_scaled4, dot4, max4, multiply_add4};
#[cfg(not(arm_dsp))]
pub use portable::{add_scaled4, dot4, max4, multiply_add4};
