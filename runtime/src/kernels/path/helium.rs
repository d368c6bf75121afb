//! What the kernels for Helium are made for.

use super::SlowReason;
use crate::kernels::row::Segment;
use crate::kernels::row::{PLANE_START, plane_bytes};
use crate::kernels::{Output, Quantization};

/// A kernel for rows of dense convolutions: the segments that a pixel reads, and what it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dense {
    /// One segment of 8 bytes, to interleaved channels.
    Words8,
    /// One of 16.
    Words16,
    /// Up to three of sixteens.
    Words,
    /// Two segments of 8, to planes.
    Planes8And8,
    /// Three of 24.
    Planes24,
    /// Up to three of sixteens.
    Planes,
}

/// Furthest apart that two pixels of four may be: the fourth's last byte is found by eight bits.
const MAX_PIXEL_STEP: usize = (255 - 3) / 3;

/// The kernel for a row of a dense convolution; an error where it is the general one of the DSP extension.
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

/// A kernel for rows of depthwise convolutions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depthwise {
    /// Outputs of a turn within 256 bytes.
    Near,
    /// Outputs that lie further apart.
    Far,
}

/// Outputs of a depthwise kernel's turn.
pub const TURN: usize = 16;

/// Bytes from an output pixel to the next, as a depthwise kernel writes them: a row that is no whole turn is written
/// elsewhere first.
pub const fn pixel_step(out: &Output<'_>) -> usize {
    if out.pixels < TURN { 1 } else { out.pixel_step }
}

/// The kernel for a row of a depthwise convolution whose input rows begin at `starts`; an error where it is that of the
/// DSP extension.
#[inline(always)]
pub fn depthwise(
    starts: [usize; 3],
    quantization: &Quantization,
    out: &Output<'_>,
) -> Result<Depthwise, SlowReason> {
    super::dsp::depthwise(quantization)?;
    // A narrow row's only turn reads, and computes, beyond its end, but within its plane.
    if out.pixels < TURN && plane_bytes(out.pixels) <= PLANE_START + TURN {
        return Err(SlowReason::Columns);
    }
    if out.pixel_step >= 4096 {
        return Err(SlowReason::Apart);
    }
    // A window's halfwords are found by sixteen bits from the lowest row on.
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

/// A kernel for rows of maxima.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Max {
    /// Of 8 channels.
    Channels8,
    /// Of 16.
    Channels16,
}

impl Max {
    /// Bytes that a turn writes.
    pub const fn turn(self) -> usize {
        match self {
            Self::Channels8 => 32,
            Self::Channels16 => 16,
        }
    }
}

/// The kernel for a row of `bytes` bytes of maxima; an error where it is that of the DSP extension.
#[inline(always)]
pub fn max(channels: usize, bytes: usize) -> Result<Max, SlowReason> {
    let kernel = match channels {
        8 => Max::Channels8,
        16 => Max::Channels16,
        _ => return Err(SlowReason::Operator),
    };
    if bytes.is_multiple_of(kernel.turn()) {
        Ok(kernel)
    } else {
        Err(SlowReason::Columns)
    }
}

/// Whether the kernel takes a mask row of so many bytes; an error where it is that of the DSP extension.
#[inline(always)]
pub fn mask(bytes: usize) -> Result<(), SlowReason> {
    if bytes >= 2 && bytes.is_multiple_of(2) {
        Ok(())
    } else {
        Err(SlowReason::Columns)
    }
}
