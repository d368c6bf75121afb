//! Convolutions that mix channels: 3×3, 1×1 and transposed 2×2, all as dot products of segments.
//!
//! With interleaved channels the patch of a 3×3 convolution is three contiguous runs of bytes, a
//! 1×1's is one, and a concatenation's is one in either tensor. So there is one kernel: for each
//! pixel, run the segments against the weights of four output channels at a time.

use super::{Quantization, record};
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
#[inline]
pub fn dense_row<const S: usize>(
    segments: [Segment<'_>; S],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    outputs: usize,
    out: &mut [i8],
) {
    for (x, pixel) in out.chunks_exact_mut(outputs.max(4)).enumerate() {
        let runs = segments.map(|s| s.row.get(x * s.step..x * s.step + s.len).unwrap_or(&[]));
        let mut weights = weights;
        let groups = pixel.as_chunks_mut::<4>().0.iter_mut();
        for (four, records) in groups.zip(records.chunks_exact(4 * RECORD_BYTES)) {
            let r = [0, 1, 2, 3].map(|j| record(records, j));
            let mut acc = r.map(|r| r.0);
            for run in runs {
                let Some((part, rest)) = weights.split_at_checked(4 * run.len()) else { return };
                weights = rest;
                dot4(run, part, &mut acc);
            }
            for (value, (acc, r)) in four.iter_mut().zip(acc.into_iter().zip(r)) {
                *value = quantization.activation(acc, r.1);
            }
        }
    }
}

/// Adds the dot products of `run` with four channels' weights, `[k/4][j][k%4]`.
#[inline(always)]
fn dot4(run: &[i8], weights: &[u8], acc: &mut [i32; 4]) {
    let runs = run.as_chunks::<4>().0.iter();
    for (x, w) in runs.zip(weights.as_chunks::<16>().0) {
        for (j, acc) in acc.iter_mut().enumerate() {
            for (i, &x) in x.iter().enumerate() {
                *acc = acc.wrapping_add(i32::from(x) * i32::from(w[4 * j + i] as i8));
            }
        }
    }
}
