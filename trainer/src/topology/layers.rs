//! A student layer by layer, in the order that boards compute it, and the walk over that list.
//!
//! Positions in the list are those of the model image's layers. An [`Activation`] is an int8 tensor with a range of
//! its own. A pool's output has the range of its input. An up-sampled tensor shares the range of the skip connection
//! that it is concatenated with, since a concatenation has one scale.

use clap::ValueEnum;
use lightwafer_runtime::graph::Op;
use serde::{Deserialize, Serialize};

/// Colours of an image: red, green, blue.
pub const COLOURS: i64 = 3;

/// The operator between two encoder blocks, which halves rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pool {
    /// The largest of 2×2 pixels.
    Max,
    /// The mean of 2×2 pixels.
    Average,
}

/// The part of the network that a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A block's first convolution: 3×3 in the encoder, 1×1 in the decoder. Normalization and ReLU follow.
    First,
    /// A block's depthwise convolution.
    Depthwise,
    /// A block's pointwise convolution, which makes its output. Normalization and ReLU follow.
    Output,
    /// A pool between two encoder blocks.
    Pool,
    /// The transposed convolution before a decoder block.
    Up,
    /// The mean over all pixels (the embedding) and the linear layer that gives class logits.
    ClassHead,
    /// The convolution that gives mask logits.
    MaskHead,
}

/// The source of a layer's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The image.
    Image,
    /// The output of the layer at this position.
    Layer(usize),
}

/// An int8 tensor with a range of its own: the position of the layer that makes it. A class head's is the
/// embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Activation(pub usize);

/// One layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its name: `encoder.0.first`, `…depthwise`, `…pointwise`, `…pool`, `decoder.0.up`, `class_head`, `mask_head`.
    pub name: String,
    /// The part of the network that it is.
    pub part: Part,
    /// The operator of the model image.
    pub op: Op,
    /// Its inputs. Two are concatenated, with the channels of the first one first.
    pub inputs: Vec<Source>,
    /// Channels that it reads, of all inputs together.
    pub input_channels: i64,
    /// Channels of its output; classes of the class head.
    pub channels: i64,
    /// Rows and columns of its output in an image of the topology's size; of the input of a class head.
    pub size: i64,
    /// Whether a ReLU follows.
    pub relu: bool,
    /// The activation that its weights meet; none for the image. A class head's is the embedding.
    pub reads: Option<Activation>,
    /// The activation that its output is part of; none for a mask head.
    pub activation: Option<Activation>,
}

impl Layer {
    /// The shape of its weights in PyTorch's order; none for a pool.
    pub fn weight_shape(&self) -> Option<Vec<i64>> {
        let (inputs, channels) = (self.input_channels, self.channels);
        let side = kernel(self.op) as i64;
        match self.part {
            Part::Pool => None,
            Part::ClassHead => Some(vec![channels, inputs]),
            Part::Depthwise => Some(vec![channels, 1, side, side]),
            Part::Up => Some(vec![inputs, channels, side, side]),
            Part::First | Part::Output | Part::MaskHead => Some(vec![channels, inputs, side, side]),
        }
    }

    /// Its name in the state dict of a float student, where first convolutions are called `conv` and `reduce`.
    pub fn state_dict_name(&self) -> String {
        match (self.part, self.name.strip_suffix("first")) {
            (Part::First, Some(block)) if self.op == Op::Pointwise => format!("{block}reduce"),
            (Part::First, Some(block)) => format!("{block}conv"),
            _ => self.name.clone(),
        }
    }

    /// The state-dict name of the batch normalization that follows, if one does.
    pub fn normalization(&self) -> Option<String> {
        let (block, _) = self.name.rsplit_once('.')?;
        match self.part {
            Part::First => Some(format!("{block}.bn1")),
            Part::Output => Some(format!("{block}.bn2")),
            _ => None,
        }
    }

    /// Whether it only serves the mask: in a step without a mask it is not computed and has no gradient.
    pub fn serves_mask_only(&self) -> bool {
        serves_mask_only(&self.name)
    }

    /// Trainable parameters, normalization in it.
    pub(super) fn parameters(&self) -> i64 {
        let weights = self
            .weight_shape()
            .map_or(0, |shape| shape.iter().product());
        let each = match self.part {
            Part::First | Part::Output => 2,
            Part::Up | Part::ClassHead | Part::MaskHead => 1,
            Part::Depthwise | Part::Pool => 0,
        };
        weights + each * self.channels
    }
}

