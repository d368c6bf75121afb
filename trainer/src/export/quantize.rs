//! From folded float layers and chosen ranges to the integer layers of a model image.
//!
//! Weights: symmetric int8, one scale an output channel. Bias: int32 at s_in·s_w. Requantization:
//! multiplier M = s_in·s_w/s_out as m = M·2^(32−shift), see `runtime::kernels::requantize`.

use std::collections::HashMap;

use anyhow::{Context, Result};
use lightwafer_compiler::writer::LayerSpec;
use lightwafer_runtime::graph::{IMAGE, NONE, Op};
use tch::{Kind, Tensor};

use super::calibrate::Affine;
use super::fold::{Folded, FoldedStudent, Value};
use crate::network::CLASSES;
use crate::student::{DECODER, ENCODER};

/// Largest bias, so that accumulators keep room: a channel whose weights are far smaller than its bias
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

/// Quantizes weights whose output channel is dimension `axis`.
fn quantize(layer: &Folded, axis: usize, input_scale: f64) -> Result<Quantized> {
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

/// The layer that the integers of `layer` stand for: `axis` is its output channels' dimension, `input_scale`
/// the real value of one step of what it reads.
///
/// # Panics
/// Where the layer's tensors cannot be read, which only memory decides.
pub fn rounded(layer: &Folded, axis: usize, input_scale: f64) -> Folded {
    let q = match quantize(layer, axis, input_scale) {
        Ok(q) => q,
        Err(error) => panic!("{error:#}"),
    };
    let (size, kind) = (layer.weight.size(), layer.weight.kind());
    let device = layer.weight.device();
    let shape: Vec<i64> = (0..size.len())
        .map(|dim| if dim == axis { -1 } else { 1 })
        .collect();
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

/// Builds layers one after the other.
struct Builder<'c> {
    ranges: &'c HashMap<Value, Affine>,
    layers: Vec<LayerSpec>,
    /// Quantization of each layer's output.
    outputs: Vec<Affine>,
}

impl Builder<'_> {
    fn affine(&self, value: Value) -> Result<Affine> {
        self.ranges
            .get(&value)
            .copied()
            .with_context(|| format!("{value:?} was not calibrated"))
    }

    fn input(&self, at: u8) -> Affine {
        self.outputs
            .get(usize::from(at))
            .copied()
            .unwrap_or(Affine::IMAGE)
    }

    #[allow(clippy::too_many_arguments, reason = "one layer's facts")]
    fn convolution(
        &mut self,
        op: Op,
        inputs: [u8; 2],
        size: u16,
        layer: &Folded,
        output: Affine,
        relu: bool,
    ) -> Result<u8> {
        let axis = usize::from(op == Op::TransposedConv2x2);
        let input = self.input(inputs[0]);
        let q = quantize(layer, axis, input.scale)?;
        let real: Vec<f64> = q
            .scales
            .iter()
            .map(|s| s * input.scale / output.scale)
            .collect();
        let (shift, multipliers) = multipliers(&real);
        let output = match (op, real.first()) {
            // Its accumulator is what it gives.
            (Op::MaskHead, Some(&scale)) => Affine { scale, ..output },
            _ => output,
        };
        self.push(
            LayerSpec {
                op,
                inputs,
                height: size,
                width: size,
                channels: q.bias.len() as u16,
                zero_point: output.zero_point,
                relu,
                shift,
                tiles: 0,
                weights: q.weights,
                bias: q.bias,
                multipliers,
                mean_multiplier: 0,
            },
            output,
        )
    }

    fn pool(&mut self, op: Op, from: u8, size: u16, channels: u16) -> Result<u8> {
        let output = self.input(from);
        self.push(
            LayerSpec {
                op,
                inputs: [from, NONE],
                height: size,
                width: size,
                channels,
                zero_point: output.zero_point,
                relu: false,
                shift: 0,
                tiles: 0,
                weights: vec![],
                bias: vec![],
                multipliers: vec![],
                mean_multiplier: 0,
            },
            output,
        )
    }

    fn class_head(&mut self, from: u8, size: u16, layer: &Folded) -> Result<u8> {
        let (input, embedding) = (self.input(from), self.affine(Value::Embedding)?);
        let q = quantize(layer, 0, embedding.scale)?;
        let real: Vec<f64> = q
            .scales
            .iter()
            .map(|s| s * embedding.scale * LOGIT_UNITS)
            .collect();
        let (shift, multipliers) = multipliers(&real);
        let pixels = f64::from(size) * f64::from(size);
        self.push(
            LayerSpec {
                op: Op::ClassHead,
                inputs: [from, NONE],
                height: size,
                width: size,
                channels: CLASSES as u16,
                zero_point: embedding.zero_point,
                relu: false,
                shift,
                tiles: 0,
                weights: q.weights,
                bias: q.bias,
                multipliers,
                mean_multiplier: (input.scale / (pixels * embedding.scale) * TWO_32).round() as i32,
            },
            embedding,
        )
    }

    fn push(&mut self, layer: LayerSpec, output: Affine) -> Result<u8> {
        self.layers.push(layer);
        self.outputs.push(output);
        u8::try_from(self.layers.len() - 1).context("too many layers")
    }
}

