//! Metrics, the same for every form of the model: class scores and counts of mask pixels go in, a report comes out.

use lightwafer_runtime::dies::{CLASS_COUNT, Class};
use serde::{Deserialize, Serialize};

/// Counts of mask pixels, by prediction and truth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PixelCounts {
    /// Marked and failing.
    pub both: u64,
    /// Marked only.
    pub marked_only: u64,
    /// Failing only.
    pub failing_only: u64,
    /// Neither.
    pub neither: u64,
}

impl PixelCounts {
    /// Pixels predicted right.
    pub fn accuracy(&self) -> f64 {
        ratio(self.both + self.neither, self.all())
    }

    /// Dice coefficient over all pixels together; 1 when there is nothing to find and nothing found.
    pub fn dice(&self) -> f64 {
        let sum = 2 * self.both + self.marked_only + self.failing_only;
        if sum == 0 {
            1.0
        } else {
            ratio(2 * self.both, sum)
        }
    }

    /// Intersection over union over all pixels together.
    pub fn iou(&self) -> f64 {
        let union = self.both + self.marked_only + self.failing_only;
        if union == 0 {
            1.0
        } else {
            ratio(self.both, union)
        }
    }

    fn all(&self) -> u64 {
        self.both + self.marked_only + self.failing_only + self.neither
    }
}

impl std::ops::AddAssign for PixelCounts {
    fn add_assign(&mut self, other: Self) {
        self.both += other.both;
        self.marked_only += other.marked_only;
        self.failing_only += other.failing_only;
        self.neither += other.neither;
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// A model's answers about wafers whose class is known.
#[derive(Debug, Default)]
pub struct Collector {
    scores: Vec<[f32; CLASS_COUNT]>,
    truth: Vec<u8>,
    pixels: PixelCounts,
    masks: usize,
}

impl Collector {
    /// One wafer's class logits and its class.
    pub fn class(&mut self, scores: [f32; CLASS_COUNT], truth: u8) {
        self.scores.push(scores);
        self.truth.push(truth);
    }

    /// The pixel counts of `masks` wafers.
    pub fn mask(&mut self, counts: PixelCounts, masks: usize) {
        self.pixels += counts;
        self.masks += masks;
    }

    /// Adds the answers of another collector.
    pub fn merge(&mut self, other: Self) {
        self.scores.extend(other.scores);
        self.truth.extend(other.truth);
        self.mask(other.pixels, other.masks);
    }

    /// The metrics of everything collected.
    pub fn report(&self) -> Report {
        let mut confusion = vec![vec![0u64; CLASS_COUNT]; CLASS_COUNT];
        for (scores, &truth) in self.scores.iter().zip(&self.truth) {
            confusion[usize::from(truth)][argmax(scores)] += 1;
        }
        let probabilities: Vec<_> = self.scores.iter().map(|row| softmax(row)).collect();
        let against_rest = |class: usize| {
            let all = probabilities.iter().zip(&self.truth);
            all.map(|(row, &truth)| (row[class], usize::from(truth) == class))
                .collect()
        };
        let classes: Vec<ClassRow> = Class::all()
            .map(|class| {
                let c = usize::from(class.index());
                let support: u64 = confusion[c].iter().sum();
                let predicted: u64 = confusion.iter().map(|row| row[c]).sum();
                let precision = ratio(confusion[c][c], predicted);
                let recall = ratio(confusion[c][c], support);
                let sum = precision + recall;
                ClassRow {
                    class: class.label().into(),
                    support,
                    precision,
                    recall,
                    f1: if sum > 0.0 {
                        2.0 * precision * recall / sum
                    } else {
                        0.0
                    },
                    auc: auc(against_rest(c)),
                }
            })
            .collect();
        let right: u64 = (0..CLASS_COUNT).map(|c| confusion[c][c]).sum();
        let seen: Vec<&ClassRow> = classes.iter().filter(|row| row.support > 0).collect();
        let mean = |of: fn(&ClassRow) -> f64| {
            seen.iter().map(|row| of(row)).sum::<f64>() / seen.len().max(1) as f64
        };
        let aucs: Vec<f64> = classes.iter().filter_map(|row| row.auc).collect();
        Report {
            wafers: self.truth.len(),
            accuracy: ratio(right, self.truth.len() as u64),
            precision: mean(|row| row.precision),
            recall: mean(|row| row.recall),
            f1: mean(|row| row.f1),
            auc: aucs.iter().sum::<f64>() / aucs.len().max(1) as f64,
            mask: (self.masks > 0).then(|| MaskReport {
                wafers: self.masks,
                pixel_accuracy: self.pixels.accuracy(),
                dice: self.pixels.dice(),
                iou: self.pixels.iou(),
            }),
            classes,
            confusion,
        }
    }
}

/// The area under the ROC curve of scores, each with a flag for positives; ties count half. None if all
/// are positive or none is.
fn auc(mut ranked: Vec<(f64, bool)>) -> Option<f64> {
    let positives = ranked.iter().filter(|r| r.1).count();
    let negatives = ranked.len() - positives;
    if positives == 0 || negatives == 0 {
        return None;
    }
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut sum, mut at) = (0.0, 0);
    while at < ranked.len() {
        let tied = ranked[at..].iter().take_while(|r| r.0 == ranked[at].0);
        let end = at + tied.count();
        let rank = (at + 1 + end) as f64 / 2.0;
        sum += rank * ranked[at..end].iter().filter(|r| r.1).count() as f64;
        at = end;
    }
    let (p, n) = (positives as f64, negatives as f64);
    Some((sum - p * (p + 1.0) / 2.0) / (p * n))
}

/// The position of the highest score; the first one on a tie.
pub fn argmax(scores: &[f32]) -> usize {
    let mut best = 0;
    for (i, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = i;
        }
    }
    best
}

