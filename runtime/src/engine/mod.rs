//! The fixed-point engine: rows stream through the network in one arena that the caller gives.
//!
//! Each layer keeps its last rows in a line buffer. The compiler sized the line buffers, and the check at load
//! proved them (see [`order`]). Rows of the input image are rendered from the die map when they are needed.
//! Nothing is allocated and nothing recurses. After [`FixedEngine::new`] or [`FixedEngine::start`] nothing can
//! fail.

#[cfg(feature = "alloc")]
mod kernel_table;
mod row;

#[cfg(feature = "alloc")]
pub use kernel_table::{KernelTable, LayerKernels, RowPaths};

use core::fmt;

use heapless::Vec;

use crate::aligned::{ALIGNMENT, beyond};
use crate::answer::{Answer, Engine, EngineFailure};
use crate::dies::{CLASS_COUNT, DieMap, IMAGE_SIZE, Mask, source_index};
use crate::graph::{Layer, Op, channels_in};
use crate::image::{Model, ModelError, ModelFacts};
use crate::kernels::image_conv::fill_table;
use crate::kernels::row::CodeRow;
use crate::kernels::{Kernels, Native, Quantization, heads};
use crate::limits::MAX_CHANNELS;
use crate::plan::layout::{Form, Layout, Part};
use crate::plan::order;
use crate::plan::tiles::Tile;
use crate::sentence::Sentence;

/// Why an engine cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum EngineError {
    /// The arena is too small.
    Arena {
        /// Bytes the model needs.
        needed: usize,
        /// Bytes that were given.
        given: usize,
    },
    /// The arena does not begin at a multiple of [`ALIGNMENT`] bytes. An [`Arena`](crate::Arena) does.
    Alignment {
        /// Number of bytes after such a multiple at which it begins.
        beyond: usize,
    },
}

impl EngineError {
    /// The error as a text that a board can write without `core::fmt`.
    pub fn sentence(self) -> Sentence {
        match self {
            Self::Arena { needed, given } => Sentence::new(
                "the model needs # bytes of arena, # were given",
                [needed, given],
            ),
            Self::Alignment { beyond } => Sentence::new(
                "the arena begins # bytes after a multiple of #: use Arena",
                [beyond, ALIGNMENT],
            ),
        }
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sentence().fmt(f)
    }
}

impl core::error::Error for EngineError {}

/// Why an engine does not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum StartError {
    /// The image is not a model.
    Model(ModelError),
    /// The model's engine cannot be made.
    Engine(EngineError),
}

impl StartError {
    /// The error as a text that a board can write without `core::fmt`.
    pub fn sentence(self) -> Sentence {
        match self {
            Self::Model(error) => error.sentence(),
            Self::Engine(error) => error.sentence(),
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sentence().fmt(f)
    }
}

impl core::error::Error for StartError {}

impl From<ModelError> for StartError {
    fn from(error: ModelError) -> Self {
        Self::Model(error)
    }
}

impl From<EngineError> for StartError {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

/// The self-test failed: the engine's answer to the golden wafer is not the one in the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SelfTestFailed;

impl SelfTestFailed {
    /// The error as a text that a board can write without `core::fmt`.
    pub const fn sentence(self) -> Sentence {
        Sentence::new(
            "the golden wafer's answer is not the one in the model image",
            [0; 2],
        )
    }
}

impl fmt::Display for SelfTestFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sentence().fmt(f)
    }
}

impl core::error::Error for SelfTestFailed {}

/// An event that [`FixedEngine::infer_watched`] reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RowEvent {
    /// A row will be computed next.
    Begins,
    /// A row of the layer at this position has been computed.
    Ends(usize),
}

/// The integer engine: runs a checked model in an arena.
#[derive(Debug)]
pub struct FixedEngine<'m, 'a> {
    model: Model<'m>,
    facts: Option<ModelFacts<'m>>,
    memory: Memory<'a>,
}

/// All memory that an inference writes.
#[derive(Debug)]
struct Memory<'a> {
    /// `None` is stored as zeros, so an idle engine in a `static` takes no flash.
    arena: Option<&'a mut [i8]>,
    layout: Layout,
    /// The tile that the layout is for.
    tile: Option<Tile>,
    /// Look-up indices for the last three image rows, row y at y % 3; and which rows and columns they are for.
    codes: [CodeRow; 3],
    code_rows: [usize; 3],
    /// Sums of the class head's input, one a channel.
    sums: [i32; MAX_CHANNELS],
    embedding: Vec<i8, MAX_CHANNELS>,
    logits: [i32; CLASS_COUNT],
}

