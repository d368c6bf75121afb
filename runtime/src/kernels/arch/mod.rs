//! Inner loops written for an instruction set, and their portable twins.
//!
//! Each set offers the same functions with the same results, bit for bit; `build.rs` and the target
//! choose, and where a processor may have more than its target says, the processor at run time. What it is
//! not made for, a set leaves to the portable twin. What shows that they agree: the twins' cases, on hosts and
//! boards, and the whole-system tests, which compare boards with the host bit for bit.

#[cfg(arm_dsp)]
#[macro_use]
mod assembly;
#[cfg(any(
    arm_dsp,
    all(
        any(target_arch = "x86_64", target_arch = "aarch64"),
        not(target_os = "none")
    )
))]
mod checked;
#[cfg(arm_dsp)]
mod dsp;
#[cfg(arm_mve)]
mod helium;
#[cfg(all(target_arch = "aarch64", not(target_os = "none")))]
pub mod neon;
pub mod portable;
#[cfg(any(test, feature = "twins"))]
pub mod twins;
#[cfg(all(target_arch = "x86_64", not(target_os = "none")))]
pub mod x86;

#[cfg(all(arm_dsp, not(arm_mve)))]
pub use dsp::{dense, depthwise, mask_row};
#[cfg(arm_dsp)]
pub use dsp::{image4, max4};
#[cfg(arm_mve)]
pub use helium::{dense, depthwise, mask_row, max_row};
#[cfg(all(target_arch = "aarch64", not(target_os = "none")))]
pub use neon::{dense, depthwise, image4, mask_row, max4};
#[cfg(not(any(
    arm_dsp,
    all(
        any(target_arch = "x86_64", target_arch = "aarch64"),
        not(target_os = "none")
    )
)))]
pub use portable::{dense, depthwise, image4, mask_row, max4};
#[cfg(all(target_arch = "x86_64", not(target_os = "none")))]
pub use x86::{dense, depthwise, image4, mask_row, max_row, max4};

/// Words of scratch that `dense` may use for sums of `length` products: the weights as halfwords, and
/// constants of four channels. The same for every set, so that an image has one arena size.
pub const fn dense_scratch_words(length: usize) -> usize {
    2 * length + 16
}

/// One row of 2×2 maxima; `false` where this set leaves that to words of four channels.
#[cfg(not(any(arm_mve, all(target_arch = "x86_64", not(target_os = "none")))))]
#[inline(always)]
pub fn max_row(_rows: [&[i8]; 2], _channels: usize, _out: &mut [i8]) -> bool {
    false
}
