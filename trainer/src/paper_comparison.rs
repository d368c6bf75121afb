//! The paper's Table 1 and Table 2 beside the figures of our runs.

use std::fmt::Write;

use anyhow::Result;
use serde::Serialize;

use crate::evaluation::Evaluation;
use crate::metrics::{MaskReport, Report};
use crate::paper_figures as paper;
use crate::run_folder::reader::RunFolder;

/// One line: the paper's figure, and ours if there is a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// The model.
    pub model: &'static str,
    /// The figure.
    pub figure: &'static str,
    /// The paper's.
    pub paper: Option<f64>,
    /// Ours; absent if no run has it.
    pub ours: Option<f64>,
    /// The folder of the run that ours is from.
    pub from: Option<String>,
}

/// All figures that are compared.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Comparison {
    /// The figures.
    pub lines: Vec<Line>,
    /// The runs in words: model, folder, network, test wafers.
    pub runs: Vec<String>,
}

/// The three models of Table 1.
const MODELS: [&str; 3] = [
    paper::TABLE_1[0].name,
    paper::TABLE_1[1].name,
    paper::TABLE_1[2].name,
];

/// The evaluations of one model in one run.
struct Found {
    from: String,
    test: Option<Evaluation>,
    val: Option<Evaluation>,
}

impl Found {
    /// On the validation part.
    fn val(&self) -> Option<&Report> {
        Some(&self.val.as_ref()?.views.plain)
    }

    /// On the test part.
    fn test(&self) -> Option<&Report> {
        Some(&self.test.as_ref()?.views.plain)
    }

    /// On the test part, rotated by 90°.
    fn rotated(&self) -> Option<&Report> {
        self.test.as_ref()?.views.rotated_90.as_ref()
    }
}

fn found(folders: &[RunFolder], model: usize) -> Result<Option<Found>> {
    // The last folder that has the model: later ones on the command line stand for newer runs.
    for folder in folders.iter().rev() {
        let name = if model == 0 { "teacher" } else { "student" };
        let Some(training) = folder.training(name) else {
            continue;
        };
        if model > 0 && training.is_distilled() != (model == 2) {
            continue;
        }
        return Ok(Some(Found {
            from: folder.path.display().to_string(),
            test: folder.evaluation(name)?,
            val: folder.evaluation(&format!("{name}-val"))?,
        }));
    }
    Ok(None)
}

/// Compares `folders` with the paper.
///
/// # Errors
/// When an evaluation in a folder cannot be read.
pub fn compare(folders: &[RunFolder]) -> Result<Comparison> {
    let mut comparison = Comparison::default();
    // Parameters of teacher and student.
    let mut parameters = [None; 2];
    for (i, model) in MODELS.into_iter().enumerate() {
        let found = found(folders, i)?;
        comparison.lines.extend(figures(i, found.as_ref()));
        let Some(evaluation) = found.as_ref().and_then(|found| found.test.as_ref()) else {
            continue;
        };
        parameters[usize::from(i > 0)] = Some(evaluation.model.parameters() as f64);
        comparison.runs.push(format!(
            "{model}: {}, {}, {} test wafers",
            found.as_ref().map_or("", |found| &found.from),
            evaluation.model.name(),
            evaluation.views.plain.wafers
        ));
    }
    let megabytes = parameters.map(|parameters| parameters.map(|count| count * 4.0 / 1e6));
    comparison
        .lines
        .extend(sizes("parameters", parameters, paper::PARAMETERS));
    comparison
        .lines
        .extend(sizes("MB of weights (f32)", megabytes, paper::MEGABYTES));
    Ok(comparison)
}

