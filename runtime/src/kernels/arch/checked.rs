//! The bounds check of kernels that read and write through raw pointers.
//!
//! Each function proves that every byte which the kernel will read or write lies inside its slices. If the proof fails,
//! the function returns `None`, and the caller uses the reference kernel, which accepts any slices.

use crate::graph::RECORD_BYTES;
use crate::kernels::Output;
#[cfg(not(arm_dsp))]
use crate::kernels::record;
use crate::kernels::row::Segment;
use crate::kernels::row::plane_bytes;

/// The most output channels in one call of a kernel. Calls with more channels go to the reference kernel.
pub const MAX_OUTPUTS: usize = 4 * crate::limits::MAX_CHANNELS;

/// The size of a dense convolution.
#[derive(Debug, Clone, Copy)]
pub struct Dense {
    /// Number of bytes that a pixel reads, over all segments; a multiple of 4.
    pub length: usize,
    /// Number of groups of four output channels.
    pub groups: usize,
}

/// Checks a dense convolution: every segment has a run for every pixel, the weights and records are complete for all
/// `groups`, and the output has a byte for each of their channels at each pixel.
pub fn dense(
    segments: &[Segment<'_>],
    weights: &[u8],
    records: &[u8],
    out: &Output<'_>,
) -> Option<Dense> {
    let last = out.pixels.checked_sub(1)?;
    let whole = |s: &Segment<'_>| s.len.is_multiple_of(4) && s.row.len() >= last * s.step + s.len;
    let length = segments.iter().map(|s| s.len).sum::<usize>();
    if length == 0 || !segments.iter().all(whole) {
        return None;
    }
    let groups = weights.len().checked_div(4 * length)?;
    let groups = groups.min(records.len() / (4 * RECORD_BYTES));
    reaches(out, 4 * groups).then_some(Dense { length, groups })
}

/// Checks a depthwise convolution: every plane of the three rows is complete, and so is the output. Returns the number
/// of channels, a multiple of 4.
pub fn depthwise(
    rows: [&[i8]; 3],
    weights: &[u8],
    records: &[u8],
    out: &Output<'_>,
) -> Option<usize> {
    let channels = 4 * (weights.len() / 36).min(records.len() / (4 * RECORD_BYTES));
    let long = |row: &[i8]| row.len() >= channels * plane_bytes(out.pixels);
    (rows.into_iter().all(long) && reaches(out, channels)).then_some(channels)
}

/// Whether `out` has a byte for the first `channels` channels of each of its pixels. There must be at least one channel,
/// at least one pixel, and at most [`MAX_OUTPUTS`] channels.
fn reaches(out: &Output<'_>, channels: usize) -> bool {
    match (out.pixels.checked_sub(1), channels.checked_sub(1)) {
        (Some(pixel), Some(channel)) => {
            channels <= MAX_OUTPUTS
                && out.bytes.len() > pixel * out.pixel_step + channel * out.channel_step
        }
        _ => false,
    }
}

/// The biases and multipliers of `N` channels, beginning with channel `first`. Zeros if `records` has no such channel.
#[cfg(not(arm_dsp))]
#[inline(always)]
pub fn lanes<const N: usize>(records: &[u8], first: usize) -> ([i32; N], [i32; N]) {
    let pairs = core::array::from_fn::<_, N, _>(|lane| record(records, first + lane));
    (pairs.map(|pair| pair.0), pairs.map(|pair| pair.1))
}
