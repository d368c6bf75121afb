//! Convolutions that mix channels: 3×3, 1×1 and transposed 2×2, all as dot products of segments.
//!
//! With interleaved channels the patch of a 3×3 convolution is three contiguous runs of bytes, a
//! 1×1's is one, and a concatenation's is one in either tensor. So there is one kernel: for each
//! pixel, run the segments against the weights of four output channels at a time.

use super::arch::dot4;
use super::{Quantization, record4};
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

/// One row of a dense convolution.
///
/// `out` is the row without its border; each pixel has `outputs` channels (a multiple of 4).
/// `weights` are `[g][k/4][j][k%4]` over all segments' bytes `k`, `records` one a channel.
#[inline(never)]
pub fn dense_row<const S: usize>(
    segments: [Segment<'_>; S],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    outputs: usize,
    out: &mut [i8],
) {
    let block = 4 * segments.iter().map(|s| s.len).sum::<usize>();
    let groups = weights
        .chunks_exact(block.max(1))
        .zip(records.chunks_exact(4 * RECORD_BYTES));
    // Four channels over the whole row: what they need stays in registers or close by.
    for (group, (mut weights, records)) in groups.enumerate() {
        let (bias, multipliers) = record4(records);
        let parts = segments.map(|s| {
            let (part, rest) = weights.split_at_checked(4 * s.len).unwrap_or((&[], &[]));
            weights = rest;
            part
        });
        let mut rows = segments.map(|s| s.row);
        for pixel in out.chunks_exact_mut(outputs.max(1)) {
            let Some(four) = pixel.as_chunks_mut::<4>().0.get_mut(group) else {
                return;
            };
            let mut acc = bias;
            for ((row, part), s) in rows.iter_mut().zip(parts).zip(segments) {
                dot4(row.get(..s.len).unwrap_or(&[]), part, &mut acc);
                *row = row.get(s.step..).unwrap_or(&[]);
            }
            *four = quantization.activation4(acc, multipliers);
        }
    }
}