impl<'m, 'a> FixedEngine<'m, 'a> {
    /// Prepares `arena` for `model`. The content of the arena does not matter; its alignment does, and an
    /// [`Arena`](crate::Arena) has the right one.
    ///
    /// # Errors
    /// [`EngineError::Arena`] when it is smaller than the model's `arena_bytes`, [`EngineError::Alignment`] when it
    /// does not begin at a multiple of [`ALIGNMENT`] bytes.
    pub fn new(model: Model<'m>, arena: &'a mut [i8]) -> Result<Self, EngineError> {
        let mut engine = Self {
            model,
            ..Self::idle()
        };
        engine.memory.arena = Some(arena);
        engine.prepare()?;
        Ok(engine)
    }

    /// An engine without a model. It refuses every wafer until it is started.
    pub const fn idle() -> Self {
        Self {
            model: Model::empty(),
            facts: None,
            memory: Memory {
                arena: None,
                layout: Layout::EMPTY,
                tile: None,
                codes: [const { CodeRow::EMPTY }; 3],
                code_rows: [0; 3],
                sums: [0; MAX_CHANNELS],
                embedding: Vec::new(),
                logits: [0; CLASS_COUNT],
            },
        }
    }

    /// Checks a model image and prepares `arena` for it. Works in place, because an engine is too large for a small
    /// stack.
    ///
    /// # Errors
    /// Any error of [`Model::new_checked`] or [`FixedEngine::new`]. After an error the engine is idle.
    pub fn start(&mut self, image: &'m [u8], arena: &'a mut [i8]) -> Result<(), StartError> {
        self.memory.arena = Some(arena);
        self.load(image)
    }

    /// Like [`FixedEngine::start`], in the arena of the last start.
    ///
    /// # Errors
    /// The same as for [`FixedEngine::start`].
    pub fn load(&mut self, image: &'m [u8]) -> Result<(), StartError> {
        self.facts = None;
        self.model.load(image)?;
        let prepared = self.prepare();
        if prepared.is_err() {
            // An engine that is not prepared runs no layer.
            self.model.clear();
        }
        Ok(prepared?)
    }

    #[inline(never)]
    fn prepare(&mut self) -> Result<(), EngineError> {
        let needed = self.model.header().arena_bytes as usize;
        let arena = self.memory.arena.as_deref().unwrap_or_default();
        let (given, beyond) = (arena.len(), beyond(arena));
        if given < needed {
            return Err(EngineError::Arena { needed, given });
        }
        if beyond != 0 {
            return Err(EngineError::Alignment { beyond });
        }
        self.memory.tile = None;
        self.facts = Some(self.model.facts());
        Ok(())
    }

    /// The model that the engine runs.
    pub fn model(&self) -> &Model<'m> {
        &self.model
    }

    /// Classifies one wafer and writes its mask.
    ///
    /// An idle engine computes nothing: all its logits are 0, and the mask stays as it is. Where an engine may be
    /// idle, use [`Engine::classify`], which refuses.
    pub fn infer(&mut self, map: &DieMap<'_>, mask: &mut Mask) -> Answer {
        self.stream(map, mask);
        self.answer()
    }

    /// Like [`FixedEngine::infer`], and calls `watch` before and after each row of each layer: for measurements.
    pub fn infer_watched(
        &mut self,
        map: &DieMap<'_>,
        mask: &mut Mask,
        mut watch: impl FnMut(RowEvent),
    ) -> Answer {
        let (model, memory) = (&self.model, &mut self.memory);
        memory.clear();
        order::for_each_row(model.layers(), |step| {
            watch(RowEvent::Begins);
            memory.take(model, step, map, mask, &mut Native);
            watch(RowEvent::Ends(step.at));
        });
        self.answer()
    }

    // Not inlined, so that the stack frame of the answer is not there while the kernels run.

    #[inline(never)]
    fn stream(&mut self, map: &DieMap<'_>, mask: &mut Mask) {
        let (model, memory) = (&self.model, &mut self.memory);
        memory.clear();
        order::for_each_row(model.layers(), |step| {
            memory.take(model, step, map, mask, &mut Native)
        });
    }

    #[inline(never)]
    fn answer(&self) -> Answer {
        Answer::from_logits(self.memory.logits, self.memory.embedding.clone())
    }

    /// The self-test: classifies the image's golden wafer and compares the answer. Overwrites `mask`.
    ///
    /// # Errors
    /// [`SelfTestFailed`] when a logit or a mask bit differs.
    pub fn self_test(&mut self, mask: &mut Mask) -> Result<(), SelfTestFailed> {
        let map = self.model.golden_map().ok_or(SelfTestFailed)?;
        let answer = self.infer(&map, mask);
        let golden = self.model.golden();
        let same = answer.logits[..] == golden.logits[..]
            && crate::checksum::crc32(&mask.0) == golden.mask_crc;
        same.then_some(()).ok_or(SelfTestFailed)
    }
}

