//! The model image: what an exporter writes and a board reads, byte by byte.
//!
//! [`Model::new_checked`] takes untrusted bytes and copies none of the weights; a value of type
//! [`Model`] upholds everything the executor relies on, so that inference cannot fail.
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
//! | 4 | CRC-32 (ISO-HDLC) of all bytes before |
//!
//! Numbers are little endian.

mod check;
mod facts;

use core::fmt;

use heapless::Vec;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use facts::{ModelFacts, Rounding};

use crate::aligned::{ALIGNMENT, beyond};
use crate::dies::{CLASS_COUNT, DieMap};
use crate::graph::{Layer, RECORD_BYTES, channels_in};
use crate::limits::MAX_LAYERS;
use crate::plan::layout::WORK_COUNT;
use crate::{Sentence, crc32};

/// First bytes of every image.
pub const MAGIC: [u8; 8] = *b"LWMODEL\0";
/// Version of the format.
pub const FORMAT_VERSION: u16 = 3;

/// Byte positions of the fixed part, which every image begins with.
#[doc(hidden)]
#[allow(missing_docs)]
pub mod field {
    use core::ops::Range;
    pub const MAGIC: Range<usize> = 0..8;
    pub const VERSION: Range<usize> = 8..10;
    pub const HEADER_LEN: Range<usize> = 10..12;
    pub const TOTAL_LEN: Range<usize> = 12..16;
    pub const DATA_LEN: Range<usize> = 16..20;
    pub const GOLDEN_LEN: Range<usize> = 20..24;
    pub const END: usize = 24;
    pub const CRC_LEN: usize = 4;
}

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
    /// Bytes of arena an inference needs.
    pub arena_bytes: u32,
    /// Where in it the work areas lie, in bytes, multiples of 4.
    pub work: [u32; WORK_COUNT],
    /// How many layers follow.
    pub layers: u8,
}

/// A wafer whose answer is known: proof that an image and the code that runs it agree.
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
    /// `None` is all zeros: an empty model in a `static` takes no flash.
    parts: Option<Parts<'a>>,
    layers: Vec<Layer, MAX_LAYERS>,
}

/// What lies in the image.
#[derive(Debug, Clone)]
struct Parts<'a> {
    image: &'a [u8],
    header: Header<'a>,
    data: &'a [u8],
    golden: Golden<'a>,
}

/// The parts of no model.
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

/// Why bytes are not a model image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ModelError {
    /// The image does not begin at a multiple of [`ALIGNMENT`] bytes: what
    /// [`include_model!`](crate::include_model) gives does.
    Alignment {
        /// How many bytes after such a multiple it begins.
        beyond: usize,
    },
    /// The first bytes are not [`MAGIC`].
    Magic,
    /// Another version of the format.
    Version(u16),
    /// The image is shorter or longer than it says.
    Length {
        /// What it says, or the least an image has.
        expected: usize,
        /// What there is.
        found: usize,
    },
    /// The CRC-32 is wrong: the image is damaged.
    Crc,
    /// The header cannot be decoded.
    Header,
    /// The golden wafer cannot be decoded or is no die map.
    Golden,
    /// No layers, or more than [`MAX_LAYERS`].
    LayerCount(usize),
    /// A layer's inputs are not earlier layers of the right kind; a depthwise convolution must read a
    /// convolution that nothing else reads, and of what was computed in tiles before only what is whole
    /// can be read.
    Inputs(usize),
    /// A layer's shape does not follow from its inputs, or is not supported.
    Shape(usize),
    /// A layer's weights or records lie outside the data section, or not on a word.
    Data(usize),
    /// A first convolution has other weights than the one before: they share one table.
    Table(usize),
    /// A layer's quantization is contradictory (zero points, multipliers, shift).
    Quantization(usize),
    /// A layer's accumulator could overflow 32 bits.
    Overflow(usize),
    /// There is not exactly one mask head, the last layer, and one class head, or what the class head reads
    /// is not computed once and whole for the mask head.
    Heads,
    /// A layer cannot be computed in so many tiles, or not be kept whole.
    Tiles(usize),
    /// A layer keeps fewer rows than its readers need.
    LineBuffer(usize),
    /// A part of the arena (a layer's rows by its position, or a work area behind those) lies over another
    /// that is in use at the same time, or not on a word.
    Memory(usize),
    /// The header's arena size is less than the line buffers need, or more than twice that.
    Arena {
        /// What the line buffers need.
        expected: usize,
        /// What the header says.
        found: usize,
    },
    /// The header's multiply-accumulates are not what the layers cost.
    Macs,
}

impl ModelError {
    /// The error as text, in no more code than a board can afford.
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
                "layer #: its weights lie outside the image, or not on words",
                [l, 0],
            ),
            Self::Table(l) => (
                "layer #: another first convolution's weights differ",
                [l, 0],
            ),
            Self::Quantization(l) => ("layer #: its quantization is contradictory", [l, 0]),
            Self::Overflow(l) => ("layer #: its accumulator could overflow 32 bits", [l, 0]),
            Self::Heads => (
                "the model needs one mask head, its last layer, and one class head on its way",
                [0; 2],
            ),
            Self::Tiles(l) => ("layer #: it cannot be computed in such tiles", [l, 0]),
            Self::LineBuffer(l) => ("layer #: it keeps fewer rows than its readers need", [l, 0]),
            Self::Memory(p) => match p.checked_sub(MAX_LAYERS) {
                None => (
                    "layer #: its rows lie over others in use at the same time",
                    [p, 0],
                ),
                Some(p) => ("work area # lies over rows in use at the same time", [p, 0]),
            },
            Self::Arena { expected, found } => (
                "the header says # bytes of arena, the line buffers need #",
                [found, expected],
            ),
            Self::Macs => (
                "the header's multiply-accumulates are not the layers'",
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
    /// Checks an untrusted image: lengths, CRC-32, every layer's shape and data, that no accumulator
    /// can overflow, and that every line buffer holds the rows its readers need.
    ///
    /// # Errors
    /// Every variant of [`ModelError`]; layers are named by position.
    pub fn new_checked(image: &'a [u8]) -> Result<Self, ModelError> {
        let mut model = Self::empty();
        model.load(image)?;
        Ok(model)
    }

    /// No model: without layers, and without facts worth showing.
    pub const fn empty() -> Self {
        Self {
            parts: None,
            layers: Vec::new(),
        }
    }

    /// As [`Model::new_checked`], in place: a model is too large for a small stack.
    ///
    /// # Errors
    /// As [`Model::new_checked`]; the model is empty then.
    pub fn load(&mut self, image: &'a [u8]) -> Result<(), ModelError> {
        let loaded = self.decode(image).and_then(|()| check::check(self));
        if loaded.is_err() {
            self.parts = None;
            self.layers.clear();
        }
        loaded
    }

    /// Decodes an image and checks what does not depend on its layers.
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

    /// The layers, each after those it reads.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The golden wafer's map.
    pub fn golden_map(&self) -> Option<DieMap<'a>> {
        let golden = self.golden();
        DieMap::new_checked(golden.rows, golden.cols, golden.packed).ok()
    }

    /// The golden wafer and its expected answer.
    pub fn golden(&self) -> &Golden<'a> {
        &self.parts().golden
    }

    /// The image's bytes.
    pub fn image(&self) -> &'a [u8] {
        self.parts().image
    }

    /// Facts for people and hosts; hashes the whole image.
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

    /// The weights and channel records of a layer; empty when they lie outside the data section,
    /// which a checked model rules out.
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
