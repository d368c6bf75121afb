//! The rows that the fast kernels for Arm DSP support.

use super::SlowReason;
use crate::kernels::row::Segment;
use crate::kernels::{Output, Quantization};

/// The fast kernels for dense convolutions. They differ in the segments that a pixel reads, and in the form that they
/// write: words (four interleaved channels) or planes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dense {
    /// One segment of 8 bytes, to words.
    Words8,
    /// One segment of 16 bytes, to words.
    Words16,
    /// One segment of a multiple of 8 bytes, to words.
    Words,
    /// Two segments of 8 bytes, to planes.
    Planes8And8,
    /// Two segments of 16 bytes, to planes.
    Planes16And16,
    /// Two segments of multiples of 8 bytes, to planes.
    Planes2,
    /// Three segments of multiples of 24 bytes, to planes.
    Planes3,
}

impl Dense {
    /// The number of turns of the kernel's inner loop for a segment. `None` if the loop does not divide the segment.
    #[inline(always)]
    pub const fn turns(self, bytes: usize) -> Option<usize> {
        let (turns, rest) = match self {
            Self::Planes3 => (bytes / 24, bytes % 24),
            _ => (bytes / 8, bytes % 8),
        };
        if rest == 0 { Some(turns) } else { None }
    }
}

/// The fast kernel for a row of a dense convolution.
///
/// # Errors
/// Why there is none; the general kernel computes the row then.
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
    // A smallest activation of −128 costs nothing: saturation does it. In words, any other is cheap.
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

/// Whether the fast kernel supports a row of a depthwise convolution.
///
/// # Errors
/// Why not; the reference kernel computes the row then.
#[inline(always)]
pub fn depthwise(quantization: &Quantization) -> Result<(), SlowReason> {
    match quantization {
        q if q.shift != 0 => Err(SlowReason::Shift),
        q if q.act_min != -128 => Err(SlowReason::Relu),
        _ => Ok(()),
    }
}

/// Whether the fast kernel supports a row of the first convolution.
///
/// # Errors
/// Why not; the reference kernel computes the row then.
#[inline(always)]
pub fn image(quantization: &Quantization, out: &Output<'_>) -> Result<(), SlowReason> {
    match quantization {
        _ if out.pixel_step != 1 => Err(SlowReason::Form),
        q if q.act_min != -128 => Err(SlowReason::Relu),
        q if q.shift != 0 => Err(SlowReason::Shift),
        _ => Ok(()),
    }
}
