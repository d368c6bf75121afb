//! 3×3 convolution of each channel with itself.
//!
//! Its input rows are planar: with a channel's pixels side by side, one word holds four of them, and the
//! same nine weights serve the whole row.

use super::{Output, Quantization, arch};

/// Bytes of one channel's plane in a row of `width` pixels: [`PLANE_START`] bytes of which the last is a
/// zero point, the pixels, a zero point, and what is missing to whole words.
pub const fn plane_bytes(width: usize) -> usize {
    (PLANE_START + width + 1).next_multiple_of(4)
}

/// Where in its plane pixel 0 lies: the second pixel is the first of a word, because two columns go
/// before those that complete a first output.
pub const PLANE_START: usize = 3;

/// One row: three planar input rows, weights `[g][ky][kx][j]`, one record a channel.
pub fn depthwise_row(
    rows: [&[i8]; 3],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    out: Output<'_>,
) {
    arch::depthwise(rows, weights, records, quantization, out);
}
