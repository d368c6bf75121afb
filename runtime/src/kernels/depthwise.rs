//! Depthwise 3×3 convolution: each channel is convolved with itself.
//!
//! The input rows are planar. The pixels of a channel lie side by side, so that one word holds four of them, and the
//! same nine weights are used for the whole row.

use super::arch;
use super::requantize::Quantization;
use super::row::Output;

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
