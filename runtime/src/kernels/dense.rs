//! Convolutions that mix channels: 3×3, 1×1 and transposed 2×2, all as dot products of segments.
//!
//! With interleaved channels the patch of a 3×3 convolution is three contiguous runs of bytes, a
//! 1×1's is one, and a concatenation's is one in either tensor. So there is one kernel: for each
//! pixel, run the segments against the weights of four output channels at a time.

use super::{Output, Quantization, arch};

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

/// One row of a dense convolution, of up to three segments.
///
/// `weights` are `[g][k/4][j][k%4]` over all segments' bytes `k`, `records` one a channel. What `scratch`
/// holds does not matter; see [`scratch_bytes`].
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
