//! Calibration: chooses the range of each int8 tensor by the error that it makes, not by the extremes met.
//!
//! A histogram of the values met on training maps gives two candidates: the range with the least squared
//! error of rounding and clipping, and the range whose rounded distribution diverges least from the real one
//! (Kullback-Leibler, as in TensorRT). The second is taken where it clearly changes the network's answers
//! less when this tensor alone is rounded.

use std::collections::HashMap;

use serde::Serialize;
use tch::{Kind, Tensor};

use super::fold::FoldedStudent;
use crate::topology::Activation;

const BINS: i64 = 4096;
/// Candidate ranges: fractions of the extremes.
const CANDIDATES: i32 = 100;
/// Batches on which the answers of both candidates are compared.
pub(super) const JUDGED: usize = 2;
/// The range of least divergence is taken where its effect is below this share of the other's: a smaller lead is
/// noise on so few maps. (Taking it at any lead, 2 to 13 % at three tensors, did not improve the logits of the
/// published student: 0.322 off instead of 0.314.)
const CLEARLY: f64 = 0.75;

/// Scale and zero point: real = scale·(q − zero_point), q in −128…127.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Affine {
    /// Real value of one step.
    pub scale: f64,
    /// The integer that stands for zero.
    pub zero_point: i8,
}

impl Affine {
    /// The image's: 0 and 1 are exact.
    pub const IMAGE: Self = Self {
        scale: 1.0 / 255.0,
        zero_point: -128,
    };

    /// Covers `low`…`high`, widened to contain zero.
    pub fn covering(low: f64, high: f64) -> Self {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let scale = ((high - low) / 255.0).max(1e-9);
        let zero_point = (-128.0 - low / scale).round().clamp(-128.0, 127.0) as i8;
        Self { scale, zero_point }
    }

    /// A real value, rounded to the nearest step and clipped.
    pub fn round_trip(&self, x: f64) -> f64 {
        let zero = f64::from(self.zero_point);
        let q = ((x / self.scale) + zero + 0.5).floor().clamp(-128.0, 127.0);
        (q - zero) * self.scale
    }

    /// The same of a whole tensor.
    fn round_trip_all(&self, x: &Tensor) -> Tensor {
        let zero = f64::from(self.zero_point);
        let q = (x / self.scale + (zero + 0.5)).floor().clamp(-128.0, 127.0);
        (q - zero) * self.scale
    }
}

/// The error that a candidate range makes least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The squared error of values.
    Mse,
    /// The divergence of distributions.
    Kl,
}

/// A range that a method proposes, and its errors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Candidate {
    /// The quantization.
    pub affine: Affine,
    /// Signal to quantization noise, in decibels.
    pub sqnr_db: f64,
    /// Kullback-Leibler divergence of the rounded values from the real ones, in nats.
    pub divergence: f64,
    /// How far the answers move when this tensor alone is rounded: squared change over square, of
    /// class logits and of mask logits, summed.
    pub effect: f64,
}

/// The chosen range of a tensor, and both that were proposed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Choice {
    /// The quantization.
    pub affine: Affine,
    /// Extremes met.
    pub extremes: (f64, f64),
    /// Signal to quantization noise, in decibels.
    pub sqnr_db: f64,
    /// The method whose proposal was taken.
    pub method: Method,
    /// The proposal with the least squared error.
    pub mse: Candidate,
    /// The proposal with the least divergence.
    pub kl: Candidate,
}

/// Runs `batches` of images through the network and chooses a range for every activation.
pub fn calibrate(student: &FoldedStudent, batches: &[Tensor]) -> HashMap<Activation, Choice> {
    tch::no_grad(|| {
        let extremes = extremes(student, batches);
        let histograms = histograms(student, batches, &extremes);
        let judge = Judge::new(student, batches);
        let choices = histograms.into_iter().map(|(activation, counts)| {
            let counts: Vec<i64> = Vec::try_from(counts).unwrap_or_default();
            let choice = judge.choose(activation, &counts, extremes[&activation]);
            (activation, choice)
        });
        choices.collect()
    })
}

