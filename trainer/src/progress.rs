//! What a run shows while it goes on: a bar or lines for people, `log.jsonl` for programs.

use std::fs::{self, OpenOptions};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use tch::Tensor;

/// Running means of the last steps.
pub(crate) struct Meter {
    pub(crate) class_loss: f64,
    pub(crate) mask_loss: Option<f64>,
    pub(crate) accuracy: f64,
    seen: usize,
    images: usize,
    pub(crate) since: Instant,
}

impl Meter {
    pub(crate) fn new() -> Self {
        let since = Instant::now();
        Self {
            class_loss: 0.0,
            mask_loss: None,
            accuracy: 0.0,
            seen: 0,
            images: 0,
            since,
        }
    }

    pub(crate) fn restart(&mut self) {
        (self.seen, self.images, self.since) = (0, 0, Instant::now());
    }

    pub(crate) fn add(
        &mut self,
        batch: usize,
        class: &Tensor,
        mask: Option<&Tensor>,
        right: &Tensor,
    ) {
        self.seen += 1;
        self.images += batch;
        let share = 1.0 / self.seen.min(50) as f64;
        let accuracy = right.double_value(&[]) / batch as f64;
        self.class_loss += share * (class.double_value(&[]) - self.class_loss);
        self.accuracy += share * (accuracy - self.accuracy);
        if let Some(mask) = mask {
            self.mask_loss = Some(mask.double_value(&[]));
        }
    }

    pub(crate) fn speed(&self) -> f64 {
        self.images as f64 / self.since.elapsed().as_secs_f64().max(1e-9)
    }

    pub(crate) fn words(&self) -> String {
        let mask = self
            .mask_loss
            .map_or("-".into(), |loss| format!("{loss:.4}"));
        format!(
            "{:.0} img/s, class loss {:.4}, mask loss {mask}, accuracy {:.1} %",
            self.speed(),
            self.class_loss,
            100.0 * self.accuracy
        )
    }
}

/// A bar on a terminal; plain lines elsewhere.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(crate) fn new(steps: u64, done: u64, size: i64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let template = "{prefix} {wide_bar} {pos}/{len} {eta} {msg}";
            let style = ProgressStyle::with_template(template);
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::new(steps)
                .with_style(style)
                .with_prefix(format!("{size}×{size}"));
            bar.set_position(done);
            bar
        });
        Self { bar }
    }

    pub(crate) fn show(&self, step: u64, meter: &Meter) {
        if let Some(bar) = &self.bar {
            bar.set_position(step);
            bar.set_message(meter.words());
        }
    }

    pub(crate) fn message(&self, text: &'static str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text);
        }
    }

    pub(crate) fn line(&self, meter: &Meter, step: u64, steps: u64, size: i64) {
        if self.bar.is_none() {
            eprintln!("{size}×{size} step {step}/{steps}: {}", meter.words());
        }
    }

    pub(crate) fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }
}

/// `log.jsonl`: one JSON object a line.
pub(crate) struct Log {
    file: fs::File,
    path: PathBuf,
}

impl Log {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self {
            file,
            path: path.into(),
        })
    }

    pub(crate) fn line(&mut self, value: &serde_json::Value) -> Result<()> {
        writeln!(self.file, "{value}")
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}
