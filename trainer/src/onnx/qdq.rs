//! A model image's integers as ONNX: every tensor between QuantizeLinear and DequantizeLinear.
//!
//! Weights are int8 with one scale an output channel, activations int8 with a zero point, biases int32 at
//! s_in·s_w, all the image's own. An image keeps multipliers s_in·s_w/s_out instead of scales, so the scales of
//! activations are free: for any choice of them, s_w follows and the integers stay. With the scales that the
//! exporter chose, the outputs have the checkpoint's units. Rounding differs from a board's in one respect: ONNX
//! rounds ties to even and multiplies in 32-bit floats, so an activation may be one step off where a board's
//! is within about 10⁻⁵ of a tie.

use anyhow::{Context, Result, ensure};
use lightwafer_compiler::writer::LayerSpec;
use lightwafer_runtime::LOGIT_UNIT;
use lightwafer_runtime::graph::{self, Op};

use super::file::{EMBEDDING, IMAGE, Interface, LOGITS, MASK};
use super::graph::{Builder, int};
use super::proto::Graph;
use crate::export::calibrate::Affine;
use crate::topology::layers::{kernel, output_axis};

/// The real value of a step if none is known. Any value would do; a power of two is exact.
const STEP: f64 = 1.0 / 64.0;
const TWO_32: f64 = 4_294_967_296.0;

/// The graph of integer layers. `scales` are the real values of one step of each layer's output: of the
/// embedding for a class head, of the accumulator for a mask head.
///
/// # Errors
/// When layers do not fit together. Those of a checked image always do.
pub fn graph(layers: &[LayerSpec], scales: Option<&[f64]>) -> Result<Graph> {
    let mut net = Qdq {
        graph: Builder::new("LightWaferSegClassNet-int8"),
        layers,
        made: Vec::new(),
    };
    let image = net
        .graph
        .constant("image.scale", &[], &[Affine::IMAGE.scale as f32]);
    let zero = net
        .graph
        .constant("image.zero_point", &[], &[Affine::IMAGE.zero_point]);
    let image = net.round(
        IMAGE,
        "image.rounded",
        &Made::new(image, zero, Affine::IMAGE),
    );
    for (at, layer) in layers.iter().enumerate() {
        let made = match net.earlier(at, layer) {
            Some(made) => made,
            None => {
                let scale = scales.map(|scales| scales.get(at).copied().context("too few scales"));
                let made = net.layer(at, layer, scale.transpose()?, &image);
                made.with_context(|| format!("layer {at}"))?
            }
        };
        net.made.push(made);
    }
    let unit = match scales {
        Some(_) => "",
        None => ", of unknown unit",
    };
    interface(layers)?.declare(&mut net.graph, unit);
    Ok(net.graph.finish())
}

/// The sizes of the input and the outputs of integer layers.
///
/// # Errors
/// When there is no class head, or none that reads a layer.
pub fn interface(layers: &[LayerSpec]) -> Result<Interface> {
    let head = layers.iter().find(|layer| layer.op == Op::ClassHead);
    let head = head.context("no class head")?;
    let embedded = layers.get(usize::from(head.inputs[0]));
    let first = layers.first().context("no layers")?;
    Ok(Interface {
        size: first.height.into(),
        classes: head.channels.into(),
        embedding: embedded
            .context("a class head that reads no layer")?
            .channels
            .into(),
    })
}

/// The output of a layer: int8, and real again.
#[derive(Clone)]
struct Made {
    /// The layer.
    layer: usize,
    /// The name of its real values.
    name: String,
    /// The names of its scale and zero point.
    scale: String,
    zero_point: String,
    affine: Affine,
}

impl Made {
    fn new(scale: String, zero_point: String, affine: Affine) -> Self {
        Self {
            layer: usize::MAX,
            name: String::new(),
            scale,
            zero_point,
            affine,
        }
    }
}

struct Qdq<'l> {
    graph: Builder,
    layers: &'l [LayerSpec],
    /// The output of every layer.
    made: Vec<Made>,
}

