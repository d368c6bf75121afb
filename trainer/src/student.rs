//! The student, LightWaferSegClassNet: an encoder with a class head and a decoder with a mask head.
//!
//! [`Topology`] lists its layers. Variables have the names of a PyTorch state dict
//! (`encoder.0.conv.weight`, …). Padding is the real value zero in every channel, as in the integer network.

use std::convert::Infallible;

use tch::nn::{self, Module};
use tch::{Device, Tensor};

use crate::architecture::Architecture;
use crate::network::{
    Network, Output, PartSize, batch_norm, bn_relu, concatenated, conv, count, global_mean, pooled,
};
use crate::topology::layers::{kernel, serves_mask_only};
use crate::topology::{Layer, Part, Topology, walk};

/// The paper's parameters of encoder, decoder and classifier.
pub const PAPER_PARAMETERS: [i64; 3] = [35_160, 22_569, 2_534];
/// The paper's parameters of the whole: the most that the published shape may have.
pub const PARAMETER_BUDGET: i64 = 60_263;
/// The names of the parts in reports.
const PARTS: [&str; 3] = ["encoder", "decoder with mask head", "class head"];

/// The sizes of a student's parts, beside the paper's for the published shape.
pub fn part_sizes(topology: &Topology, parameters: [i64; 3]) -> Vec<PartSize> {
    let published = *topology == Topology::default();
    let parts = PARTS.into_iter().zip(parameters).zip(PAPER_PARAMETERS);
    let size = |((part, parameters), paper): ((&str, _), _)| PartSize {
        part: part.into(),
        parameters,
        paper: published.then_some(paper),
    };
    parts.map(size).collect()
}

/// The paper's parameters of a student of this shape, if it is the paper's.
pub fn paper_parameters(topology: &Topology) -> Option<i64> {
    (*topology == Topology::default()).then_some(PARAMETER_BUDGET)
}

fn dropout(x: Tensor, p: f64, train: bool) -> Tensor {
    if train && p > 0.0 {
        x.feature_dropout(p, true)
    } else {
        x
    }
}

/// The trainable part of a layer.
enum Weights {
    /// A convolution. If there is a batch normalization, it follows, and then a ReLU.
    Convolution(nn::Conv2D, Option<nn::BatchNorm>),
    Up(nn::ConvTranspose2D),
    ClassHead(nn::Linear),
    /// A pool has none.
    Pool,
}

impl Weights {
    fn new(root: &nn::Path, layer: &Layer) -> Self {
        let path = |name: &str| name.split('.').fold(root.clone(), |path, part| path / part);
        let p = path(&layer.state_dict_name());
        let (ci, co, side) = (
            layer.input_channels,
            layer.channels,
            kernel(layer.op) as i64,
        );
        match layer.part {
            Part::Pool => Self::Pool,
            Part::First | Part::Output | Part::Depthwise => {
                let groups = if layer.part == Part::Depthwise { co } else { 1 };
                let conv = conv(p, ci, co, side, groups);
                let bn = layer
                    .normalization()
                    .map(|name| batch_norm(path(&name), co));
                Self::Convolution(conv, bn)
            }
            Part::Up => {
                let config = nn::ConvTransposeConfig {
                    stride: 2,
                    ..Default::default()
                };
                Self::Up(nn::conv_transpose2d(p, ci, co, side, config))
            }
            Part::MaskHead => Self::Convolution(nn::conv2d(p, ci, co, 1, Default::default()), None),
            Part::ClassHead => Self::ClassHead(nn::linear(p, ci, co, Default::default())),
        }
    }
}

/// The student and its variables.
pub struct Student {
    vars: nn::VarStore,
    topology: Topology,
    layers: Vec<Layer>,
    weights: Vec<Weights>,
    dropout: f64,
}

impl Student {
    /// A student with fresh weights, drawn from torch's generator.
    pub fn new(topology: &Topology, device: Device) -> Self {
        let vars = nn::VarStore::new(device);
        let root = vars.root();
        let layers = topology.layers();
        let draw = |layer| Weights::new(&root, layer);
        // The class head draws last, whatever its place: a seed gives the weights that it always gave.
        let first = layers.iter().map(|layer| match layer.part {
            Part::ClassHead => None,
            _ => Some(draw(layer)),
        });
        let first: Vec<_> = first.collect();
        let all = first.into_iter().zip(&layers);
        let weights = all.map(|(weights, layer)| weights.unwrap_or_else(|| draw(layer)));
        let weights = weights.collect();
        Self {
            vars,
            topology: topology.clone(),
            layers,
            weights,
            dropout: 0.0,
        }
    }

    /// Its shape.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The output of a layer for its input `x`.
    fn layer(&self, at: usize, x: &Tensor, train: bool) -> Tensor {
        let layer = &self.layers[at];
        match &self.weights[at] {
            Weights::Convolution(conv, Some(bn)) => {
                let x = bn_relu(bn, &conv.forward(x), train);
                match layer.part {
                    Part::First => dropout(x, self.dropout, train),
                    _ => x,
                }
            }
            Weights::Convolution(conv, None) => conv.forward(x),
            Weights::Up(up) => up.forward(x),
            Weights::ClassHead(linear) => linear.forward(x),
            Weights::Pool => pooled(layer.op, x),
        }
    }
}

impl Network for Student {
    fn architecture(&self) -> Architecture {
        Architecture::Student(self.topology.clone())
    }

    fn vars(&self) -> &nn::VarStore {
        &self.vars
    }

    fn forward(&self, image: &Tensor, train: bool, want_mask: bool) -> Output {
        let mut output = Output {
            logits: Tensor::new(),
            mask: None,
            embedding: Tensor::new(),
        };
        let image = image.shallow_clone();
        let Ok(()) = walk(&self.layers, image, want_mask, |at, layer, inputs| {
            let x = concatenated(inputs);
            let x = match layer.part {
                Part::ClassHead => global_mean(&x),
                _ => x,
            };
            let made = self.layer(at, &x, train);
            match layer.part {
                Part::ClassHead => {
                    output.logits = made.shallow_clone();
                    output.embedding = x;
                }
                Part::MaskHead => output.mask = Some(made.shallow_clone()),
                _ => (),
            }
            Ok::<_, Infallible>(made)
        });
        output
    }

    fn serves_mask_only(&self, name: &str) -> bool {
        serves_mask_only(name)
    }

    fn parts(&self) -> Vec<PartSize> {
        let [encoder, head, decoder] = count(&self.vars, ["encoder.", "class_head.", "decoder."]);
        part_sizes(&self.topology, [encoder, decoder, head])
    }

    fn paper_parameters(&self) -> Option<i64> {
        paper_parameters(&self.topology)
    }

    fn set_dropout(&mut self, probability: f64) {
        self.dropout = probability;
    }
}
