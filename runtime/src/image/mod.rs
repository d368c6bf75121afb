//! The model image, byte by byte: the compiler writes it, and a board reads it in place.
//!
//! [`Model::new_checked`] takes untrusted bytes and copies none of the weights. A value of type [`Model`]
//! guarantees everything that the engine relies on, so inference cannot fail.
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | magic `LWMODEL\0` |
//! | 2 | format version, 3 |
//! | 2 | `h`: length of the header |
//! | 4 | length of the whole image |
//! | 4 | `d`: length of the data section |
//! | 4 | `g`: length of the golden wafer |
//! | h | header: postcard of [`Header`], then of each [`Layer`] |
//! | d | data: weights and channel records |
//! | g | golden wafer: postcard of [`Golden`] |
//! | 4 | CRC-32 (ISO-HDLC) of all bytes before it |
//!
//! Numbers are little endian. The header is [postcard](https://postcard.jamesmunns.com/wire-format).

mod arena_size;
mod check;
mod facts;
mod fixed;

use core::fmt;

use heapless::Vec;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use arena_size::arena_bytes;
pub use facts::{ModelFacts, Rounding};
pub use fixed::{FORMAT_VERSION, MAGIC, field};

use crate::aligned::{ALIGNMENT, beyond};
use crate::checksum::crc32;
use crate::dies::{CLASS_COUNT, DieMap};
use crate::graph::{Layer, RECORD_BYTES, channels_in};
use crate::limits::MAX_LAYERS;
use crate::plan::layout::WORK_COUNT;
use crate::sentence::Sentence;

/// The header of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header<'a> {
    /// The model's name.
    pub name: &'a str,
    /// When it was exported, RFC 3339 in UTC.
    pub created: &'a str,
    /// How activations are requantized.
    pub rounding: Rounding,
    /// Trainable parameters of the network before quantization.
    pub parameters: u32,
    /// Multiply-accumulates of one inference.
    pub macs: u64,
    /// Bytes of arena that an inference needs.
    pub arena_bytes: u32,
    /// Where the work areas lie in the arena, in bytes; multiples of 4.
    pub work: [u32; WORK_COUNT],
    /// The number of layers that follow.
    pub layers: u8,
}

/// The golden wafer: a self-test vector, that is, a wafer map with the answer that the model must give for it. The
/// right answer shows that the image and the code that runs it agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Golden<'a> {
    /// Rows of the die grid.
    pub rows: u16,
    /// Columns of the die grid.
    pub cols: u16,
    /// The packed dies.
    pub packed: &'a [u8],
    /// The expected logits in units of 2⁻¹⁶.
    pub logits: Vec<i32, CLASS_COUNT>,
    /// CRC-32 of the expected mask's bytes.
    pub mask_crc: u32,
}

/// A checked model image, or none yet.
#[derive(Debug, Clone)]
pub struct Model<'a> {
    /// `None` is stored as zeros, so an empty model in a `static` takes no flash.
    parts: Option<Parts<'a>>,
    layers: Vec<Layer, MAX_LAYERS>,
}

/// The sections of an image.
#[derive(Debug, Clone)]
struct Parts<'a> {
    image: &'a [u8],
    header: Header<'a>,
    data: &'a [u8],
    golden: Golden<'a>,
}

/// The sections of an empty model.
static NO_PARTS: Parts<'static> = Parts {
    image: &[],
    header: Header {
        name: "",
        created: "",
        rounding: Rounding::SingleUp,
        parameters: 0,
        macs: 0,
        arena_bytes: 0,
        work: [0; WORK_COUNT],
        layers: 0,
    },
    data: &[],
    golden: Golden {
        rows: 0,
        cols: 0,
        packed: &[],
        logits: Vec::new(),
        mask_crc: 0,
    },
};