/// Whether a student's variable of this name only serves the mask.
pub fn serves_mask_only(name: &str) -> bool {
    name.starts_with("decoder.") || name.starts_with("mask_head")
}

/// The side of an operator's window in pixels; 1 if it has none.
pub fn kernel(op: Op) -> usize {
    match op {
        Op::ImageConv3x3 | Op::Conv3x3 | Op::Depthwise3x3 => 3,
        Op::TransposedConv2x2 | Op::MaxPool2 | Op::AvgPool2 => 2,
        Op::Pointwise | Op::MaskHead | Op::ClassHead => 1,
    }
}

/// The dimension of an operator's weights, in PyTorch's order, that output channels are counted along.
pub fn output_axis(op: Op) -> usize {
    usize::from(op == Op::TransposedConv2x2)
}

/// The activations of `layers`, in the order they are made.
pub fn activations(layers: &[Layer]) -> Vec<Activation> {
    let each = layers.iter().enumerate();
    let own = each.filter(|(at, layer)| layer.activation == Some(Activation(*at)));
    own.map(|(at, _)| Activation(at)).collect()
}

/// The name of an activation in reports and checkpoints: that of the layer that makes it.
pub fn activation_name(layers: &[Layer], activation: Activation) -> &str {
    match layers.get(activation.0) {
        Some(layer) if layer.part == Part::ClassHead => "embedding",
        Some(layer) => &layer.name,
        None => "?",
    }
}

/// Lists the layers of a student for `size`×`size` pixels and this many `classes`: the channels of its encoder blocks,
/// the pools between them, the channels of its decoder blocks.
pub(super) fn list(
    size: i64,
    classes: i64,
    encoder: &[i64],
    pools: &[Pool],
    decoder: &[i64],
) -> Vec<Layer> {
    let mut list = Builder {
        layers: Vec::new(),
        size,
    };
    let mut x = Source::Image;
    let mut skips = Vec::new();
    for (i, &channels) in encoder.iter().enumerate() {
        let first = if i == 0 {
            Op::ImageConv3x3
        } else {
            Op::Conv3x3
        };
        x = list.block(&format!("encoder.{i}"), first, &[x], channels);
        if let Some(pool) = pools.get(i) {
            skips.push(x);
            x = list.pool(&format!("encoder.{i}.pool"), *pool, x);
        }
    }
    list.add("class_head", Part::ClassHead, Op::ClassHead, &[x], classes);
    for (i, &channels) in decoder.iter().enumerate() {
        let name = format!("decoder.{i}");
        let skip = skips.pop().unwrap_or(x);
        let up = list.up(&format!("{name}.up"), x, skip, channels);
        x = list.block(&name, Op::Pointwise, &[up, skip], channels);
    }
    list.add("mask_head", Part::MaskHead, Op::MaskHead, &[x], 1);
    list.layers
}

struct Builder {
    layers: Vec<Layer>,
    /// Side of the tensors that layers make now.
    size: i64,
}

impl Builder {
    fn at(&self, source: Source) -> Option<&Layer> {
        match source {
            Source::Image => None,
            Source::Layer(at) => self.layers.get(at),
        }
    }

    fn activation(&self, source: Source) -> Option<Activation> {
        self.at(source)?.activation
    }

    fn add(&mut self, name: &str, part: Part, op: Op, inputs: &[Source], channels: i64) -> Source {
        let from = |source: &Source| self.at(*source).map_or(COLOURS, |layer| layer.channels);
        let own = Some(Activation(self.layers.len()));
        let reads = inputs.first().and_then(|input| self.activation(*input));
        self.layers.push(Layer {
            name: name.into(),
            part,
            op,
            inputs: inputs.to_vec(),
            input_channels: inputs.iter().map(from).sum(),
            channels,
            size: self.size,
            relu: matches!(part, Part::First | Part::Output),
            reads: if part == Part::ClassHead { own } else { reads },
            activation: match part {
                Part::Pool => reads,
                Part::MaskHead => None,
                _ => own,
            },
        });
        Source::Layer(self.layers.len() - 1)
    }

    fn block(&mut self, name: &str, op: Op, inputs: &[Source], channels: i64) -> Source {
        let first = self.add(&format!("{name}.first"), Part::First, op, inputs, channels);
        let (part, op) = (Part::Depthwise, Op::Depthwise3x3);
        let depthwise = self.add(&format!("{name}.depthwise"), part, op, &[first], channels);
        let (part, op) = (Part::Output, Op::Pointwise);
        self.add(
            &format!("{name}.pointwise"),
            part,
            op,
            &[depthwise],
            channels,
        )
    }

