//! What a kernel that reads and writes through raw pointers must know before it starts.
//!
//! Each function proves, from slices alone, that every byte the kernel will touch lies inside them; `None`
//! sends the caller to the reference kernel, which is total.

use crate::graph::RECORD_BYTES;
use crate::kernels::Output;
#[cfg(not(arm_dsp))]
use crate::kernels::record;
use crate::kernels::row::Segment;
use crate::kernels::row::plane_bytes;

/// Most channels that one call of a kernel here takes; what has more goes to the reference kernel.
pub const MAX_OUTPUTS: usize = 4 * crate::limits::MAX_CHANNELS;

/// The bytes that a dense convolution's four output channels meet at a pixel, and how many fours there are.
#[derive(Debug, Clone, Copy)]
pub struct Dense {
    /// Bytes of all segments, a multiple of 4.
    pub length: usize,
    /// Groups of four output channels.
    pub groups: usize,
}

/// Every segment has its run for every pixel, weights and records are there for `groups`, and the output
/// has a byte for each of their channels at each pixel.
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

/// Every plane of the three rows is whole and so is the output; returns the channels, a multiple of 4.
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

/// Whether `out` has a byte for the first `channels` channels, at least one, of each of its pixels, at least
/// one, and whether no more channels are asked for than kernels have room for.
fn reaches(out: &Output<'_>, channels: usize) -> bool {
    match (out.pixels.checked_sub(1), channels.checked_sub(1)) {
        (Some(pixel), Some(channel)) => {
            channels <= MAX_OUTPUTS
                && out.bytes.len() > pixel * out.pixel_step + channel * out.channel_step
        }
        _ => false,
    }
}

/// Biases and multipliers of `N` channels from `first` on, zeros where `records` has none.
#[cfg(not(arm_dsp))]
#[inline(always)]
pub fn lanes<const N: usize>(records: &[u8], first: usize) -> ([i32; N], [i32; N]) {
    let pairs = core::array::from_fn::<_, N, _>(|lane| record(records, first + lane));
    (pairs.map(|pair| pair.0), pairs.map(|pair| pair.1))
}
