//! Training the student: stages of growing image size, each with its own learning-rate schedule.
//!
//! Everything random in a step (order, symmetries, dropout) is a function of the seed and the step's
//! number, so that the state to resume from is the weights, the moments and two counters.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tch::Device;

use crate::batch::{Source, random_symmetries};
use crate::checkpoint::{self, Checkpoint, Info};
use crate::data::{Data, Protocol, Random};
use crate::eval::evaluate;
use crate::metrics::Report;
use crate::optim::{AdamW, Schedule};
use crate::progress::{Log, Meter, Progress};
use crate::student::{ARCHITECTURE, Student};
use crate::{loss, native};

/// One stage: an image size and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Image side in pixels: a multiple of 16, 16…224.
    pub size: i64,
    /// Epochs; parts of an epoch are fine.
    pub epochs: f64,
    /// Wafers in a step, where not the run's.
    pub batch: Option<usize>,
    /// Peak learning rate, where not the run's.
    pub rate: Option<f64>,
}

impl FromStr for Stage {
    type Err = String;

    /// `SIZExEPOCHS[/BATCH][@RATE]`, such as `224x1.5/16@1e-3`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            |what: &str| format!("stage '{text}': {what}; SIZExEPOCHS[/BATCH][@RATE] expected");
        let (rest, rate) = match text.split_once('@') {
            Some((rest, rate)) => (
                rest,
                Some(rate.parse().map_err(|_| wrong("no learning rate"))?),
            ),
            None => (text, None),
        };
        let (rest, batch) = match rest.split_once('/') {
            Some((rest, batch)) => (
                rest,
                Some(batch.parse().map_err(|_| wrong("no batch size"))?),
            ),
            None => (rest, None),
        };
        let (size, epochs) = rest.split_once('x').ok_or_else(|| wrong("no 'x'"))?;
        let size: i64 = size.parse().map_err(|_| wrong("no image size"))?;
        let epochs: f64 = epochs.parse().map_err(|_| wrong("no number of epochs"))?;
        if size % 16 != 0 || !(16..=224).contains(&size) {
            return Err(wrong("the size is no multiple of 16 in 16…224"));
        }
        let positive = |v: Option<f64>| v.is_none_or(|v| v > 0.0 && v.is_finite());
        if !positive(Some(epochs)) || !positive(rate) || batch == Some(0) {
            return Err(wrong("epochs, batch and rate must be above zero"));
        }
        Ok(Self {
            size,
            epochs,
            batch,
            rate,
        })
    }
}

/// Number format of convolutions in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 32-bit floats.
    F32,
    /// bfloat16 where libtorch's autocast finds it safe.
    Bf16,
}

/// The settings of a run; saved with it, so that it goes on with the same ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The stages, in order.
    pub stages: Vec<Stage>,
    /// Wafers in a step.
    pub batch: usize,
    /// Peak learning rate.
    pub rate: f64,
    /// How the learning rate goes over each stage.
    pub schedule: Schedule,
    /// AdamW's weight decay.
    pub weight_decay: f64,
    /// Dropout2d's probability.
    pub dropout: f64,
    /// The mask's loss is computed in every so many-th step.
    pub mask_every: u64,
    /// Seed of everything random.
    pub seed: u64,
    /// Number format.
    pub precision: Precision,
    /// The split.
    pub split: Protocol,
}

/// Where a run stands: all that, beside tensors, determines how it goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct State {
    settings: Settings,
    /// Stage, and steps done in it.
    stage: usize,
    step: u64,
    /// Epochs done in it.
    epochs: f64,
    /// The step of the last validation in it; 0 before the first.
    validated: u64,
    /// Steps of each optimizer.
    optimizer_steps: [u64; 2],
    /// Best validation accuracy at the size of this stage.
    best: Option<(i64, f64)>,
    metrics: std::collections::HashMap<String, f64>,
}