impl Engine for FixedEngine<'_, '_> {
    fn facts(&self) -> ModelFacts<'_> {
        self.facts.clone().unwrap_or_else(|| self.model.facts())
    }

    fn classify(&mut self, map: &DieMap<'_>, mask: &mut Mask) -> Result<Answer, EngineFailure> {
        if self.facts.is_none() {
            return Err(EngineFailure);
        }
        Ok(self.infer(map, mask))
    }
}

impl Layer {
    fn quantization(&self) -> Quantization {
        Quantization {
            shift: u32::from(self.shift),
            zero_point: i32::from(self.zero_point),
            act_min: i32::from(self.act_min),
        }
    }
}

impl Memory<'_> {
    /// Clears the results of the previous wafer.
    fn clear(&mut self) {
        self.code_rows = [usize::MAX; 3];
        self.sums = [0; MAX_CHANNELS];
        self.logits = [0; CLASS_COUNT];
        self.embedding.clear();
    }

    /// Executes one step of the execution order.
    fn take(
        &mut self,
        model: &Model<'_>,
        step: &order::Step<'_>,
        map: &DieMap<'_>,
        mask: &mut Mask,
        kernels: &mut impl Kernels,
    ) {
        if self.tile != Some(step.tile) {
            self.begin(model, step.tile);
        }
        self.produce(model, step.at, step.row, map, mask, kernels);
    }

    /// Prepares the arena for a tile.
    #[inline(never)]
    fn begin(&mut self, model: &Model<'_>, tile: Tile) {
        let layers = model.layers();
        let layout = &mut self.layout;
        layout.lay_out(layers, &model.header().work, tile);
        let arena = self.arena.as_deref_mut().unwrap_or_default();
        for at in tile.layers() {
            let (Some(layer), Some(buffer)) = (layers.get(at), layout.parts.get(at)) else {
                continue;
            };
            // Only pixels are written later: the padding keeps the zero point from here on.
            let fresh = tile.is_first() || !tile.is_whole(at);
            if fresh
                && buffer.form != Form::Nhwc
                && let Some(bytes) = arena.get_mut(buffer.region.range())
            {
                bytes.fill(layer.zero_point);
            }
            if layer.op == Op::ImageConv3x3 {
                let (weights, _) = model.parameters(layer);
                if let Some(bytes) = arena.get_mut(layout.work(Part::Table).range()) {
                    fill_table(weights, usize::from(layer.channels), bytes);
                }
            }
        }
        self.tile = Some(tile);
    }

    /// Adds a row of the class head's input to the sums. After the last row, computes embedding and logits.
    #[inline(never)]
    fn class_row(&mut self, model: &Model<'_>, layer: &Layer, row: u16) {
        let (weights, records) = model.parameters(layer);
        let channels = channels_in(model.layers(), layer);
        let input = usize::from(layer.inputs[0]);
        let (Some(from), Some(buffer)) = (model.layers().get(input), self.layout.parts.get(input))
        else {
            return;
        };
        let arena = self.arena.as_deref().unwrap_or_default();
        let bytes = arena.get(buffer.region.range()).unwrap_or_default();
        heads::add_row(buffer.pixels(bytes, from, row, 0), channels, &mut self.sums);
        if row + 1 == layer.height {
            let mut embedding = [0; MAX_CHANNELS];
            let used = embedding.get_mut(..channels).unwrap_or(&mut []);
            let quantization = Quantization {
                shift: 0,
                ..layer.quantization()
            };
            heads::embed(&self.sums, records, quantization, used);
            self.embedding.clear();
            // Checked models have at most MAX_CHANNELS channels.
            let _ = self.embedding.extend_from_slice(used);
            self.logits = heads::logits(used, weights, records, u32::from(layer.shift));
        }
    }

    /// Computes the look-up indices of image row `y` from column `left` on, unless they are there already. If the
    /// row shows the same dies as the previous one, its indices are copied.
    #[inline(never)]
    fn render(&mut self, map: &DieMap<'_>, y: usize, left: u16) {
        let dies = |y: usize| source_index(y, map.rows(), IMAGE_SIZE);
        let key = |y: usize| usize::from(left) << 8 | y;
        let at = y % 3;
        if self.code_rows.get(at) == Some(&key(y)) {
            return;
        }
        let same = y.checked_sub(1).filter(|&before| {
            self.code_rows.get(before % 3) == Some(&key(before)) && dies(before) == dies(y)
        });
        let copy = same.map(|before| self.codes.get_disjoint_mut([before % 3, at]));
        if let Some(Ok([before, codes])) = copy {
            codes.copy_from(before);
        } else if let Some(codes) = self.codes.get_mut(at) {
            let mut pixels = [0; IMAGE_SIZE];
            map.render_row(y, &mut pixels);
            codes.set(&pixels, usize::from(left));
        }
        if let Some(row) = self.code_rows.get_mut(at) {
            *row = key(y);
        }
    }
}
