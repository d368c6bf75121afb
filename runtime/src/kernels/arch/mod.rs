//! Inner loops written for an instruction set, and their portable twins.
//!
//! Each set offers the same functions with the same results, bit for bit; `build.rs` and the target
//! choose. What it is not made for, a set leaves to the portable twin. What shows that they agree: every
//! image's golden wafer, whose answer the host computes with the portable twins, and the whole-system
//! tests, which compare boards with the host bit for bit.

#[cfg(arm_dsp)]
mod dsp;
pub mod portable;

#[cfg(arm_dsp)]
pub use dsp::{dense, depthwise, image4, mask8, max4};
#[cfg(not(arm_dsp))]
pub use portable::{dense, depthwise, image4, mask8, max4};

/// Words of scratch that `dense` may use for sums of `length` products: the weights as halfwords, and
/// constants of four channels. The same for every set, so that an image has one arena size.
pub const fn dense_scratch_words(length: usize) -> usize {
    2 * length + 16
}
