//! The result of an inference, and the trait that every engine implements.

use core::fmt;

use heapless::Vec;

use crate::dies::{CLASS_COUNT, Class, DieMap, Mask};
use crate::image::ModelFacts;
use crate::limits::MAX_CHANNELS;

/// The result for one wafer, without its mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The class with the largest logit, the lowest class on a tie.
    pub class: Class,
    /// Logits in units of 2⁻¹⁶.
    pub logits: [i32; CLASS_COUNT],
    /// Probabilities in units of 2⁻²⁴ (see [`softmax`]).
    pub scores: [u32; CLASS_COUNT],
    /// The quantized embedding.
    pub embedding: Vec<i8, MAX_CHANNELS>,
}

impl Answer {
    /// Computes class and scores from logits (in units of 2⁻¹⁶).
    pub fn from_logits(logits: [i32; CLASS_COUNT], embedding: Vec<i8, MAX_CHANNELS>) -> Self {
        let mut best = (0, i32::MIN);
        for (at, &logit) in logits.iter().enumerate() {
            if logit > best.1 {
                best = (at as u8, logit);
            }
        }
        let class = Class::new(best.0).unwrap_or(Class::NORMAL);
        Self {
            class,
            logits,
            scores: softmax(&logits),
            embedding,
        }
    }
}

/// An engine: it classifies wafer maps with one model.
pub trait Engine {
    /// The facts of the model that the engine runs.
    fn facts(&self) -> ModelFacts<'_>;

    /// Classifies one wafer and writes its mask.
    ///
    /// # Errors
    /// [`EngineFailure`] if the engine fails at run time. The fixed-point engine never fails once it has started.
    fn classify(&mut self, map: &DieMap<'_>, mask: &mut Mask) -> Result<Answer, EngineFailure>;
}

/// The engine could not finish an inference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct EngineFailure;

impl fmt::Display for EngineFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the inference engine failed")
    }
}

impl core::error::Error for EngineFailure {}

/// One unit of [`Answer::scores`], as a fraction of 1.
pub const SCORE_UNIT: f32 = 1.0 / (1u32 << 24) as f32;
/// One unit of [`Answer::logits`].
pub const LOGIT_UNIT: f32 = 1.0 / (1u32 << 16) as f32;

/// Softmax in integers, the same bits on every machine. It converts logits in units of 2⁻¹⁶ to probabilities in
/// units of 2⁻²⁴, within 4 units of the real softmax.
///
/// It uses exp(−d) = 2^(−d·log₂e). A polynomial of degree 9 in Q30 gives the power of the fraction.
pub fn softmax(logits: &[i32; CLASS_COUNT]) -> [u32; CLASS_COUNT] {
    let max = logits.iter().copied().max().unwrap_or(0);
    let powers = logits.map(|logit| exp_neg(i64::from(max).abs_diff(i64::from(logit))));
    // At least one power is 1.0 in Q30, so the sum is not zero; the compiler does not know.
    let sum = powers.iter().map(|&p| u64::from(p)).sum::<u64>().max(1);
    powers.map(|p| (((u64::from(p) << 24) + sum / 2) / sum) as u32)
}

/// exp(−d) in Q30 for d ≥ 0 in units of 2⁻¹⁶.
fn exp_neg(d: u64) -> u32 {
    /// log₂(e) in Q30.
    const LOG2_E: u64 = 1_549_082_005;
    // Beyond 31·ln 2 the result is below half a unit of Q30. This also keeps the product within 64 bits.
    if d > 22 << 16 {
        return 0;
    }
    let t = d * LOG2_E; // Q46
    let whole = (t >> 46) as u32;
    let f = (t >> 16) & ((1 << 30) - 1); // Q30
    // 2^(−f) = Σ (−ln 2)^k f^k / k!, by Horner's rule in Q30. The signs of the terms alternate.
    const C: [u64; 10] = [
        1_073_741_824, // 1
        744_261_118,   // ln 2
        257_941_248,   // ln²2 / 2!
        59_597_083,    // ln³2 / 3!
        10_327_387,    // ln⁴2 / 4!
        1_431_680,     // ln⁵2 / 5!
        165_394,       // ln⁶2 / 6!
        16_377,        // ln⁷2 / 7!
        1_419,         // ln⁸2 / 8!
        109,           // ln⁹2 / 9!
    ];
    let mut acc = 0;
    for c in C.iter().rev() {
        acc = c.saturating_sub((acc * f) >> 30);
    }
    ((acc >> whole.min(31)) as u32).min(1 << 30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_is_close_to_the_real_one() {
        let mut state = 1u32;
        for scale in [
            0u32,
            1,
            100,
            10_000,
            65_536,
            400_000,
            4_000_000,
            u32::MAX / 2,
        ] {
            for _ in 0..200 {
                let logits: [i32; CLASS_COUNT] = core::array::from_fn(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    ((i64::from(state as i32) * i64::from(scale)) >> 31) as i32
                });
                let max = f64::from(*logits.iter().max().unwrap());
                let exps = logits.map(|l| ((f64::from(l) - max) / 65536.0).exp());
                let sum: f64 = exps.iter().sum();
                for (got, e) in softmax(&logits).iter().zip(exps) {
                    let want = e / sum * f64::from(1 << 24);
                    assert!((f64::from(*got) - want).abs() <= 4.0, "{got} {want}");
                }
            }
        }
    }

    #[test]
    fn the_lowest_class_wins_a_tie() {
        let answer = Answer::from_logits([5; CLASS_COUNT], Vec::new());
        assert_eq!(answer.class.index(), 0);
        let answer = Answer::from_logits([i32::MIN; CLASS_COUNT], Vec::new());
        assert_eq!(answer.class.index(), 0);
        let mut logits = [i32::MIN; CLASS_COUNT];
        logits[37] = i32::MAX;
        let answer = Answer::from_logits(logits, Vec::new());
        assert_eq!((answer.class.index(), answer.scores[37]), (37, 1 << 24));
    }
}
