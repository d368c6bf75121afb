//! The rows that the fast kernels for Helium support. The kernels of the DSP extension compute the others.

use super::SlowReason;
use crate::kernels::row::Segment;
use crate::kernels::row::{PLANE_START, plane_bytes};
use crate::kernels::{Output, Quantization};

/// The fast kernels for dense convolutions. They differ in the segments that a pixel reads, and in the form that they
/// write: words (four interleaved channels) or planes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dense {
    /// One segment of 8 bytes, to words.
    Words8,
    /// One segment of 16 bytes, to words.
    Words16,
    /// Up to three segments of multiples of 16 bytes, to words.
    Words,
    /// Two segments of 8 bytes, to planes.
    Planes8And8,
    /// Three segments of 24 bytes, to planes.
    Planes24,
    /// Up to three segments of multiples of 16 bytes, to planes.
    Planes,
}

/// The largest distance between two pixels in words: four pixels are written with offsets of eight bits.
const MAX_PIXEL_STEP: usize = (255 - 3) / 3;

/// The fast kernel for a row of a dense convolution.
///
/// # Errors
/// Why there is none; the general kernel of the DSP extension computes the row then.
#[inline(always)]
pub fn dense(
    segments: &[Segment<'_>],
    quantization: &Quantization,
    out: &Output<'_>,
) -> Result<Dense, SlowReason> {
    let planar = out.pixel_step == 1;
    let step = segments.first().map_or(0, |s| s.step);
    if quantization.shift != 0 {
        return Err(SlowReason::Shift);
    }
    if planar && quantization.act_min != -128 {
        return Err(SlowReason::Relu);
    }
    if !planar && out.channel_step != 1 || segments.len() > 3 {
        return Err(SlowReason::Form);
    }
    if !planar && out.pixel_step > MAX_PIXEL_STEP {
        return Err(SlowReason::Apart);
    }
    if out.pixels < 4 {
        return Err(SlowReason::Columns);
    }
    if segments.iter().any(|s| s.step != step) {
        return Err(SlowReason::Concatenation);
    }
    let whole = |s: &Segment<'_>| s.len.is_multiple_of(16) && s.len > 0;
    let of = |len: usize| move |s: &Segment<'_>| s.len == len;
    match (segments, planar) {
        ([a], false) if a.len == 8 && step == 8 => Ok(Dense::Words8),
        ([a], false) if a.len == 16 && step == 16 => Ok(Dense::Words16),
        ([_, _], true) if step == 8 && segments.iter().all(of(8)) => Ok(Dense::Planes8And8),
        ([_, _, _], true) if segments.iter().all(of(24)) => Ok(Dense::Planes24),
        (_, false) if segments.iter().all(whole) => Ok(Dense::Words),
        (_, true) if segments.iter().all(whole) => Ok(Dense::Planes),
        _ => Err(SlowReason::Channels(16)),
    }
}

/// The fast kernels for depthwise convolutions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depthwise {
    /// The outputs of a turn lie within 256 bytes.
    Near,
    /// They lie further apart.
    Far,
}

/// Number of outputs that a depthwise kernel computes in one turn of its loop.
pub const TURN: usize = 16;

/// Distance between two output pixels as a depthwise kernel writes them, in bytes. A row of less than one turn is
/// written to a buffer first.
pub const fn pixel_step(out: &Output<'_>) -> usize {
    if out.pixels < TURN { 1 } else { out.pixel_step }
}

/// The fast kernel for a row of a depthwise convolution. `starts` are the addresses of the input rows.
///
/// # Errors
/// Why there is none; the DSP extension decides then ([`super::dsp::depthwise`]).
#[inline(always)]
pub fn depthwise(
    starts: [usize; 3],
    quantization: &Quantization,
    out: &Output<'_>,
) -> Result<Depthwise, SlowReason> {
    super::dsp::depthwise(quantization)?;
    // The only turn of a narrow row reads beyond the end of the row, but must stay inside the plane.
    if out.pixels < TURN && plane_bytes(out.pixels) <= PLANE_START + TURN {
        return Err(SlowReason::Columns);
    }
    if out.pixel_step >= 4096 {
        return Err(SlowReason::Apart);
    }
    // The kernel addresses the three rows with offsets of sixteen bits, from the lowest row.
    let lowest = starts.into_iter().min().unwrap_or(0);
    if starts
        .iter()
        .any(|start| start - lowest > usize::from(u16::MAX) - 2)
    {
        return Err(SlowReason::Arena);
    }
    if (TURN - 1) * pixel_step(out) < 256 {
        Ok(Depthwise::Near)
    } else {
        Ok(Depthwise::Far)
    }
}

/// The fast kernels for maximum pools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Max {
    /// For 8 channels.
    Channels8,
    /// For 16 channels.
    Channels16,
}

impl Max {
    /// Number of bytes that one turn of the loop writes.
    pub const fn turn(self) -> usize {
        match self {
            Self::Channels8 => 32,
            Self::Channels16 => 16,
        }
    }
}

/// The fast kernel for a row of a maximum pool of `bytes` bytes.
///
/// # Errors
/// Why there is none; words of four channels are computed with the DSP extension then.
#[inline(always)]
pub fn max(channels: usize, bytes: usize) -> Result<Max, SlowReason> {
    let kernel = match channels {
        8 => Max::Channels8,
        16 => Max::Channels16,
        _ => return Err(SlowReason::PoolChannels),
    };
    if bytes.is_multiple_of(kernel.turn()) {
        Ok(kernel)
    } else {
        Err(SlowReason::Columns)
    }
}

/// Whether the fast kernel supports a row of the mask of `bytes` bytes.
///
/// # Errors
/// Why not; the kernel of the DSP extension computes the row then.
#[inline(always)]
pub fn mask(bytes: usize) -> Result<(), SlowReason> {
    if bytes >= 2 && bytes.is_multiple_of(2) {
        Ok(())
    } else {
        Err(SlowReason::Columns)
    }
}
