//! The tract engine: the student as ONNX, in 32-bit floats, on hosts and Linux boards (std).
//!
//! [`TractEngine::new_checked`] takes the bytes of a file as docs/onnx.md describes it, and refuses with a named
//! [`TractError`] one whose classes, palette, input or outputs are not this crate's. Images are rendered by
//! [`DieMap::render_row`], as everywhere. tract itself may panic on a damaged graph; that is caught here, and
//! becomes an error or an [`EngineFailure`] (the panic's message appears on stderr all the same, and a program built
//! with `panic = "abort"` ends). What cannot be caught is a graph that asks for more memory than there is
//! while it is being optimized: take files from those who may replace the program, too.

mod check;
#[cfg(test)]
mod tests;

use core::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use heapless::Vec;
use sha2::{Digest, Sha256};
use tract_onnx::prelude::{
    Framework, InferenceFact, InferenceModelExt, IntoRunnable, IntoTValue, Tensor,
    TypedRunnableModel, tvec,
};
use tract_onnx::tract_hir::internal::{Cost, Datum, TractResult, TypedModel};

use check::About;
use lightwafer_runtime::dies::{CLASS_COUNT, DieMap, IMAGE_SIZE, Mask, PALETTE};
use lightwafer_runtime::image::{ModelFacts, Rounding};
use lightwafer_runtime::limits::MAX_CHANNELS;
use lightwafer_runtime::{Answer, Engine, EngineFailure};

/// One unit of the tract engine's [`Answer::embedding`], as a fraction of 1; features beyond ±8 saturate.
pub const EMBEDDING_UNIT: f32 = 1.0 / 16.0;

/// Largest file that is read, in bytes; the published student has 228,005.
pub const MAX_FILE: usize = 64 << 20;

/// Most bytes that all values of a network together may take.
const MAX_VALUES: u64 = 1 << 30;

const INPUT: &str = "image";
const OUTPUTS: [&str; 3] = ["mask", "logits", "embedding"];
const PIXELS: usize = IMAGE_SIZE * IMAGE_SIZE;

/// Why bytes are not a student that this engine runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TractError {
    /// More bytes than [`MAX_FILE`].
    Size {
        /// Bytes of the file.
        bytes: usize,
    },
    /// No ONNX model, or one that tract cannot read or run; tract's reason.
    Graph(String),
    /// The metadata has no such entry.
    Missing(&'static str),
    /// An entry of the metadata is not what this crate has: the answers would mean something else.
    Differs(&'static str),
    /// The model has other inputs than one named `image`.
    Input,
    /// There is no output of this name and shape, in 32-bit floats.
    Output(&'static str),
    /// The network's values together take more than a gigabyte.
    Memory {
        /// Bytes they take.
        bytes: u64,
    },
    /// It read well, but failed on a first wafer.
    Trial,
}

impl fmt::Display for TractError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size { bytes } => write!(
                f,
                "{bytes} bytes are too many: at most {MAX_FILE} are read as an ONNX model"
            ),
            Self::Graph(reason) => write!(f, "not an ONNX model that tract runs: {reason}"),
            Self::Missing(key) => write!(
                f,
                "the ONNX metadata has no `{key}`; it is not a model of `trainer onnx`"
            ),
            Self::Differs(key) => write!(
                f,
                "the ONNX metadata's `{key}` is not this program's; it was trained for other data"
            ),
            Self::Input => write!(
                f,
                "the ONNX model has to have one input, `{INPUT}`, of 1x3x{IMAGE_SIZE}x{IMAGE_SIZE} floats"
            ),
            Self::Output(name) => write!(
                f,
                "the ONNX model has no output `{name}` of the shape in docs/onnx.md, in 32-bit floats"
            ),
            Self::Memory { bytes } => write!(
                f,
                "the network's values take {bytes} bytes, more than the {MAX_VALUES} allowed"
            ),
            Self::Trial => f.write_str("the network fails on a first wafer"),
        }
    }
}

