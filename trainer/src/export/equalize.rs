//! Cross-layer equalization (CLE; Nagel et al., 2019): rescales channels so that one int8 range suits all channels
//! of a tensor. The function of the network stays the same.
//!
//! A positive factor passes through a ReLU, a pool and a convolution, so a channel can be divided by its
//! range in the layer that makes it and multiplied again in the layers that read it. Where the reader is a 1×1
//! convolution (no padding) an offset can pass too. Up-sampled tensors are fitted into the range of their skip,
//! which they share.

use std::collections::HashMap;

use lightwafer_runtime::graph::Op;
use tch::{Kind, Tensor};

use super::fold::{Folded, FoldedStudent};
use crate::topology::layers::output_axis;
use crate::topology::{Layer, Part, Source};

/// The share of wafers whose extremes a channel's range covers.
const COVERED: f64 = 0.99;
/// A channel's range counts as at least this share of the tensor's, so that dead channels stay small.
const LEAST: f64 = 1e-2;
/// How far channels are equalized where the reader's weights share one scale an output channel:
/// 0 not at all, 1 wholly, which would move all differences into those weights.
const EVENNESS: f64 = 0.5;

/// Lowest and highest value of each channel, (C) each.
struct Range {
    low: Tensor,
    high: Tensor,
}

/// How a channel's values x relate to the rescaled ones, x′: x = gain·x′ + offset.
struct Change {
    gain: Tensor,
    offset: Tensor,
}

impl Clone for Change {
    fn clone(&self) -> Self {
        Self {
            gain: self.gain.shallow_clone(),
            offset: self.offset.shallow_clone(),
        }
    }
}

impl Change {
    /// For values ≥ 0: divides by range^`evenness`.
    fn positive(range: &Range, evenness: f64) -> Self {
        let most = range.high.max();
        let high = range.high.maximum(&(&most * LEAST)).clamp_min(1e-9);
        let gain = high.pow_tensor_scalar(evenness);
        Self {
            offset: gain.zeros_like(),
            gain,
        }
    }

    /// Maps low…high to `low`…`high` in every channel.
    fn fit(range: &Range, low: f64, high: f64) -> Self {
        let width = &range.high - &range.low;
        let width = width.maximum(&(width.max() * LEAST)).clamp_min(1e-9);
        let gain = width / (high - low);
        Self {
            offset: &range.low - &gain * low,
            gain,
        }
    }

    /// The highest value after rescaling, of values ≥ 0.
    fn highest(&self, range: &Range) -> f64 {
        (&range.high / &self.gain).max().double_value(&[])
    }
}

impl Folded {
    /// Adapts the weights of `op` to rescaled input channels, from channel `from` on.
    fn read(&mut self, op: Op, from: i64, change: &Change) {
        // The weights may be the checkpoint's own.
        self.weight = self.weight.copy();
        // Each weight of a depthwise convolution meets one channel, in the first dimension.
        let axis = match op {
            Op::Depthwise3x3 => 0,
            _ => 1 - output_axis(op) as i64,
        };
        let channels = change.gain.size()[0];
        let mut part = self.weight.narrow(axis, from, channels);
        if matches!(op, Op::Pointwise | Op::MaskHead) {
            self.bias = &self.bias + part.flatten(1, -1).matmul(&change.offset);
        }
        let _ = part.multiply_(&change.gain.view(along(axis)));
    }

    /// Makes rescaled output channels.
    fn make(&mut self, op: Op, change: &Change) {
        self.weight = &self.weight / change.gain.view(along(output_axis(op) as i64));
        self.bias = (&self.bias - &change.offset) / &change.gain;
    }
}

/// The shape of a vector that lies along `axis` of four.
fn along(axis: i64) -> [i64; 4] {
    [0, 1, 2, 3].map(|dim| if dim == axis { -1 } else { 1 })
}

/// Equalizes the channels of `student` by the ranges met on `batches` of images. The embedding is not rescaled,
/// since it is an answer.
pub fn equalize(student: &mut FoldedStudent, batches: &[Tensor]) {
    tch::no_grad(|| {
        let ranges = ranges(student, batches);
        if !ranges.is_empty() {
            rescale(student, &ranges);
        }
    });
}

/// The range of each layer's output, by the layer's position. Pools and heads have none.
fn ranges(student: &FoldedStudent, batches: &[Tensor]) -> HashMap<usize, Range> {
    let mut extremes: HashMap<usize, (Vec<Tensor>, Vec<Tensor>)> = HashMap::new();
    for images in batches {
        let _ = student.forward(images, |at, _, x| {
            if student.layers()[at].part == Part::ClassHead {
                return;
            }
            let (low, high) = extremes.entry(at).or_default();
            low.push(x.amin([2i64, 3].as_slice(), false));
            high.push(x.amax([2i64, 3].as_slice(), false));
        });
    }
    let quantile = |of: Vec<Tensor>, part: f64| {
        Tensor::cat(&of, 0)
            .to_kind(Kind::Float)
            .quantile_scalar(part, 0, false, "linear")
    };
    let range = |(low, high)| Range {
        low: quantile(low, 1.0 - COVERED),
        high: quantile(high, COVERED),
    };
    extremes
        .into_iter()
        .map(|(at, extremes)| (at, range(extremes)))
        .collect()
}

