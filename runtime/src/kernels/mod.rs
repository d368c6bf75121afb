//! The integer operators. Each computes whole rows, and each has a file.
//!
//! A row is stored as interleaved channels (NHWC), or as one plane a channel if a depthwise convolution reads it; see
//! [`crate::plan::layout`]. Activations enter a sum as they are stored, because the exporter folds the zero point of
//! the input into the bias. Parameters named `records` hold the channel records: the bias and the requantization
//! multiplier of each output channel, [`RECORD_BYTES`] each.
//!
//! Operators never panic. If a slice has an unexpected length, they leave the output unchanged.

pub mod arch;
pub mod dense;
pub mod depthwise;
#[cfg(any(test, feature = "differential"))]
pub mod differential;
pub mod heads;
pub mod image_conv;
pub mod path;
pub mod pool;
mod requantize;
pub mod row;

pub use requantize::{Quantization, requantize};
pub use row::{Output, record};

use row::{CodeRow, Segment};

/// The operators on rows. [`Native`] computes them. Another implementation can observe which rows are requested.
pub trait Kernels {
    /// See [`dense::dense_row`].
    fn dense(
        &mut self,
        segments: &[Segment<'_>],
        weights: &[u8],
        records: &[u8],
        quantization: Quantization,
        scratch: &mut [i8],
        out: Output<'_>,
    );
    /// See [`depthwise::depthwise_row`].
    fn depthwise(
        &mut self,
        rows: [&[i8]; 3],
        weights: &[u8],
        records: &[u8],
        quantization: Quantization,
        out: Output<'_>,
    );
    /// See [`image_conv::image_conv_row`].
    fn image(
        &mut self,
        codes: [&CodeRow; 3],
        table: &[i8],
        records: &[u8],
        quantization: Quantization,
        out: Output<'_>,
    );
    /// See [`pool::max_row`].
    fn max(&mut self, rows: [&[i8]; 2], channels: usize, out: &mut [i8]);
    /// See [`pool::mean_row`].
    fn mean(&mut self, rows: [&[i8]; 2], channels: usize, out: &mut [i8]);
    /// See [`heads::mask_row`].
    fn mask(&mut self, row: &[i8], channels: usize, weights: &[u8], records: &[u8], out: &mut [u8]);
}

/// The kernels of this processor.
#[derive(Debug, Clone, Copy)]
pub struct Native;

impl Kernels for Native {
    #[inline(always)]
    fn dense(
        &mut self,
        segments: &[Segment<'_>],
        weights: &[u8],
        records: &[u8],
        quantization: Quantization,
        scratch: &mut [i8],
        out: Output<'_>,
    ) {
        dense::dense_row(segments, weights, records, quantization, scratch, out);
    }

    #[inline(always)]
    fn depthwise(
        &mut self,
        rows: [&[i8]; 3],
        weights: &[u8],
        records: &[u8],
        quantization: Quantization,
        out: Output<'_>,
    ) {
        depthwise::depthwise_row(rows, weights, records, quantization, out);
    }

    #[inline(always)]
    fn image(
        &mut self,
        codes: [&CodeRow; 3],
        table: &[i8],
        records: &[u8],
        quantization: Quantization,
        out: Output<'_>,
    ) {
        image_conv::image_conv_row(codes, table, records, quantization, out);
    }

    #[inline(always)]
    fn max(&mut self, rows: [&[i8]; 2], channels: usize, out: &mut [i8]) {
        pool::max_row(rows, channels, out);
    }

    #[inline(always)]
    fn mean(&mut self, rows: [&[i8]; 2], channels: usize, out: &mut [i8]) {
        pool::mean_row(rows, channels, out);
    }

    #[inline(always)]
    fn mask(
        &mut self,
        row: &[i8],
        channels: usize,
        weights: &[u8],
        records: &[u8],
        out: &mut [u8],
    ) {
        heads::mask_row(row, channels, weights, records, out);
    }
}
