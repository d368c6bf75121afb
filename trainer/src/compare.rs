//! The paper's Table 1 and Table 2 with the figures of our runs beside it.

use std::fmt::Write;

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

use crate::folder::Folder;
use crate::paper;

/// How a view of the test part is named in evaluations.
const PLAIN: &str = "as they are";
/// The same, turned.
const TURNED: &str = "turned by 90°";

/// One line: the paper's figure, and ours where there is a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// The model.
    pub model: &'static str,
    /// The figure.
    pub figure: &'static str,
    /// The paper's.
    pub paper: Option<f64>,
    /// Ours; absent where no run has it.
    pub ours: Option<f64>,
    /// Where ours is from.
    pub from: Option<String>,
}

/// Everything that is compared.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Comparison {
    /// Figures.
    pub lines: Vec<Line>,
    /// What was run: model, folder, network, test wafers.
    pub runs: Vec<String>,
}

/// The three models of Table 1.
const MODELS: [&str; 3] = [
    paper::TABLE_1[0].name,
    paper::TABLE_1[1].name,
    paper::TABLE_1[2].name,
];

/// Evaluations of one model.
struct Found {
    from: String,
    test: Option<Value>,
    val: Option<Value>,
}

fn found(folders: &[Folder], model: usize) -> Result<Option<Found>> {
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
pub fn compare(folders: &[Folder]) -> Result<Comparison> {
    let mut comparison = Comparison::default();
    let mut sizes = [[None; 2]; 2];
    for (i, model) in MODELS.into_iter().enumerate() {
        let found = found(folders, i)?;
        let from = found.as_ref().map(|found| found.from.clone());
        let figure = |part: fn(&Found) -> Option<&Value>, view: &str, path: &str| {
            part(found.as_ref()?)?["wafers"][view]
                .pointer(path)?
                .as_f64()
        };
        let test: fn(&Found) -> Option<&Value> = |found| found.test.as_ref();
        let val: fn(&Found) -> Option<&Value> = |found| found.val.as_ref();
        let mut line = |figure: &'static str, paper: Option<f64>, ours: Option<f64>| {
            let from = from.clone().filter(|_| ours.is_some());
            comparison.lines.push(Line {
                model,
                figure,
                paper,
                ours,
                from,
            });
        };
        let row = paper::TABLE_1[i];
        line(
            "val Dice",
            Some(row.val_dice),
            figure(val, PLAIN, "/mask/dice"),
        );
        line(
            "val accuracy",
            Some(row.val_accuracy),
            figure(val, PLAIN, "/accuracy"),
        );
        line(
            "test 90° Dice",
            Some(row.turned_dice),
            figure(test, TURNED, "/mask/dice"),
        );
        line(
            "test 90° accuracy",
            Some(row.turned_accuracy),
            figure(test, TURNED, "/accuracy"),
        );
        let text = [Some(paper::TEACHER), None, Some(paper::STUDENT)][i];
        let of = |get: fn(&paper::Test) -> f64| text.as_ref().map(get);
        line(
            "test accuracy",
            of(|t| t.accuracy),
            figure(test, PLAIN, "/accuracy"),
        );
        line("test macro F1", of(|t| t.f1), figure(test, PLAIN, "/f1"));
        line("test AUC", of(|t| t.auc), figure(test, PLAIN, "/auc"));
        let pixels = text.and_then(|t| t.pixel_accuracy);
        line(
            "test pixel accuracy",
            pixels,
            figure(test, PLAIN, "/mask/pixel_accuracy"),
        );
        line(
            "test Dice",
            of(|t| t.dice),
            figure(test, PLAIN, "/mask/dice"),
        );
        line("test IoU", of(|t| t.iou), figure(test, PLAIN, "/mask/iou"));
        if let Some(model) = found.as_ref().and_then(|found| found.test.as_ref()) {
            let kind = usize::from(i > 0);
            sizes[0][kind] = model["model"]["parameters"].as_f64();
            sizes[1][kind] = sizes[0][kind].map(|parameters| parameters * 4.0 / 1e6);
            comparison.runs.push(format!(
                "{}: {}, {}, {} test wafers",
                MODELS[i],
                from.unwrap_or_default(),
                model["model"]["name"].as_str().unwrap_or("?"),
                model["wafers"][PLAIN]["wafers"]
            ));
        }
    }
    for (figure, ours, theirs) in [
        ("parameters", sizes[0], paper::PARAMETERS),
        ("MB of weights (f32)", sizes[1], paper::MEGABYTES),
    ] {
        for (kind, model) in ["Teacher", "Student"].into_iter().enumerate() {
            let paper = Some(theirs[kind]);
            comparison.lines.push(Line {
                model,
                figure,
                paper,
                ours: ours[kind],
                from: None,
            });
        }
        let ratio = ours[0]
            .zip(ours[1])
            .map(|(teacher, student)| teacher / student);
        let paper = Some(theirs[0] / theirs[1]);
        comparison.lines.push(Line {
            model: "Teacher / student",
            figure,
            paper,
            ours: ratio,
            from: None,
        });
    }
    Ok(comparison)
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

/// Shares in percent, Dice and IoU as they are, sizes as numbers.
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
        fs::write(
            dir.path().join("eval-student.json"),
            "{\"model\":{\"name\":\"S\",\"parameters\":54239},\"wafers\":{\"as they are\":{\"wafers\":7,\"accuracy\":0.5}}}",
        )
        .unwrap();
        let comparison = compare(&[Folder::read(dir.path()).unwrap()]).unwrap();
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
        assert!(compare(&[Folder::read(dir.path()).unwrap()]).is_err());
    }
}