fn rescale(student: &mut FoldedStudent, ranges: &HashMap<usize, Range>) {
    let layers = student.layers().to_vec();
    let mut changes: Vec<Option<Change>> = Vec::new();
    for (at, layer) in layers.iter().enumerate() {
        let change = change(&layers, at, ranges, &changes);
        if let Some(weights) = student.weights_mut(at) {
            let mut from = 0;
            for source in &layer.inputs {
                let Source::Layer(input) = *source else {
                    continue;
                };
                if let Some(change) = &changes[input] {
                    weights.read(layer.op, from, change);
                }
                from += layers[input].channels;
            }
            if let Some(change) = &change {
                weights.make(layer.op, change);
            }
        }
        changes.push(change);
    }
}

/// The change of the output of the layer at `at`, given the `changes` of the layers before it.
fn change(
    layers: &[Layer],
    at: usize,
    ranges: &HashMap<usize, Range>,
    changes: &[Option<Change>],
) -> Option<Change> {
    let layer = &layers[at];
    let range = || ranges.get(&at);
    match layer.part {
        Part::First => Some(Change::positive(range()?, 1.0)),
        Part::Depthwise => Some(Change::fit(range()?, -1.0, 1.0)),
        Part::Output => {
            let embedded = |reader: &Layer| {
                reader.part == Part::ClassHead && reader.inputs.contains(&Source::Layer(at))
            };
            match layers.iter().any(embedded) {
                true => None,
                false => Some(Change::positive(range()?, EVENNESS)),
            }
        }
        Part::Pool => match layer.inputs[..] {
            [Source::Layer(from)] => changes[from].clone(),
            _ => None,
        },
        Part::Up => {
            let skip = layer.activation?.0;
            let highest = changes[skip].as_ref()?.highest(ranges.get(&skip)?);
            Some(Change::fit(range()?, 0.0, highest.max(1e-9)))
        }
        Part::ClassHead | Part::MaskHead => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Network;
    use crate::student::Student;
    use crate::topology::Topology;
    use tch::Device;

    /// Fresh weights, with normalizations that differ from channel to channel.
    fn uneven_student() -> FoldedStudent {
        tch::manual_seed(3);
        let topology = Topology::default();
        let student = Student::new(&topology, Device::Cpu);
        tch::no_grad(|| {
            for (name, mut tensor) in student.vars().variables() {
                let _ = match name.rsplit('.').next() {
                    Some("running_var") => tensor.uniform_(0.05, 4.0),
                    Some("running_mean") => tensor.uniform_(-0.5, 0.5),
                    Some("weight") if tensor.dim() == 1 => tensor.uniform_(0.1, 2.0),
                    Some("bias") if name.contains("bn") => tensor.uniform_(-0.5, 0.5),
                    _ => continue,
                };
            }
        });
        let tensors = crate::checkpoint::tensors(student.vars())
            .into_iter()
            .collect();
        FoldedStudent::fold(&topology, &tensors).unwrap()
    }

    #[test]
    fn the_function_stays_and_ranges_are_equalized() {
        let mut student = uneven_student();
        let image = Tensor::rand([2, 3, 64, 64], (Kind::Float, Device::Cpu)).round();
        let batches = [image.shallow_clone()];
        let spread = |student: &FoldedStudent| {
            let mut layers = student.layers().iter();
            let at = layers.position(|layer| layer.name == "encoder.2.first");
            let range = &ranges(student, &batches)[&at.unwrap()];
            range.high.std(false).double_value(&[]) / range.high.mean(Kind::Float).double_value(&[])
        };
        let spread_before = spread(&student);
        let (class, mask) = tch::no_grad(|| student.forward(&image, |_, _, _| ()));
        equalize(&mut student, &batches);
        let (class_after, mask_after) = tch::no_grad(|| student.forward(&image, |_, _, _| ()));
        for (a, b) in [(class, class_after), (mask, mask_after)] {
            let off = (&a - b).abs().max().double_value(&[]) / a.abs().max().double_value(&[]);
            assert!(off < 1e-4, "off by {off}");
        }
        // Weights differ from run to run: other tests draw from the same generator.
        let after = spread(&student);
        assert!(after < spread_before, "{spread_before} to {after}");
    }
}