impl Qdq<'_> {
    /// The output of an earlier layer that computes the same: an image may compute a layer twice to save memory.
    fn earlier(&self, at: usize, layer: &LayerSpec) -> Option<Made> {
        let sources = |layer: &LayerSpec| {
            layer.inputs.map(|input| {
                let made = self.made.get(usize::from(input));
                made.map_or(usize::from(input), |made| made.layer)
            })
        };
        let facts = |l: &LayerSpec| {
            (
                l.op,
                l.height,
                l.width,
                l.channels,
                l.zero_point,
                l.relu,
                l.shift,
            )
        };
        let earlier = self.layers.get(..at)?.iter().position(|other| {
            facts(other) == facts(layer)
                && sources(other) == sources(layer)
                && (&other.weights, &other.bias) == (&layer.weights, &layer.bias)
                && (&other.multipliers, other.mean_multiplier)
                    == (&layer.multipliers, layer.mean_multiplier)
        })?;
        self.made.get(earlier).cloned()
    }

    /// Real values to int8 and back, under the name of `to`.
    fn round(&mut self, real: &str, name: &str, to: &Made) -> Made {
        let quantization = [to.scale.as_str(), to.zero_point.as_str()];
        let [scale, zero_point] = quantization;
        let quantized = format!("{name}.int8");
        self.graph.node(
            "QuantizeLinear",
            &quantized,
            &[real, scale, zero_point],
            vec![],
        );
        self.graph.node(
            "DequantizeLinear",
            name,
            &[&quantized, scale, zero_point],
            vec![],
        );
        Made {
            name: name.into(),
            ..to.clone()
        }
    }

    fn layer(
        &mut self,
        at: usize,
        layer: &LayerSpec,
        scale: Option<f64>,
        image: &Made,
    ) -> Result<Made> {
        let part = format!("layers.{at}");
        let mut input = self.input(layer.inputs[0], image)?;
        if layer.op == Op::Pointwise && layer.inputs[1] != graph::NONE {
            let second = self.input(layer.inputs[1], image)?;
            ensure!(
                input.affine == second.affine,
                "concatenates tensors of two scales"
            );
            let concat = format!("{part}.concat");
            let both = self.graph.concat(&concat, &[&input.name, &second.name]);
            input = self.round(&both, &format!("{concat}.rounded"), &input);
        }
        let channels = usize::from(layer.channels);
        let rounded = format!("{part}.rounded");
        Ok(match layer.op {
            Op::MaxPool2 => {
                let pooled = self.graph.layer(layer.op, &part, &[&input.name], channels);
                let made = self.round(&pooled, &rounded, &input);
                Made { layer: at, ..made }
            }
            Op::AvgPool2 => {
                let pooled = self.mean(&part, &input, channels);
                let made = self.round(&pooled, &rounded, &input);
                Made { layer: at, ..made }
            }
            Op::ClassHead => {
                let mean = self.graph.global_mean(
                    &format!("{part}.mean"),
                    &format!("{part}.pool"),
                    &input.name,
                );
                let pixels = f64::from(layer.height) * f64::from(layer.width);
                let step = f64::from(layer.mean_multiplier) / TWO_32 * pixels;
                let step = scale.unwrap_or(input.affine.scale / step);
                let affine = self.affine(&format!("{part}.mean"), step, layer.zero_point)?;
                let embedding = self.round(&mean, EMBEDDING, &affine);
                self.convolution(&part, LOGITS, layer, &embedding, f64::from(LOGIT_UNIT));
                Made {
                    layer: at,
                    ..embedding
                }
            }
            Op::MaskHead => {
                // Its multiplier is one: the scale is the accumulator's.
                let step = scale.unwrap_or(STEP);
                self.convolution(&part, MASK, layer, &input, step);
                Made { layer: at, ..input }
            }
            _ => {
                let affine = self.affine(&part, scale.unwrap_or(STEP), layer.zero_point)?;
                let mut real = self.convolution(&part, &part, layer, &input, affine.affine.scale);
                if layer.relu {
                    real = self
                        .graph
                        .node("Relu", &format!("{part}.relu"), &[&real], vec![]);
                }
                let made = self.round(&real, &rounded, &affine);
                Made { layer: at, ..made }
            }
        })
    }

    fn input(&self, from: u8, image: &Made) -> Result<Made> {
        if from == graph::IMAGE {
            return Ok(image.clone());
        }
        let made = self.made.get(usize::from(from)).cloned();
        made.context("reads what no earlier layer makes")
    }

    /// The constants of an activation's quantization; the scale as a 32-bit float holds it.
    fn affine(&mut self, part: &str, scale: f64, zero_point: i8) -> Result<Made> {
        let scale = scale as f32;
        ensure!(scale.is_normal() && scale > 0.0, "{scale} is no scale");
        let affine = Affine {
            scale: f64::from(scale),
            zero_point,
        };
        let scale = self.graph.constant(&format!("{part}.scale"), &[], &[scale]);
        let name = format!("{part}.zero_point");
        let zero_point = self.graph.constant(&name, &[], &[zero_point]);
        Ok(Made::new(scale, zero_point, affine))
    }

    /// A layer with weights, whose real output is called `name`; `unit` is the real value of a step of that.
    fn convolution(
        &mut self,
        part: &str,
        name: &str,
        layer: &LayerSpec,
        input: &Made,
        unit: f64,
    ) -> String {
        let channels = usize::from(layer.channels);
        // s_w = M·s_out/s_in, with M = m·2^(shift−32).
        let gain = |channel: usize| match layer.multipliers.get(channel) {
            Some(multiplier) => f64::from(*multiplier) * 2f64.powi(i32::from(layer.shift)) / TWO_32,
            None => 1.0,
        };
        let scales: Vec<f32> = (0..channels)
            .map(|channel| (gain(channel) * unit / input.affine.scale) as f32)
            .collect();
        let count = layer.weights.len();
        let (dims, axis) = dims(layer.op, channels, count);
        let weight = self.weights(part, &dims, axis, &layer.weights, &scales);
        let bias = self.bias(part, &layer.bias, &scales, input);
        let input = [input.name.as_str(), &weight, &bias];
        self.graph.layer(layer.op, name, &input, channels)
    }

    fn weights(
        &mut self,
        part: &str,
        dims: &[i64],
        axis: i64,
        values: &[i8],
        scales: &[f32],
    ) -> String {
        let count = [scales.len() as i64];
        let name = format!("{part}.weight");
        let values = self.graph.constant(&format!("{name}.int8"), dims, values);
        let scale = self
            .graph
            .constant(&format!("{name}.scale"), &count, scales);
        let zeros = vec![0i8; scales.len()];
        let zero = self
            .graph
            .constant(&format!("{name}.zero_point"), &count, &zeros);
        let axis = vec![int("axis", axis)];
        self.graph
            .node("DequantizeLinear", &name, &[&values, &scale, &zero], axis)
    }

    fn bias(&mut self, part: &str, values: &[i32], scales: &[f32], input: &Made) -> String {
        let count = [scales.len() as i64];
        let name = format!("{part}.bias");
        // As ONNX runtimes multiply: in 32 bits.
        let from = input.affine.scale as f32;
        let scales: Vec<f32> = scales.iter().map(|scale| scale * from).collect();
        let values = self
            .graph
            .constant(&format!("{name}.int32"), &count, values);
        let scale = self
            .graph
            .constant(&format!("{name}.scale"), &count, &scales);
        let axis = vec![int("axis", 0)];
        self.graph
            .node("DequantizeLinear", &name, &[&values, &scale], axis)
    }

    /// 2×2 means that round ties up, as boards do: (2·(a + b + c + d) + 1)/8 is an eighth of a step above the
    /// mean, and then none is a tie.
    fn mean(&mut self, part: &str, input: &Made, channels: usize) -> String {
        let scales = vec![0.125f32; channels];
        let dims = [channels as i64, 1, 2, 2];
        let weight = self.weights(part, &dims, 0, &vec![2; 4 * channels], &scales);
        let bias = self.bias(part, &vec![1; channels], &scales, input);
        self.graph
            .mean_as_convolution(part, &[&input.name, &weight, &bias], channels)
    }
}

/// The shape of a layer's weights in PyTorch's order, and the axis of its output channels.
fn dims(op: Op, channels: usize, count: usize) -> (Vec<i64>, i64) {
    let side = kernel(op);
    let others = (count / (channels * side * side).max(1)) as i64;
    let (channels, side, axis) = (channels as i64, side as i64, output_axis(op));
    let mut dims = match op {
        Op::ClassHead => vec![channels, others],
        _ => vec![channels, others, side, side],
    };
    dims.swap(0, axis);
    (dims, axis as i64)
}
