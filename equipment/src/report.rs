//! The result for one wafer, and the checks that a board's report must pass first.

use std::time::Duration;

use lightwafer_device::protocol::message;
use lightwafer_runtime::dies::{CLASS_COUNT, Class, DieMap, Mask};
use lightwafer_runtime::{Answer, SCORE_UNIT, crc32, softmax};
use thiserror::Error;

/// The result for one wafer.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The class with the largest score.
    pub class: Class,
    /// Probabilities of the 38 classes.
    pub scores: [f32; CLASS_COUNT],
    /// The same in units of 2⁻²⁴, equal on every machine that runs the model.
    pub raw_scores: [u32; CLASS_COUNT],
    /// Logits in units of 2⁻¹⁶, equal on every machine that runs the model.
    pub logits: [i32; CLASS_COUNT],
    /// The quantized embedding.
    pub embedding: Vec<i8>,
    /// The defect mask at 224×224.
    pub mask: Mask,
    /// Number of dies that the mask marks; places without a die do not count.
    pub mask_dies: u32,
    /// Time of the inference: the board's own measurement, or this machine's.
    pub elapsed: Duration,
    /// Instructions of the inference, if the board counts them.
    pub instructions: Option<u64>,
}

/// Why a board's report is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadReport {
    /// The report is for another map.
    #[error("the report is of another map (CRC-32 {found:08x}, sent {sent:08x})")]
    Map {
        /// CRC-32 of the sent map.
        sent: u32,
        /// CRC-32 in the report.
        found: u32,
    },
    /// A list has the wrong length.
    #[error("{found} {what}, {CLASS_COUNT} expected")]
    Length {
        /// The name of the list.
        what: &'static str,
        /// Its length.
        found: usize,
    },
    /// The class does not exist, or is not the one with the largest logit.
    #[error("class {class} is not that of the largest logit")]
    Class {
        /// The reported number.
        class: u8,
    },
    /// The scores do not follow from the logits.
    #[error("the scores do not follow from the logits")]
    Scores,
    /// The received mask is not the one in the report.
    #[error("the mask that arrived is not the reported one")]
    Mask,
    /// The board states an impossible number of received bytes.
    #[error("the board claims {received} bytes of a map of {expected}")]
    Received {
        /// The stated bytes.
        received: u32,
        /// Bytes of the map.
        expected: usize,
    },
    /// The transfer made no progress, although the board answered.
    #[error("map or mask made no progress")]
    Stuck,
}

/// A board's report that has passed all checks except that of its mask.
pub(crate) struct Checked {
    answer: Answer,
    mask_pixels: u32,
    mask_crc: u32,
    elapsed: Duration,
    instructions: Option<u64>,
}

impl Checked {
    /// Checks a board's report for `map`, whose packed bytes have the CRC-32 `map_crc`.
    pub(crate) fn new(report: &message::Report, map_crc: u32) -> Result<Self, BadReport> {
        if report.map_crc != map_crc {
            return Err(BadReport::Map {
                sent: map_crc,
                found: report.map_crc,
            });
        }
        let length = |what, found| BadReport::Length { what, found };
        let logits = <[i32; CLASS_COUNT]>::try_from(report.logits.as_slice())
            .map_err(|_| length("logits", report.logits.len()))?;
        let scores = <[u32; CLASS_COUNT]>::try_from(report.scores.as_slice())
            .map_err(|_| length("scores", report.scores.len()))?;
        if scores != softmax(&logits) {
            return Err(BadReport::Scores);
        }
        let answer = Answer::from_logits(logits, report.embedding.clone());
        if answer.class.index() != report.class {
            return Err(BadReport::Class {
                class: report.class,
            });
        }
        Ok(Self {
            answer,
            mask_pixels: report.mask_pixels,
            mask_crc: report.mask_crc,
            elapsed: Duration::from_micros(report.elapsed_us),
            instructions: report.instructions,
        })
    }

