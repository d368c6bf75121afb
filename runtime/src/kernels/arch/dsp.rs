//! Kernels for the Arm DSP extension (Cortex-M4, M7, M33): two multiply-accumulates an instruction.
//!
//! SXTB16 widens bytes 0 and 2 of a word (1 and 3 after a rotation) to halfwords. SMLAD multiplies two pairs of
//! halfwords and adds both products; SMLABB and its variants multiply one pair. An int8 product is below 2^14 and the
//! checked model bounds every sum, so no accumulator can overflow. SMMLAR requantizes: it gives the rounded upper half
//! of a product, plus the zero point.
//!
//! Loops over whole rows are written in assembly, because they need all registers. [`path::dsp`](crate::kernels::path::dsp)
//! says which rows they support. Of other rows, a general kernel computes the dense convolutions, and the reference
//! kernels compute the rest. The code uses `asm!` because the intrinsics are not stable. `build.rs` makes sure that the
//! target has the extension.
#![allow(unsafe_code)]

use core::arch::asm;

/// The directive that naked functions begin with. Outside of ordinary functions, LLVM knows the target but not
/// `target-cpu`, and the DSP extension is an option of Armv8-M. LLVM has no directive for the extension, so this one
/// names the smallest processor that has it. It also applies to later assembly, which is for the same processor.
#[cfg(arm_v8m)]
macro_rules! processor {
    () => {
        ".cpu cortex-m33"
    };
}
/// No directive: Armv7E-M always has the DSP extension.
#[cfg(not(arm_v8m))]
macro_rules! processor {
    () => {
        ""
    };
}

mod dense;
mod depthwise;
mod image;

#[cfg(not(arm_mve))]
pub use dense::dense;
#[cfg(arm_mve)]
pub use dense::dense_general;
pub use depthwise::depthwise;
pub use image::image4;

/// Defines a function for an instruction that multiplies two operands and adds a third.
macro_rules! multiply {
    ($name:ident, $code:literal) => {
        #[inline(always)]
        fn $name(a: u32, b: u32, acc: i32) -> i32 {
            let sum;
            // SAFETY: arithmetic on registers only. The sticky Q flag may be set; nothing reads it.
            unsafe {
                asm!($code, lateout(reg) sum, in(reg) a, in(reg) b, in(reg) acc,
                    options(pure, nomem, nostack));
            }
            sum
        }
    };
}

multiply!(smlad, "smlad {}, {}, {}, {}");

/// Bytes 0 and 2, sign-extended to halfwords.
#[inline(always)]
fn even(word: u32) -> u32 {
    let pair;
    // SAFETY: arithmetic on registers only.
    unsafe { asm!("sxtb16 {}, {}", out(reg) pair, in(reg) word, options(pure, nomem, nostack)) };
    pair
}

/// Bytes 1 and 3, sign-extended to halfwords.
#[inline(always)]
fn odd(word: u32) -> u32 {
    let pair;
    // SAFETY: arithmetic on registers only.
    unsafe {
        asm!("sxtb16 {}, {}, ror #8", out(reg) pair, in(reg) word, options(pure, nomem, nostack));
    }
    pair
}

/// A row of the mask, from pixels of eight channels; eight pixels a byte.
#[inline(always)]
pub fn mask_row(pixels: &[[[i8; 8]; 8]], weights: &[i8; 8], bias: i32, out: &mut [u8]) {
    taken!(Fast);
    for (byte, pixels) in out.iter_mut().zip(pixels) {
        *byte = mask8(pixels, weights, bias);
    }
}

/// The mask of eight pixels of eight channels. Bit x is set if the accumulator of pixel x is not negative.
#[inline(always)]
fn mask8(pixels: &[[i8; 8]; 8], weights: &[i8; 8], bias: i32) -> u8 {
    let words = |eight: &[i8; 8]| {
        let [a, b, c, d, e, f, g, h] = eight.map(|x| x as u8);
        [[a, b, c, d], [e, f, g, h]].map(u32::from_le_bytes)
    };
    let [v, w] = words(weights);
    let [v0, v1, w0, w1] = [even(v), odd(v), even(w), odd(w)];
    // The signs, beginning with the last pixel.
    let mut negative = 0;
    for pixel in pixels.iter().rev() {
        let [x, y] = words(pixel);
        let acc = smlad(odd(x), v1, smlad(even(x), v0, bias));
        let acc = smlad(odd(y), w1, smlad(even(y), w0, acc));
        negative = negative << 1 | acc as u32 >> 31;
    }
    !negative as u8
}
