//! Quantizing: from folded float layers and chosen ranges to the integer layers of a model image.
//!
//! Weights: symmetric int8, one scale an output channel. Bias: int32 at s_in·s_w. Requantization:
//! multiplier M = s_in·s_w/s_out as m = M·2^(32−shift), see `runtime::kernels::requantize`.

use std::collections::HashMap;

use anyhow::{Context, Result};
use lightwafer_compiler::writer::LayerSpec;
use lightwafer_runtime::graph::{IMAGE, NONE, Op};
use tch::{Kind, Tensor};

use super::calibrate::Affine;
use super::fold::{Folded, FoldedStudent, inner_dims};
use crate::topology::layers::{activation_name, output_axis};
use crate::topology::{Activation, Layer, Part, Source};

/// The largest bias, so that accumulators keep room. A channel whose weights are far smaller than its bias
/// gets a coarser weight scale.
const MAX_BIAS: f64 = (1 << 24) as f64;
const TWO_32: f64 = 4_294_967_296.0;
/// Logits leave the class head in units of 2⁻¹⁶.
const LOGIT_UNITS: f64 = 65_536.0;

/// Quantized tensors of one layer.
struct Quantized {
    weights: Vec<i8>,
    bias: Vec<i32>,
    /// Real scale of each output channel's weights.
    scales: Vec<f64>,
}

fn values(tensor: &Tensor) -> Result<Vec<f64>> {
    let flat = tensor.to_kind(Kind::Double).contiguous().flatten(0, -1);
    Vec::try_from(flat).context("reading a weight tensor")
}

/// Quantizes the weights of `op`; `input_scale` is the real value of one step of the tensor it reads.
fn quantize(op: Op, layer: &Folded, input_scale: f64) -> Result<Quantized> {
    let axis = output_axis(op);
    let size = layer.weight.size();
    let (weights, bias) = (values(&layer.weight)?, values(&layer.bias)?);
    let inner: i64 = size[axis + 1..].iter().product();
    let channel = |at: usize| at / inner as usize % size[axis] as usize;
    let mut scales = vec![1e-12f64; size[axis] as usize];
    for (at, w) in weights.iter().enumerate() {
        let scale = &mut scales[channel(at)];
        *scale = scale.max(w.abs() / 127.0);
    }
    for (scale, b) in scales.iter_mut().zip(&bias) {
        *scale = scale.max(b.abs() / (input_scale * MAX_BIAS));
    }
    let round = |x: f64| (x + 0.5).floor();
    Ok(Quantized {
        weights: weights
            .iter()
            .enumerate()
            .map(|(at, w)| round(w / scales[channel(at)]).clamp(-127.0, 127.0) as i8)
            .collect(),
        bias: bias
            .iter()
            .zip(&scales)
            .map(|(b, s)| round(b / (s * input_scale)) as i32)
            .collect(),
        scales,
    })
}

/// The real weights and biases that the integers of `layer` stand for; `input_scale` is the real value of one step
/// of the tensor that it reads.
///
/// # Panics
/// When the layer's tensors cannot be read, which happens only if memory is short.
pub fn rounded(op: Op, layer: &Folded, input_scale: f64) -> Folded {
    let q = match quantize(op, layer, input_scale) {
        Ok(q) => q,
        Err(error) => panic!("{error:#}"),
    };
    let (size, kind) = (layer.weight.size(), layer.weight.kind());
    let device = layer.weight.device();
    let mut shape = vec![-1; size.len()];
    inner_dims(op, &layer.weight)
        .iter()
        .for_each(|dim| shape[*dim as usize] = 1);
    let scales = Tensor::from_slice(&q.scales);
    let weight = Tensor::from_slice(&q.weights)
        .view(size.as_slice())
        .to_kind(Kind::Double)
        * scales.view(shape.as_slice());
    let bias = Tensor::from_slice(&q.bias).to_kind(Kind::Double) * scales * input_scale;
    let float = |x: Tensor| x.to_kind(kind).to_device(device);
    Folded {
        weight: float(weight),
        bias: float(bias),
    }
}

/// The smallest shift with which every multiplier is below 2^31, and those multipliers.
fn multipliers(real: &[f64]) -> (u8, Vec<i32>) {
    let fits = |shift: i32| {
        real.iter()
            .all(|m| m * TWO_32 / 2f64.powi(shift) < 2_147_483_647.0)
    };
    let shift = (0..30).find(|s| fits(*s)).unwrap_or(30);
    let scale = TWO_32 / 2f64.powi(shift);
    (
        shift as u8,
        real.iter().map(|m| (m * scale).round() as i32).collect(),
    )
}

