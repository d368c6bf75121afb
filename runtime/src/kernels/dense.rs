//! Convolutions that mix channels: 3×3, 1×1 and transposed 2×2, all as dot products of segments.
//!
//! With interleaved channels the patch of a 3×3 convolution is three contiguous runs of bytes, a
//! 1×1's is one, and a concatenation's is one in either tensor. So there is one kernel: for each
//! pixel, run the segments against the weights of four output channels at a time.

use super::{Output, Quantization, arch, record4};
use crate::model::RECORD_BYTES;

/// One run of input bytes a pixel reads.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    /// The input row, from the first byte that pixel 0 reads.
    pub row: &'a [i8],
    /// Bytes from one pixel's run to the next.
    pub step: usize,
    /// Bytes of the run, a multiple of 4.
    pub len: usize,
}

/// Bytes of scratch for sums of `length` products.
pub const fn scratch_bytes(length: usize) -> usize {
    arch::dense_scratch_words(length) * 4
}

/// Four output channels of a dense convolution.
#[derive(Debug, Clone, Copy)]
pub struct Four<'a> {
    /// Weights `[k/4][j][k%4]` over all segments' bytes `k`.
    pub weights: &'a [u8],
    /// Biases.
    pub bias: [i32; 4],
    /// Multipliers.
    pub multipliers: [i32; 4],
    /// How the accumulators become activations.
    pub quantization: Quantization,
}

/// One row of a dense convolution.
///
/// `weights` are `[g][k/4][j][k%4]`, `records`
/// one a channel. What `scratch` holds does not matter; see [`scratch_bytes`].
#[inline(never)]
pub fn dense_row<const S: usize>(
    segments: [Segment<'_>; S],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    scratch: &mut [i8],
    mut out: Output<'_>,
) {
    let block = 4 * segments.iter().map(|s| s.len).sum::<usize>();
    let groups = weights
        .chunks_exact(block.max(1))
        .zip(records.chunks_exact(4 * RECORD_BYTES));
    // Four channels over the whole row: what they need stays close by.
    for (group, (weights, records)) in groups.enumerate() {
        let (bias, multipliers) = record4(records);
        let four = Four {
            weights,
            bias,
            multipliers,
            quantization,
        };
        let Some(mut out) = out.channels_from(4 * group) else {
            return;
        };
        arch::dense4(&segments, &four, scratch, &mut out);
    }
}
