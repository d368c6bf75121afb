//! A training run: stages of growing image size, each with its own learning-rate schedule.
//!
//! Steps are functions of the seed and their number (`stage.rs`), so that the state to resume from is the
//! weights, the moments and a few counters.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tch::{Device, Tensor};

use crate::batch::Source;
use crate::checkpoint::{self, Checkpoint, Info};
use crate::data::Data;
use crate::distill::Distiller;
use crate::eval::{View, evaluate};
use crate::meter::{Clock, Meter, Phase, Reading};
use crate::metrics::Report;
use crate::network::Network;
use crate::optim::AdamW;
use crate::progress::{Log, Progress};
use crate::run_folder;
use crate::settings::{Settings, Stage};
use crate::stage::{Order, StagePlan};
use crate::topology::CLASSES;
use crate::torch_errors;
use crate::training_step::{Draw, Step};

/// The state of a run: everything beside tensors that determines how it goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct State {
    settings: Settings,
    /// The stage.
    stage: usize,
    /// Steps done in it.
    step: u64,
    /// Epochs done in it.
    epochs: f64,
    /// The step of the last validation in it; 0 before the first.
    validated: u64,
    /// Validations in it since the best one.
    stale: u32,
    /// Epochs of the stages before.
    epochs_before: f64,
    /// Seconds of training so far, validations included.
    seconds: f64,
    /// Steps of each optimizer.
    optimizer_steps: Vec<u64>,
    /// Best validation accuracy at the size of this stage.
    best: Option<(i64, f64)>,
    metrics: std::collections::HashMap<String, f64>,
}

/// Time between saves within an epoch.
const SAVE_EVERY: Duration = Duration::from_secs(180);
/// Time since the last save after which the state is saved before a validation.
const SAVE_AROUND_VALIDATION: Duration = Duration::from_secs(30);
/// Time between lines of the log.
const LOG_EVERY: Duration = Duration::from_secs(10);
/// Time between updates of the losses on a terminal.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// One step of this many is timed by its parts.
const TIMED_EVERY: u64 = 20;

/// The end of a run.
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
    /// One for each group of [`Network::groups`], and one for the feature projection if there is one.
    optimizers: Vec<AdamW>,
    state: State,
    device: Device,
    /// When this process began, less the seconds of earlier ones.
    began: Instant,
    before: f64,
}

/// The clocks of a running stage: when to show, log and save.
struct Watch {
    bar: Progress,
    meter: Meter,
    clock: Clock,
    saved: Instant,
    logged: Instant,
    looked: Instant,
}

impl Watch {
    fn new(plan: &StagePlan, done: u64, device: Device) -> Self {
        let now = Instant::now();
        Self {
            bar: Progress::new(plan.steps, done, format!("{0}×{0}", plan.size)),
            meter: Meter::new(device),
            clock: Clock::new(device),
            saved: now,
            logged: now,
            looked: now,
        }
    }
}

impl Run {
    /// Refuses a folder that already holds a run.
    ///
    /// # Errors
    /// When it does.
    pub fn vacant(out: &Path) -> Result<()> {
        let last = run_folder::last(out);
        ensure!(
            !last.exists(),
            "{} is there already: continue it with --resume, or choose another --out",
            last.display()
        );
        Ok(())
    }

    /// A new run. `network` makes the network, after torch's generator was seeded.
    ///
    /// # Errors
    /// When the folder already holds a run, the network cannot be trained with the settings, the teacher cannot be
    /// loaded, or `network` fails.
    pub fn start(
        out: &Path,
        settings: Settings,
        network: impl FnOnce(&Settings) -> Result<Box<dyn Network>>,
    ) -> Result<Self> {
        Self::vacant(out)?;
        settings.check().map_err(|error| anyhow!(error))?;
        fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
        tch::manual_seed(settings.seed as i64);
        let network = network(&settings)?;
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
        Self::new(out, network, state)
    }

