//! The facts of boards and models, as owned values that serialize to JSON.

use lightwafer_device::protocol::message::{Hello, ResetCause};
use lightwafer_runtime::image;
use serde::{Serialize, Serializer};

/// The facts of a model; see [`image::ModelFacts`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelFacts {
    /// The model's name.
    pub name: String,
    /// Trainable parameters of the network before quantization.
    pub parameters: u32,
    /// Multiply-accumulates of one inference.
    pub macs: u64,
    /// Bytes of arena that an inference needs.
    pub arena_bytes: u32,
    /// Bytes of the whole model image.
    pub model_bytes: u32,
    /// SHA-256 of the whole model image; in JSON as 64 hexadecimal digits.
    #[serde(serialize_with = "as_hex")]
    pub sha256: [u8; 32],
    /// How activations are requantized, such as `single-up`.
    pub rounding: &'static str,
    /// When it was exported, RFC 3339 in UTC.
    pub created: String,
}

/// The facts of a board and of the model it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BoardFacts {
    /// Board name, such as `mps2-an500`.
    pub board: String,
    /// Firmware version.
    pub firmware: String,
    /// Protocol version of the board.
    pub protocol: u16,
    /// Largest packed map that the board accepts, in bytes.
    pub max_map: u32,
    /// Largest chunk that the board accepts and sends, in bytes.
    pub max_chunk: u16,
    /// Why the board last started.
    pub reset: ResetCause,
    /// The model it runs. In JSON its fields are part of the board's object.
    #[serde(flatten)]
    pub model: ModelFacts,
}

fn as_hex<S: Serializer>(bytes: &[u8; 32], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&base16ct::lower::encode_string(bytes))
}

impl ModelFacts {
    /// The SHA-256 as 64 hexadecimal digits.
    pub fn sha256_hex(&self) -> String {
        base16ct::lower::encode_string(&self.sha256)
    }
}

impl From<&image::ModelFacts<'_>> for ModelFacts {
    fn from(facts: &image::ModelFacts<'_>) -> Self {
        Self {
            name: facts.name.into(),
            parameters: facts.parameters,
            macs: facts.macs,
            arena_bytes: facts.arena_bytes,
            model_bytes: facts.model_bytes,
            sha256: facts.sha256,
            rounding: facts.rounding.name(),
            created: facts.created.into(),
        }
    }
}

impl From<&Hello<'_>> for BoardFacts {
    fn from(hello: &Hello<'_>) -> Self {
        Self {
            board: hello.board.into(),
            firmware: hello.firmware.into(),
            protocol: hello.protocol,
            max_map: hello.max_map,
            max_chunk: hello.max_chunk,
            reset: hello.reset,
            model: ModelFacts::from(&hello.model),
        }
    }
}

impl BoardFacts {
    /// Board and model in a few words.
    pub(crate) fn identity(&self) -> String {
        format!(
            "{} with model {}",
            self.board,
            &self.model.sha256_hex()[..12]
        )
    }

    /// Whether this is the same board with the same model; a restart changes neither.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        self.board == other.board && self.model.sha256 == other.model.sha256
    }
}
