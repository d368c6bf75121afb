//! A training run: stages of growing image size, each with its own learning-rate schedule.
//!
//! Everything random in a step (order, symmetries, dropout) is a function of the seed and the step's
//! number, so that the state to resume from is the weights, the moments and a few counters.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tch::{Device, Tensor};

use crate::batch::{Source, random_symmetries};
use crate::checkpoint::{self, Checkpoint, Info};
use crate::data::{Data, Random};
use crate::distill::Distiller;
use crate::eval::{View, evaluate};
use crate::guard;
use crate::metrics::Report;
use crate::network::Network;
use crate::optim::AdamW;
use crate::progress::{Clock, Log, Meter, Phase, Progress, Reading};
use crate::settings::{Settings, Stage};
use crate::step::{Draw, Step};

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
    /// Validations in it since the best one.
    stale: u32,
    /// Epochs of the stages before.
    epochs_before: f64,
    /// Seconds of training so far, validations and all.
    seconds: f64,
    /// Steps of each optimizer.
    optimizer_steps: Vec<u64>,
    /// Best validation accuracy at the size of this stage.
    best: Option<(i64, f64)>,
    metrics: std::collections::HashMap<String, f64>,
}

/// Seconds between saves in mid-epoch.
const SAVE_EVERY: Duration = Duration::from_secs(180);
/// Seconds since the last save after which a validation is saved.
const SAVE_AROUND_VALIDATION: Duration = Duration::from_secs(30);
/// Seconds between lines of the log.
const LOG_EVERY: Duration = Duration::from_secs(10);
/// Seconds between looks at the losses where a person watches.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Of how many steps one is timed by its parts.
const TIMED_EVERY: u64 = 20;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All stages are done.
    Finished,
    /// It was asked to stop and can be resumed.
    Stopped,
}

/// A training run in a folder: `last.safetensors`, `best.safetensors`, `log.jsonl`, TensorBoard's events.
pub struct Run {
    out: PathBuf,
    network: Box<dyn Network>,
    distiller: Option<Distiller>,
    /// For what the class needs, what only the mask needs, and the feature projection if there is one.
    optimizers: Vec<AdamW>,
    state: State,
    device: Device,
    /// When this process began, less the seconds of earlier ones.
    began: Instant,
    before: f64,
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

    /// Refuses a folder that already holds a run.
    ///
    /// # Errors
    /// When it does.
    pub fn vacant(out: &Path) -> Result<()> {
        let last = Self::last(out);
        ensure!(
            !last.exists(),
            "{} is there already: continue it with --resume, or choose another --out",
            last.display()
        );
        Ok(())
    }

    /// A new run. `init` puts weights to start from into the fresh network.
    ///
    /// # Errors
    /// When the folder already holds a run, the teacher cannot be loaded, or `init` fails.
    pub fn start(
        out: &Path,
        settings: Settings,
        init: impl FnOnce(&dyn Network) -> Result<()>,
        device: Device,
    ) -> Result<Self> {
        Self::vacant(out)?;
        fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
        ensure!(!settings.stages.is_empty(), "no stages to train");
        tch::manual_seed(settings.seed as i64);
        let network = settings.network.build(device);
        init(&*network)?;
        let state = State {
            settings,
            stage: 0,
            step: 0,
            epochs: 0.0,
            validated: 0,
            stale: 0,
            epochs_before: 0.0,
            seconds: 0.0,
            optimizer_steps: Vec::new(),
            best: None,
            metrics: Default::default(),
        };
        Self::new(out, network, state, device)
    }

