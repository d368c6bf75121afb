//! Picks the range of each int8 tensor by the error it makes, not by its extremes.
//!
//! A histogram of the values met on training maps gives two candidates: the range with the least squared
//! error of rounding and clipping, and the one whose rounded distribution diverges least from the real one
//! (Kullback-Leibler, as TensorRT has it). The second is taken where it clearly changes the network's answers
//! less when this tensor alone is rounded.

use std::collections::HashMap;

use serde::Serialize;
use tch::{Kind, Tensor};

use super::fold::{FoldedStudent, Value};

const BINS: i64 = 4096;
/// Candidate ranges: fractions of the extremes.
const CANDIDATES: i32 = 100;
/// Batches on which the answers of both candidates are compared.
pub(super) const JUDGED: usize = 2;
/// The divergence's range is taken where it has less than this part of the other's effect: less is noise on so
/// few maps. (Taking it wherever it is ahead at all, by 2 to 13 % at three tensors, made the published student's
/// logits no better: 0.322 off instead of 0.314.)
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

    /// What a real value becomes and goes back to.
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

/// What a candidate range makes least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The squared error of values.
    Mse,
    /// The divergence of distributions.
    Kl,
}

/// A range that a method proposes, and what it costs.
#[derive(Debug, Clone, Copy, Serialize)]
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
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Choice {
    /// The quantization.
    pub affine: Affine,
    /// Extremes met.
    pub extremes: (f64, f64),
    /// Signal to quantization noise, in decibels.
    pub sqnr_db: f64,
    /// Whose proposal was taken.
    pub method: Method,
    /// The least squared error's.
    pub mse: Candidate,
    /// The least divergence's.
    pub kl: Candidate,
}

/// Runs `batches` of images through the network and chooses a range for every value.
pub fn calibrate(student: &FoldedStudent, batches: &[Tensor]) -> HashMap<Value, Choice> {
    let mut extremes: HashMap<Value, (f64, f64)> = HashMap::new();
    let mut histograms: HashMap<Value, Tensor> = HashMap::new();
    tch::no_grad(|| {
        for images in batches {
            let _ = student.forward(images, |value, x| {
                let (low, high) = (x.min().double_value(&[]), x.max().double_value(&[]));
                let at = extremes.entry(value).or_insert((0.0, 0.0));
                *at = (at.0.min(low), at.1.max(high));
            });
        }
        for images in batches {
            let _ = student.forward(images, |value, x| {
                let (low, high) = widened(extremes[&value]);
                // Index by hand: torch's histc has no 64-bit counts.
                let at = ((x - low) * (BINS as f64 / (high - low)))
                    .floor()
                    .clamp(0.0, BINS as f64 - 1.0);
                let counts = at
                    .to_kind(Kind::Int64)
                    .flatten(0, -1)
                    .bincount::<Tensor>(None, BINS);
                let sum = histograms
                    .remove(&value)
                    .map_or_else(|| counts.shallow_clone(), |h| h + &counts);
                histograms.insert(value, sum);
            });
        }
        let judged = &batches[..batches.len().min(JUDGED)];
        let answers: Vec<_> = judged
            .iter()
            .map(|images| student.forward(images, |_, _| ()))
            .collect();
        let effect = |value: Value, affine: Affine| -> f64 {
            let parts = judged.iter().zip(&answers).map(|(images, float)| {
                let rounded = student.forward(images, |at, x| {
                    if at == value {
                        x.shallow_clone().copy_(&affine.round_trip_all(x));
                    }
                });
                moved(&float.0, &rounded.0) + moved(&float.1, &rounded.1)
            });
            parts.sum::<f64>() / judged.len() as f64
        };
        let choose = |(value, counts): (Value, Tensor)| {
            let counts: Vec<i64> = Vec::try_from(counts).unwrap_or_default();
            let extremes = extremes[&value];
            let [mut mse, mut kl] = propose(&counts, extremes);
            mse.effect = effect(value, mse.affine);
            kl.effect = if kl.affine == mse.affine {
                mse.effect
            } else {
                effect(value, kl.affine)
            };
            let (method, taken) = if kl.effect < CLEARLY * mse.effect {
                (Method::Kl, kl)
            } else {
                (Method::Mse, mse)
            };
            let choice = Choice {
                affine: taken.affine,
                extremes,
                sqnr_db: taken.sqnr_db,
                method,
                mse,
                kl,
            };
            (value, choice)
        };
        histograms.into_iter().map(choose).collect()
    })
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

/// Kullback-Leibler divergence in nats between the values, those outside the range moved to its ends,
/// and what int8 keeps of those inside: each step's mass spread evenly over the points it stands for.
fn divergence(points: &[(f64, f64)], affine: Affine) -> f64 {
    let total: f64 = points.iter().map(|(_, n)| n).sum();
    // Of each of the 256 steps: how many points it stands for, and their mass.
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
