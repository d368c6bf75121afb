//! Kernels for AArch64: NEON, and SDOT if the processor has it, which is detected at run time.
//!
//! A vector holds four output channels of a dense convolution, or eight pixels of a depthwise one. The first
//! convolution, the mask head and the pools are computed by the reference kernels.
#![allow(unsafe_code)]

use core::arch::aarch64::*;

use super::{checked, reference};
use crate::kernels::row::Segment;
use crate::kernels::row::{PLANE_START, plane_bytes};
use crate::kernels::{Output, Quantization};

pub use reference::{image4, mask_row};

/// Number of pixels whose sums are kept in registers at the same time.
const PIXELS: usize = 8;

/// Whether this processor has SDOT.
pub fn has_dot() -> bool {
    std::arch::is_aarch64_feature_detected!("dotprod")
}

/// See [`crate::kernels::dense::dense_row`].
pub fn dense(
    segments: &[Segment<'_>],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    scratch: &mut [i8],
    out: Output<'_>,
) {
    if has_dot() {
        // SAFETY: the processor was asked.
        unsafe { dense_dot(segments, weights, records, quantization, scratch, out) }
    } else {
        dense_widening(segments, weights, records, quantization, scratch, out);
    }
}

/// With SDOT: four products a lane and instruction.
///
/// # Safety
/// The processor has SDOT.
#[target_feature(enable = "neon,dotprod")]
unsafe fn dense_dot(
    segments: &[Segment<'_>],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    scratch: &mut [i8],
    mut out: Output<'_>,
) {
    let Some(job) = checked::dense(segments, weights, records, &out) else {
        return reference::dense(segments, weights, records, quantization, scratch, out);
    };
    for group in 0..job.groups {
        let (bias, multipliers) = checked::lanes::<4>(records, 4 * group);
        let bias = vector(&bias);
        let requantize = Requantize::new(vector(&multipliers), quantization);
        let start = weights.as_ptr().wrapping_add(4 * job.length * group);
        let Some(mut out) = out.channels_from(4 * group) else {
            return;
        };
        let mut x = 0;
        while x < out.pixels {
            // If fewer pixels are left, the last one is computed several times and written once.
            let count = (out.pixels - x).min(PIXELS);
            let mut acc = [bias; PIXELS];
            let mut at = start.cast::<i8>();
            for segment in segments {
                let first = segment.row.as_ptr().wrapping_add(x * segment.step);
                for k in (0..segment.len).step_by(4) {
                    // SAFETY: within the group's block, and within each pixel's run.
                    unsafe {
                        let weights = vld1q_s8(at);
                        for (p, acc) in acc.iter_mut().enumerate() {
                            let run = first.wrapping_add(p.min(count - 1) * segment.step + k);
                            let run = vreinterpretq_s8_s32(vdupq_n_s32(word(run)));
                            // The intrinsic is not stable.
                            core::arch::asm!(
                                "sdot {acc:v}.4s, {w:v}.16b, {x:v}.16b",
                                acc = inout(vreg) *acc,
                                w = in(vreg) weights,
                                x = in(vreg) run,
                                options(pure, nomem, nostack, preserves_flags),
                            );
                        }
                    }
                    at = at.wrapping_add(16);
                }
            }
            for (p, acc) in acc.into_iter().take(count).enumerate() {
                out.put4(x + p, requantize.four(acc));
            }
            x += count;
        }
    }
}

/// Without SDOT: products of 16 bits, added in pairs.
fn dense_widening(
    segments: &[Segment<'_>],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    scratch: &mut [i8],
    mut out: Output<'_>,
) {
    const PIXELS: usize = 4;
    let Some(job) = checked::dense(segments, weights, records, &out) else {
        return reference::dense(segments, weights, records, quantization, scratch, out);
    };
    for group in 0..job.groups {
        let (bias, multipliers) = checked::lanes::<4>(records, 4 * group);
        let bias = vector(&bias);
        let requantize = Requantize::new(vector(&multipliers), quantization);
        let start = weights.as_ptr().wrapping_add(4 * job.length * group);
        let Some(mut out) = out.channels_from(4 * group) else {
            return;
        };
        let mut x = 0;
        while x < out.pixels {
            let count = (out.pixels - x).min(PIXELS);
            // Two partial sums for each channel; two channels a vector.
            // SAFETY: NEON is part of AArch64.
            let mut sums = unsafe { [[vdupq_n_s32(0); 2]; PIXELS] };
            let mut at = start.cast::<i8>();
            for segment in segments {
                let first = segment.row.as_ptr().wrapping_add(x * segment.step);
                for k in (0..segment.len).step_by(4) {
                    // SAFETY: within the group's block, and within each pixel's run.
                    unsafe {
                        let weights = vld1q_s8(at);
                        for (p, [low, high]) in sums.iter_mut().enumerate() {
                            let run = first.wrapping_add(p.min(count - 1) * segment.step + k);
                            let run = vreinterpretq_s8_s32(vdupq_n_s32(word(run)));
                            let products = vmull_s8(vget_low_s8(weights), vget_low_s8(run));
                            *low = vpadalq_s16(*low, products);
                            *high = vpadalq_s16(*high, vmull_high_s8(weights, run));
                        }
                    }
                    at = at.wrapping_add(16);
                }
            }
            for (p, [low, high]) in sums.into_iter().take(count).enumerate() {
                // SAFETY: NEON is part of AArch64.
                let acc = unsafe { vaddq_s32(vpaddq_s32(low, high), bias) };
                out.put4(x + p, requantize.four(acc));
            }
            x += count;
        }
    }
}

/// Loads four bytes.
///
/// # Safety
/// Four bytes at `from` can be read.
#[inline(always)]
unsafe fn word(from: *const i8) -> i32 {
    // SAFETY: as promised to us.
    unsafe { from.cast::<i32>().read_unaligned() }
}

#[inline(always)]
fn vector(lanes: &[i32; 4]) -> int32x4_t {
    // SAFETY: four words are there.
    unsafe { vld1q_s32(lanes.as_ptr()) }
}

/// Requantization of four accumulators.
#[derive(Clone, Copy)]
struct Requantize {
    multipliers: int32x4_t,
    shift: int32x4_t,
    zero_point: int32x4_t,
    least: int8x8_t,
}

impl Requantize {
    #[inline(always)]
    fn new(multipliers: int32x4_t, quantization: Quantization) -> Self {
        // SAFETY: NEON is part of AArch64.
        unsafe {
            Self {
                multipliers,
                shift: vdupq_n_s32(quantization.shift as i32),
                zero_point: vdupq_n_s32(quantization.zero_point),
                least: vdup_n_s8(quantization.act_min as i8),
            }
        }
    }

    /// Requantizes, adds the zero point, and saturates to 16 bits. The rounding shift of a product is the rounding of this
    /// project. A product is below 2^62, so that its upper half plus the zero point does not overflow.
    #[inline(always)]
    fn halves(&self, acc: int32x4_t) -> int16x4_t {
        // SAFETY: NEON is part of AArch64.
        unsafe {
            let acc = vshlq_s32(acc, self.shift);
            let low = vmull_s32(vget_low_s32(acc), vget_low_s32(self.multipliers));
            let high = vmull_high_s32(acc, self.multipliers);
            let value = vcombine_s32(vrshrn_n_s64::<32>(low), vrshrn_n_s64::<32>(high));
            vqmovn_s32(vaddq_s32(value, self.zero_point))
        }
    }

    /// The activations of two vectors, as [`Quantization::activation`] computes each lane.
    #[inline(always)]
    fn eight(&self, low: int32x4_t, high: int32x4_t) -> [i8; 8] {
        // SAFETY: NEON is part of AArch64; a vector of eight bytes is eight bytes.
        unsafe {
            let value = vqmovn_s16(vcombine_s16(self.halves(low), self.halves(high)));
            core::mem::transmute(vmax_s8(value, self.least))
        }
    }

    #[inline(always)]
    fn four(&self, acc: int32x4_t) -> [i8; 4] {
        let [a, b, c, d, ..] = self.eight(acc, acc);
        [a, b, c, d]
    }
}

/// See [`crate::kernels::depthwise::depthwise_row`].
pub fn depthwise(
    rows: [&[i8]; 3],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    mut out: Output<'_>,
) {
    let Some(channels) = checked::depthwise(rows, weights, records, &out) else {
        return reference::depthwise(rows, weights, records, quantization, out);
    };
    let plane = plane_bytes(out.pixels);
    for channel in 0..channels {
        let ([bias], [multiplier]) = checked::lanes::<1>(records, channel);
        let taps = weights.get(channel / 4 * 36..).unwrap_or_default();
        let tap = |k: usize| taps.get(4 * k + channel % 4).map_or(0, |&w| w as i8);
        // SAFETY: NEON is part of AArch64.
        let (bias, requantize) = unsafe {
            let requantize = Requantize::new(vdupq_n_s32(multiplier), quantization);
            (vdupq_n_s32(bias), requantize)
        };
        let Some(out) = out.channels_from(channel) else {
            return;
        };
        for x in (0..out.pixels).step_by(8) {
            let at = channel * plane + PLANE_START - 1 + x;
            let (mut low, mut high) = (bias, bias);
            for (ky, row) in rows.into_iter().enumerate() {
                // Ten columns. Beyond the end of the row they are zeros, which no written output depends on.
                let mut short = [0; 10];
                let row = row.get(at..).unwrap_or_default();
                let columns = row.first_chunk::<10>().unwrap_or_else(|| {
                    for (to, &from) in short.iter_mut().zip(row) {
                        *to = from;
                    }
                    &short
                });
                for kx in 0..3 {
                    // SAFETY: eight of ten bytes, from the third at most.
                    unsafe {
                        let columns = vld1_s8(columns.as_ptr().add(kx));
                        let products = vmull_s8(columns, vdup_n_s8(tap(3 * ky + kx)));
                        low = vaddw_s16(low, vget_low_s16(products));
                        high = vaddw_high_s16(high, products);
                    }
                }
            }
            let values = requantize.eight(low, high);
            let count = (out.pixels - x).min(8);
            for (p, &value) in values.iter().take(count).enumerate() {
                if let Some(byte) = out.bytes.get_mut((x + p) * out.pixel_step) {
                    *byte = value;
                }
            }
        }
    }
}

/// The sets that this processor supports, with their names, for tests.
#[cfg(any(test, feature = "differential"))]
pub fn sets() -> impl Iterator<Item = (&'static str, super::set::Set)> {
    let dot = super::set::Set {
        dense,
        depthwise,
        image4,
        mask_row,
        max4: super::max4::max4,
    };
    let widening = super::set::Set {
        dense: dense_widening,
        ..dot
    };
    let sets = [("NEON", true, widening), ("SDOT", has_dot(), dot)];
    let here = sets.into_iter().filter(|(_, here, _)| *here);
    here.map(|(name, _, set)| (name, set))
}