    /// Goes on from `last.safetensors` in `out`, with the settings that the run was started with. `network` makes the
    /// network.
    ///
    /// # Errors
    /// When the file or the teacher's is missing, damaged, or of another architecture.
    pub fn resume(out: &Path, network: impl FnOnce(&Settings) -> Box<dyn Network>) -> Result<Self> {
        let path = run_folder::last(out);
        let saved = Checkpoint::read(&path)?;
        let Some(state) = &saved.info.run else {
            bail!(
                "{}: a model without a run's state; start anew with --init",
                path.display()
            );
        };
        let state: State = serde_json::from_str(state).with_context(|| {
            let name = path.display();
            format!("{name}: its run was begun by another version; start anew with --init {name}")
        })?;
        let network = network(&state.settings);
        saved.load(network.vars(), &network.architecture())?;
        let mut run = Self::new(out, network, state)?;
        run.restore(&saved)
            .with_context(|| format!("{} cannot be resumed", path.display()))?;
        Ok(run)
    }

    /// Puts the saved projection and moments in place.
    fn restore(&mut self, saved: &Checkpoint) -> Result<()> {
        let projection = self.distiller.as_ref().map(Distiller::variables);
        for (name, mut variable) in projection.unwrap_or_default() {
            let tensor = saved.tensor(&name)?;
            ensure!(tensor.size() == variable.size(), "{name} has another shape");
            tch::no_grad(|| variable.copy_(&tensor));
        }
        for (i, optimizer) in self.optimizers.iter_mut().enumerate() {
            for (name, moment) in [
                ("first", &mut optimizer.first),
                ("second", &mut optimizer.second),
            ] {
                let tensor = saved.tensor(&format!("optimizer.{i}.{name}"))?;
                ensure!(
                    tensor.size() == moment.size(),
                    "optimizer.{i}.{name} has {} values, {} are needed: the run was begun by another version; \
                     start anew with --init",
                    tensor.numel(),
                    moment.numel()
                );
                moment.copy_(&tensor);
            }
            optimizer.steps = self.state.optimizer_steps.get(i).copied().unwrap_or(0);
        }
        Ok(())
    }

