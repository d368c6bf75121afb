//! The student with its batch normalizations folded into the convolutions before them, as the integer network
//! computes it. Every tensor that becomes int8 can be looked at and changed on the way.

use std::collections::HashMap;
use std::convert::Infallible;

use anyhow::{Context, Result, ensure};
use lightwafer_runtime::graph::Op;
use tch::{Kind, Tensor};

use crate::network::{Output, concatenated, global_mean, pooled};
use crate::topology::layers::{kernel, output_axis};
use crate::topology::{Activation, Layer, Part, Topology, walk};

/// PyTorch's default, which the student is trained with.
const EPSILON: f64 = 1e-5;

/// The weights of a layer, with the normalization that follows it.
#[derive(Debug)]
pub struct Folded {
    /// Weights, in PyTorch's order.
    pub weight: Tensor,
    /// One bias an output channel.
    pub bias: Tensor,
}

impl Folded {
    /// The operator applied to `x` with these weights.
    pub(super) fn apply(&self, op: Op, x: &Tensor) -> Tensor {
        let (weight, bias) = (&self.weight, Some(&self.bias));
        match op {
            Op::ClassHead => x.matmul(&weight.tr()) + &self.bias,
            Op::TransposedConv2x2 => {
                x.conv_transpose2d(weight, bias, [2, 2], [0, 0], [0, 0], 1, [1, 1])
            }
            _ => {
                let padding = kernel(op) as i64 / 2;
                let groups = x.size()[1] / weight.size()[1];
                x.conv2d(weight, bias, [1, 1], [padding; 2], [1, 1], groups)
            }
        }
    }
}

/// A place where the integer network rounds a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoundingSite {
    /// The tensor that the layer at this position makes, to the steps of this activation. A class head makes the
    /// embedding.
    Layer(usize, Activation),
    /// Means of 2×2 pixels, to the steps of the activation that they are means of.
    MeanPool(Activation),
}

/// The whole student.
#[derive(Debug)]
pub struct FoldedStudent {
    topology: Topology,
    layers: Vec<Layer>,
    /// The weights of each layer; none for a pool.
    weights: Vec<Option<Folded>>,
}

impl FoldedStudent {
    /// A student whose layers have the weights that `weights` gives for each; it is not asked about pools.
    ///
    /// # Errors
    /// The first that `weights` gives.
    pub fn new<E>(
        topology: &Topology,
        mut weights: impl FnMut(&Layer) -> Result<Folded, E>,
    ) -> Result<Self, E> {
        let layers = topology.layers();
        let each = layers.iter().map(|layer| match layer.part {
            Part::Pool => Ok(None),
            _ => weights(layer).map(Some),
        });
        let weights = each.collect::<Result<_, E>>()?;
        Ok(Self {
            topology: topology.clone(),
            layers,
            weights,
        })
    }

    /// Folds a checkpoint's tensors.
    ///
    /// # Errors
    /// Names the tensor that is missing or has another shape than the student's.
    pub fn fold(topology: &Topology, tensors: &HashMap<String, Tensor>) -> Result<Self> {
        let shaped = |name: String, shape: &[i64]| -> Result<Tensor> {
            let tensor = tensors.get(&name);
            let tensor = tensor.with_context(|| format!("no tensor {name}"))?;
            let found = tensor.size();
            ensure!(
                found == shape,
                "{name} has shape {found:?}, the student's is {shape:?}"
            );
            Ok(tensor
                .to_kind(Kind::Float)
                .to_device(tch::Device::Cpu)
                .contiguous()
                .detach())
        };
        Self::new(topology, |layer| {
            let name = layer.state_dict_name();
            let shape = layer.weight_shape().context("a layer without weights")?;
            let weight = shaped(format!("{name}.weight"), &shape)?;
            let channels = [layer.channels];
            if let Some(bn) = layer.normalization() {
                let part = |name: &str| shaped(format!("{bn}.{name}"), &channels);
                let (gain, shift) = (part("weight")?, part("bias")?);
                let (mean, variance) = (part("running_mean")?, part("running_var")?);
                let gain = gain / (variance + EPSILON).sqrt();
                return Ok(Folded {
                    weight: weight * gain.view([-1, 1, 1, 1]),
                    bias: shift - mean * gain,
                });
            }
            let bias = match layer.part {
                Part::Depthwise => Tensor::zeros(channels, (Kind::Float, weight.device())),
                _ => shaped(format!("{name}.bias"), &channels)?,
            };
            Ok(Folded { weight, bias })
        })
    }

