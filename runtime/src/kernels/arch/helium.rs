//! Helium (MVE; Cortex-M55): sixteen multiply-accumulates an instruction.
//!
//! VMLADAVA multiplies sixteen pairs of bytes and adds all products to one register, so a sum over channels or
//! taps is a row of bytes against a row of weights. Sums of sixteen outputs are then requantized together:
//! VRMULH is the project's rounding, (a·b + 2^31) >> 32 of each lane; the narrowing moves saturate; the
//! zero point is added to sixteen bits with saturation, which the last narrowing makes the same as
//! saturating once.
//!
//! Whole rows are functions in assembly. Which rows they are made for,
//! [`path::helium`](crate::kernels::path::helium) says; the DSP extension's kernels compute the others.
//! `build.rs` makes sure the processor has the extension.
#![allow(unsafe_code)]

/// What assembly outside of functions starts with: there LLVM does not know `target-cpu`.
macro_rules! processor {
    () => {
        ".cpu cortex-m55"
    };
}

/// Four activations each of two pixels, q5 and q6, as sixteen bits in $to: even lanes the first pixel's.
/// Takes q4 to q6; r7 has a job with `bias` and `multipliers`.
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
