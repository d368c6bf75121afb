//! Dense convolutions, which mix channels: 3×3, 1×1 and transposed 2×2. All are dot products of segments.
//!
//! With interleaved channels, the patch of a 3×3 convolution is three contiguous runs of bytes. The patch of a 1×1
//! convolution is one run, or one run in each tensor of a concatenation. So one operator serves all of them: for each
//! pixel, it multiplies the segments with the weights of four output channels at a time.

use super::arch;
use super::requantize::Quantization;
use super::row::{Output, Segment};

/// One row of a dense convolution, of up to three segments.
///
/// The order of `weights` is `[g][k/4][j][k%4]`, where `k` counts the bytes of all segments. `records` has one
/// record a channel. `scratch` may hold anything; its length is [`scratch_bytes`](super::row::scratch_bytes).
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
