//! AdamW over one flat vector, with moments that can be saved, and learning-rate schedules.
//!
//! The parameters of a group become views of one flat tensor, so that a step is a dozen operations
//! however many tensors there are, on a CPU and on a GPU alike. Each begins at a multiple of 256 bytes, as
//! an allocation of its own would: CUDA's convolutions load weights 16 bytes at a time.

use std::f64::consts::PI;

use tch::{Kind, Tensor};

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPSILON: f64 = 1e-8;
/// Values from the begin of one parameter to the next are a multiple of this.
const ALIGNMENT: i64 = 64;

/// AdamW (decoupled weight decay) for one group of parameters.
pub struct AdamW {
    parameters: Vec<Tensor>,
    /// Their values in the group's order, zeros between them.
    flat: Tensor,
    /// Weight decay of each value: none for biases and normalization.
    decay: Tensor,
    /// First moment, flat, in the group's order.
    pub first: Tensor,
    /// Second moment, flat.
    pub second: Tensor,
    /// Steps taken.
    pub steps: u64,
}

impl AdamW {
    /// Takes over `parameters`: their storage becomes part of one flat tensor.
    pub fn new(parameters: Vec<Tensor>, weight_decay: f64) -> Self {
        tch::no_grad(|| {
            let flat = aligned(parameters.iter().map(|p| p.flatten(0, -1)));
            let decay = aligned(parameters.iter().map(|p| {
                let decay = if p.dim() > 1 { weight_decay } else { 0.0 };
                Tensor::full([p.numel() as i64], decay, (Kind::Float, p.device()))
            }));
            let mut at = 0;
            for parameter in &parameters {
                let len = parameter.numel() as i64;
                let view = flat.narrow(0, at, len).view(parameter.size().as_slice());
                parameter.shallow_clone().set_data(&view);
                at += len + padding(len);
            }
            let (first, second) = (flat.zeros_like(), flat.zeros_like());
            Self {
                parameters,
                flat,
                decay,
                first,
                second,
                steps: 0,
            }
        })
    }

    /// Forgets the gradients.
    pub fn zero_grad(&mut self) {
        for parameter in &mut self.parameters {
            parameter.zero_grad();
        }
    }

    /// One step at learning rate `rate`; parameters without a gradient count as zero gradient.
    pub fn step(&mut self, rate: f64) {
        tch::no_grad(|| {
            let gradients = self.parameters.iter().map(|p| {
                let gradient = p.grad();
                if gradient.defined() {
                    gradient.reshape([-1])
                } else {
                    p.zeros_like().reshape([-1])
                }
            });
            let gradient = aligned(gradients);
            self.steps += 1;
            let steps = self.steps.min(1 << 30) as i32;
            let _ = self.first.lerp_(&gradient, 1.0 - BETA1);
            let _ = self.second.lerp_(&gradient.square(), 1.0 - BETA2);
            let correct1 = 1.0 - BETA1.powi(steps);
            let correct2 = 1.0 - BETA2.powi(steps);
            let scale = (&self.second / correct2).sqrt() + EPSILON;
            let shrink: Tensor = 1.0 - &self.decay * rate;
            let _ = self.flat.multiply_(&shrink);
            self.flat -= &self.first / scale * (rate / correct1);
        });
    }
}

/// Values between a parameter of `len` values and the next.
fn padding(len: i64) -> i64 {
    (ALIGNMENT - len % ALIGNMENT) % ALIGNMENT
}

/// Flat tensors behind each other, each at a multiple of [`ALIGNMENT`], zeros between them.
fn aligned(tensors: impl Iterator<Item = Tensor>) -> Tensor {
    let mut parts = Vec::new();
    for tensor in tensors {
        let padding = padding(tensor.numel() as i64);
        let zeros =
            (padding > 0).then(|| tensor.new_zeros([padding], (Kind::Float, tensor.device())));
        parts.push(tensor);
        parts.extend(zeros);
    }
    Tensor::cat(&parts, 0)
}

/// How the learning rate goes over a stage.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Up from a 25th over the first 30 % of the stage, then down to nearly nothing, in cosines.
    OneCycle,
    /// Down in cosines; starts again after 1, 2, 4, … tenths of the stage.
    CosineRestarts,
}

impl Schedule {
    /// The learning rate at `done` (0…1) of a stage whose peak is `peak`.
    pub fn rate(self, peak: f64, done: f64) -> f64 {
        let done = done.clamp(0.0, 1.0);
        let fall = |from: f64, to: f64, at: f64| to + (from - to) * 0.5 * (1.0 + (PI * at).cos());
        match self {
            Self::OneCycle if done < 0.3 => fall(peak / 25.0, peak, done / 0.3),
            Self::OneCycle => fall(peak, peak / 2.5e4, (done - 0.3) / 0.7),
            Self::CosineRestarts => {
                let (mut start, mut length) = (0.0, 0.1);
                while done >= start + length {
                    start += length;
                    length *= 2.0;
                }
                fall(peak, peak / 1e3, (done - start) / length)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cycle_peaks_and_ends_low() {
        let rate = |done| Schedule::OneCycle.rate(1.0, done);
        assert!((rate(0.0) - 0.04).abs() < 1e-9);
        assert!((rate(0.3) - 1.0).abs() < 1e-9);
        assert!(rate(1.0) < 1e-4);
        let restarts = |done| Schedule::CosineRestarts.rate(1.0, done);
        assert!((restarts(0.1) - 1.0).abs() < 1e-9 && restarts(0.0999) < 0.01);
    }

    #[test]
    fn every_parameter_lies_where_vector_loads_may_begin() {
        let parameters =
            [3i64, 64, 38, 8].map(|len| Tensor::ones([len], (Kind::Float, tch::Device::Cpu)));
        let optimizer = AdamW::new(parameters.iter().map(Tensor::shallow_clone).collect(), 0.0);
        let begin = optimizer.flat.data_ptr() as usize;
        let offsets = parameters.map(|p| p.data_ptr() as usize - begin);
        assert_eq!(offsets, [0, 256, 512, 768]);
        assert_eq!(optimizer.flat.numel(), 4 * 64);
    }

    #[test]
    fn adamw_matches_the_formula_by_hand() {
        let p = Tensor::from_slice(&[1.0f32, -2.0])
            .view([2, 1])
            .set_requires_grad(true);
        let mut optimizer = AdamW::new(vec![p.shallow_clone()], 0.1);
        for step in 1..=3 {
            optimizer.zero_grad();
            (p.square().sum(Kind::Float)).backward();
            optimizer.step(0.01);
            assert_eq!(optimizer.steps, step);
        }
        let mut expected = [1.0f64, -2.0];
        let (mut m, mut v) = ([0.0; 2], [0.0; 2]);
        for t in 1..=3 {
            for i in 0..2 {
                let g = 2.0 * expected[i];
                m[i] = BETA1 * m[i] + (1.0 - BETA1) * g;
                v[i] = BETA2 * v[i] + (1.0 - BETA2) * g * g;
                expected[i] *= 1.0 - 0.01 * 0.1;
                let (mh, vh) = (m[i] / (1.0 - BETA1.powi(t)), v[i] / (1.0 - BETA2.powi(t)));
                expected[i] -= 0.01 * mh / (vh.sqrt() + EPSILON);
            }
        }
        for (i, e) in expected.iter().enumerate() {
            assert!((p.double_value(&[i as i64, 0]) - e).abs() < 1e-6);
        }
    }
}
