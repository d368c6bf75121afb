//! Depthwise 3×3 convolution: each channel is convolved with itself.
//!
//! The input rows are planar. The pixels of a channel lie side by side, so that one word holds four of them, and the
//! same nine weights are used for the whole row.

use super::{Output, Quantization, arch};

/// Number of bytes of the plane of one channel in a row of `width` pixels: [`PLANE_START`] bytes, the last of which is
/// a zero point; the pixels; one zero point; and padding up to a multiple of 4.
pub const fn plane_bytes(width: usize) -> usize {
    (PLANE_START + width + 1).next_multiple_of(4)
}

/// The position of pixel 0 in its plane. The second pixel is the first of a word, because two columns come before
/// the column that completes the first output.
pub const PLANE_START: usize = 3;

/// One row of a depthwise convolution, from three planar input rows. The order of `weights` is `[g][ky][kx][j]`.
pub fn depthwise_row(
    rows: [&[i8]; 3],
    weights: &[u8],
    records: &[u8],
    quantization: Quantization,
    out: Output<'_>,
) {
    arch::depthwise(rows, weights, records, quantization, out);
}
