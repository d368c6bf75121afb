//! `trainer export`: a checkpoint becomes the model image that a board runs.
//!
//! The steps: fold batch normalization ([`fold`]), equalize channels where that helps ([`equalize`]), correct biases
//! ([`bias_correction`]), choose ranges on training maps ([`calibrate`]), quantize ([`quantize`]), and write with
//! the runtime's own writer, which checks the image before it is written. A student of `trainer quantize`
//! ([`qat`]) has been through the first four steps and brings the ranges that it learned.

pub mod bias_correction;
pub mod calibrate;
pub mod equalize;
pub mod fold;
pub mod qat;
pub mod quantize;

use std::collections::HashMap;

use anyhow::{Context, Result};
use lightwafer_compiler::writer::{LayerSpec, ModelSpec, write};
use lightwafer_runtime::AlignedBox;
use lightwafer_runtime::dies::DieMap;
use serde::Serialize;
use tch::Tensor;

use calibrate::{Affine, Choice, JUDGED, moved};
use fold::FoldedStudent;
use qat::QatStudent;

use crate::network::Network;
use crate::topology::layers::{activation_name, activations};
use crate::topology::{Activation, Topology};

/// Batches that biases are corrected on: they are in memory at once, with all they become.
const CORRECTION_BATCHES: usize = 6;

/// Whether channels were equalized, and why: how far the quantized network's answers are from the float
/// network's, squared change over square, of class logits and of mask logits, summed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Equalization {
    /// Whether it was kept.
    pub used: bool,
    /// The distance with it.
    pub effect_with: f64,
    /// The distance without it.
    pub effect_without: f64,
}

/// A student ready to be quantized.
#[derive(Debug)]
pub struct Prepared {
    /// Its layers.
    pub folded: FoldedStudent,
    /// The range of every activation.
    pub ranges: HashMap<Activation, Affine>,
    /// How each range was chosen; empty where they were learned.
    pub choices: HashMap<Activation, Choice>,
    /// Whether channels were equalized; absent where ranges were learned.
    pub equalization: Option<Equalization>,
}

impl Prepared {
    /// Prepares the checkpoint `tensors` of a student of this shape on calibration `batches` of images (B, 3, S, S).
    ///
    /// # Errors
    /// A tensor that is missing or of another shape; no batches.
    pub fn calibrated(
        topology: &Topology,
        tensors: &HashMap<String, Tensor>,
        batches: &[Tensor],
    ) -> Result<Self> {
        let fold = || {
            let folded = FoldedStudent::fold(topology, tensors);
            folded.context("the checkpoint is not a student's")
        };
        let float = fold()?;
        let (with, effect_with) = Self::attempt(fold()?, &float, batches, true)?;
        let (without, effect_without) = Self::attempt(fold()?, &float, batches, false)?;
        let used = effect_with <= effect_without;
        let equalization = Equalization {
            used,
            effect_with,
            effect_without,
        };
        Ok(Self {
            equalization: Some(equalization),
            ..if used { with } else { without }
        })
    }

    /// Prepares `student`, `equalized` or not, and measures how far its quantized answers are from those of
    /// `float`.
    fn attempt(
        mut student: FoldedStudent,
        float: &FoldedStudent,
        batches: &[Tensor],
        equalized: bool,
    ) -> Result<(Self, f64)> {
        if equalized {
            equalize::equalize(&mut student, batches);
        }
        if !batches.is_empty() {
            let few = &batches[..batches.len().min(CORRECTION_BATCHES)];
            bias_correction::correct(&mut student, &Tensor::cat(few, 0));
        }
        let choices = calibrate::calibrate(&student, batches);
        let ranges: HashMap<_, _> = choices.iter().map(|(a, c)| (*a, c.affine)).collect();
        let quantized = QatStudent::of(student, &ranges)?;
        let judged = &batches[..batches.len().min(JUDGED)];
        let effects = judged.iter().map(|images| {
            tch::no_grad(|| {
                let (class, mask) = float.forward(images, |_, _, _| ());
                let rounded = quantized.forward(images, false, true);
                let mask_moved = rounded.mask.map_or(0.0, |rounded| moved(&mask, &rounded));
                moved(&class, &rounded.logits) + mask_moved
            })
        });
        let effect = effects.sum::<f64>() / judged.len().max(1) as f64;
        let prepared = Self {
            choices,
            folded: quantized.folded(),
            ranges,
            equalization: None,
        };
        Ok((prepared, effect))
    }

    /// A student of `trainer quantize` with the ranges it learned.
    pub fn learned(student: &QatStudent) -> Self {
        Self {
            folded: student.folded(),
            ranges: student.affine(),
            choices: HashMap::new(),
            equalization: None,
        }
    }

    /// Writes the image. `golden` becomes its golden wafer; `created` is RFC 3339 in UTC.
    ///
    /// # Errors
    /// When the image writer refuses.
    pub fn write(
        self,
        parameters: u32,
        golden: &DieMap<'_>,
        name: &str,
        created: &str,
    ) -> Result<Exported> {
        let (layers, scales) = quantize::layers(&self.folded, &self.ranges)?;
        let spec = ModelSpec {
            name: name.into(),
            created: created.into(),
            parameters,
            layers,
        };
        let image = write(&spec, golden).context("the quantized network cannot be written")?;
        let layers = self.folded.layers();
        let tensor = |activation| {
            Some(QuantizedTensor {
                name: activation_name(layers, activation).into(),
                range: *self.ranges.get(&activation)?,
                chosen: self.choices.get(&activation).copied(),
            })
        };
        let tensors = activations(layers).into_iter().filter_map(tensor).collect();
        Ok(Exported {
            image,
            tensors,
            equalization: self.equalization,
            layers: spec.layers,
            scales,
        })
    }
}

/// An int8 tensor of an exported model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QuantizedTensor {
    /// The layer that makes it, or `embedding`.
    #[serde(rename = "tensor")]
    pub name: String,
    /// Its range.
    pub range: Affine,
    /// How the range was chosen; absent where it was learned.
    pub chosen: Option<Choice>,
}

/// An exported model.
#[derive(Debug)]
pub struct Exported {
    /// The image's bytes.
    pub image: AlignedBox<u8>,
    /// Every int8 tensor, in the order they are computed.
    pub tensors: Vec<QuantizedTensor>,
    /// Whether channels were equalized; absent where ranges were learned.
    pub equalization: Option<Equalization>,
    /// The integer layers that the image was written from.
    pub layers: Vec<LayerSpec>,
    /// The real value of one step of each layer's output, see [`quantize::layers`].
    pub scales: Vec<f64>,
}

/// [`Prepared::calibrated`] and [`Prepared::write`] in one.
///
/// # Errors
/// As theirs.
pub fn export_int8(
    topology: &Topology,
    tensors: &HashMap<String, Tensor>,
    parameters: u32,
    batches: &[Tensor],
    golden: &DieMap<'_>,
    name: &str,
    created: &str,
) -> Result<Exported> {
    Prepared::calibrated(topology, tensors, batches)?.write(parameters, golden, name, created)
}