/// The integer layers of the student, and the real value of one step of what each gives: of the
/// embedding for the class head, of the accumulator for the mask head.
///
/// # Errors
/// A value that was not calibrated.
pub fn layers(
    student: &FoldedStudent,
    ranges: &HashMap<Value, Affine>,
) -> Result<(Vec<LayerSpec>, Vec<f64>)> {
    let mut net = Builder {
        ranges,
        layers: vec![],
        outputs: vec![],
    };
    let mut size = lightwafer_runtime::dies::IMAGE_SIZE as u16;
    let (mut from, mut skips) = (IMAGE, vec![]);
    for (i, block) in student.encoder.iter().enumerate() {
        let op = if i == 0 {
            Op::ImageConv3x3
        } else {
            Op::Conv3x3
        };
        let first = net.affine(Value::EncoderFirst(i))?;
        let depthwise = net.affine(Value::EncoderDepthwise(i))?;
        let output = net.affine(Value::Skip(i))?;
        from = net.convolution(op, [from, NONE], size, &block.first, first, true)?;
        from = net.convolution(
            Op::Depthwise3x3,
            [from, NONE],
            size,
            &block.depthwise,
            depthwise,
            false,
        )?;
        from = net.convolution(
            Op::Pointwise,
            [from, NONE],
            size,
            &block.pointwise,
            output,
            true,
        )?;
        if i < 4 {
            skips.push(from);
            size /= 2;
            let op = if i < 3 { Op::MaxPool2 } else { Op::AvgPool2 };
            from = net.pool(op, from, size, ENCODER[i] as u16)?;
        }
    }
    net.class_head(from, size, &student.class_head)?;
    for (i, (up, block)) in student.up.iter().zip(&student.decoder).enumerate() {
        let level = DECODER.len() - 1 - i;
        size *= 2;
        let skip = net.affine(Value::Skip(level))?;
        let first = net.affine(Value::DecoderFirst(i))?;
        let depthwise = net.affine(Value::DecoderDepthwise(i))?;
        let output = net.affine(Value::DecoderOutput(i))?;
        from = net.convolution(Op::TransposedConv2x2, [from, NONE], size, up, skip, false)?;
        from = net.convolution(
            Op::Pointwise,
            [from, skips[level]],
            size,
            &block.first,
            first,
            true,
        )?;
        from = net.convolution(
            Op::Depthwise3x3,
            [from, NONE],
            size,
            &block.depthwise,
            depthwise,
            false,
        )?;
        from = net.convolution(
            Op::Pointwise,
            [from, NONE],
            size,
            &block.pointwise,
            output,
            true,
        )?;
    }
    let unit = Affine {
        scale: 1.0,
        zero_point: 0,
    };
    net.convolution(
        Op::MaskHead,
        [from, NONE],
        size,
        &student.mask_head,
        unit,
        false,
    )?;
    if let Some(head) = net.layers.last_mut() {
        // The mask is the accumulator's sign: nothing to requantize.
        head.multipliers.clear();
        head.shift = 0;
    }
    let scales = net.outputs.iter().map(|output| output.scale).collect();
    Ok((net.layers, scales))
}