/// Probabilities of class logits.
pub fn softmax(logits: &[f32]) -> Vec<f64> {
    let max = f64::from(logits.iter().copied().fold(f32::MIN, f32::max));
    let powers: Vec<f64> = logits.iter().map(|s| (f64::from(*s) - max).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

/// One class's row of a report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassRow {
    /// The class's label.
    pub class: String,
    /// Wafers of this class.
    pub support: u64,
    /// The share of wafers of this class among those predicted as it.
    pub precision: f64,
    /// The share of wafers predicted as this class among those of it.
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
    /// One-vs-rest AUC of the softmax; none if the class or the rest is absent.
    pub auc: Option<f64>,
}

/// Metrics of masks, all pixels of all wafers together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MaskReport {
    /// Wafers.
    pub wafers: usize,
    /// Pixels predicted right.
    pub pixel_accuracy: f64,
    /// Dice coefficient.
    pub dice: f64,
    /// Intersection over union.
    pub iou: f64,
}

/// Metrics of a model on some wafers. Macro figures average over the classes that occur.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Wafers.
    pub wafers: usize,
    /// Classes predicted right.
    pub accuracy: f64,
    /// Macro precision.
    pub precision: f64,
    /// Macro recall.
    pub recall: f64,
    /// Macro F1.
    pub f1: f64,
    /// Macro one-vs-rest AUC.
    pub auc: f64,
    /// Metrics of the masks, if they were predicted.
    pub mask: Option<MaskReport>,
    /// One row a class.
    pub classes: Vec<ClassRow>,
    /// Wafers by class (row) and prediction (column).
    pub confusion: Vec<Vec<u64>>,
}

impl Report {
    /// The headline figures in one line.
    pub fn line(&self) -> String {
        let mut line = format!(
            "accuracy {:.2} %, macro P {:.4} R {:.4} F1 {:.4}, AUC {:.5}",
            100.0 * self.accuracy,
            self.precision,
            self.recall,
            self.f1,
            self.auc
        );
        if let Some(mask) = &self.mask {
            line += &format!(
                "; mask pixel accuracy {:.5}, Dice {:.5}, IoU {:.5}",
                mask.pixel_accuracy, mask.dice, mask.iou
            );
        }
        line
    }

    /// The per-class table as text.
    pub fn table(&self) -> String {
        let mut text = format!(
            "{:<11}{:>8}{:>11}{:>9}{:>9}{:>9}\n",
            "class", "wafers", "precision", "recall", "F1", "AUC"
        );
        for row in self.classes.iter().filter(|row| row.support > 0) {
            let auc = row.auc.map_or("-".into(), |auc| format!("{auc:.5}"));
            text += &format!(
                "{:<11}{:>8}{:>11.4}{:>9.4}{:>9.4}{auc:>9}\n",
                row.class, row.support, row.precision, row.recall, row.f1
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_hot(class: usize, score: f32) -> [f32; CLASS_COUNT] {
        core::array::from_fn(|i| if i == class { score } else { 0.0 })
    }

    #[test]
    fn figures_of_a_small_set_by_hand() {
        let mut c = Collector::default();
        c.class(one_hot(1, 5.0), 1);
        c.class(one_hot(2, 5.0), 1);
        c.class(one_hot(2, 9.0), 2);
        c.mask(
            PixelCounts {
                both: 3,
                marked_only: 1,
                failing_only: 2,
                neither: 4,
            },
            1,
        );
        let report = c.report();
        assert_eq!(report.wafers, 3);
        assert!((report.accuracy - 2.0 / 3.0).abs() < 1e-12);
        assert!((report.precision - 0.75).abs() < 1e-12);
        assert!((report.recall - 0.75).abs() < 1e-12);
        assert!((report.f1 - 2.0 / 3.0).abs() < 1e-12);
        // Class 1: scores 0.8, 0.004 (both of class 1) and 0.0001; class 2: 0.8 ties nothing above it.
        assert_eq!(report.classes[1].auc, Some(1.0));
        assert_eq!(report.classes[2].auc, Some(1.0));
        let mask = report.mask.unwrap();
        assert!((mask.dice - 6.0 / 9.0).abs() < 1e-12 && (mask.iou - 0.5).abs() < 1e-12);
        assert!((mask.pixel_accuracy - 0.7).abs() < 1e-12);
    }

    #[test]
    fn equal_scores_have_an_auc_of_one_half() {
        let mut c = Collector::default();
        for truth in [0, 0, 1, 3] {
            c.class([0.0; CLASS_COUNT], truth);
        }
        assert_eq!(c.report().classes[0].auc, Some(0.5));
        assert_eq!(c.report().classes[2].auc, None);
    }

    #[test]
    fn nothing_to_find_and_nothing_found_is_perfect() {
        let counts = PixelCounts {
            neither: 9,
            ..Default::default()
        };
        assert_eq!(
            (counts.dice(), counts.iou(), counts.accuracy()),
            (1.0, 1.0, 1.0)
        );
    }
}