/// The lowest and the highest value of every activation.
fn extremes(student: &FoldedStudent, batches: &[Tensor]) -> HashMap<Activation, (f64, f64)> {
    let mut extremes: HashMap<Activation, (f64, f64)> = HashMap::new();
    for images in batches {
        let _ = student.forward(images, |_, activation, x| {
            let (low, high) = (x.min().double_value(&[]), x.max().double_value(&[]));
            let at = extremes.entry(activation).or_insert((0.0, 0.0));
            *at = (at.0.min(low), at.1.max(high));
        });
    }
    extremes
}

/// Counts of the values of every activation in [`BINS`] bins between its extremes.
fn histograms(
    student: &FoldedStudent,
    batches: &[Tensor],
    extremes: &HashMap<Activation, (f64, f64)>,
) -> HashMap<Activation, Tensor> {
    let mut histograms: HashMap<Activation, Tensor> = HashMap::new();
    for images in batches {
        let _ = student.forward(images, |_, activation, x| {
            let (low, high) = widened(extremes[&activation]);
            // Index by hand: torch's histc has no 64-bit counts.
            let at = ((x - low) * (BINS as f64 / (high - low)))
                .floor()
                .clamp(0.0, BINS as f64 - 1.0);
            let counts = at
                .to_kind(Kind::Int64)
                .flatten(0, -1)
                .bincount::<Tensor>(None, BINS);
            let sum = histograms
                .remove(&activation)
                .map_or_else(|| counts.shallow_clone(), |h| h + &counts);
            histograms.insert(activation, sum);
        });
    }
    histograms
}

/// Decides between the candidates for a range by their effect on the network's answers.
struct Judge<'a> {
    student: &'a FoldedStudent,
    /// Some batches, and the answers about them in floats.
    answers: Vec<(&'a Tensor, (Tensor, Tensor))>,
}

impl<'a> Judge<'a> {
    fn new(student: &'a FoldedStudent, batches: &'a [Tensor]) -> Self {
        let few = &batches[..batches.len().min(JUDGED)];
        let answer = |images: &'a Tensor| (images, student.forward(images, |_, _, _| ()));
        Self {
            student,
            answers: few.iter().map(answer).collect(),
        }
    }

    /// How far the answers move when only `activation` is rounded, to `affine`.
    fn effect(&self, activation: Activation, affine: Affine) -> f64 {
        let parts = self.answers.iter().map(|(images, float)| {
            let rounded = self.student.forward(images, |_, at, x| {
                if at == activation {
                    x.shallow_clone().copy_(&affine.round_trip_all(x));
                }
            });
            moved(&float.0, &rounded.0) + moved(&float.1, &rounded.1)
        });
        parts.sum::<f64>() / self.answers.len() as f64
    }

    fn choose(&self, activation: Activation, counts: &[i64], extremes: (f64, f64)) -> Choice {
        let [mut mse, mut kl] = propose(counts, extremes);
        mse.effect = self.effect(activation, mse.affine);
        kl.effect = if kl.affine == mse.affine {
            mse.effect
        } else {
            self.effect(activation, kl.affine)
        };
        let (method, taken) = if kl.effect < CLEARLY * mse.effect {
            (Method::Kl, kl)
        } else {
            (Method::Mse, mse)
        };
        Choice {
            affine: taken.affine,
            extremes,
            sqnr_db: taken.sqnr_db,
            method,
            mse,
            kl,
        }
    }
}

/// Squared distance of `rounded` from `float`, over the square of `float`.
pub(super) fn moved(float: &Tensor, rounded: &Tensor) -> f64 {
    let square = |x: Tensor| x.square().sum(Kind::Double).double_value(&[]);
    square(rounded - float) / square(float.shallow_clone()).max(1e-30)
}

fn widened((low, high): (f64, f64)) -> (f64, f64) {
    (low, if high > low { high } else { low + 1e-6 })
}

