//! Kernels for Helium (MVE; Cortex-M55): sixteen multiply-accumulates an instruction.
//!
//! VMLADAVA multiplies sixteen pairs of bytes and adds all products to one register. So the sum over channels or taps
//! is a vector of activations times a vector of weights. The sums of sixteen outputs are then requantized together:
//! VRMULH is the rounding of this project, (a·b + 2^31) >> 32 in each lane. The narrowing moves saturate. The zero point
//! is added in sixteen bits with saturation; after the last narrowing, the result is the same as saturating once.
//!
//! Loops over whole rows are written in assembly. [`path::helium`](crate::kernels::path::helium) says which rows they
//! support; the kernels of the DSP extension compute the others. `build.rs` makes sure that the processor has Helium.
#![allow(unsafe_code)]

/// The directive that naked functions begin with: outside of ordinary functions, LLVM does not know `target-cpu`.
macro_rules! processor {
    () => {
        ".cpu cortex-m55"
    };
}

/// Requantizes four activations of each of two pixels, q5 and q6, to sixteen bits in $to. The even lanes are those of the
/// first pixel. Overwrites q4 to q6. r7 points to a job with `bias` and `multipliers`.
macro_rules! requantize {
    ($to:literal) => {
        concat!(
            "vldrw.u32 q4, [r7, #{bias}]\n",
            "vadd.i32 q5, q5, q4\n",
            "vadd.i32 q6, q6, q4\n",
            "vldrw.u32 q4, [r7, #{multipliers}]\n",
            "vrmulh.s32 q5, q5, q4\n",
            "vrmulh.s32 q6, q6, q4\n",
            "vqmovnb.s32 ",
            $to,
            ", q5\n",
            "vqmovnt.s32 ",
            $to,
            ", q6\n",
        )
    };
}

mod dense;
mod depthwise;
mod words;

pub use dense::dense;
pub use depthwise::depthwise;
pub use words::{mask_row, max_row};
