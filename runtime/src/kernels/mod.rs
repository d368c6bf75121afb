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
pub mod heads;
pub mod image_conv;
pub mod path;
pub mod pool;
mod requantize;

pub use requantize::{Quantization, requantize};

use crate::graph::RECORD_BYTES;
use dense::Segment;
use image_conv::CodeRow;

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

/// The row that an operator writes.
#[derive(Debug)]
pub struct Output<'a> {
    /// The bytes of the row. They begin with the first channel of the first pixel.
    pub bytes: &'a mut [i8],
    /// Number of pixels.
    pub pixels: usize,
    /// Distance from one pixel to the next, in bytes.
    pub pixel_step: usize,
    /// Distance from one channel to the next, in bytes.
    pub channel_step: usize,
}

impl Output<'_> {
    /// The same row without its first `channel` channels. `None` if it has no more channels than that.
    fn channels_from(&mut self, channel: usize) -> Option<Output<'_>> {
        Some(Output {
            bytes: self.bytes.get_mut(channel * self.channel_step..)?,
            ..*self
        })
    }

    /// Writes the first four channels of pixel `x`.
    #[inline(always)]
    fn put4(&mut self, x: usize, values: [i8; 4]) {
        let at = x * self.pixel_step;
        if self.channel_step == 1 {
            if let Some(four) = self.bytes.get_mut(at..at + 4) {
                four.copy_from_slice(&values);
            }
            return;
        }
        for (j, value) in values.into_iter().enumerate() {
            if let Some(byte) = self.bytes.get_mut(at + j * self.channel_step) {
                *byte = value;
            }
        }
    }
}

/// The biases and the multipliers of the first four channels.
#[inline(always)]
fn record4(records: &[u8]) -> ([i32; 4], [i32; 4]) {
    let r = [0, 1, 2, 3].map(|j| record(records, j));
    (r.map(|r| r.0), r.map(|r| r.1))
}

/// The bias and the multiplier of a channel. Zeros if `records` has no such channel.
#[inline(always)]
pub fn record(records: &[u8], channel: usize) -> (i32, i32) {
    let at = channel * RECORD_BYTES;
    match records.get(at..at + RECORD_BYTES) {
        Some(&[a, b, c, d, e, f, g, h]) => (
            i32::from_le_bytes([a, b, c, d]),
            i32::from_le_bytes([e, f, g, h]),
        ),
        _ => (0, 0),
    }
}
