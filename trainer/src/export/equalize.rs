//! Rescales channels so that one int8 range suits all channels of a tensor, without changing what the
//! network computes.
//!
//! A ReLU, a pool and a convolution let a positive factor through, so a channel can be divided by its
//! range where it is made and multiplied again where it is read. Where the reader is a 1×1 convolution
//! (no padding) an offset can pass too. Up-sampled tensors are fitted into their skip's range, which
//! they share.

use std::collections::HashMap;

use tch::{Kind, Tensor};

use super::fold::{Folded, FoldedStudent, Value};

/// Of wafers, the part whose extremes a channel's range covers.
const COVERED: f64 = 0.99;
/// A channel's range counts as at least this part of the tensor's: dead channels stay small.
const LEAST: f64 = 1e-2;
/// How far channels are evened out where their reader's weights share one scale an output channel:
/// 0 not at all, 1 wholly, which would move all unevenness into those weights.
const EVENNESS: f64 = 0.5;

/// Lowest and highest value of each channel, (C) each.
struct Range {
    low: Tensor,
    high: Tensor,
}

/// How a channel's values x relate to those that are kept, x′: x = gain·x′ + offset.
struct Change {
    gain: Tensor,
    offset: Tensor,
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

    /// What a ReLU's values become.
    fn highest(&self, range: &Range) -> f64 {
        (&range.high / &self.gain).max().double_value(&[])
    }
}

/// How a layer's weights are laid out.
#[derive(Clone, Copy, PartialEq)]
enum Kernel {
    Dense,
    Depthwise,
    Transposed,
}

impl Folded {
    /// Reads changed input channels, from channel `from` on.
    fn read(&mut self, kernel: Kernel, from: i64, change: &Change) {
        // The weights may be the checkpoint's own.
        self.weight = self.weight.copy();
        let axis = i64::from(kernel == Kernel::Dense);
        let channels = change.gain.size()[0];
        let mut part = self.weight.narrow(axis, from, channels);
        if kernel == Kernel::Dense && part.size()[2] == 1 {
            self.bias = &self.bias + part.flatten(1, -1).matmul(&change.offset);
        }
        let shape = if axis == 1 {
            [1, -1, 1, 1]
        } else {
            [-1, 1, 1, 1]
        };
        let _ = part.multiply_(&change.gain.view(shape));
    }

    /// Makes changed output channels.
    fn make(&mut self, kernel: Kernel, change: &Change) {
        let shape = if kernel == Kernel::Transposed {
            [1, -1, 1, 1]
        } else {
            [-1, 1, 1, 1]
        };
        self.weight = &self.weight / change.gain.view(shape);
        self.bias = (&self.bias - &change.offset) / &change.gain;
    }
}

/// Evens out the channels of `student` by the ranges met on `batches` of images. The embedding stays
/// as it is, since it is an answer.
pub fn equalize(student: &mut FoldedStudent, batches: &[Tensor]) {
    tch::no_grad(|| {
        let ranges = ranges(student, batches);
        if !ranges.is_empty() {
            rescale(student, &ranges);
        }
    });
}

/// A tensor of the network; the up-sampled one of a level apart from the skip.
type Key = (Value, bool);

fn ranges(student: &FoldedStudent, batches: &[Tensor]) -> HashMap<Key, Range> {
    let mut extremes: HashMap<Key, (Vec<Tensor>, Vec<Tensor>)> = HashMap::new();
    for images in batches {
        let mut skips = Vec::new();
        let _ = student.forward(images, |value, x| {
            if value == Value::Embedding {
                return;
            }
            // A skip is shown before the up-sampled tensor that shares its range.
            let again = skips.contains(&value);
            if matches!(value, Value::Skip(_)) {
                skips.push(value);
            }
            let (low, high) = extremes.entry((value, again)).or_default();
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
        .map(|(key, extremes)| (key, range(extremes)))
        .collect()
}

fn rescale(student: &mut FoldedStudent, ranges: &HashMap<Key, Range>) {
    use Kernel::{Dense, Depthwise, Transposed};
    let of = |value: Value| &ranges[&(value, false)];
    let mut skips: Vec<(Change, f64)> = Vec::new();
    for (i, block) in student.encoder.iter_mut().enumerate() {
        if let Some((change, _)) = skips.last() {
            block.first.read(Dense, 0, change);
        }
        let first = Change::positive(of(Value::EncoderFirst(i)), 1.0);
        let depthwise = Change::fit(of(Value::EncoderDepthwise(i)), -1.0, 1.0);
        block.first.make(Dense, &first);
        block.depthwise.read(Depthwise, 0, &first);
        block.depthwise.make(Depthwise, &depthwise);
        block.pointwise.read(Dense, 0, &depthwise);
        if i < 4 {
            let range = of(Value::Skip(i));
            let skip = Change::positive(range, EVENNESS);
            block.pointwise.make(Dense, &skip);
            let highest = skip.highest(range);
            skips.push((skip, highest));
        }
    }
    let mut before: Option<Change> = None;
    for (i, (up, block)) in student.up.iter_mut().zip(&mut student.decoder).enumerate() {
        let level = 3 - i;
        if let Some(change) = &before {
            up.read(Transposed, 0, change);
        }
        let (skip, highest) = &skips[level];
        let fitted = Change::fit(&ranges[&(Value::Skip(level), true)], 0.0, highest.max(1e-9));
        let channels = fitted.gain.size()[0];
        up.make(Transposed, &fitted);
        block.first.read(Dense, 0, &fitted);
        block.first.read(Dense, channels, skip);
        let first = Change::positive(of(Value::DecoderFirst(i)), 1.0);
        let depthwise = Change::fit(of(Value::DecoderDepthwise(i)), -1.0, 1.0);
        let output = Change::positive(of(Value::DecoderOutput(i)), EVENNESS);
        block.first.make(Dense, &first);
        block.depthwise.read(Depthwise, 0, &first);
        block.depthwise.make(Depthwise, &depthwise);
        block.pointwise.read(Dense, 0, &depthwise);
        block.pointwise.make(Dense, &output);
        before = Some(output);
    }
    if let Some(change) = &before {
        student.mask_head.read(Dense, 0, change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Network;
    use crate::student::Student;
    use tch::Device;

    /// Fresh weights, with normalizations that differ from channel to channel.
    fn uneven_student() -> FoldedStudent {
        tch::manual_seed(3);
        let student = Student::new(Device::Cpu);
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
        FoldedStudent::new(&tensors).unwrap()
    }

    #[test]
    fn the_function_stays_and_ranges_are_evened_out() {
        let mut student = uneven_student();
        let image = Tensor::rand([2, 3, 64, 64], (Kind::Float, Device::Cpu)).round();
        let batches = [image.shallow_clone()];
        let spread = |student: &FoldedStudent| {
            let range = &ranges(student, &batches)[&(Value::EncoderFirst(2), false)];
            range.high.std(false).double_value(&[]) / range.high.mean(Kind::Float).double_value(&[])
        };
        let spread_before = spread(&student);
        let (class, mask) = tch::no_grad(|| student.forward(&image, |_, _| ()));
        equalize(&mut student, &batches);
        let (class_after, mask_after) = tch::no_grad(|| student.forward(&image, |_, _| ()));
        for (a, b) in [(class, class_after), (mask, mask_after)] {
            let off = (&a - b).abs().max().double_value(&[]) / a.abs().max().double_value(&[]);
            assert!(off < 1e-4, "off by {off}");
        }
        // Weights differ from run to run: other tests draw from the same generator.
        let after = spread(&student);
        assert!(after < spread_before, "{spread_before} to {after}");
    }
}