/// Why bytes are not a valid model image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ModelError {
    /// The image does not begin at a multiple of [`ALIGNMENT`] bytes. An image from
    /// [`include_model!`](crate::include_model) does.
    Alignment {
        /// Number of bytes after such a multiple at which it begins.
        beyond: usize,
    },
    /// The first bytes are not [`MAGIC`].
    Magic,
    /// The image has another version of the format.
    Version(u16),
    /// The image is shorter or longer than its header states.
    Length {
        /// The length in the header, or the smallest length of an image.
        expected: usize,
        /// The length of the given bytes.
        found: usize,
    },
    /// The CRC-32 is wrong: the image is damaged.
    Crc,
    /// The header cannot be decoded.
    Header,
    /// The golden wafer cannot be decoded, or is not a die map.
    Golden,
    /// There are no layers, or more than [`MAX_LAYERS`].
    LayerCount(usize),
    /// A layer's inputs are not earlier layers of the right kind. Two more rules hold: a depthwise convolution must
    /// read a convolution that only depthwise convolutions read; and of earlier stages, a layer can read only the
    /// targets.
    Inputs(usize),
    /// A layer's shape does not follow from its inputs, or is not supported.
    Shape(usize),
    /// A layer's weights or records lie outside the data section, or do not begin at a multiple of 4.
    Data(usize),
    /// Two first convolutions have different weights. They must be equal, because they share one look-up table.
    Table(usize),
    /// A layer's quantization is contradictory (zero points, multipliers, shift).
    Quantization(usize),
    /// A layer's accumulator could overflow 32 bits.
    Overflow(usize),
    /// A model must have exactly one mask head, as its last layer, and exactly one class head, which reads every row
    /// of its input exactly once while the mask is computed. This one does not.
    Heads,
    /// A layer cannot be the target of a stage, or not with this number of tiles.
    Tiles(usize),
    /// A layer's line buffer has fewer rows than its readers need, or more than the layer has.
    LineBuffer(usize),
    /// A part of the arena overlaps a part that is live at the same time, or does not begin at a multiple of 4. The
    /// number is the position of a layer, for its line buffer; larger numbers are work areas.
    Memory(usize),
    /// The header states less arena than the buffers need, or more than twice as much.
    Arena {
        /// The bytes that the buffers need.
        expected: usize,
        /// The bytes that the header states.
        found: usize,
    },
    /// The header states another number of multiply-accumulates than the layers have.
    Macs,
}

impl ModelError {
    /// The error as a text that a board can write without `core::fmt`.
    pub fn sentence(self) -> Sentence {
        let (text, numbers) = match self {
            Self::Alignment { beyond } => (
                "the image begins # bytes after a multiple of #: use include_model",
                [beyond, ALIGNMENT],
            ),
            Self::Magic => ("not a LightWafer model image (wrong first bytes)", [0; 2]),
            Self::Version(v) => (
                "model format #; this build reads #: export it again",
                [v.into(), FORMAT_VERSION.into()],
            ),
            Self::Length { expected, found } => (
                "the image has # bytes, # expected: is it cut short?",
                [found, expected],
            ),
            Self::Crc => ("the CRC-32 is wrong: the image is damaged", [0; 2]),
            Self::Header => ("the header cannot be decoded", [0; 2]),
            Self::Golden => ("the golden wafer cannot be decoded", [0; 2]),
            Self::LayerCount(n) => ("# layers; 1 to # are supported", [n, MAX_LAYERS]),
            Self::Inputs(l) => ("layer #: its inputs are not earlier layers", [l, 0]),
            Self::Shape(l) => ("layer #: its shape does not follow from its inputs", [l, 0]),
            Self::Data(l) => (
                "layer #: its weights are outside the image, or not aligned to 4",
                [l, 0],
            ),
            Self::Table(l) => (
                "layer #: the first convolutions have different weights",
                [l, 0],
            ),
            Self::Quantization(l) => ("layer #: its quantization is contradictory", [l, 0]),
            Self::Overflow(l) => ("layer #: its accumulator could overflow 32 bits", [l, 0]),
            Self::Heads => (
                "the model needs one mask head, as its last layer, and one class head",
                [0; 2],
            ),
            Self::Tiles(l) => ("layer #: it cannot be computed in so many tiles", [l, 0]),
            Self::LineBuffer(l) => (
                "layer #: its line buffer is too short for its readers",
                [l, 0],
            ),
            Self::Memory(p) => match p.checked_sub(MAX_LAYERS) {
                None => (
                    "layer #: its line buffer overlaps one in use at the same time",
                    [p, 0],
                ),
                Some(p) => (
                    "work area # overlaps a buffer in use at the same time",
                    [p, 0],
                ),
            },
            Self::Arena { expected, found } => (
                "the header states # bytes of arena, the buffers need #",
                [found, expected],
            ),
            Self::Macs => (
                "the header's multiply-accumulates are not those of the layers",
                [0; 2],
            ),
        };
        Sentence::new(text, numbers)
    }
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sentence().fmt(f)
    }
}

impl core::error::Error for ModelError {}

fn u16_at(bytes: &[u8], at: core::ops::Range<usize>) -> Option<usize> {
    Some(u16::from_le_bytes(bytes.get(at)?.try_into().ok()?).into())
}

fn u32_at(bytes: &[u8], at: core::ops::Range<usize>) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(bytes.get(at)?.try_into().ok()?)).ok()
}

impl<'a> Model<'a> {
    /// Checks an untrusted image: lengths, CRC-32, shape and data of every layer. Proves that no accumulator can
    /// overflow, that every line buffer holds the rows its readers need, and that buffers that are live at the same
    /// time do not overlap.
    ///
    /// # Errors
    /// Every variant of [`ModelError`]; layers are named by position.
    pub fn new_checked(image: &'a [u8]) -> Result<Self, ModelError> {
        let mut model = Self::empty();
        model.load(image)?;
        Ok(model)
    }

    /// An empty model, with no layers and no facts.
    pub const fn empty() -> Self {
        Self {
            parts: None,
            layers: Vec::new(),
        }
    }

