//! The output of `lightwafer classify`: table, JSON lines, masks, pictures, summary.

use std::borrow::Cow;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use lightwafer_equipment::{Class, Mask, Report, picture};
use lightwafer_maps::Wafer;
use lightwafer_maps::npz::MaskWriter;
use serde::Serialize;
use serde_json::Value;

use crate::args::Classify;

/// An answered wafer as a JSON line.
#[derive(Serialize)]
struct Line<'a> {
    index: usize,
    input: Cow<'a, str>,
    map: usize,
    class: u8,
    label: &'static str,
    scores: &'a [f32],
    mask_dies: u32,
    mask_dice: f32,
    elapsed_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    truth: Option<u8>,
}

/// A wafer without an answer as a JSON line.
#[derive(Serialize)]
struct FailedLine<'a> {
    index: usize,
    input: Cow<'a, str>,
    map: usize,
    error: &'a str,
}

/// Takes the outcomes in order and writes all requested outputs.
pub struct Output<'a> {
    wafers: &'a [Wafer],
    json: bool,
    /// Whether wafers come from several files; then the table names them.
    several: bool,
    counted: bool,
    masks: Option<MaskWriter>,
    pictures: Option<PathBuf>,
    bar: ProgressBar,
    answered: usize,
    labelled: usize,
    right: usize,
    dice: f64,
    instructions: u64,
}

