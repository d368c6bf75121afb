//! What the kernels for Arm DSP are made for.

use super::SlowReason;
use crate::kernels::row::Segment;
use crate::kernels::{Output, Quantization};

/// A kernel for rows of dense convolutions: the segments that a pixel reads, and what it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dense {
    /// One segment of 8 bytes, to interleaved channels.
    Words8,
    /// One of 16.
    Words16,
    /// One of eights.
    Words,
    /// Two segments of 8, to planes.
    Planes8And8,
    /// Two of 16.
    Planes16And16,
    /// Two of eights.
    Planes2,
    /// Three of 24s.
    Planes3,
}

impl Dense {
    /// How often it takes the bytes that it takes at a time, for a segment of so many; `None` where some are left.
    #[inline(always)]
    pub const fn turns(self, bytes: usize) -> Option<usize> {
        let (turns, rest) = match self {
            Self::Planes3 => (bytes / 24, bytes % 24),
            _ => (bytes / 8, bytes % 8),
        };
        if rest == 0 { Some(turns) } else { None }
    }
}

/// The kernel for a row of a dense convolution; an error where it is the general one.
#[inline(always)]
pub fn dense(
    segments: &[Segment<'_>],
    quantization: &Quantization,
    out: &Output<'_>,
) -> Result<Dense, SlowReason> {
    let planar = out.pixel_step == 1;
    if quantization.shift != 0 {
        return Err(SlowReason::Shift);
    }
    // The smallest value is free where it is int8's, and cheap in words of four channels.
    if planar && quantization.act_min != -128 {
        return Err(SlowReason::Relu);
    }
    let kernel = match (segments, planar) {
        ([a], false) if a.step == a.len && out.channel_step == 1 => match a.len {
            8 => Dense::Words8,
            16 => Dense::Words16,
            _ => Dense::Words,
        },
        ([a, b], true) if a.step != b.step => return Err(SlowReason::Concatenation),
        ([a, b], true) => match (a.len, b.len) {
            (8, 8) => Dense::Planes8And8,
            (16, 16) => Dense::Planes16And16,
            _ => Dense::Planes2,
        },
        ([a, b, c], true) if a.step == b.step && b.step == c.step => Dense::Planes3,
        _ => return Err(SlowReason::Form),
    };
    if segments.iter().all(|s| kernel.turns(s.len).is_some()) {
        Ok(kernel)
    } else {
        Err(SlowReason::Channels(8))
    }
}

/// Whether the kernel takes rows of such a depthwise convolution.
#[inline(always)]
pub fn depthwise(quantization: &Quantization) -> Result<(), SlowReason> {
    match quantization {
        q if q.shift != 0 => Err(SlowReason::Shift),
        q if q.act_min != -128 => Err(SlowReason::Relu),
        _ => Ok(()),
    }
}

/// Whether the kernel takes rows of such a first convolution.
#[inline(always)]
pub fn image(quantization: &Quantization, out: &Output<'_>) -> Result<(), SlowReason> {
    match quantization {
        _ if out.pixel_step != 1 => Err(SlowReason::Form),
        q if q.act_min != -128 => Err(SlowReason::Relu),
        q if q.shift != 0 => Err(SlowReason::Shift),
        _ => Ok(()),
    }
}