    /// Goes on where `last.safetensors` in `out` stands, with the settings it was started with.
    ///
    /// # Errors
    /// When the file or the teacher's is missing, damaged, or of another architecture.
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
        let network = state.settings.network.build(device);
        saved.load(network.vars(), &network.architecture())?;
        let mut run = Self::new(out, network, state, device)?;
        if let Some(distiller) = &run.distiller {
            for (name, mut variable) in distiller.variables() {
                let tensor = saved.tensor(&name)?;
                ensure!(
                    tensor.size() == variable.size(),
                    "{}: {name}",
                    path.display()
                );
                tch::no_grad(|| variable.copy_(&tensor));
            }
        }
        for (i, optimizer) in run.optimizers.iter_mut().enumerate() {
            for (name, moment) in [
                ("first", &mut optimizer.first),
                ("second", &mut optimizer.second),
            ] {
                let tensor = saved.tensor(&format!("optimizer.{i}.{name}"))?;
                ensure!(
                    tensor.size() == moment.size(),
                    "{}: optimizer.{i}.{name} has {} values, {} are needed: the run was begun by a version \
                     that this one cannot go on from; start anew with --init",
                    path.display(),
                    tensor.numel(),
                    moment.numel()
                );
                moment.copy_(&tensor);
            }
            optimizer.steps = run.state.optimizer_steps.get(i).copied().unwrap_or(0);
        }
        Ok(run)
    }

    fn new(
        out: &Path,
        mut network: Box<dyn Network>,
        state: State,
        device: Device,
    ) -> Result<Self> {
        let settings = &state.settings;
        network.set_dropout(settings.dropout);
        let open = |d| Distiller::open(d, settings.precision, device);
        let distiller = settings.distill.as_ref().map(open).transpose()?;
        let mut groups = Vec::from(network.groups());
        let projection = distiller
            .as_ref()
            .map(Distiller::variables)
            .unwrap_or_default();
        if !projection.is_empty() {
            groups.push(projection);
        }
        let optimizers = groups.into_iter().map(|group| {
            let tensors = group.into_iter().map(|(_, tensor)| tensor).collect();
            AdamW::new(tensors, settings.weight_decay)
        });
        Ok(Self {
            out: out.into(),
            network,
            distiller,
            optimizers: optimizers.collect(),
            before: state.seconds,
            state,
            device,
            began: Instant::now(),
        })
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.state.settings
    }

    /// Whether all stages are done.
    pub fn is_finished(&self) -> bool {
        self.state.stage >= self.state.settings.stages.len()
    }

    /// The network.
    pub fn network(&self) -> &dyn Network {
        &*self.network
    }

    /// The network and its teacher in words.
    pub fn describe(&self) -> String {
        let mut text = self.network.describe();
        if let Some(distiller) = &self.distiller {
            text += "\n";
            text += &distiller.describe();
        }
        text
    }

    /// Trains to the end, or until `stop` says so; saves before it returns.
    ///
    /// # Errors
    /// When files cannot be written, the loss is not finite, memory is short, or there is nothing to
    /// train on.
    pub fn train(&mut self, data: &Data, stop: &dyn Fn() -> bool) -> Result<End> {
        ensure!(!data.train.is_empty(), "no wafers to train on");
        let source = Source::new(data, self.device);
        let mut log = Log::open(&self.out)?;
        log.line(&json!({
            "event": "start", "settings": self.state.settings, "data": data.describe(),
            "network": self.network.architecture(), "parts": self.network.parts(),
            "stage": self.state.stage, "step": self.state.step,
        }))?;
        if !self.is_finished() && !self.ask_teacher(&source, &data.train, stop)? {
            return Ok(End::Stopped);
        }
        while let Some(stage) = self.state.settings.stages.get(self.state.stage).copied() {
            if self.stage(stage, data, &source, &mut log, stop)? == End::Stopped {
                self.save()?;
                return Ok(End::Stopped);
            }
            self.state.epochs_before += self.state.epochs;
            self.state.stage += 1;
            (self.state.step, self.state.epochs, self.state.validated) = (0, 0.0, 0);
            self.state.stale = 0;
            self.save()?;
        }
        log.line(&json!({ "event": "finished", "seconds": self.seconds() }))?;
        Ok(End::Finished)
    }

    /// Has the teacher say all it has to say, if it is to be kept. `false` when `stop` says so.
    fn ask_teacher(
        &mut self,
        source: &Source,
        wafers: &[u32],
        stop: &dyn Fn() -> bool,
    ) -> Result<bool> {
        let Some(distiller) = self.distiller.as_mut().filter(|d| d.settings.cache) else {
            return Ok(true);
        };
        let bar = Progress::new(wafers.len() as u64, 0, "asking the teacher".into());
        bar.line("asking the teacher about every training wafer");
        let mut said = Instant::now();
        let mut tick = |done: usize| {
            bar.at(done as u64);
            if said.elapsed() > LOG_EVERY {
                bar.line(&format!("{done} of {} wafers", wafers.len()));
                said = Instant::now();
            }
            !stop()
        };
        guard::guarded(|| distiller.prepare(source, wafers, &mut tick)).context(
            "the teacher's answers cannot be kept (cache = false asks at every step instead)",
        )
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
        let bar = Progress::new(steps, self.state.step, format!("{0}×{0}", stage.size));
        let stage_number = self.state.stage as u64;
        let mut order: (u64, Vec<u32>) = (u64::MAX, Vec::new());
        let (mut saved, mut logged, mut looked) = (Instant::now(), Instant::now(), Instant::now());
        let (mut meter, mut clock) = (Meter::new(self.device), Clock::new(self.device));

        loop {
            let step = self.state.step;
            let epoch_ends = step > 0 && (step.is_multiple_of(per_epoch) || step == steps);
            if epoch_ends && self.state.validated != step {
                bar.message("validating");
                // Whoever stops it in the validation loses nothing: the state is saved then. What a power
                // cut may cost is bounded, so that a GPU's short epochs are not spent on writing files.
                if saved.elapsed() > SAVE_AROUND_VALIDATION {
                    self.save()?;
                    saved = Instant::now();
                }
                let view = View {
                    precision: settings.precision,
                    ..View::plain(stage.size)
                };
                match evaluate(&*self.network, source, &data.val, view, stop) {
                    None => return Ok(End::Stopped),
                    Some(report) => self.validated(stage.size, &report, log, &bar)?,
                }
                meter.restart();
            }
            let patience = settings.patience.unwrap_or(u32::MAX);
            if step >= steps || self.state.stale >= patience {
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
            let draw = Draw {
                wafers,
                symmetries: &random_symmetries(&mut random, batch),
                size: stage.size,
                with_mask: step.is_multiple_of(settings.mask_every.max(1)),
            };
            tch::manual_seed(random.draw() as i64);
            let rate = settings.schedule.rate(peak, step as f64 / steps as f64);
            clock.step(step % TIMED_EVERY == 3);
            self.step(&draw, source, rate, &mut meter, &mut clock)?;
            self.state.step += 1;
            self.state.epochs = self.state.step as f64 / per_epoch as f64;

            bar.at(self.state.step);
            let log_now = logged.elapsed() > LOG_EVERY || self.state.step == steps || step == 0;
            if log_now || (bar.moves() && looked.elapsed() > LOOK_EVERY) {
                let reading = meter.read();
                ensure!(
                    reading.is_finite(),
                    "the loss is no longer finite at step {step}: choose a lower learning rate \
                     (--lr); {} holds the state before",
                    Self::last(&self.out).display()
                );
                bar.message(reading.words());
                looked = Instant::now();
                if log_now {
                    self.log_step(log, &reading, &clock, stage.size, steps, rate)?;
                    let at = self.state.step;
                    bar.line(&format!(
                        "{0}×{0} step {at}/{steps}: {1}",
                        stage.size,
                        reading.words()
                    ));
                    logged = Instant::now();
                    meter.restart();
                }
            }
            if saved.elapsed() > SAVE_EVERY {
                self.save()?;
                saved = Instant::now();
            }
        }
        Ok(End::Finished)
    }

    /// One step of gradient descent.
    fn step(
        &mut self,
        draw: &Draw<'_>,
        source: &Source,
        rate: f64,
        meter: &mut Meter,
        clock: &mut Clock,
    ) -> Result<()> {
        let settings = &self.state.settings;
        let step = Step {
            network: &*self.network,
            distiller: self.distiller.as_ref(),
            source,
            precision: settings.precision,
            smoothing: settings.label_smoothing,
            device: self.device,
        };
        self.optimizers.iter_mut().for_each(AdamW::zero_grad);
        let parts = settings.accumulate.clamp(1, draw.wafers.len());
        guard::guarded(|| step.gradients(draw, parts, meter, clock)).map_err(|error| {
            if guard::is_out_of_memory(&error) {
                step.what_fits(draw, parts, error)
            } else {
                error
            }
        })?;
        for (i, optimizer) in self.optimizers.iter_mut().enumerate() {
            if i != 1 || draw.with_mask {
                optimizer.step(rate);
            }
        }
        clock.lap(Phase::Optimizer);
        Ok(())
    }

    fn log_step(
        &self,
        log: &mut Log,
        reading: &Reading,
        clock: &Clock,
        size: i64,
        steps: u64,
        rate: f64,
    ) -> Result<()> {
        log.line(&json!({
            "event": "step", "stage": self.state.stage, "size": size, "step": self.state.step,
            "steps": steps, "epoch": self.state.epochs, "epochs": self.epochs(), "rate": rate,
            "class_loss": reading.class_loss, "mask_loss": reading.mask_loss,
            "feature_loss": reading.feature_loss, "train_accuracy": reading.accuracy,
            "images_per_second": reading.images_per_second, "time_shares": clock.shares(),
        }))?;
        log.scalars(
            self.steps(),
            &[
                ("train/class_loss", Some(reading.class_loss)),
                ("train/mask_loss", reading.mask_loss),
                ("train/feature_loss", reading.feature_loss),
                ("train/accuracy", Some(reading.accuracy)),
                ("train/rate", Some(rate)),
                ("train/images_per_second", Some(reading.images_per_second)),
            ],
        )
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
            "epochs": self.epochs(), "seconds": self.seconds(), "metrics": self.state.metrics,
        }))?;
        log.scalars(
            self.steps(),
            &[
                ("val/accuracy", Some(report.accuracy)),
                ("val/f1", Some(report.f1)),
                ("val/auc", Some(report.auc)),
                ("val/dice", report.mask.as_ref().map(|mask| mask.dice)),
            ],
        )?;
        // Without validation wafers the latest weights are the best known.
        let better = report.wafers == 0
            || self.state.best.is_none_or(|(best_size, best)| {
                size > best_size || (size == best_size && report.accuracy >= best)
            });
        self.state.stale = if better { 0 } else { self.state.stale + 1 };
        if better {
            self.state.best = Some((size, report.accuracy));
            let tensors = checkpoint::tensors(self.network.vars());
            checkpoint::save(&Self::best(&self.out), &tensors, &self.info(None))?;
        }
        Ok(())
    }

    /// Steps done, all stages together.
    fn steps(&self) -> u64 {
        self.optimizers
            .first()
            .map_or(0, |optimizer| optimizer.steps)
    }

    /// Epochs done, all stages together.
    fn epochs(&self) -> f64 {
        self.state.epochs_before + self.state.epochs
    }

    /// Seconds spent, in all processes that worked on the run.
    fn seconds(&self) -> f64 {
        self.before + self.began.elapsed().as_secs_f64()
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
            architecture: self.network.architecture(),
            size: stage.map_or(0, |stage| stage.size),
            epochs: self.epochs(),
            split: Some(self.state.settings.split),
            metrics: self.state.metrics.clone(),
            run,
        }
    }

    fn save(&mut self) -> Result<()> {
        let mut tensors = checkpoint::tensors(self.network.vars());
        if let Some(distiller) = &self.distiller {
            tensors.extend(distiller.variables());
        }
        self.state.optimizer_steps.clear();
        for (i, optimizer) in self.optimizers.iter().enumerate() {
            let mut moment = |name: &str, tensor: &Tensor| {
                tensors.push((format!("optimizer.{i}.{name}"), tensor.shallow_clone()));
            };
            moment("first", &optimizer.first);
            moment("second", &optimizer.second);
            self.state.optimizer_steps.push(optimizer.steps);
        }
        self.state.seconds = self.seconds();
        let state = serde_json::to_string(&self.state)?;
        checkpoint::save(&Self::last(&self.out), &tensors, &self.info(Some(state)))
    }
}