    fn pool(&mut self, name: &str, pool: Pool, input: Source) -> Source {
        let op = match pool {
            Pool::Max => Op::MaxPool2,
            Pool::Average => Op::AvgPool2,
        };
        self.size /= 2;
        let channels = self.at(input).map_or(0, |layer| layer.channels);
        self.add(name, Part::Pool, op, &[input], channels)
    }

    /// An up-sampled tensor, which shares the activation of the skip that it is concatenated with.
    fn up(&mut self, name: &str, input: Source, skip: Source, channels: i64) -> Source {
        self.size *= 2;
        let shared = self.activation(skip);
        let up = self.add(name, Part::Up, Op::TransposedConv2x2, &[input], channels);
        if let Some(layer) = self.layers.last_mut() {
            layer.activation = shared;
        }
        up
    }
}

/// Computes layer after layer. `compute` gets a layer's position, the layer and its inputs, and gives its output, which
/// is kept until its last reader is computed. Without `with_mask` the walk ends at the class head.
///
/// # Errors
/// The first that `compute` gives.
pub fn walk<T, E>(
    layers: &[Layer],
    image: T,
    with_mask: bool,
    mut compute: impl FnMut(usize, &Layer, &[&T]) -> Result<T, E>,
) -> Result<(), E> {
    let mut made: Vec<Option<T>> = Vec::new();
    for (at, layer) in layers.iter().enumerate() {
        if layer.serves_mask_only() && !with_mask {
            break;
        }
        let input = |source: &Source| match source {
            Source::Image => Some(&image),
            Source::Layer(from) => made.get(*from)?.as_ref(),
        };
        let inputs: Vec<&T> = layer.inputs.iter().filter_map(input).collect();
        let output = compute(at, layer, &inputs)?;
        made.push(Some(output));
        for source in &layer.inputs {
            let read_later = |later: &Layer| {
                later.inputs.contains(source) && (with_mask || !later.serves_mask_only())
            };
            let rest = layers.get(at + 1..).unwrap_or_default();
            if let (Source::Layer(from), false) = (source, rest.iter().any(read_later)) {
                made[*from] = None;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Topology;
    use super::*;
    use std::convert::Infallible;

    #[test]
    fn the_published_student_has_its_37_layers_and_28_activations() {
        let layers = Topology::default().layers();
        assert_eq!((layers.len(), activations(&layers).len()), (37, 28));
        let named = |name: &str| layers.iter().position(|l| l.name == name).unwrap();
        let up = &layers[named("decoder.3.up")];
        assert_eq!(
            up.activation,
            Some(Activation(named("encoder.0.pointwise")))
        );
        assert_eq!((up.size, up.weight_shape()), (224, Some(vec![16, 8, 2, 2])));
        let reduce = &layers[named("decoder.3.first")];
        assert_eq!(reduce.inputs.len(), 2);
        assert_eq!(reduce.state_dict_name(), "decoder.3.reduce");
        assert_eq!(reduce.normalization().as_deref(), Some("decoder.3.bn1"));
        let head = &layers[named("class_head")];
        assert_eq!(
            (head.size, head.input_channels, head.channels),
            (14, 64, 38)
        );
        let pool = &layers[named("encoder.3.pool")];
        assert_eq!(pool.op, Op::AvgPool2);
        assert_eq!(
            activation_name(&layers, head.activation.unwrap()),
            "embedding"
        );
    }

    #[test]
    fn a_walk_hands_each_layer_what_it_reads() {
        let topology: Topology = "8-16-32/16-8".parse().unwrap();
        let layers = topology.layers();
        // Channels instead of tensors.
        let mut seen = 0;
        let Ok(()) = walk(&layers, COLOURS, true, |at, layer, inputs| {
            assert_eq!(
                inputs.iter().copied().sum::<i64>(),
                layer.input_channels,
                "{at}"
            );
            seen += 1;
            Ok::<_, Infallible>(layer.channels)
        });
        assert_eq!(seen, layers.len());
        let mut last = String::new();
        let Ok(()) = walk(&layers, COLOURS, false, |_, layer, _| {
            last.clone_from(&layer.name);
            Ok::<_, Infallible>(layer.channels)
        });
        assert_eq!(last, "class_head");
    }
}
