//! Bias correction (Nagel et al., 2019): removes the shift of every channel's mean that rounding weights to int8 causes.
//!
//! A weight's rounding error is fixed, so it moves the mean of every channel that the weight contributes to, and the
//! shifts of many layers add up in the logits. The network runs twice side by side, in floats and with rounded
//! weights; layer by layer the difference of the means is added to each bias.

use std::convert::Infallible;

use lightwafer_runtime::graph::Op;
use tch::{Kind, Tensor};

use super::fold::{Folded, FoldedStudent, inner_dims};
use crate::network::{concatenated, global_mean, pooled};
use crate::topology::{Part, walk};

/// The same tensor of both networks.
struct Pair {
    float: Tensor,
    rounded: Tensor,
}

impl Pair {
    fn each(&self, f: impl Fn(&Tensor) -> Tensor) -> Self {
        Self {
            float: f(&self.float),
            rounded: f(&self.rounded),
        }
    }

    fn concatenated(pairs: &[&Self]) -> Self {
        let all = |of: fn(&Self) -> &Tensor| {
            concatenated(&pairs.iter().map(|pair| of(pair)).collect::<Vec<_>>())
        };
        Self {
            float: all(|pair| &pair.float),
            rounded: all(|pair| &pair.rounded),
        }
    }

    /// Runs `layer` in both and corrects its bias.
    fn through(&self, op: Op, layer: &mut Folded) -> Self {
        let int8 = Folded {
            weight: round(op, &layer.weight),
            bias: layer.bias.shallow_clone(),
        };
        let float = layer.apply(op, &self.float);
        let rounded = int8.apply(op, &self.rounded);
        let over: Vec<i64> = (0..float.dim() as i64).filter(|dim| *dim != 1).collect();
        let shift = (&float - &rounded).mean_dim(over.as_slice(), true, Kind::Float);
        layer.bias = &layer.bias + shift.flatten(0, -1);
        Self {
            float,
            rounded: rounded + shift,
        }
    }
}

/// The real values that the weights have as int8 with one scale an output channel.
fn round(op: Op, weight: &Tensor) -> Tensor {
    let inner = inner_dims(op, weight);
    let scale = weight.abs().amax(inner.as_slice(), true).clamp_min(1e-12) / 127.0;
    (weight / &scale).round() * scale
}

/// Corrects all biases on `images` (B, 3, S, S), a few dozen of them.
pub fn correct(student: &mut FoldedStudent, images: &Tensor) {
    tch::no_grad(|| {
        let layers = student.layers().to_vec();
        let image = Pair {
            float: images.shallow_clone(),
            rounded: images.shallow_clone(),
        };
        let Ok(()) = walk(&layers, image, true, |at, layer, inputs| {
            let x = Pair::concatenated(inputs);
            let x = match layer.part {
                Part::ClassHead => x.each(global_mean),
                _ => x,
            };
            let x = match student.weights_mut(at) {
                Some(weights) => x.through(layer.op, weights),
                None => x.each(|x| pooled(layer.op, x)),
            };
            Ok::<_, Infallible>(if layer.relu { x.each(Tensor::relu) } else { x })
        });
    });
}
