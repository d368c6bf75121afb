//! Which kernel computes a row, decided by shapes and quantization alone.
//!
//! A board's dispatchers decide with the functions of this module, and a host asks them the same question for any
//! board: see `crate::engine::paths`. What a kernel needs besides (bytes that are there, words that are aligned) holds
//! for every row of a checked model in an arena; the dispatchers prove it again.

pub mod dsp;
pub mod helium;

use core::fmt;

use super::requantize::Quantization;
use super::row::Output;
use super::row::Segment;

/// An instruction set that kernels are written for and boards have.
///
/// Hosts have sets of their own (AVX-512, AVX2, NEON), which take rows of every shape that a model can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Isa {
    /// None: the reference kernels.
    Portable,
    /// Arm's DSP extension: Cortex-M4, M7, M33.
    Dsp,
    /// Helium (MVE): Cortex-M55, M85.
    Helium,
}

impl Isa {
    /// Those that have kernels of their own.
    pub const ALL: [Self; 2] = [Self::Dsp, Self::Helium];

    /// What this program was built for, if it was built for a board: firmware that must not run the reference
    /// kernels can assert it.
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
    /// In assembly that takes any row, which costs up to twice as many instructions; on Helium a multiple of that,
    /// since it is the DSP kernel.
    General(SlowReason),
    /// By the reference kernel, which costs several times as many instructions.
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

    /// Why it is not the fast one.
    pub const fn reason(self) -> Option<SlowReason> {
        match self {
            Self::Fast => None,
            Self::General(reason) | Self::Reference(reason) => Some(reason),
        }
    }

    /// What a check gives where all kernels but the reference are fast.
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
    /// The input's channels, of each tensor, are no multiple of so many.
    Channels(u16),
    /// The mask head reads another number of channels than 8.
    MaskChannels,
    /// A concatenation of tensors of different channels.
    Concatenation,
    /// Accumulators are shifted before they are multiplied.
    Shift,
    /// A ReLU whose zero point is not −128, and the row is read by a depthwise convolution.
    Relu,
    /// Such an operator's row is written for other readers: one plane a channel, or not.
    Form,
    /// Fewer columns than a kernel takes at once, or no whole number of times.
    Columns,
    /// Channels of an output pixel lie too far apart.
    Apart,
    /// Input rows lie more than 64 KiB apart in the arena.
    Arena,
}

impl fmt::Display for SlowReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Isa => "the processor has neither the DSP extension nor Helium",
            Self::Operator => "there is no faster kernel for this operator",
            Self::Channels(n) => {
                return write!(f, "the input's channels are no multiple of {n}");
            }
            Self::MaskChannels => "the mask head reads another number of channels than 8",
            Self::Concatenation => "it concatenates tensors of different channels",
            Self::Shift => "its multipliers are so large that accumulators are shifted",
            Self::Relu => "a ReLU before a depthwise convolution whose zero point is not -128",
            Self::Form => "this operator's rows are fast for other readers only",
            Self::Columns => "too few columns, or no whole number of a kernel's turns",
            Self::Apart => "too many channels for one store",
            Self::Arena => "input rows lie more than 64 KiB apart in the arena",
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

/// How `isa` computes a row of a depthwise convolution whose input rows begin at these addresses, or this many bytes
/// into the arena.
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

/// How `isa` computes a row of maxima: so many bytes of so many channels a pixel.
pub fn max(isa: Isa, channels: usize, bytes: usize) -> KernelPath {
    match isa {
        Isa::Portable => KernelPath::Reference(SlowReason::Isa),
        Isa::Dsp => KernelPath::Fast,
        Isa::Helium => {
            helium::max(channels, bytes).map_or_else(KernelPath::General, |_| KernelPath::Fast)
        }
    }
}

/// How `isa` computes a row of so many bytes of the mask, from so many channels.
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
