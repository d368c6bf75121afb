//! `trainer export --int8`: a checkpoint becomes the model image that a board runs.
//!
//! Folds batch normalization ([`fold`]), evens out channels ([`equalize`]), corrects biases
//! ([`correct`]), chooses ranges on training maps ([`calibrate`]), quantizes ([`quantize`]) and writes with
//! the runtime's own writer, which proves the image before it is written.

pub mod calibrate;
pub mod correct;
pub mod equalize;
pub mod fold;
pub mod quantize;

use std::collections::HashMap;

use anyhow::{Context, Result};
use lightwafer_runtime::model::writer::{LayerSpec, ModelSpec, write};
use lightwafer_runtime::wafer::DieMap;
use tch::Tensor;

use calibrate::Choice;
use fold::{FoldedStudent, Value};

/// Batches that biases are corrected on: they are in memory at once, with all they become.
const CORRECTION_BATCHES: usize = 6;

/// An exported model.
#[derive(Debug)]
pub struct Exported {
    /// The image's bytes.
    pub image: Vec<u8>,
    /// The range of every int8 tensor, in the order they are computed.
    pub choices: Vec<(Value, Choice)>,
    /// The integer layers that the image was written from.
    pub layers: Vec<LayerSpec>,
    /// The real value of one step of what each layer gives, see [`quantize::layers`].
    pub scales: Vec<f64>,
}

/// Quantizes the checkpoint `tensors` on calibration `batches` of images (B, 3, 224, 224).
///
/// `golden` becomes the image's golden wafer; `created` is RFC 3339 in UTC.
///
/// # Errors
/// A tensor that is missing or of another shape, or what the image writer refuses.
pub fn export_int8(
    tensors: &HashMap<String, Tensor>,
    parameters: u32,
    batches: &[Tensor],
    golden: &DieMap<'_>,
    name: &str,
    created: &str,
) -> Result<Exported> {
    let mut student = FoldedStudent::new(tensors).context("the checkpoint is not a student's")?;
    equalize::equalize(&mut student, batches);
    if !batches.is_empty() {
        let few = &batches[..batches.len().min(CORRECTION_BATCHES)];
        correct::correct(&mut student, &Tensor::cat(few, 0));
    }
    let choices = calibrate::calibrate(&student, batches);
    let (layers, scales) = quantize::layers(&student, &choices)?;
    let spec = ModelSpec {
        name: name.into(),
        created: created.into(),
        parameters,
        layers,
    };
    let image = write(&spec, golden).context("the quantized network cannot be written")?;
    let mut choices: Vec<_> = choices.into_iter().collect();
    choices.sort_by_key(|(value, _)| order(*value));
    Ok(Exported {
        image,
        choices,
        layers: spec.layers,
        scales,
    })
}

/// Position of a value in the network.
fn order(value: Value) -> usize {
    match value {
        Value::EncoderFirst(i) => 3 * i,
        Value::EncoderDepthwise(i) => 3 * i + 1,
        Value::Skip(i) => 3 * i + 2,
        Value::Embedding => 15,
        Value::DecoderFirst(i) => 16 + 3 * i,
        Value::DecoderDepthwise(i) => 17 + 3 * i,
        Value::DecoderOutput(i) => 18 + 3 * i,
    }
}