    fn new(out: &Path, mut network: Box<dyn Network>, state: State) -> Result<Self> {
        let settings = &state.settings;
        let device = network.vars().device();
        network.set_dropout(settings.dropout);
        let topology = network.architecture().topology().cloned();
        let embedding = topology.map_or(0, |topology| topology.embedding());
        let open = |d| Distiller::open(d, embedding, settings.precision, device);
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

    /// Trains to the end, or until `stop` asks to end; saves before it returns.
    ///
    /// # Errors
    /// When files cannot be written, the loss is not finite, memory is short, there is nothing to
    /// train on, or the network has other classes than the data.
    pub fn train(&mut self, data: &Data, stop: &dyn Fn() -> bool) -> Result<End> {
        ensure!(!data.train.is_empty(), "no wafers to train on");
        let architecture = self.network.architecture();
        ensure!(
            architecture.classes() == CLASSES,
            "{architecture} tells {} classes apart, the data has {CLASSES}",
            architecture.classes()
        );
        let source = Source::new(data, self.device);
        let mut log = Log::open(&self.out)?;
        log.line(&json!({
            "event": "start", "settings": self.state.settings, "data": data.describe(),
            "network": architecture, "parts": self.network.parts(),
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

    /// Asks the teacher about every training wafer, if its answers are to be kept. `false` when `stop` asks to end.
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
        torch_errors::guarded(|| distiller.prepare(source, wafers, &mut tick)).context(
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
        let plan = StagePlan::new(stage, self.state.stage, self.settings(), data.train.len());
        let mut order = Order::default();
        let mut watch = Watch::new(&plan, self.state.step, self.device);
        loop {
            let done = self.state.step;
            if plan.ends_epoch(done)
                && self.state.validated != done
                && self.validate(&plan, data, source, log, &mut watch, stop)? == End::Stopped
            {
                return Ok(End::Stopped);
            }
            if plan.is_over(done, self.state.stale) {
                return Ok(End::Finished);
            }
            if stop() {
                return Ok(End::Stopped);
            }
            let step = plan.step(done, &data.train, &mut order);
            let draw = Draw {
                wafers: &step.wafers,
                symmetries: &step.symmetries,
                size: plan.size,
                with_mask: step.with_mask,
            };
            tch::manual_seed(step.seed);
            watch.clock.step(done % TIMED_EVERY == 3);
            self.step(&draw, source, step.rate, &mut watch)?;
            self.state.step += 1;
            self.state.epochs = plan.epochs(self.state.step);
            self.show(&plan, step.rate, log, &mut watch)?;
            if watch.saved.elapsed() > SAVE_EVERY {
                self.save()?;
                watch.saved = Instant::now();
            }
        }
    }

    /// Measures the network on the validation part.
    fn validate(
        &mut self,
        plan: &StagePlan,
        data: &Data,
        source: &Source,
        log: &mut Log,
        watch: &mut Watch,
        stop: &dyn Fn() -> bool,
    ) -> Result<End> {
        watch.bar.message("validating");
        // A stop in the validation loses nothing: the state is saved then. A power cut loses half a minute at most,
        // so that the short epochs of a GPU are not spent on writing files.
        if watch.saved.elapsed() > SAVE_AROUND_VALIDATION {
            self.save()?;
            watch.saved = Instant::now();
        }
        let view = View {
            precision: self.settings().precision,
            ..View::plain(plan.size)
        };
        let Some(report) = evaluate(&*self.network, source, &data.val, view, stop) else {
            return Ok(End::Stopped);
        };
        self.validated(plan.size, &report, log, &watch.bar)?;
        watch.meter.restart();
        Ok(End::Finished)
    }

    /// Shows and logs the losses, if it is time to.
    fn show(&self, plan: &StagePlan, rate: f64, log: &mut Log, watch: &mut Watch) -> Result<()> {
        let (size, steps, at) = (plan.size, plan.steps, self.state.step);
        watch.bar.at(at);
        let log_now = watch.logged.elapsed() > LOG_EVERY || at == steps || at == 1;
        let look = watch.bar.moves() && watch.looked.elapsed() > LOOK_EVERY;
        if !log_now && !look {
            return Ok(());
        }
        let reading = watch.meter.read();
        ensure!(
            reading.is_finite(),
            "the loss is no longer finite at step {}: choose a lower learning rate (--lr); {} holds the state \
             before",
            at - 1,
            run_folder::last(&self.out).display()
        );
        watch.bar.message(reading.words());
        watch.looked = Instant::now();
        if log_now {
            self.log_step(log, &reading, &watch.clock, plan, rate)?;
            let line = format!("{size}×{size} step {at}/{steps}: {}", reading.words());
            watch.bar.line(&line);
            watch.logged = Instant::now();
            watch.meter.restart();
        }
        Ok(())
    }

    /// One step of gradient descent.
    fn step(
        &mut self,
        draw: &Draw<'_>,
        source: &Source,
        rate: f64,
        watch: &mut Watch,
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
        let Watch { meter, clock, .. } = watch;
        torch_errors::guarded(|| step.gradients(draw, parts, meter, clock)).map_err(|error| {
            if torch_errors::is_out_of_memory(&error) {
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
        plan: &StagePlan,
        rate: f64,
    ) -> Result<()> {
        log.line(&json!({
            "event": "step", "stage": self.state.stage, "size": plan.size, "step": self.state.step,
            "steps": plan.steps, "epoch": self.state.epochs, "epochs": self.epochs(), "rate": rate,
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
            checkpoint::save(&run_folder::best(&self.out), &tensors, &self.info(None))?;
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
            architecture: self.network.architecture().to_string(),
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
        checkpoint::save(
            &run_folder::last(&self.out),
            &tensors,
            &self.info(Some(state)),
        )
    }
}
