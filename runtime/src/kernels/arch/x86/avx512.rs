//! AVX-512 with VNNI and VBMI: whole rows, sixteen pixels of one output channel a vector.
//!
//! VPDPBUSD adds four products of unsigned and signed bytes to each of sixteen sums. Activations enter as
//! x + 128, and the bias is lowered by 128 times the sum of the weights: the same sum, for 32-bit
//! arithmetic wraps.
//!
//! Pixels lie side by side in a vector, so that everything a channel needs is one value in all lanes. A
//! block of 64 pixels and one channel ends as one vector of bytes (`finish`), which is written as it is
//! to a plane, or interleaved with those of the channels beside it (`store`).

mod dense;
mod depthwise;
mod finish;
mod image;
mod store;

use core::arch::x86_64::*;

pub use dense::{dense, takes as takes_dense};
pub use depthwise::depthwise;
pub use image::image4;

use crate::kernels::{Output, Quantization};

/// Whether `depthwise` takes such rows.
pub fn takes_depthwise(quantization: Quantization, out: &Output<'_>) -> bool {
    store::Row::takes(out) && finish::Finish::takes(quantization)
}

/// Whether [`image4`] takes such rows.
pub fn takes_image(quantization: Quantization) -> bool {
    finish::Finish::takes(quantization)
}

/// Pixels of one channel that are computed at a time: a vector of bytes.
const BLOCK: usize = 64;

/// Turns a signed byte into an unsigned one, 128 more.
const FLIP: i32 = i32::from_ne_bytes([0x80; 4]);

/// The first `count` of 64 bytes; all for more.
#[inline(always)]
const fn first(count: usize) -> u64 {
    match count {
        0 => 0,
        1..64 => u64::MAX >> (64 - count),
        _ => u64::MAX,
    }
}

/// What a vector of bytes is loaded from.
trait Byte {}
impl Byte for i8 {}
impl Byte for u8 {}

/// 64 bytes from `at` on, zeros behind the row.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load(row: &[impl Byte], at: usize) -> __m512i {
    let from = row.as_ptr().wrapping_add(at);
    let left = row.len().saturating_sub(at);
    // SAFETY: 64 bytes are there, or the mask leaves out what is behind the row.
    unsafe {
        if left >= 64 {
            _mm512_loadu_si512(from.cast())
        } else {
            _mm512_maskz_loadu_epi8(first(left), from.cast())
        }
    }
}
