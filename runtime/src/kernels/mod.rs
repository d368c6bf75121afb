//! The integer operators, one subject a file, each working on whole rows.
//!
//! A row is interleaved channels, or one plane a channel where a depthwise convolution reads it, with
//! zero points around it where a 3×3 operator does ([`crate::plan::layout`]). Activations enter a sum as
//! they are stored: the input's zero point is folded into the bias by the exporter. Every operator is
//! total: on slices of unexpected length it leaves outputs untouched, it never panics.

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

/// A row that an operator writes.
#[derive(Debug)]
pub struct Output<'a> {
    /// Its bytes, from the first pixel's first channel.
    pub bytes: &'a mut [i8],
    /// Its pixels.
    pub pixels: usize,
    /// Bytes from a pixel to the next.
    pub pixel_step: usize,
    /// Bytes from a channel to the next.
    pub channel_step: usize,
}

impl Output<'_> {
    /// The same row from channel `channel` on; `None` when it has none.
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

/// The biases and multipliers of four channels' records.
#[inline(always)]
fn record4(records: &[u8]) -> ([i32; 4], [i32; 4]) {
    let r = [0, 1, 2, 3].map(|j| record(records, j));
    (r.map(|r| r.0), r.map(|r| r.1))
}

/// A channel's bias and multiplier; zeros outside `records`.
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