/// Seconds between saves in mid-epoch.
const SAVE_EVERY: Duration = Duration::from_secs(180);
/// Seconds between lines of the log.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All stages are done.
    Finished,
    /// It was asked to stop and can be resumed.
    Stopped,
}

/// A training run in a folder: `last.safetensors`, `best.safetensors`, `log.jsonl`.
pub struct Run {
    out: PathBuf,
    student: Student,
    optimizers: [AdamW; 2],
    state: State,
    device: Device,
}

impl Run {
    /// The file to resume from.
    pub fn last(out: &Path) -> PathBuf {
        out.join("last.safetensors")
    }

    /// The best checkpoint by validation accuracy at the largest size so far.
    pub fn best(out: &Path) -> PathBuf {
        out.join("best.safetensors")
    }

    /// A new run. `init` are weights to start from.
    ///
    /// # Errors
    /// When the folder already holds a run, or `init` is another architecture.
    pub fn start(
        out: &Path,
        settings: Settings,
        init: Option<&Path>,
        device: Device,
    ) -> Result<Self> {
        fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
        let last = Self::last(out);
        ensure!(
            !last.exists(),
            "{} is there already: continue it with --resume, or choose another --out",
            last.display()
        );
        ensure!(!settings.stages.is_empty(), "no stages to train");
        tch::manual_seed(settings.seed as i64);
        let student = Student::new(device);
        if let Some(init) = init {
            Checkpoint::read(init)?.load(&student.vars, ARCHITECTURE)?;
        }
        let state = State {
            settings,
            stage: 0,
            step: 0,
            epochs: 0.0,
            validated: 0,
            optimizer_steps: [0; 2],
            best: None,
            metrics: Default::default(),
        };
        Ok(Self::new(out, student, state, device))
    }

    /// Goes on where `last.safetensors` in `out` stands, with the settings it was started with.
    ///
    /// # Errors
    /// When the file is missing, damaged, or of another architecture.
    pub fn resume(out: &Path, device: Device) -> Result<Self> {
        let path = Self::last(out);
        let saved = Checkpoint::read(&path)?;
        let Some(state) = &saved.info.run else {
            bail!(
                "{}: a model without a run's state; start anew with --init",
                path.display()
            );
        };
        let state: State = serde_json::from_str(state)
            .with_context(|| format!("{}: its run's state cannot be read", path.display()))?;
        let student = Student::new(device);
        saved.load(&student.vars, ARCHITECTURE)?;
        let mut run = Self::new(out, student, state, device);
        for (i, optimizer) in run.optimizers.iter_mut().enumerate() {
            for (name, moment) in [
                ("first", &mut optimizer.first),
                ("second", &mut optimizer.second),
            ] {
                let tensor = saved.tensor(&format!("optimizer.{i}.{name}"))?;
                ensure!(
                    tensor.size() == moment.size(),
                    "{}: optimizer.{i}.{name}",
                    path.display()
                );
                moment.copy_(&tensor);
            }
            optimizer.steps = run.state.optimizer_steps[i];
        }
        Ok(run)
    }

    fn new(out: &Path, mut student: Student, state: State, device: Device) -> Self {
        student.dropout = state.settings.dropout;
        let decay = state.settings.weight_decay;
        let optimizers = student
            .groups()
            .map(|group| AdamW::new(group.into_iter().map(|(_, tensor)| tensor).collect(), decay));
        Self {
            out: out.into(),
            student,
            optimizers,
            state,
            device,
        }
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.state.settings
    }

    /// The network.
    pub fn student(&self) -> &Student {
        &self.student
    }