impl core::error::Error for TractError {}

/// Runs the ONNX student with tract, on the calling thread alone.
pub struct TractEngine {
    plan: Arc<TypedRunnableModel>,
    about: About,
    macs: u64,
    value_bytes: u32,
    file_bytes: u32,
    sha256: [u8; 32],
}

impl fmt::Debug for TractEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TractEngine")
            .field("facts", &self.facts())
            .finish_non_exhaustive()
    }
}

impl TractEngine {
    /// Reads, checks and optimizes an ONNX file, and tries it on a wafer without dies.
    ///
    /// # Errors
    /// [`TractError`] says what is wrong with the file. Never panics, but see the module about memory.
    pub fn new_checked(file: &[u8]) -> Result<Self, TractError> {
        if file.len() > MAX_FILE {
            return Err(TractError::Size { bytes: file.len() });
        }
        let load = AssertUnwindSafe(|| Self::load(file));
        catch_unwind(load).unwrap_or_else(|_| {
            Err(TractError::Graph(
                "tract panicked; the file is damaged".into(),
            ))
        })
    }

    fn load(file: &[u8]) -> Result<Self, TractError> {
        let onnx = tract_onnx::onnx();
        let mut bytes = file;
        // Without a folder, so that tensors in other files are refused.
        let proto = onnx.proto_model_for_read(&mut bytes).map_err(graph)?;
        let about = About::of(&proto)?;
        let model = onnx.model_for_proto_model(&proto).map_err(graph)?;
        let [input] = model.inputs[..] else {
            return Err(TractError::Input);
        };
        if model.node(input.node).name != INPUT {
            return Err(TractError::Input);
        }
        let mut model = model;
        for name in OUTPUTS {
            model
                .select_outputs_by_name([name])
                .map_err(|_| TractError::Output(name))?;
        }
        model.select_outputs_by_name(OUTPUTS).map_err(graph)?;
        let shape = [1, 3, IMAGE_SIZE, IMAGE_SIZE];
        let fact = InferenceFact::dt_shape(f32::datum_type(), shape);
        let model = model.with_input_fact(0, fact).map_err(graph)?;
        let typed = model.into_typed().map_err(graph)?;
        check::outputs(&typed)?;
        let bytes = check::values(&typed).map_err(graph)?;
        if bytes > MAX_VALUES {
            return Err(TractError::Memory { bytes });
        }
        let typed = typed.into_decluttered().map_err(graph)?;
        let macs = macs(&typed).map_err(graph)?;
        let optimized = typed.into_optimized().map_err(graph)?;
        let value_bytes = peak(&optimized).map_err(graph)?;
        let mut engine = Self {
            plan: optimized.into_runnable().map_err(graph)?,
            about,
            macs,
            value_bytes,
            file_bytes: file.len() as u32,
            sha256: Sha256::digest(file).into(),
        };
        let no_die = DieMap::new_checked(1, 1, &[0]).map_err(|_| TractError::Trial)?;
        engine
            .classify(&no_die, &mut Mask::new())
            .map_err(|_| TractError::Trial)?;
        Ok(engine)
    }

