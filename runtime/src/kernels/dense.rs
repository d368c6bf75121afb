//! Dense convolutions, which mix channels: 3×3, 1×1 and transposed 2×2. All are dot products of segments.
//!
//! With interleaved channels, the patch of a 3×3 convolution is three contiguous runs of bytes. The patch of a 1×1
//! convolution is one run, or one run in each tensor of a concatenation. So one operator serves all of them: for each
//! pixel, it multiplies the segments with the weights of four output channels at a time.

use super::{Output, Quantization, arch};

/// The input bytes that each pixel of a row reads from one tensor row: one run of bytes a pixel.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    /// The input row. It begins with the first byte that pixel 0 reads.
    pub row: &'a [i8],
    /// Distance from the run of one pixel to the run of the next, in bytes.
    pub step: usize,
    /// Length of the run in bytes, a multiple of 4.
    pub len: usize,
}

/// Number of bytes of scratch that [`dense_row`] needs for sums of `length` products.
pub const fn scratch_bytes(length: usize) -> usize {
    arch::dense_scratch_words(length) * 4
}

/// One row of a dense convolution, of up to three segments.
///
/// The order of `weights` is `[g][k/4][j][k%4]`, where `k` counts the bytes of all segments. `records` has one
/// record a channel. `scratch` may hold anything; its length is [`scratch_bytes`].
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