/// The ranges with the least squared error and the least divergence over a histogram of `counts` between
/// `extremes`.
fn propose(counts: &[i64], extremes: (f64, f64)) -> [Candidate; 2] {
    let (low, high) = widened(extremes);
    let width = (high - low) / counts.len() as f64;
    let centres = counts.iter().enumerate().filter(|(_, n)| **n > 0);
    // A ReLU's zeros are exact in every range; the first bin's centre would pretend otherwise.
    let points: Vec<(f64, f64)> = centres
        .map(|(i, &n)| {
            let centre = low + (i as f64 + 0.5) * width;
            (if low == 0.0 && i == 0 { 0.0 } else { centre }, n as f64)
        })
        .collect();
    let signal: f64 = points.iter().map(|(x, n)| n * x * x).sum();
    let candidate = |affine: Affine| {
        let noise: f64 = points
            .iter()
            .map(|(x, n)| n * (x - affine.round_trip(*x)).powi(2))
            .sum();
        Candidate {
            affine,
            sqnr_db: 10.0 * (signal / noise.max(1e-30)).log10(),
            divergence: divergence(&points, affine),
            effect: 0.0,
        }
    };
    let parts = (20..=CANDIDATES).map(|i| f64::from(i) / f64::from(CANDIDATES));
    let all: Vec<_> = parts
        .map(|part| candidate(Affine::covering(low * part, high * part)))
        .collect();
    let least = |cost: fn(&Candidate) -> f64| {
        all.iter()
            .min_by(|a, b| cost(a).total_cmp(&cost(b)))
            .copied()
            .unwrap_or_else(|| candidate(Affine::covering(low, high)))
    };
    [least(|c| -c.sqnr_db), least(|c| c.divergence)]
}

/// Kullback-Leibler divergence in nats between two distributions: the values, those outside the range moved to its
/// ends; and the values that int8 keeps, the mass of each step spread evenly over the points it stands for.
fn divergence(points: &[(f64, f64)], affine: Affine) -> f64 {
    let total: f64 = points.iter().map(|(_, n)| n).sum();
    // For each of the 256 steps: the number of points that it stands for, and their mass.
    let zero = f64::from(affine.zero_point);
    let mut steps = [(0.0f64, 0.0f64); 256];
    let mut inside: Vec<(usize, f64)> = Vec::with_capacity(points.len());
    let (mut below, mut above) = (0.0, 0.0);
    for (x, n) in points {
        let q = (x / affine.scale + zero + 0.5).floor();
        if q < -128.0 {
            below += n;
        } else if q > 127.0 {
            above += n;
        } else {
            let step = (q + 128.0) as usize;
            steps[step].0 += 1.0;
            steps[step].1 += n;
            inside.push((step, *n));
        }
    }
    let kept: f64 = steps.iter().map(|(_, mass)| mass).sum();
    if let Some(first) = inside.first_mut() {
        first.1 += below;
    }
    if let Some(last) = inside.last_mut() {
        last.1 += above;
    }
    inside
        .iter()
        .map(|&(step, n)| {
            let (points, mass) = steps[step];
            let (p, q) = (n / total, mass / points / kept);
            p * (p / q).ln()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_exact_and_values_are_within_half_a_step() {
        for (low, high) in [(0.0, 3.7), (-1.0, 2.0), (-5.0, 0.1), (0.0, 0.0)] {
            let affine = Affine::covering(low, high);
            assert_eq!(affine.round_trip(0.0), 0.0);
            for i in 0..100 {
                let x = low + (high - low) * f64::from(i) / 99.0;
                assert!((affine.round_trip(x) - x).abs() <= affine.scale * 1.001);
            }
        }
    }

    #[test]
    fn a_lone_outlier_is_clipped() {
        let mut counts = vec![1_000_000; 400];
        counts.resize(4096, 0);
        counts[4095] = 1;
        // By squared error: a distribution this even is the same at every step that divides its bins.
        let [mse, _] = propose(&counts, (0.0, 10.0));
        assert!(mse.affine.scale * 255.0 < 5.0, "{mse:?}");
    }

    #[test]
    fn each_method_is_the_better_one_by_its_own_measure() {
        let counts: Vec<i64> = (0..4096)
            .map(|i| (1e6 * (-f64::from(i) / 300.0).exp()) as i64)
            .collect();
        let [mse, kl] = propose(&counts, (0.0, 10.0));
        assert!(mse.sqnr_db >= kl.sqnr_db, "{mse:?} {kl:?}");
        assert!(kl.divergence <= mse.divergence, "{mse:?} {kl:?}");
        assert!(kl.divergence >= 0.0, "{kl:?}");
    }
}
