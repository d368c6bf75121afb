//! 3×3 convolution of each channel with itself.
//!
//! Its input rows are planar: with a channel's pixels side by side, one word holds four of them, and the
//! same nine weights serve the whole row.

use super::arch;
use super::requantize::Quantization;
use super::row::Output;

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