/// The integer layers of the student, and the real value of one step of each one's output: of the
/// embedding for the class head, of the accumulator for the mask head.
///
/// # Errors
/// An activation that was not calibrated.
pub fn layers(
    student: &FoldedStudent,
    ranges: &HashMap<Activation, Affine>,
) -> Result<(Vec<LayerSpec>, Vec<f64>)> {
    let mut net = Builder {
        student,
        ranges,
        layers: vec![],
        outputs: vec![],
    };
    for (at, layer) in student.layers().iter().enumerate() {
        let (spec, output) = net.layer(at, layer)?;
        net.layers.push(spec);
        net.outputs.push(output);
    }
    let scales = net.outputs.iter().map(|output| output.scale).collect();
    Ok((net.layers, scales))
}

/// Builds layers one after the other.
struct Builder<'c> {
    student: &'c FoldedStudent,
    ranges: &'c HashMap<Activation, Affine>,
    layers: Vec<LayerSpec>,
    /// Quantization of each layer's output.
    outputs: Vec<Affine>,
}

impl Builder<'_> {
    /// The quantization of a layer's output; a mask head's is its accumulator, in units of its own.
    fn output(&self, layer: &Layer) -> Result<Affine> {
        let Some(activation) = layer.activation else {
            return Ok(Affine {
                scale: 1.0,
                zero_point: 0,
            });
        };
        let range = self.ranges.get(&activation).copied();
        range.with_context(|| {
            let name = activation_name(self.student.layers(), activation);
            format!("{name} was not calibrated")
        })
    }

    /// The layer at `at`, and the quantization of its output.
    fn layer(&self, at: usize, layer: &Layer) -> Result<(LayerSpec, Affine)> {
        let input = match layer.inputs.first() {
            Some(Source::Layer(from)) => self.outputs.get(*from).copied(),
            _ => None,
        };
        let (input, output) = (input.unwrap_or(Affine::IMAGE), self.output(layer)?);
        let spec = shape(layer, output)?;
        let Some(weights) = self.student.weights(at) else {
            return Ok((spec, output));
        };
        match layer.part {
            Part::ClassHead => class_head(spec, layer, weights, input, output),
            Part::MaskHead => mask_head(spec, layer, weights, input),
            _ => convolution(spec, layer, weights, input, output),
        }
    }
}

/// A layer without weights.
fn shape(layer: &Layer, output: Affine) -> Result<LayerSpec> {
    let mut inputs = [NONE; 2];
    for (input, source) in inputs.iter_mut().zip(&layer.inputs) {
        *input = match source {
            Source::Image => IMAGE,
            Source::Layer(from) => u8::try_from(*from).context("too many layers")?,
        };
    }
    let number = |x: i64| u16::try_from(x).context("a layer is too large");
    Ok(LayerSpec {
        op: layer.op,
        inputs,
        height: number(layer.size)?,
        width: number(layer.size)?,
        channels: number(layer.channels)?,
        zero_point: output.zero_point,
        relu: layer.relu,
        shift: 0,
        tiles: 0,
        weights: vec![],
        bias: vec![],
        multipliers: vec![],
        mean_multiplier: 0,
    })
}

/// A convolution, whose accumulators are requantized to the steps of `output`.
fn convolution(
    spec: LayerSpec,
    layer: &Layer,
    weights: &Folded,
    input: Affine,
    output: Affine,
) -> Result<(LayerSpec, Affine)> {
    let q = quantize(layer.op, weights, input.scale)?;
    let scales = q.scales.iter();
    let real: Vec<f64> = scales.map(|s| s * input.scale / output.scale).collect();
    let (shift, multipliers) = multipliers(&real);
    let spec = LayerSpec {
        shift,
        weights: q.weights,
        bias: q.bias,
        multipliers,
        ..spec
    };
    Ok((spec, output))
}

/// The class head: means to the steps of the `embedding`, then logits in units of 2⁻¹⁶.
fn class_head(
    spec: LayerSpec,
    layer: &Layer,
    weights: &Folded,
    input: Affine,
    embedding: Affine,
) -> Result<(LayerSpec, Affine)> {
    let q = quantize(layer.op, weights, embedding.scale)?;
    let scales = q.scales.iter();
    let real: Vec<f64> = scales.map(|s| s * embedding.scale * LOGIT_UNITS).collect();
    let (shift, multipliers) = multipliers(&real);
    let pixels = (layer.size * layer.size) as f64;
    let mean = (input.scale / (pixels * embedding.scale) * TWO_32).round();
    let spec = LayerSpec {
        shift,
        weights: q.weights,
        bias: q.bias,
        multipliers,
        mean_multiplier: mean as i32,
        ..spec
    };
    Ok((spec, embedding))
}

/// The mask head: the sign of its accumulator is the mask, so nothing is requantized.
fn mask_head(
    spec: LayerSpec,
    layer: &Layer,
    weights: &Folded,
    input: Affine,
) -> Result<(LayerSpec, Affine)> {
    let q = quantize(layer.op, weights, input.scale)?;
    let accumulator = Affine {
        scale: q.scales.first().map_or(1.0, |s| s * input.scale),
        zero_point: 0,
    };
    let spec = LayerSpec {
        weights: q.weights,
        bias: q.bias,
        ..spec
    };
    Ok((spec, accumulator))
}
