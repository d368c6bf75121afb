//! `trainer export --int8`: a checkpoint becomes the model image that a board runs.
//!
//! Folds batch normalization ([`fold`]), evens out channels where that helps ([`equalize`]), corrects biases
//! ([`correct`]), chooses ranges on training maps ([`calibrate`]), quantizes ([`quantize`]) and writes with
//! the runtime's own writer, which proves the image before it is written. A student of `trainer quantize`
//! ([`fake`]) has been through the first four and brings the ranges it learned.

pub mod calibrate;
pub mod correct;
pub mod equalize;
pub mod fake;
pub mod fold;
pub mod quantize;

use std::collections::HashMap;

use anyhow::{Context, Result};
use lightwafer_compiler::writer::{LayerSpec, ModelSpec, write};
use lightwafer_runtime::AlignedBox;
use lightwafer_runtime::dies::DieMap;
use serde::Serialize;
use tch::Tensor;

use calibrate::{Affine, Choice, JUDGED, moved};
use fake::FakeStudent;
use fold::{FoldedStudent, Value};

use crate::network::Network;

/// Batches that biases are corrected on: they are in memory at once, with all they become.
const CORRECTION_BATCHES: usize = 6;

/// Whether channels were evened out, and why: how far the quantized network's answers are from the float
/// one's, squared change over square, of class logits and of mask logits, summed.
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
    /// The range of every int8 tensor.
    pub ranges: HashMap<Value, Affine>,
    /// How each was chosen, in the order they are computed; empty where they were learned.
    pub choices: Vec<(Value, Choice)>,
    /// Whether channels were evened out; absent where ranges were learned.
    pub equalization: Option<Equalization>,
}

impl Prepared {
    /// Prepares the checkpoint `tensors` on calibration `batches` of images (B, 3, 224, 224).
    ///
    /// # Errors
    /// A tensor that is missing or of another shape; no batches.
    pub fn calibrated(tensors: &HashMap<String, Tensor>, batches: &[Tensor]) -> Result<Self> {
        let fold = || FoldedStudent::new(tensors).context("the checkpoint is not a student's");
        let float = fold()?;
        let judged = &batches[..batches.len().min(JUDGED)];
        let attempt = |equalized: bool| -> Result<(Self, f64)> {
            let mut student = fold()?;
            if equalized {
                equalize::equalize(&mut student, batches);
            }
            if !batches.is_empty() {
                let few = &batches[..batches.len().min(CORRECTION_BATCHES)];
                correct::correct(&mut student, &Tensor::cat(few, 0));
            }
            let found = calibrate::calibrate(&student, batches);
            let ranges: HashMap<_, _> = found.iter().map(|(v, c)| (*v, c.affine)).collect();
            let fake = FakeStudent::of(student, &ranges)?;
            let effects = judged.iter().map(|images| {
                tch::no_grad(|| {
                    let (class, mask) = float.forward(images, |_, _| ());
                    let rounded = fake.forward(images, false, true);
                    let mask_moved = rounded.mask.map_or(0.0, |rounded| moved(&mask, &rounded));
                    moved(&class, &rounded.logits) + mask_moved
                })
            });
            let effect = effects.sum::<f64>() / judged.len().max(1) as f64;
            let order = Value::all().into_iter();
            let choices =
                order.filter_map(|value| found.get(&value).map(|choice| (value, *choice)));
            let prepared = Self {
                choices: choices.collect(),
                folded: fake.folded(),
                ranges,
                equalization: None,
            };
            Ok((prepared, effect))
        };
        let (with, effect_with) = attempt(true)?;
        let (without, effect_without) = attempt(false)?;
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

    /// A student of `trainer quantize` with the ranges it learned.
    pub fn learned(student: &FakeStudent) -> Self {
        Self {
            folded: student.folded(),
            ranges: student.affine(),
            choices: Vec::new(),
            equalization: None,
        }
    }

    /// Writes the image. `golden` becomes its golden wafer; `created` is RFC 3339 in UTC.
    ///
    /// # Errors
    /// What the image writer refuses.
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
        let all = Value::all().into_iter();
        let ranges = all.filter_map(|value| self.ranges.get(&value).map(|range| (value, *range)));
        Ok(Exported {
            image,
            ranges: ranges.collect(),
            choices: self.choices,
            equalization: self.equalization,
            layers: spec.layers,
            scales,
        })
    }
}

/// An exported model.
#[derive(Debug)]
pub struct Exported {
    /// The image's bytes.
    pub image: AlignedBox<u8>,
    /// The range of every int8 tensor, in the order they are computed.
    pub ranges: Vec<(Value, Affine)>,
    /// How each was chosen; empty where they were learned.
    pub choices: Vec<(Value, Choice)>,
    /// Whether channels were evened out; absent where ranges were learned.
    pub equalization: Option<Equalization>,
    /// The integer layers that the image was written from.
    pub layers: Vec<LayerSpec>,
    /// The real value of one step of what each layer gives, see [`quantize::layers`].
    pub scales: Vec<f64>,
}

/// [`Prepared::calibrated`] and [`Prepared::write`] in one.
///
/// # Errors
/// As theirs.
pub fn export_int8(
    tensors: &HashMap<String, Tensor>,
    parameters: u32,
    batches: &[Tensor],
    golden: &DieMap<'_>,
    name: &str,
    created: &str,
) -> Result<Exported> {
    Prepared::calibrated(tensors, batches)?.write(parameters, golden, name, created)
}