    /// Like [`Model::new_checked`], but in place, because a model is too large for a small stack.
    ///
    /// # Errors
    /// The same as for [`Model::new_checked`]. After an error the model is empty.
    pub fn load(&mut self, image: &'a [u8]) -> Result<(), ModelError> {
        let loaded = self.decode(image).and_then(|()| check::check(self));
        if loaded.is_err() {
            self.clear();
        }
        loaded
    }

    /// Makes the model empty.
    pub(crate) fn clear(&mut self) {
        self.parts = None;
        self.layers.clear();
    }

    /// Decodes an image and checks everything that does not depend on its layers.
    #[inline(never)]
    fn decode(&mut self, image: &'a [u8]) -> Result<(), ModelError> {
        self.layers.clear();
        let (found, beyond) = (image.len(), beyond(image));
        if beyond != 0 {
            return Err(ModelError::Alignment { beyond });
        }
        let short = ModelError::Length {
            expected: field::END + field::CRC_LEN,
            found,
        };
        if image.get(field::MAGIC).ok_or(short)? != MAGIC {
            return Err(ModelError::Magic);
        }
        let version = u16_at(image, field::VERSION).ok_or(short)?;
        if version != usize::from(FORMAT_VERSION) {
            return Err(ModelError::Version(version as u16));
        }
        let header_len = u16_at(image, field::HEADER_LEN).ok_or(short)?;
        let total = u32_at(image, field::TOTAL_LEN).ok_or(short)?;
        let data_len = u32_at(image, field::DATA_LEN).ok_or(short)?;
        let golden_len = u32_at(image, field::GOLDEN_LEN).ok_or(short)?;
        let expected = (field::END + field::CRC_LEN + header_len)
            .saturating_add(data_len)
            .saturating_add(golden_len);
        if total != found || expected != found {
            return Err(ModelError::Length {
                expected: total.max(expected),
                found,
            });
        }
        let (body, crc) = image
            .split_at_checked(found - field::CRC_LEN)
            .ok_or(short)?;
        if crc != crc32(body).to_le_bytes() {
            return Err(ModelError::Crc);
        }
        let rest = body.get(field::END..).ok_or(short)?;
        let (head, rest) = rest.split_at_checked(header_len).ok_or(short)?;
        let (data, golden) = rest.split_at_checked(data_len).ok_or(short)?;

        let (header, mut records) =
            postcard::take_from_bytes::<Header<'a>>(head).map_err(|_| ModelError::Header)?;
        let count = usize::from(header.layers);
        if count == 0 || count > MAX_LAYERS {
            return Err(ModelError::LayerCount(count));
        }
        for _ in 0..count {
            let (layer, rest) =
                postcard::take_from_bytes::<Layer>(records).map_err(|_| ModelError::Header)?;
            self.layers
                .push(layer)
                .map_err(|_| ModelError::LayerCount(count))?;
            records = rest;
        }
        let Ok((golden, [])) = postcard::take_from_bytes::<Golden<'a>>(golden) else {
            return Err(ModelError::Golden);
        };
        self.parts = Some(Parts {
            image,
            header,
            data,
            golden,
        });
        self.golden_map().map(|_| ()).ok_or(ModelError::Golden)
    }

    fn parts(&self) -> &Parts<'a> {
        self.parts.as_ref().unwrap_or(&NO_PARTS)
    }

    /// The header.
    pub fn header(&self) -> &Header<'a> {
        &self.parts().header
    }

    /// The layers; each comes after the layers it reads.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The map of the golden wafer.
    pub fn golden_map(&self) -> Option<DieMap<'a>> {
        let golden = self.golden();
        DieMap::new_checked(golden.rows, golden.cols, golden.packed).ok()
    }

    /// The golden wafer and its expected answer.
    pub fn golden(&self) -> &Golden<'a> {
        &self.parts().golden
    }

    /// The bytes of the image.
    pub fn image(&self) -> &'a [u8] {
        self.parts().image
    }

    /// The facts of the model. Computes the SHA-256 of the whole image.
    pub fn facts(&self) -> ModelFacts<'a> {
        let Parts { image, header, .. } = self.parts();
        ModelFacts {
            name: header.name,
            created: header.created,
            parameters: header.parameters,
            macs: header.macs,
            arena_bytes: header.arena_bytes,
            model_bytes: image.len() as u32,
            rounding: header.rounding,
            sha256: Sha256::digest(image).into(),
        }
    }

    /// The weights and channel records of a layer. Empty if they lie outside the data section, which cannot happen in
    /// a checked model.
    pub fn parameters(&self, layer: &Layer) -> (&'a [u8], &'a [u8]) {
        let (weights, records) = layer.parameters(channels_in(&self.layers, layer));
        let part = |at: u32, len: usize| {
            let at = at as usize;
            self.parts()
                .data
                .get(at..at.saturating_add(len))
                .unwrap_or(&[])
        };
        (
            part(layer.weights, weights),
            part(layer.records, records * RECORD_BYTES),
        )
    }
}