    /// Checks the mask and completes the report.
    pub(crate) fn complete(self, mask: Mask, map: &DieMap<'_>) -> Result<Report, BadReport> {
        if crc32(&mask.0) != self.mask_crc || mask.count() != self.mask_pixels {
            return Err(BadReport::Mask);
        }
        Ok(Report::new(
            &self.answer,
            mask,
            map,
            self.elapsed,
            self.instructions,
        ))
    }
}

impl Report {
    /// Makes a report from an engine's answer for `map`.
    pub fn new(
        answer: &Answer,
        mask: Mask,
        map: &DieMap<'_>,
        elapsed: Duration,
        instructions: Option<u64>,
    ) -> Self {
        Self {
            class: answer.class,
            scores: answer.scores.map(|score| score as f32 * SCORE_UNIT),
            raw_scores: answer.scores,
            logits: answer.logits,
            embedding: answer.embedding.to_vec(),
            mask_dies: mask.count_dies(map),
            mask,
            elapsed,
            instructions,
        }
    }

    /// The score of [`Report::class`].
    pub fn top_score(&self) -> f32 {
        self.scores[usize::from(self.class.index())]
    }

    /// The classes by score, best first. On a tie the lower class comes first.
    pub fn ranking(&self) -> Vec<(Class, f32)> {
        let mut order: Vec<_> = Class::all().zip(self.scores).collect();
        order.sort_by(|a, b| b.1.total_cmp(&a.1));
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent() -> (Vec<u8>, message::Report) {
        let packed = vec![0b10_01_10_01; 4];
        let mut logits = [-70_000; CLASS_COUNT];
        logits[9] = 200_000;
        let mask = Mask::new();
        let report = message::Report {
            wafer: 1,
            map_crc: crc32(&packed),
            class: 9,
            scores: softmax(&logits).into_iter().collect(),
            logits: logits.into_iter().collect(),
            embedding: (0..64).collect(),
            mask_pixels: 0,
            mask_crc: crc32(&mask.0),
            elapsed_us: 1_500,
            instructions: Some(7),
        };
        (packed, report)
    }

    fn accept(report: &message::Report, packed: &[u8], mask: Mask) -> Result<Report, BadReport> {
        let map = DieMap::new_checked(4, 4, packed).unwrap();
        Checked::new(report, crc32(packed))?.complete(mask, &map)
    }

    #[test]
    fn a_true_report_is_accepted() {
        let (packed, report) = sent();
        let got = accept(&report, &packed, Mask::new()).unwrap();
        assert_eq!(got.class.label(), "C+EL");
        assert_eq!(got.ranking()[0], (got.class, got.top_score()));
        assert!((got.scores.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        assert_eq!(
            (got.elapsed.as_micros(), got.instructions),
            (1_500, Some(7))
        );
    }

    #[test]
    fn every_contradiction_is_named() {
        let (packed, good) = sent();
        let refused = |change: &dyn Fn(&mut message::Report)| {
            let mut report = good.clone();
            change(&mut report);
            accept(&report, &packed, Mask::new()).unwrap_err()
        };
        assert!(matches!(
            refused(&|r| r.map_crc ^= 1),
            BadReport::Map { .. }
        ));
        assert!(matches!(
            refused(&|r| r.logits.truncate(37)),
            BadReport::Length { .. }
        ));
        assert!(matches!(
            refused(&|r| r.scores.truncate(37)),
            BadReport::Length { .. }
        ));
        assert!(matches!(
            refused(&|r| r.class = 38),
            BadReport::Class { class: 38 }
        ));
        assert!(matches!(
            refused(&|r| r.class = 3),
            BadReport::Class { class: 3 }
        ));
        assert!(matches!(refused(&|r| r.scores[0] += 1), BadReport::Scores));
        assert!(matches!(
            refused(&|r| r.logits[0] = 1 << 30),
            BadReport::Scores
        ));
        assert!(matches!(refused(&|r| r.mask_pixels = 1), BadReport::Mask));
        assert!(matches!(refused(&|r| r.mask_crc ^= 1), BadReport::Mask));
        let mut mask = Mask::new();
        mask.0[100] = 1;
        assert_eq!(accept(&good, &packed, mask), Err(BadReport::Mask));
    }
}