    fn infer(&self, map: &DieMap<'_>, mask: &mut Mask) -> TractResult<Option<Answer>> {
        let outputs = self.plan.run(tvec!(image(map)?.into_tvalue()))?;
        let [marks, logits, features] = &outputs[..] else {
            return Ok(None);
        };
        let marks = marks.try_as_plain_ram()?;
        let (logits, features) = (logits.try_as_plain_ram()?, features.try_as_plain_ram()?);
        let marks = marks.as_slice::<f32>()?;
        let (logits, features) = (logits.as_slice::<f32>()?, features.as_slice::<f32>()?);
        let finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
        let Ok(logits) = <[f32; CLASS_COUNT]>::try_from(logits) else {
            return Ok(None);
        };
        if marks.len() != PIXELS || !finite(marks) || !finite(&logits) || !finite(features) {
            return Ok(None);
        }
        *mask = Mask::new();
        for (y, marks) in marks.chunks_exact(IMAGE_SIZE).enumerate() {
            if let Some(row) = mask.row_mut(y) {
                for (byte, marks) in row.iter_mut().zip(marks.chunks_exact(8)) {
                    *byte = marks
                        .iter()
                        .rev()
                        .fold(0, |bits, &mark| bits << 1 | u8::from(mark >= 0.0));
                }
            }
        }
        // Conversions from floats saturate.
        let logits = logits.map(|logit| (logit / lightwafer_runtime::LOGIT_UNIT).round() as i32);
        let mut embedding = Vec::<i8, MAX_CHANNELS>::new();
        for feature in features {
            let code = (feature / EMBEDDING_UNIT).round() as i8;
            if embedding.push(code).is_err() {
                return Ok(None);
            }
        }
        Ok(Some(Answer::from_logits(logits, embedding)))
    }
}

impl Engine for TractEngine {
    /// `created` is empty: ONNX files do not say. `arena_bytes` are the values that live at once; what
    /// tract needs besides is not counted.
    fn facts(&self) -> ModelFacts<'_> {
        ModelFacts {
            name: &self.about.name,
            created: "",
            parameters: self.about.parameters,
            macs: self.macs,
            arena_bytes: self.value_bytes,
            model_bytes: self.file_bytes,
            rounding: Rounding::Float,
            sha256: self.sha256,
        }
    }

    fn classify(&mut self, map: &DieMap<'_>, mask: &mut Mask) -> Result<Answer, EngineFailure> {
        let run = AssertUnwindSafe(|| self.infer(map, mask));
        match catch_unwind(run) {
            Ok(Ok(Some(answer))) => Ok(answer),
            Ok(Ok(None) | Err(_)) | Err(_) => Err(EngineFailure),
        }
    }
}

/// tract's reasons, outermost first.
fn graph(error: tract_onnx::prelude::TractError) -> TractError {
    // Alternate: with its causes.
    TractError::Graph(std::format!("{error:#}"))
}

/// The network's input: three planes, red, green and blue, 0…1.
fn image(map: &DieMap<'_>) -> TractResult<Tensor> {
    let mut planes = vec![0.0f32; 3 * PIXELS];
    let mut dies = [0; IMAGE_SIZE];
    for y in 0..IMAGE_SIZE {
        map.render_row(y, &mut dies);
        for (plane, pixels) in planes.chunks_exact_mut(PIXELS).enumerate() {
            let row = pixels.chunks_exact_mut(IMAGE_SIZE).nth(y);
            for (pixel, &die) in row.into_iter().flatten().zip(&dies) {
                let colour = PALETTE.get(usize::from(die)).unwrap_or(&PALETTE[0]);
                *pixel = f32::from(colour[plane]) / 255.0;
            }
        }
    }
    Tensor::from_shape(&[1, 3, IMAGE_SIZE, IMAGE_SIZE], &planes)
}

/// Multiply-accumulates of one inference, as tract counts them.
fn macs(model: &TypedModel) -> TractResult<u64> {
    let mut macs = 0u64;
    for node in model.nodes() {
        let inputs = model.node_input_facts(node.id)?;
        for (cost, count) in node.op.cost(&inputs)? {
            if matches!(cost, Cost::FMA(_)) {
                macs = macs.saturating_add(count.to_i64()?.unsigned_abs());
            }
        }
    }
    Ok(macs)
}

/// Bytes of values that live at once, at most.
fn peak(model: &TypedModel) -> TractResult<u32> {
    let order = model.eval_order()?;
    let steps = model.eval_tmp_memory_usage(&order, |node| !node.op_is::<Const>())?;
    let mut peak = 0;
    for (_, bytes) in steps {
        peak = peak.max(bytes.to_i64()?);
    }
    Ok(u32::try_from(peak).unwrap_or(u32::MAX))
}

use tract_onnx::tract_core::ops::konst::Const;