/// The figures of Table 1 and of the text for one of [`MODELS`].
fn figures(model: usize, found: Option<&Found>) -> Vec<Line> {
    type View = fn(&Found) -> Option<&Report>;
    type Figure = fn(&Report) -> Option<f64>;
    fn mask(report: &Report, figure: fn(&MaskReport) -> f64) -> Option<f64> {
        report.mask.as_ref().map(figure)
    }
    let (val, test, rotated): (View, View, View) = (Found::val, Found::test, Found::rotated);
    let accuracy: Figure = |report| Some(report.accuracy);
    let dice: Figure = |report| mask(report, |mask| mask.dice);
    let row = paper::TABLE_1[model];
    let text = [Some(paper::TEACHER), None, Some(paper::STUDENT)][model];
    let of = |get: fn(&paper::Test) -> f64| text.as_ref().map(get);
    let lines: [(&'static str, Option<f64>, View, Figure); 10] = [
        ("val Dice", Some(row.val_dice), val, dice),
        ("val accuracy", Some(row.val_accuracy), val, accuracy),
        ("test 90° Dice", Some(row.turned_dice), rotated, dice),
        (
            "test 90° accuracy",
            Some(row.turned_accuracy),
            rotated,
            accuracy,
        ),
        ("test accuracy", of(|t| t.accuracy), test, accuracy),
        ("test macro F1", of(|t| t.f1), test, |report| {
            Some(report.f1)
        }),
        ("test AUC", of(|t| t.auc), test, |report| Some(report.auc)),
        (
            "test pixel accuracy",
            text.and_then(|t| t.pixel_accuracy),
            test,
            |report| mask(report, |mask| mask.pixel_accuracy),
        ),
        ("test Dice", of(|t| t.dice), test, dice),
        ("test IoU", of(|t| t.iou), test, |report| {
            mask(report, |mask| mask.iou)
        }),
    ];
    let line = |(figure, paper, view, get): (&'static str, Option<f64>, View, Figure)| {
        let ours = found.and_then(view).and_then(get);
        Line {
            model: MODELS[model],
            figure,
            paper,
            ours,
            from: found
                .filter(|_| ours.is_some())
                .map(|found| found.from.clone()),
        }
    };
    lines.into_iter().map(line).collect()
}

/// A figure of Table 2 for teacher and student, and their ratio.
fn sizes(figure: &'static str, ours: [Option<f64>; 2], theirs: [f64; 2]) -> [Line; 3] {
    let line = |model, paper, ours| Line {
        model,
        figure,
        paper: Some(paper),
        ours,
        from: None,
    };
    let ratio = ours[0]
        .zip(ours[1])
        .map(|(teacher, student)| teacher / student);
    [
        line("Teacher", theirs[0], ours[0]),
        line("Student", theirs[1], ours[1]),
        line("Teacher / student", theirs[0] / theirs[1], ratio),
    ]
}

impl Comparison {
    /// For people; with `markdown`, as a table for a page.
    pub fn table(&self, markdown: bool) -> String {
        let mut text = String::new();
        if markdown {
            text += "| model | figure | paper | ours |\n| --- | --- | --- | --- |\n";
        } else {
            let _ = writeln!(
                text,
                "{:<28}{:<22}{:>14}{:>14}",
                "model", "figure", "paper", "ours"
            );
        }
        for line in &self.lines {
            let Line {
                model,
                figure,
                paper,
                ours,
                ..
            } = line;
            let paper = paper.map_or("–".into(), |value| shown(figure, value));
            let ours = ours.map_or("not run".into(), |value| shown(figure, value));
            let _ = if markdown {
                writeln!(text, "| {model} | {figure} | {paper} | {ours} |")
            } else {
                writeln!(text, "{model:<28}{figure:<22}{paper:>14}{ours:>14}")
            };
        }
        text.push('\n');
        for run in &self.runs {
            let _ = writeln!(text, "{run}");
        }
        text += "\nThe paper's split keeps repeated maps; ours drops them unless the run says otherwise.\n";
        text
    }
}

/// Shares in percent, Dice and IoU in 0…1, sizes as numbers.
fn shown(figure: &str, value: f64) -> String {
    match figure {
        "parameters" => format!("{value:.0}"),
        "MB of weights (f32)" => format!("{value:.2}"),
        _ if figure.contains("Dice") || figure.contains("IoU") => format!("{value:.4}"),
        _ => format!("{:.2} %", 100.0 * value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    #[test]
    fn runs_are_told_apart_and_what_is_missing_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let student = dir.path().join("student");
        fs::create_dir(&student).unwrap();
        fs::write(
            student.join("log.jsonl"),
            "{\"event\":\"start\",\"settings\":{\"network\":\"student\",\"distill\":{\"views\":8}}}\n",
        )
        .unwrap();
        let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/light");
        let mut evaluation = Evaluation::read(&published.join("eval-float.json")).unwrap();
        evaluation.views.plain.accuracy = 0.5;
        evaluation.views.plain.mask = None;
        let json = evaluation.json().unwrap();
        fs::write(dir.path().join("eval-student.json"), json).unwrap();
        let comparison = compare(&[RunFolder::read(dir.path()).unwrap()]).unwrap();
        let ours = |model: &str, figure: &str| {
            let line = comparison
                .lines
                .iter()
                .find(|l| l.model == model && l.figure == figure);
            line.unwrap().ours
        };
        assert_eq!(ours(MODELS[2], "test accuracy"), Some(0.5));
        assert_eq!(ours(MODELS[2], "test Dice"), None);
        assert_eq!(ours(MODELS[1], "test accuracy"), None);
        assert_eq!(ours("Student", "parameters"), Some(54239.0));
        let table = comparison.table(false);
        assert!(
            table.contains("97.90 %") && table.contains("50.00 %") && table.contains("not run")
        );
        fs::write(dir.path().join("eval-student.json"), "{").unwrap();
        assert!(compare(&[RunFolder::read(dir.path()).unwrap()]).is_err());
    }
}
