//! The progress of a run: a bar or lines for people, `log.jsonl` for programs, the same figures for TensorBoard.

use std::fs::{self, OpenOptions};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};

use crate::run_folder;
use crate::tensorboard::Events;

/// A bar on a terminal; plain lines elsewhere.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(crate) fn new(steps: u64, done: u64, prefix: String) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let template = "{prefix} {wide_bar} {pos}/{len} {eta} {msg}";
            let style = ProgressStyle::with_template(template);
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::new(steps)
                .with_style(style)
                .with_prefix(prefix);
            bar.set_position(done);
            bar
        });
        Self { bar }
    }

    /// Whether there is a bar to keep moving.
    pub(crate) fn moves(&self) -> bool {
        self.bar.is_some()
    }

    pub(crate) fn at(&self, step: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(step);
        }
    }

    pub(crate) fn message(&self, text: impl Into<std::borrow::Cow<'static, str>>) {
        if let Some(bar) = &self.bar {
            bar.set_message(text);
        }
    }

    /// Prints a line where there is no bar.
    pub(crate) fn line(&self, text: &str) {
        if self.bar.is_none() {
            eprintln!("{text}");
        }
    }

    /// Prints a line, above the bar where there is one.
    pub(crate) fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }
}

/// `log.jsonl`: one JSON object a line; and the same figures for TensorBoard.
pub(crate) struct Log {
    file: fs::File,
    path: PathBuf,
    events: Events,
}

impl Log {
    /// Opens the log of the run in `out`, to append to it.
    pub(crate) fn open(out: &Path) -> Result<Self> {
        let path = run_folder::log(out);
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        let events = Events::begin(out)?;
        Ok(Self { file, path, events })
    }

    pub(crate) fn line(&mut self, value: &serde_json::Value) -> Result<()> {
        writeln!(self.file, "{value}")
            .with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Figures for TensorBoard; `step` counts the steps of all stages. Figures without a value are left out.
    pub(crate) fn scalars(&mut self, step: u64, values: &[(&str, Option<f64>)]) -> Result<()> {
        let known = values
            .iter()
            .filter_map(|(tag, value)| Some((*tag, (*value)?)));
        self.events.scalars(step, &known.collect::<Vec<_>>())
    }
}
