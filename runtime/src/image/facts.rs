//! The facts of a model that people and hosts ask for.

use serde::{Deserialize, Serialize};

/// How an accumulator becomes an int8 activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Rounding {
    /// (acc·2^s·m + 2^31) >> 32, one rounding, ties towards +∞.
    SingleUp,
    /// No rounding to int8: the engine computes in 32-bit floats. The last bits may differ between processors.
    Float,
}

impl Rounding {
    /// The name used in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SingleUp => "single-up",
            Self::Float => "float",
        }
    }
}

/// The facts of a model, as stated by a board or a model file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFacts<'a> {
    /// The model's name.
    pub name: &'a str,
    /// When it was exported, [RFC 3339](https://www.rfc-editor.org/info/rfc3339) in UTC; empty if the file does not
    /// state it.
    pub created: &'a str,
    /// Trainable parameters of the network before quantization.
    pub parameters: u32,
    /// Multiply-accumulates of one inference.
    pub macs: u64,
    /// Bytes of arena that an inference needs.
    pub arena_bytes: u32,
    /// Bytes of the whole model image.
    pub model_bytes: u32,
    /// How activations are requantized. This also tells which kind of engine answers.
    pub rounding: Rounding,
    /// SHA-256 of the whole model image.
    pub sha256: [u8; 32],
}
