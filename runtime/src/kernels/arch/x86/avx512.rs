//! Kernels for AVX-512 with VNNI and VBMI. They compute whole rows; a vector holds sixteen pixels of one output channel.
//!
//! VPDPBUSD adds four products of unsigned and signed bytes to each of sixteen sums. Activations are therefore used as
//! x + 128, and 128 times the sum of the weights is subtracted from the bias. The sum is the same, because 32-bit
//! arithmetic wraps.
//!
//! A vector holds pixels of one channel, so that the constants of the channel are the same in all lanes. A block of 64
//! pixels of one channel ends as one vector of bytes (`finish`). It is written to a plane as it is, or interleaved with
//! the blocks of neighbouring channels (`store`).

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

/// Whether `depthwise` supports a row.
pub fn takes_depthwise(quantization: Quantization, out: &Output<'_>) -> bool {
    store::Row::takes(out) && finish::Finish::takes(quantization)
}

/// Whether [`image4`] supports a row.
pub fn takes_image(quantization: Quantization) -> bool {
    finish::Finish::takes(quantization)
}

/// Number of pixels of one channel that are computed at the same time: a vector of bytes.
const BLOCK: usize = 64;

/// Converts signed bytes x to unsigned bytes x + 128.
const FLIP: i32 = i32::from_ne_bytes([0x80; 4]);

/// A mask of the first `count` of 64 bytes.
#[inline(always)]
const fn first(count: usize) -> u64 {
    match count {
        0 => 0,
        1..64 => u64::MAX >> (64 - count),
        _ => u64::MAX,
    }
}

/// A source for vectors of bytes.
trait Byte {}
impl Byte for i8 {}
impl Byte for u8 {}

/// 64 bytes from position `at`; zeros beyond the end of the row.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load(row: &[impl Byte], at: usize) -> __m512i {
    let from = row.as_ptr().wrapping_add(at);
    let left = row.len().saturating_sub(at);
    // SAFETY: the row has 64 bytes there, or the mask excludes those beyond its end.
    unsafe {
        if left >= 64 {
            _mm512_loadu_si512(from.cast())
        } else {
            _mm512_maskz_loadu_epi8(first(left), from.cast())
        }
    }
}
