//! Compares two evaluations of the same wafers class by class, such as those of a student and of its int8 image.

use std::fmt::Write;

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::data::Part;
use crate::evaluation::Evaluation;

/// A figure of both evaluations, 0…1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Pair {
    /// In the first evaluation.
    pub first: f64,
    /// In the second.
    pub second: f64,
    /// Second minus first, in points (hundredths).
    pub points: f64,
}

impl Pair {
    fn new(first: f64, second: f64) -> Self {
        Self {
            first,
            second,
            points: 100.0 * (second - first),
        }
    }

    fn text(&self) -> String {
        format!(
            "{:>8.2}{:>8.2}{:>+8.2}",
            100.0 * self.first,
            100.0 * self.second,
            // No −0.00.
            (self.points * 100.0).round() / 100.0 + 0.0
        )
    }
}

/// One class in both evaluations.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The class's label.
    pub class: String,
    /// Wafers of it.
    pub wafers: u64,
    /// The share of these that was found: the class's accuracy.
    pub accuracy: Pair,
    /// F1.
    pub f1: Pair,
}

/// Both evaluations.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassComparison {
    /// The files that were measured.
    pub models: [String; 2],
    /// The part of the split.
    pub part: Part,
    /// Wafers.
    pub wafers: usize,
    /// All classes together.
    pub accuracy: Pair,
    /// Macro F1.
    pub f1: Pair,
    /// Dice of all masks, where both have masks.
    pub dice: Option<Pair>,
    /// The classes that occur.
    pub classes: Vec<Row>,
}

impl ClassComparison {
    /// Compares the evaluations of two models.
    ///
    /// # Errors
    /// When they are of different wafers.
    pub fn new(first: &Evaluation, second: &Evaluation) -> Result<Self> {
        ensure!(
            (first.part, first.protocol) == (second.part, second.protocol)
                && first.data == second.data,
            "the evaluations are of different wafers: the {} part of {}; and the {} part of {}",
            first.part,
            first.data,
            second.part,
            second.data
        );
        let (a, b) = (&first.views.plain, &second.views.plain);
        ensure!(
            a.wafers == b.wafers && a.classes.len() == b.classes.len(),
            "the evaluations are of {} and {} wafers",
            a.wafers,
            b.wafers
        );
        let mut classes = Vec::new();
        for (a, b) in a.classes.iter().zip(&b.classes) {
            ensure!(
                a.class == b.class && a.support == b.support,
                "the evaluations differ in class {}: {} wafers, and {} of {}",
                a.class,
                a.support,
                b.support,
                b.class
            );
            if a.support > 0 {
                classes.push(Row {
                    class: a.class.clone(),
                    wafers: a.support,
                    accuracy: Pair::new(a.recall, b.recall),
                    f1: Pair::new(a.f1, b.f1),
                });
            }
        }
        let dice = a.mask.as_ref().zip(b.mask.as_ref());
        Ok(Self {
            models: [first.checkpoint.clone(), second.checkpoint.clone()],
            part: first.part,
            wafers: a.wafers,
            accuracy: Pair::new(a.accuracy, b.accuracy),
            f1: Pair::new(a.f1, b.f1),
            dice: dice.map(|(a, b)| Pair::new(a.dice, b.dice)),
            classes,
        })
    }

    /// As text, in percent; differences in points.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let [first, second] = &self.models;
        let _ = writeln!(
            text,
            "first: {first}\nsecond: {second}\n{} part\n",
            self.part
        );
        let _ = writeln!(
            text,
            "{:<11}{:>8}{:>8}{:>8}{:>8}{:>9}{:>8}{:>8}",
            "class", "wafers", "acc. 1", "acc. 2", "points", "F1 1", "F1 2", "points"
        );
        let mut line = |class: &str, wafers: usize, accuracy: &Pair, f1: &Pair| {
            let (accuracy, f1) = (accuracy.text(), f1.text());
            let _ = writeln!(text, "{class:<11}{wafers:>8}{accuracy} {f1}");
        };
        for row in &self.classes {
            line(&row.class, row.wafers as usize, &row.accuracy, &row.f1);
        }
        line("all", self.wafers, &self.accuracy, &self.f1);
        if let Some(dice) = &self.dice {
            let _ = writeln!(
                text,
                "mask Dice: {:.5} and {:.5} %, {:+.5} points",
                100.0 * dice.first,
                100.0 * dice.second,
                dice.points
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(name: &str) -> Evaluation {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/light");
        Evaluation::read(&folder.join(name)).unwrap()
    }

    #[test]
    fn differences_are_in_points_and_other_wafers_are_refused() {
        let (a, mut b) = (published("eval-float.json"), published("eval-int8.json"));
        let comparison = ClassComparison::new(&a, &b).unwrap();
        assert_eq!((comparison.classes.len(), comparison.wafers), (38, 3118));
        let class = comparison
            .classes
            .iter()
            .find(|row| row.class == "C+ER+L+S");
        let points = class.unwrap().accuracy.points;
        assert!((points - 100.0 / 87.0).abs() < 1e-6, "{points}");
        assert!(
            comparison.table().contains("+1.15"),
            "{}",
            comparison.table()
        );
        b.views.plain.classes[3].support += 1;
        let error = ClassComparison::new(&a, &b).unwrap_err().to_string();
        assert!(error.contains("differ in class EL"), "{error}");
        b.part = Part::Val;
        let error = ClassComparison::new(&a, &b).unwrap_err().to_string();
        assert!(error.contains("different wafers"), "{error}");
    }
}