    /// Its shape.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Its layers.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The weights of the layer at this position; none for a pool.
    pub fn weights(&self, at: usize) -> Option<&Folded> {
        self.weights.get(at)?.as_ref()
    }

    /// The weights of the layer at this position, to change.
    pub(super) fn weights_mut(&mut self, at: usize) -> Option<&mut Folded> {
        self.weights.get_mut(at)?.as_mut()
    }

    /// The same student with the weights of each layer replaced by those that `f` gives.
    pub fn map(&self, f: impl Fn(&Layer, &Folded) -> Folded) -> Self {
        let each = self.layers.iter().zip(&self.weights);
        let each = each.map(|(layer, weights)| weights.as_ref().map(|weights| f(layer, weights)));
        Self {
            topology: self.topology.clone(),
            layers: self.layers.clone(),
            weights: each.collect(),
        }
    }

    /// Runs images (B, 3, S, S) and shows every tensor that is quantized, with the position of the layer that makes
    /// it; gives class logits (B, classes) and mask logits (B, 1, S, S).
    pub fn forward(
        &self,
        image: &Tensor,
        mut look: impl FnMut(usize, Activation, &Tensor),
    ) -> (Tensor, Tensor) {
        let output = self.run(image, true, &mut |site, x| {
            if let RoundingSite::Layer(at, activation) = site {
                look(at, activation, &x);
            }
            x
        });
        // Asked for, so it is there.
        let mask = output.mask.unwrap_or_else(|| output.logits.zeros_like());
        (output.logits, mask)
    }

    /// Runs images (B, 3, S, S). At every place where the integer network rounds, `round` may replace the tensor.
    /// The decoder is computed only where its mask is wanted.
    pub fn run(
        &self,
        image: &Tensor,
        want_mask: bool,
        round: &mut dyn FnMut(RoundingSite, Tensor) -> Tensor,
    ) -> Output {
        let mut output = Output {
            logits: Tensor::new(),
            mask: None,
            embedding: Tensor::new(),
        };
        let image = image.shallow_clone();
        let Ok(()) = walk(&self.layers, image, want_mask, |at, layer, inputs| {
            let x = concatenated(inputs);
            let made = match (&self.weights[at], layer.activation) {
                (Some(head), Some(activation)) if layer.part == Part::ClassHead => {
                    let embedding = round(RoundingSite::Layer(at, activation), global_mean(&x));
                    output.logits = head.apply(layer.op, &embedding);
                    output.embedding = embedding;
                    output.logits.shallow_clone()
                }
                (Some(weights), activation) => {
                    let mut x = weights.apply(layer.op, &x);
                    if layer.relu {
                        x = x.relu_();
                    }
                    match activation {
                        Some(activation) => round(RoundingSite::Layer(at, activation), x),
                        None => {
                            output.mask = Some(x.shallow_clone());
                            x
                        }
                    }
                }
                (None, Some(activation)) if layer.op == Op::AvgPool2 => {
                    round(RoundingSite::MeanPool(activation), pooled(layer.op, &x))
                }
                (None, _) => pooled(layer.op, &x),
            };
            Ok::<_, Infallible>(made)
        });
        output
    }

    /// Every layer that has weights, under its name in the checkpoints of quantized students, in the order they are
    /// computed.
    pub fn named_mut(&mut self) -> impl Iterator<Item = (&Layer, &mut Folded)> {
        let each = self.layers.iter().zip(&mut self.weights);
        each.filter_map(|(layer, weights)| Some((layer, weights.as_mut()?)))
    }
}

/// The dimensions of a layer's weights but that of its output channels.
pub(super) fn inner_dims(op: Op, weight: &Tensor) -> Vec<i64> {
    let axis = output_axis(op) as i64;
    let all = 0..weight.dim() as i64;
    all.filter(|dim| *dim != axis).collect()
}