    /// Trains to the end, or until `stop` says so; saves before it returns.
    ///
    /// # Errors
    /// When files cannot be written, the loss is not finite, or there is nothing to train on.
    pub fn train(&mut self, data: &Data, stop: &dyn Fn() -> bool) -> Result<End> {
        ensure!(!data.train.is_empty(), "no wafers to train on");
        let source = Source::new(data, self.device);
        let mut log = Log::open(&self.out.join("log.jsonl"))?;
        log.line(&json!({
            "event": "start", "settings": self.state.settings, "data": data.describe(),
            "stage": self.state.stage, "step": self.state.step,
        }))?;
        while let Some(stage) = self.state.settings.stages.get(self.state.stage).copied() {
            if self.stage(stage, data, &source, &mut log, stop)? == End::Stopped {
                self.save()?;
                return Ok(End::Stopped);
            }
            self.state.stage += 1;
            (self.state.step, self.state.epochs, self.state.validated) = (0, 0.0, 0);
            self.save()?;
        }
        log.line(&json!({ "event": "finished" }))?;
        Ok(End::Finished)
    }

    fn stage(
        &mut self,
        stage: Stage,
        data: &Data,
        source: &Source,
        log: &mut Log,
        stop: &dyn Fn() -> bool,
    ) -> Result<End> {
        let settings = self.state.settings.clone();
        let batch = stage
            .batch
            .unwrap_or(settings.batch)
            .clamp(1, data.train.len());
        let peak = stage.rate.unwrap_or(settings.rate);
        let per_epoch = (data.train.len() / batch) as u64;
        let steps = ((stage.epochs * per_epoch as f64).round() as u64).max(1);
        let bar = Progress::new(steps, self.state.step, stage.size);
        let stage_number = self.state.stage as u64;
        let mut order: (u64, Vec<u32>) = (u64::MAX, Vec::new());
        let mut saved = Instant::now();
        let mut meter = Meter::new();

        loop {
            let step = self.state.step;
            let epoch_ends = step > 0 && (step.is_multiple_of(per_epoch) || step == steps);
            if epoch_ends && self.state.validated != step {
                bar.message("validating");
                // Saved first: stopping in the validation loses nothing.
                self.save()?;
                match evaluate(&self.student, source, &data.val, stage.size, 0, true, stop) {
                    None => return Ok(End::Stopped),
                    Some(report) => self.validated(stage.size, &report, log, &bar)?,
                }
                meter.restart();
                saved = Instant::now();
            }
            if step >= steps {
                break;
            }
            if stop() {
                return Ok(End::Stopped);
            }
            let (epoch, at) = (step / per_epoch, (step % per_epoch) as usize);
            if order.0 != epoch {
                let mut wafers = data.train.clone();
                Random::new(&[settings.seed, 1, stage_number, epoch]).shuffle(&mut wafers);
                order = (epoch, wafers);
            }
            let wafers = &order.1[at * batch..(at + 1) * batch];
            let mut random = Random::new(&[settings.seed, 2, stage_number, step]);
            let drawn = source.batch(wafers, &random_symmetries(&mut random, batch), stage.size);
            tch::manual_seed(random.draw() as i64);

            let with_mask = step.is_multiple_of(settings.mask_every.max(1));
            let rate = settings.schedule.rate(peak, step as f64 / steps as f64);
            let forward = || self.student.forward(&drawn.image, true, with_mask);
            let output = match settings.precision {
                Precision::F32 => forward(),
                Precision::Bf16 => native::autocast_bf16(self.device, forward),
            };
            let class_loss = loss::class(&output.logits, &drawn.class);
            let mask_loss = output.mask.map(|mask| loss::mask(&mask, &drawn.mask));
            let total = match &mask_loss {
                Some(mask) => &class_loss + mask,
                None => class_loss.shallow_clone(),
            };
            let used = if with_mask { 2 } else { 1 };
            let optimizers = &mut self.optimizers[..used];
            optimizers.iter_mut().for_each(AdamW::zero_grad);
            total.backward();
            optimizers
                .iter_mut()
                .for_each(|optimizer| optimizer.step(rate));
            self.state.step += 1;
            self.state.epochs = self.state.step as f64 / per_epoch as f64;

            let right = output
                .logits
                .argmax(1, false)
                .eq_tensor(&drawn.class)
                .sum(tch::Kind::Int64);
            meter.add(batch, &class_loss, mask_loss.as_ref(), &right);
            ensure!(
                meter.class_loss.is_finite() && meter.mask_loss.is_none_or(f64::is_finite),
                "the loss is no longer finite at step {step}: choose a lower learning rate"
            );
            bar.show(self.state.step, &meter);
            if meter.since.elapsed() > LOG_EVERY || self.state.step == steps {
                let line = json!({
                    "event": "step", "stage": stage_number, "size": stage.size,
                    "step": self.state.step, "steps": steps,
                    "epoch": self.state.step as f64 / per_epoch as f64, "rate": rate,
                    "class_loss": meter.class_loss, "mask_loss": meter.mask_loss,
                    "train_accuracy": meter.accuracy, "images_per_second": meter.speed(),
                });
                log.line(&line)?;
                bar.line(&meter, self.state.step, steps, stage.size);
                meter.restart();
            }
            if saved.elapsed() > SAVE_EVERY {
                self.save()?;
                saved = Instant::now();
            }
        }
        Ok(End::Finished)
    }

