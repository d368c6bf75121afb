//! The files in a run's folder.
//!
//! A training's folder has `best.safetensors`, `last.safetensors` and `log.jsonl`. `trainer run` has a folder
//! for each of its trainings, `teacher` and `student`, and beside them the configuration and the evaluations.
//! Both have a manifest ([`crate::manifest`]). [`reader`] reads them all for reports.

pub mod reader;

use std::path::{Path, PathBuf};

/// The names of the trainings in the folder of `trainer run`.
pub const TRAININGS: [&str; 2] = ["teacher", "student"];

/// The best checkpoint of a training, by validation accuracy at the largest image size so far.
pub fn best(training: &Path) -> PathBuf {
    training.join("best.safetensors")
}

/// The checkpoint that a training is resumed from.
pub fn last(training: &Path) -> PathBuf {
    training.join("last.safetensors")
}

/// The log of a training: one JSON object a line.
pub fn log(training: &Path) -> PathBuf {
    training.join("log.jsonl")
}

/// The int8 image of a student, in its training's folder.
pub fn image(training: &Path) -> PathBuf {
    training.join("light-int8.lw")
}

/// A copy of the configuration.
pub fn configuration(run: &Path) -> PathBuf {
    run.join("config.toml")
}

/// The evaluation of this name: `teacher`, `student`, `int8`, and `teacher-val`, `student-val` on the validation
/// part.
pub fn evaluation(run: &Path, name: &str) -> PathBuf {
    run.join(format!("eval-{name}.json"))
}
