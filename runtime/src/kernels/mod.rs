//! The integer operators, one subject a file, each working on whole rows.
//!
//! A row is interleaved channels, or one plane a channel where a depthwise convolution reads it, with
//! zero points around it where a 3×3 operator does ([`crate::plan::layout`]). Activations enter a sum as
//! they are stored: the input's zero point is folded into the bias by the exporter. Every operator is
//! total: on slices of unexpected length it leaves outputs untouched, it never panics.

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

/// The operators on rows. [`Native`] computes them; another implementation may only look at what is asked for.
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
