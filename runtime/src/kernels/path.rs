//! Selects the kernel that computes a row, from shapes and quantization alone.
//!
//! Boards call these functions to select a kernel. A host can call them for any board, and so tell how a board would
//! run a model: see `KernelTable`. A kernel also needs slices that are long enough and aligned to words. Every row of a
//! checked model in an aligned arena fulfils that; boards check it again before they call a kernel.

pub mod dsp;
pub mod helium;

use core::fmt;

use super::requantize::Quantization;
use super::row::Output;
use super::row::Segment;

/// An instruction set of microcontrollers that kernels are written for.
///
/// Hosts have other sets (AVX-512, AVX2, NEON), whose kernels support every shape that a model can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Isa {
    /// None of them: all rows are computed by the reference kernels.
    Portable,
    /// Arm's DSP extension: Cortex-M4, M7, M33.
    Dsp,
    /// Helium (MVE): Cortex-M55, M85.
    Helium,
}

impl Isa {
    /// All sets that have kernels.
    pub const ALL: [Self; 2] = [Self::Dsp, Self::Helium];

    /// The instruction set that this program was built for, if it was built for a microcontroller. Firmware that must
    /// not run the reference kernels can assert it at compile time.
    pub const TARGET: Self = if cfg!(arm_mve) {
        Self::Helium
    } else if cfg!(arm_dsp) {
        Self::Dsp
    } else {
        Self::Portable
    };

    /// Its name, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Dsp => "dsp",
            Self::Helium => "helium",
        }
    }
}

/// How a row is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelPath {
    /// By a kernel that was written for such rows.
    Fast,
    /// By a kernel of the DSP extension for any row. It takes up to twice as many instructions as a fast kernel, on
    /// Helium six to eight times as many.
    General(SlowReason),
    /// By the reference kernel. It takes at least twice as many instructions as the general kernel.
    Reference(SlowReason),
}

impl KernelPath {
    /// Its name, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::General(_) => "general",
            Self::Reference(_) => "reference",
        }
    }

    /// Why it is not a fast kernel.
    pub const fn reason(self) -> Option<SlowReason> {
        match self {
            Self::Fast => None,
            Self::General(reason) | Self::Reference(reason) => Some(reason),
        }
    }

    /// The path of an operator that has a fast kernel and the reference kernel only.
    fn of(chosen: Result<(), SlowReason>) -> Self {
        chosen.map_or_else(Self::Reference, |()| Self::Fast)
    }
}

/// Why a row is not computed by a fast kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlowReason {
    /// The processor has no instruction set that kernels are written for.
    Isa,
    /// No instruction set has a kernel for the operator.
    Operator,
    /// The channels of an input are not a multiple of this number.
    Channels(u16),
    /// The mask head does not read 8 channels.
    MaskChannels,
    /// The maximum pool has neither 8 nor 16 channels.
    PoolChannels,
    /// The layer concatenates tensors with different numbers of channels.
    Concatenation,
    /// The accumulators are shifted before they are multiplied.
    Shift,
    /// The layer has a ReLU, its zero point is not −128, and a depthwise convolution computes or reads it.
    Relu,
    /// The form of the output row: no fast kernel of this operator writes it planar, or interleaved.
    Form,
    /// The number of columns: too few for the kernel, or not a multiple of what it computes at a time.
    Columns,
    /// The output pixels are too far apart.
    Apart,
    /// The input rows lie more than 64 KiB apart in the arena.
    Arena,
}

impl fmt::Display for SlowReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Isa => "the processor has neither the DSP extension nor Helium",
            Self::Operator => "there is no faster kernel for this operator",
            Self::Channels(n) => {
                return write!(f, "the channels of an input are not a multiple of {n}");
            }
            Self::MaskChannels => "the mask head does not read 8 channels",
            Self::PoolChannels => "the maximum pool has neither 8 nor 16 channels",
            Self::Concatenation => "it concatenates tensors with different numbers of channels",
            Self::Shift => "its multipliers are so large that the accumulators are shifted",
            Self::Relu => "a ReLU with a zero point other than -128, in or before a depthwise convolution",
            Self::Form => "no fast kernel of this operator writes rows for such a reader",
            Self::Columns => "the number of columns is too small, or not a multiple of what a kernel computes at a time",
            Self::Apart => "the output pixels are too far apart (too many channels)",
            Self::Arena => "the input rows lie more than 64 KiB apart in the arena",
        })
    }
}

/// How `isa` computes a row of a dense convolution.
pub fn dense(
    isa: Isa,
    segments: &[Segment<'_>],
    quantization: &Quantization,
    out: &Output<'_>,
) -> KernelPath {
    match isa {
        Isa::Portable => KernelPath::Reference(SlowReason::Isa),
        Isa::Dsp => match dsp::dense(segments, quantization, out) {
            Ok(_) => KernelPath::Fast,
            Err(reason) => KernelPath::General(reason),
        },
        Isa::Helium => match helium::dense(segments, quantization, out) {
            Ok(_) => KernelPath::Fast,
            Err(reason) => KernelPath::General(reason),
        },
    }
}

/// How `isa` computes a row of a depthwise convolution. `starts` are the addresses of the input rows, or their positions
/// in the arena.
pub fn depthwise(
    isa: Isa,
    starts: [usize; 3],
    quantization: &Quantization,
    out: &Output<'_>,
) -> KernelPath {
    match isa {
        Isa::Portable => KernelPath::Reference(SlowReason::Isa),
        Isa::Dsp => KernelPath::of(dsp::depthwise(quantization)),
        Isa::Helium => match helium::depthwise(starts, quantization, out) {
            Ok(_) => KernelPath::Fast,
            Err(reason) => dsp::depthwise(quantization)
                .map_or_else(KernelPath::Reference, |()| KernelPath::General(reason)),
        },
    }
}

/// How `isa` computes a row of the first convolution.
pub fn image(isa: Isa, quantization: &Quantization, out: &Output<'_>) -> KernelPath {
    match isa {
        Isa::Portable => KernelPath::Reference(SlowReason::Isa),
        Isa::Dsp | Isa::Helium => KernelPath::of(dsp::image(quantization, out)),
    }
}

/// How `isa` computes a row of a maximum pool of `bytes` bytes.
pub fn max(isa: Isa, channels: usize, bytes: usize) -> KernelPath {
    match isa {
        Isa::Portable => KernelPath::Reference(SlowReason::Isa),
        Isa::Dsp => KernelPath::Fast,
        Isa::Helium => {
            helium::max(channels, bytes).map_or_else(KernelPath::General, |_| KernelPath::Fast)
        }
    }
}

/// How `isa` computes `bytes` bytes of a row of the mask, from `channels` channels.
pub fn mask(isa: Isa, channels: usize, bytes: usize) -> KernelPath {
    match isa {
        Isa::Portable => KernelPath::Reference(SlowReason::Isa),
        _ if channels != super::heads::MASK_CHANNELS => {
            KernelPath::Reference(SlowReason::MaskChannels)
        }
        Isa::Dsp => KernelPath::Fast,
        Isa::Helium => helium::mask(bytes).map_or_else(KernelPath::General, |()| KernelPath::Fast),
    }
}