impl<'a> Output<'a> {
    /// Prepares every output. `counted`: the board counts instructions.
    pub fn new(args: &Classify, wafers: &'a [Wafer], counted: bool) -> Result<Self> {
        let masks = match &args.masks {
            Some(path) => Some(MaskWriter::create(path, wafers.len())?),
            None => None,
        };
        if let Some(folder) = &args.pictures {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make folder {}", folder.display()))?;
        }
        // Draws on stderr, and only if that is a terminal.
        let bar = ProgressBar::new(wafers.len() as u64);
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} maps, {eta} left")?;
        bar.set_style(style);
        bar.enable_steady_tick(Duration::from_millis(500));
        let several = wafers.windows(2).any(|two| two[0].input != two[1].input);
        let output = Self {
            wafers,
            json: args.json,
            several,
            counted,
            masks,
            pictures: args.pictures.clone(),
            bar,
            answered: 0,
            labelled: 0,
            right: 0,
            dice: 0.0,
            instructions: 0,
        };
        if !output.json && !wafers.is_empty() {
            output.print(&output.head())?;
        }
        Ok(output)
    }

    /// Takes the outcome of the next wafer.
    pub fn take(&mut self, index: usize, outcome: Result<Report, String>) -> Result<()> {
        let wafer = &self.wafers[index];
        match outcome {
            Ok(report) => {
                let dice = report.mask.dice(&wafer.map());
                self.answered += 1;
                self.labelled += usize::from(wafer.truth.is_some());
                self.right += usize::from(wafer.truth == Some(report.class));
                self.dice += f64::from(dice);
                self.instructions += report.instructions.unwrap_or(0);
                let line = if self.json {
                    json(index, wafer, &report, dice)?
                } else {
                    self.row(index, wafer, &report, dice)
                };
                self.print(&line)?;
                self.draw(index, wafer, &report)?;
                self.push(&report.mask)?;
            }
            Err(error) => {
                self.complain(index, wafer, &error);
                if self.json {
                    let (input, map) = (wafer.input.to_string_lossy(), wafer.position);
                    let line = FailedLine {
                        index,
                        input,
                        map,
                        error: &error,
                    };
                    self.print(&serde_json::to_string(&line)?)?;
                }
                self.push(&Mask::new())?;
            }
        }
        self.bar.inc(1);
        Ok(())
    }

    /// Completes the files and prints the summary. `true` if every wafer was answered.
    pub fn finish(mut self, took: Duration) -> Result<bool> {
        self.bar.finish_and_clear();
        if let Some(masks) = self.masks.take() {
            masks.finish()?;
        }
        let failed = self.wafers.len() - self.answered;
        let mut summary = format!(
            "{} maps: {} answered, {failed} failed",
            self.wafers.len(),
            self.answered
        );
        let share = |part: f64| part / self.answered.max(1) as f64;
        if self.labelled > 0 {
            let accuracy = 100.0 * self.right as f64 / self.labelled as f64;
            summary += &format!(
                "; accuracy {accuracy:.1} % ({} of {})",
                self.right, self.labelled
            );
        }
        if self.answered > 0 {
            summary += &format!("; mean mask Dice {:.4}", share(self.dice));
        }
        if self.instructions > 0 {
            let mean = share(self.instructions as f64).round() as u64;
            summary += &format!("; mean {} instructions", grouped(mean));
        }
        summary += &format!("; {:.1} s", took.as_secs_f64());
        if self.json {
            eprintln!("{summary}");
        } else {
            self.print(&format!("\n{summary}"))?;
        }
        Ok(failed == 0)
    }

    /// Prints a line to stdout without disturbing the progress bar.
    pub fn print(&self, line: &str) -> Result<()> {
        self.bar
            .suspend(|| writeln!(io::stdout().lock(), "{line}"))?;
        Ok(())
    }

    fn complain(&self, index: usize, wafer: &Wafer, error: &str) {
        let (input, map) = (wafer.input.display(), wafer.position);
        self.bar
            .suspend(|| eprintln!("lightwafer: wafer {index} ({input}, map {map}): {error}"));
    }

    fn push(&mut self, mask: &Mask) -> Result<()> {
        match &mut self.masks {
            Some(masks) => Ok(masks.push(mask)?),
            None => Ok(()),
        }
    }

    fn draw(&self, index: usize, wafer: &Wafer, report: &Report) -> Result<()> {
        let Some(folder) = &self.pictures else {
            return Ok(());
        };
        let picture = |class: Class| folder.join(format!("{index:04}_{}.png", class.label()));
        // An earlier run may have given another class, and so another file name.
        for class in Class::all().filter(|class| *class != report.class) {
            match std::fs::remove_file(picture(class)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("in folder {}", folder.display()));
                }
                _ => {}
            }
        }
        let path = picture(report.class);
        let file = wafer
            .input
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        let name = format!("{file}, map {}", wafer.position);
        picture::write(&path, &name, &wafer.map(), report, wafer.truth)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn head(&self) -> String {
        let mut line = format!(
            "{:>5}  {:<9}{:<11}{:>6}  {:>6}  {:>9}  {:>9}",
            "map", "truth", "class", "score", "dice", "mask dies", "ms"
        );
        if self.counted {
            line += &format!("  {:>13}", "instructions");
        }
        if self.several {
            line += "  input";
        }
        line
    }

    fn row(&self, index: usize, wafer: &Wafer, report: &Report, dice: f32) -> String {
        let truth = wafer.truth.map_or("-", |truth| truth.label());
        let mark = if wafer.truth.is_some_and(|truth| truth != report.class) {
            " ✗"
        } else {
            ""
        };
        let mut line = format!(
            "{index:>5}  {truth:<9}{:<11}{:>5.1}%  {dice:>6.4}  {:>9}  {:>9.1}",
            format!("{}{mark}", report.class.label()),
            100.0 * report.top_score(),
            report.mask_dies,
            milliseconds(report),
        );
        if self.counted {
            let count = report.instructions.map_or_else(|| "-".into(), grouped);
            line += &format!("  {count:>13}");
        }
        if self.several {
            line += &format!("  {}:{}", wafer.input.display(), wafer.position);
        }
        line
    }
}

fn milliseconds(report: &Report) -> f64 {
    report.elapsed.as_micros() as f64 / 1000.0
}

fn json(index: usize, wafer: &Wafer, report: &Report, mask_dice: f32) -> Result<String> {
    Ok(serde_json::to_string(&Line {
        index,
        input: wafer.input.to_string_lossy(),
        map: wafer.position,
        class: report.class.index(),
        label: report.class.label(),
        scores: &report.scores,
        mask_dies: report.mask_dies,
        mask_dice,
        elapsed_ms: milliseconds(report),
        instructions: report.instructions,
        truth: wafer.truth.map(|truth| truth.index()),
    })?)
}

/// Refuses to write a file that is also read: the input would be lost.
pub fn check_output<'a>(output: &Path, inputs: impl IntoIterator<Item = &'a Path>) -> Result<()> {
    let Ok(real) = fs::canonicalize(output) else {
        return Ok(());
    };
    for input in inputs {
        if fs::canonicalize(input).is_ok_and(|input| input == real) {
            bail!(
                "{}: the output is the same file as the input {}; choose another name",
                output.display(),
                input.display()
            );
        }
    }
    Ok(())
}

/// A JSON object's entries, in order.
pub fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// A number with commas between thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(262_123_456), "262,123,456");
    }
}
