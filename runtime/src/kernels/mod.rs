//! The integer operators, one subject a file, each working on whole rows.
//!
//! A row is interleaved channels with one pixel of zero point at either side, so that 3×3 operators
//! need no special case at the edge. Activations enter a sum as they are stored: the input's zero
//! point is folded into the bias by the exporter. Every operator is total: on slices of unexpected
//! length it leaves outputs untouched, it never panics.

mod arch;
pub mod dense;
pub mod depthwise;
pub mod heads;
pub mod image_conv;
pub mod pool;
mod requantize;

pub use requantize::{Quantization, requantize};

use crate::model::RECORD_BYTES;

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
