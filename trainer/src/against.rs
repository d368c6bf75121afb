//! Two evaluations side by side, class by class: what a model loses when it becomes int8.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How evaluations name the wafers as they are.
const PLAIN: &str = "as they are";

/// What is read of an evaluation's view.
#[derive(Deserialize)]
struct View {
    wafers: u64,
    accuracy: f64,
    f1: f64,
    mask: Option<Mask>,
    classes: Vec<Class>,
}

#[derive(Deserialize)]
struct Mask {
    dice: f64,
}

#[derive(Deserialize)]
struct Class {
    class: String,
    support: u64,
    recall: f64,
    f1: f64,
}

/// A figure of both, 0…1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Pair {
    /// The first evaluation's.
    pub first: f64,
    /// The second's.
    pub second: f64,
    /// Second less first, in points (hundredths).
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

/// One class of both.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The class's label.
    pub class: String,
    /// Wafers of it.
    pub wafers: u64,
    /// Of these, the share that was found: the class's accuracy.
    pub accuracy: Pair,
    /// F1.
    pub f1: Pair,
}

/// Both evaluations.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Against {
    /// What was measured: checkpoint or image, of each.
    pub models: [String; 2],
    /// The part of the split.
    pub part: String,
    /// Wafers.
    pub wafers: u64,
    /// All classes together.
    pub accuracy: Pair,
    /// Macro F1.
    pub f1: Pair,
    /// Dice of all masks, where both have masks.
    pub dice: Option<Pair>,
    /// The classes that occur.
    pub classes: Vec<Row>,
}

impl Against {
    /// Reads what `trainer eval --json` printed.
    ///
    /// # Errors
    /// When the file cannot be read or is no JSON.
    pub fn read(path: &Path) -> Result<Value> {
        let name = path.display();
        let text = fs::read(path).with_context(|| format!("cannot read {name}"))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("{name} is not what `trainer eval --json` prints"))
    }

    /// Compares what `trainer eval --json` printed for two models.
    ///
    /// # Errors
    /// When one is no such evaluation, or they are of different wafers.
    pub fn new(first: &Value, second: &Value) -> Result<Self> {
        let text = |of: &Value, key: &str| of[key].as_str().unwrap_or("?").to_owned();
        for key in ["part", "protocol", "data"] {
            ensure!(
                first[key] == second[key],
                "the evaluations are of different wafers: {key} is {} and {}",
                first[key],
                second[key]
            );
        }
        let (a, b) = (view(first)?, view(second)?);
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
            models: [text(first, "checkpoint"), text(second, "checkpoint")],
            part: text(first, "part"),
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
        let mut line = |class: &str, wafers: u64, accuracy: &Pair, f1: &Pair| {
            let (accuracy, f1) = (accuracy.text(), f1.text());
            let _ = writeln!(text, "{class:<11}{wafers:>8}{accuracy} {f1}");
        };
        for row in &self.classes {
            line(&row.class, row.wafers, &row.accuracy, &row.f1);
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

fn view(evaluation: &Value) -> Result<View> {
    let name = &evaluation["checkpoint"];
    View::deserialize(&evaluation["wafers"][PLAIN])
        .with_context(|| format!("{name}: not what `trainer eval --json` prints"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn evaluation(part: &str, recall: f64) -> Value {
        let class = |class: &str, support: u64| json!({ "class": class, "support": support, "precision": 1.0, "recall": recall, "f1": 0.5 });
        json!({
            "checkpoint": "a", "part": part, "protocol": "distinct", "data": "d",
            "wafers": { PLAIN: {
                "wafers": 10, "accuracy": recall, "f1": 0.5, "mask": { "dice": 0.75 },
                "classes": [class("C", 10), class("D", 0)],
            } },
        })
    }

    #[test]
    fn differences_are_in_points_and_other_wafers_are_refused() {
        let (a, b) = (evaluation("test", 0.5), evaluation("test", 0.4));
        let against = Against::new(&a, &b).unwrap();
        assert_eq!(against.classes.len(), 1);
        assert!((against.classes[0].accuracy.points + 10.0).abs() < 1e-9);
        assert!(against.table().contains("-10.00"), "{}", against.table());
        let error = Against::new(&a, &evaluation("val", 0.4)).unwrap_err();
        assert!(error.to_string().contains("different wafers"));
        assert!(Against::new(&json!({}), &json!({})).is_err());
    }
}
