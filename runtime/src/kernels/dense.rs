//! Convolutions that mix channels: 3×3, 1×1 and transposed 2×2, all as dot products of segments.
//!
//! With interleaved channels the patch of a 3×3 convolution is three contiguous runs of bytes, a
//! 1×1's is one, and a concatenation's is one in either tensor. So there is one kernel: for each
//! pixel, run the segments against the weights of four output channels at a time.

use super::arch;
use super::requantize::Quantization;
use super::row::{Output, Segment};

/// One row of a dense convolution, of up to three segments.
///
/// `weights` are `[g][k/4][j][k%4]` over all segments' bytes `k`, `records` one a channel. What `scratch`
/// holds does not matter; see [`scratch_bytes`](super::row::scratch_bytes).
pub fn dense_row(
    segments: &[Segment<'_>],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    scratch: &mut [i8],
    out: Output<'_>,
) {
    arch::dense(segments, weights, records, quantization, scratch, out);
}