    fn validated(
        &mut self,
        size: i64,
        report: &Report,
        log: &mut Log,
        bar: &Progress,
    ) -> Result<()> {
        self.state.validated = self.state.step;
        bar.say(&format!("validation at {size}×{size}: {}", report.line()));
        self.state.metrics = [
            ("val_size".to_owned(), size as f64),
            ("val_accuracy".to_owned(), report.accuracy),
            ("val_f1".to_owned(), report.f1),
            (
                "val_dice".to_owned(),
                report.mask.as_ref().map_or(0.0, |mask| mask.dice),
            ),
        ]
        .into();
        log.line(&json!({
            "event": "validation", "size": size, "step": self.state.step,
            "epochs": self.epochs(), "metrics": self.state.metrics,
        }))?;
        // Without validation wafers the latest weights are the best known.
        let better = report.wafers == 0
            || self.state.best.is_none_or(|(best_size, best)| {
                size > best_size || (size == best_size && report.accuracy >= best)
            });
        if better {
            self.state.best = Some((size, report.accuracy));
            let tensors = checkpoint::tensors(&self.student.vars);
            checkpoint::save(&Self::best(&self.out), &tensors, &self.info(None))?;
        }
        self.save()
    }

    /// Epochs done, all stages together.
    fn epochs(&self) -> f64 {
        let done = self.state.settings.stages.iter().take(self.state.stage);
        done.map(|stage| stage.epochs).sum::<f64>() + self.state.epochs
    }

    fn info(&self, run: Option<String>) -> Info {
        let stages = &self.state.settings.stages;
        // Between stages, the one just done.
        let at = self
            .state
            .stage
            .saturating_sub(usize::from(self.state.step == 0));
        let stage = stages.get(at);
        Info {
            architecture: ARCHITECTURE.into(),
            size: stage.map_or(0, |stage| stage.size),
            epochs: self.epochs(),
            split: Some(self.state.settings.split),
            metrics: self.state.metrics.clone(),
            run,
        }
    }

    fn save(&mut self) -> Result<()> {
        let mut tensors = checkpoint::tensors(&self.student.vars);
        for (i, optimizer) in self.optimizers.iter().enumerate() {
            tensors.push((
                format!("optimizer.{i}.first"),
                optimizer.first.shallow_clone(),
            ));
            tensors.push((
                format!("optimizer.{i}.second"),
                optimizer.second.shallow_clone(),
            ));
            self.state.optimizer_steps[i] = optimizer.steps;
        }
        let state = serde_json::to_string(&self.state)?;
        checkpoint::save(&Self::last(&self.out), &tensors, &self.info(Some(state)))
    }
}
