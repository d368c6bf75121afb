//! Kernels written for an instruction set, and the reference kernels.
//!
//! Each instruction set has the same functions with the same results, bit for bit. The target and `build.rs` select one.
//! If a processor may have more extensions than its target says, they are detected at run time. If a set has no kernel
//! for a row, the reference kernel computes it ([`super::path`] says when). Two kinds of tests show that the sets agree:
//! the differential test (`super::differential`), which runs on hosts and boards, and the whole-system tests, which compare
//! boards with the host bit for bit.

#[macro_use]
pub(super) mod taken;
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
pub mod max4;
#[cfg(all(target_arch = "aarch64", not(target_os = "none")))]
pub mod neon;
pub mod reference;
#[cfg(any(test, feature = "differential"))]
pub mod set;
#[cfg(all(target_arch = "x86_64", not(target_os = "none")))]
pub mod x86;

#[cfg(arm_dsp)]
pub use dsp::image4;
#[cfg(all(arm_dsp, not(arm_mve)))]
pub use dsp::{dense, depthwise, mask_row};
#[cfg(arm_mve)]
pub use helium::{dense, depthwise, mask_row, max_row};
#[cfg(all(target_arch = "aarch64", not(target_os = "none")))]
pub use neon::{dense, depthwise, image4, mask_row};
#[cfg(not(any(
    arm_dsp,
    all(
        any(target_arch = "x86_64", target_arch = "aarch64"),
        not(target_os = "none")
    )
)))]
pub use reference::{dense, depthwise, image4, mask_row};
#[cfg(all(target_arch = "x86_64", not(target_os = "none")))]
pub use x86::{dense, depthwise, image4, mask_row, max_row};

/// A row of a maximum pool. This instruction set has no kernel for whole rows, so the function returns `false`, and
/// [`super::pool`] computes words of four channels.
#[cfg(not(any(arm_mve, all(target_arch = "x86_64", not(target_os = "none")))))]
#[inline(always)]
pub fn max_row(_rows: [&[i8]; 2], _channels: usize, _out: &mut [i8]) -> bool {
    false
}
