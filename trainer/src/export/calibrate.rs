//! Picks the range of each int8 tensor by the error it makes, not by its extremes.
//!
//! A histogram of the values met on training maps; of candidate ranges, the one whose rounding and
//! clipping error, summed over the histogram, is least.

use std::collections::HashMap;

use tch::{Kind, Tensor};

use super::fold::{FoldedStudent, Value};

const BINS: i64 = 4096;
/// Candidate ranges: fractions of the extremes.
const CANDIDATES: i32 = 100;

/// Scale and zero point: real = scale·(q − zero_point), q in −128…127.
#[derive(Debug, Clone, Copy, PartialEq)]
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
}

/// The chosen range of a tensor, and what it costs.
#[derive(Debug, Clone, Copy)]
pub struct Choice {
    /// The quantization.
    pub affine: Affine,
    /// Extremes met.
    pub extremes: (f64, f64),
    /// Signal to quantization noise, in decibels.
    pub sqnr_db: f64,
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
    });
    let choose = |(value, counts): (Value, Tensor)| {
        let counts: Vec<i64> = Vec::try_from(counts).unwrap_or_default();
        (value, choose(&counts, extremes[&value]))
    };
    histograms.into_iter().map(choose).collect()
}

fn widened((low, high): (f64, f64)) -> (f64, f64) {
    (low, if high > low { high } else { low + 1e-6 })
}

/// The range with the least squared error over a histogram of `counts` between `extremes`.
fn choose(counts: &[i64], extremes: (f64, f64)) -> Choice {
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
    let error = |affine: Affine| -> f64 {
        points
            .iter()
            .map(|(x, n)| n * (x - affine.round_trip(*x)).powi(2))
            .sum()
    };
    let candidates = (20..=CANDIDATES).map(|i| f64::from(i) / f64::from(CANDIDATES));
    let best = candidates
        .map(|part| Affine::covering(low * part, high * part))
        .map(|affine| (error(affine), affine))
        .min_by(|a, b| a.0.total_cmp(&b.0));
    let (noise, affine) = best.unwrap_or((0.0, Affine::covering(low, high)));
    let signal: f64 = points.iter().map(|(x, n)| n * x * x).sum();
    Choice {
        affine,
        extremes,
        sqnr_db: 10.0 * (signal / noise.max(1e-30)).log10(),
    }
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
        let choice = choose(&counts, (0.0, 10.0));
        assert!(choice.affine.scale * 255.0 < 5.0, "{choice:?}");
    }
}
