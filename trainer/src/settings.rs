//! The settings of a run. Each is a flag and a key of a TOML file, and is saved with the run.
//!
//! [`Overrides`] and [`DistillOverrides`] define the names once: the same structure is read from the command line
//! and from a file, and replaces the defaults of [`Settings::of`].

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::architecture::Architecture;
use crate::data::Protocol;
use crate::optim::Schedule;
use crate::topology::check_size;

/// One stage: an image size, and for how many epochs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Stage {
    /// Image side in pixels, which [`check_size`] has let pass.
    pub size: i64,
    /// Epochs; parts of an epoch are fine.
    pub epochs: f64,
    /// Wafers in a step, if not the run's.
    pub batch: Option<usize>,
    /// Peak learning rate, if not the run's.
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
        check_size(size).map_err(|error| wrong(&error))?;
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

impl TryFrom<String> for Stage {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Stage> for String {
    fn from(stage: Stage) -> Self {
        let mut text = format!("{}x{}", stage.size, stage.epochs);
        if let Some(batch) = stage.batch {
            text += &format!("/{batch}");
        }
        if let Some(rate) = stage.rate {
            text += &format!("@{rate:e}");
        }
        text
    }
}

/// Number format of convolutions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 32-bit floats.
    F32,
    /// bfloat16 in the operators that libtorch's autocast considers safe.
    Bf16,
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}

/// The settings of a run. They are saved with it, and a resumed run has the same ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The network.
    pub network: Architecture,
    /// The stages, in order.
    pub stages: Vec<Stage>,
    /// Wafers in a step.
    pub batch: usize,
    /// Parts that the wafers of a step are divided into, to be computed one after the other.
    pub accumulate: usize,
    /// Peak learning rate.
    pub rate: f64,
    /// The course of the learning rate over each stage.
    pub schedule: Schedule,
    /// AdamW's weight decay.
    pub weight_decay: f64,
    /// Dropout2d's probability.
    pub dropout: f64,
    /// Share of the class target spread over all classes.
    pub label_smoothing: f64,
    /// The mask's loss is computed in one of this many steps.
    pub mask_every: u64,
    /// A stage ends after this many validations without a better one.
    pub patience: Option<u32>,
    /// Seed of everything random.
    pub seed: u64,
    /// Number format.
    pub precision: Precision,
    /// The split.
    pub split: Protocol,
    /// The distillation; without it, the network learns from labels and masks alone.
    pub distill: Option<Distillation>,
}

impl Settings {
    /// The defaults: for a teacher the paper's, for a student what two processor cores can train, for
    /// quantization-aware training one epoch at a low rate. The last stage has the size that the network is made for.
    pub fn of(network: Architecture) -> Self {
        let student = network.topology().is_some();
        let size = network.size();
        let (text, rate) = match network {
            Architecture::Student(_) => (format!("64x6@3e-3 112x5@3e-3 {size}x4@2e-3"), 3e-3),
            Architecture::Qat(_) => (format!("{size}x1"), 1e-4),
            Architecture::Teacher(_) => (format!("{size}x50"), 1e-4),
        };
        let mut stages: Vec<_> = text.split(' ').flat_map(Stage::from_str).collect();
        let last = stages.pop();
        stages.retain(|stage| stage.size < size && network.fits(stage.size).is_ok());
        stages.extend(last);
        Self {
            network,
            stages,
            batch: 64,
            accumulate: 1,
            rate,
            schedule: if student {
                Schedule::OneCycle
            } else {
                Schedule::CosineRestarts
            },
            weight_decay: 0.01,
            dropout: 0.0,
            label_smoothing: 0.0,
            mask_every: if student { 4 } else { 1 },
            patience: None,
            seed: 0,
            precision: Precision::F32,
            split: Protocol::Distinct,
            distill: None,
        }
    }

    /// Checks that the network can be trained with these settings.
    ///
    /// # Errors
    /// In words, when there are no stages or the network cannot take the images of one.
    pub fn check(&self) -> Result<(), String> {
        if self.stages.is_empty() {
            return Err("no stages to train".into());
        }
        self.stages.iter().try_for_each(|stage| {
            let fits = self.network.fits(stage.size);
            fits.map_err(|error| format!("stage '{}': {error}", String::from(*stage)))
        })
    }

    /// These settings, replaced by what `over` gives.
    pub fn with(mut self, over: &Overrides) -> Self {
        fn put<T: Clone>(to: &mut T, from: &Option<T>) {
            if let Some(value) = from {
                *to = value.clone();
            }
        }
        put(&mut self.stages, &over.stages);
        put(&mut self.batch, &over.batch);
        put(&mut self.accumulate, &over.accumulate);
        put(&mut self.rate, &over.lr);
        put(&mut self.schedule, &over.schedule);
        put(&mut self.weight_decay, &over.weight_decay);
        put(&mut self.dropout, &over.dropout);
        put(&mut self.label_smoothing, &over.label_smoothing);
        put(&mut self.mask_every, &over.mask_every);
        put(&mut self.seed, &over.seed);
        put(&mut self.precision, &over.precision);
        self.patience = over.patience.or(self.patience);
        self
    }
}

/// Settings that can be given for any network. Those not given keep their defaults.
#[derive(Debug, Clone, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Overrides {
    /// Image sizes and epochs, in order: `SIZExEPOCHS[/BATCH][@RATE]`, such as
    /// `64x6@3e-3,112x5,224x4/32`. Small images train many times faster; end with the size that boards see,
    /// 224×224.
    #[arg(long, value_delimiter = ',', value_name = "STAGES")]
    pub stages: Option<Vec<Stage>>,
    /// Wafers in a step.
    #[arg(long, value_name = "N")]
    pub batch: Option<usize>,
    /// Compute a step in K parts and add up their gradients: the same step in less memory, except that
    /// batch normalization sees one part at a time.
    #[arg(long, value_name = "K")]
    pub accumulate: Option<usize>,
    /// Peak learning rate.
    #[arg(long, value_name = "RATE")]
    pub lr: Option<f64>,
    /// The course of the learning rate over each stage.
    #[arg(long, value_enum)]
    pub schedule: Option<Schedule>,
    /// AdamW's weight decay (weights only).
    #[arg(long, value_name = "DECAY")]
    pub weight_decay: Option<f64>,
    /// Probability that the student's Dropout2d drops a channel.
    #[arg(long, value_name = "P")]
    pub dropout: Option<f64>,
    /// Share of the class target that is spread over all classes.
    #[arg(long, value_name = "SHARE")]
    pub label_smoothing: Option<f64>,
    /// Compute the mask's loss in every K-th step only: the mask is learned within two epochs, and its
    /// decoder takes half of the time of a step.
    #[arg(long, value_name = "K")]
    pub mask_every: Option<u64>,
    /// End a stage after N validations without a better accuracy.
    #[arg(long, value_name = "N")]
    pub patience: Option<u32>,
    /// Seed of initial weights, order, symmetries and dropout.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Number format of convolutions.
    #[arg(long, value_enum)]
    pub precision: Option<Precision>,
}

/// The settings of a distillation: the teacher, and the weights of the losses (`loss.rs`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Distillation {
    /// The teacher's checkpoint.
    pub teacher: PathBuf,
    /// T: logits are divided by it before they are compared.
    pub temperature: f64,
    /// Share of the class loss that the teacher gives.
    pub alpha_class: f64,
    /// Share of the mask loss that the teacher gives.
    pub alpha_mask: f64,
    /// Weight of the feature loss; 0 leaves the projection out.
    pub alpha_feature: f64,
    /// The teacher's answer is the mean over this many symmetries of the wafer: 1, 4 (the quarter turns) or 8.
    pub views: u8,
    /// Image side that the teacher sees; if absent, that of its last training stage.
    pub teacher_size: Option<i64>,
    /// Keep the teacher's answers in memory.
    pub cache: bool,
}

impl Distillation {
    /// The paper's settings, replaced by what `over` gives; none without a teacher.
    ///
    /// # Errors
    /// A setting out of its range, in words.
    pub fn paper(over: &DistillOverrides) -> Result<Option<Self>, String> {
        let Some(teacher) = &over.teacher else {
            return match over {
                o if *o == DistillOverrides::default() => Ok(None),
                _ => Err("settings of a distillation without a teacher".into()),
            };
        };
        let settings = Self {
            teacher: teacher.clone(),
            temperature: over.temperature.unwrap_or(4.0),
            alpha_class: over.alpha_class.unwrap_or(0.7),
            alpha_mask: over.alpha_mask.unwrap_or(0.5),
            alpha_feature: over.alpha_feature.unwrap_or(0.3),
            views: over.views.unwrap_or(1),
            teacher_size: over.teacher_size,
            cache: over.cache.unwrap_or(true),
        };
        let share = |name: &str, value: f64| {
            if (0.0..=1.0).contains(&value) {
                Ok(())
            } else {
                Err(format!("{name} is {value}; 0 to 1 expected"))
            }
        };
        share("alpha-class", settings.alpha_class)?;
        share("alpha-mask", settings.alpha_mask)?;
        if !(settings.alpha_feature >= 0.0 && settings.alpha_feature.is_finite()) {
            return Err(format!(
                "alpha-feature is {}; 0 or more expected",
                settings.alpha_feature
            ));
        }
        if !(settings.temperature > 0.0 && settings.temperature.is_finite()) {
            return Err(format!(
                "temperature is {}; above 0 expected",
                settings.temperature
            ));
        }
        if !matches!(settings.views, 1 | 4 | 8) {
            return Err(format!("views is {}; 1, 4 or 8 expected", settings.views));
        }
        let size = settings.teacher_size.map_or(Ok(()), check_size);
        size.map_err(|error| format!("teacher-size: {error}"))?;
        Ok(Some(settings))
    }
}

/// Settings of a distillation. Those not given are the paper's.
#[derive(Debug, Clone, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DistillOverrides {
    /// The trained teacher (.safetensors), which stays as it is. Needed to start a distillation.
    #[arg(long, value_name = "FILE")]
    pub teacher: Option<PathBuf>,
    /// T: logits are divided by it before they are compared [paper: 4].
    #[arg(long, value_name = "T")]
    pub temperature: Option<f64>,
    /// Share of the class loss that comes from the teacher [paper: 0.7].
    #[arg(long, value_name = "SHARE")]
    pub alpha_class: Option<f64>,
    /// Share of the mask loss that comes from the teacher [paper: 0.5].
    #[arg(long, value_name = "SHARE")]
    pub alpha_mask: Option<f64>,
    /// Weight of the feature loss; 0 leaves it and its projection out [paper: 0.3].
    #[arg(long, value_name = "WEIGHT")]
    pub alpha_feature: Option<f64>,
    /// The teacher's answer is its mean over 1, 4 (the quarter turns) or all 8 symmetries of the wafer
    /// [default: 1].
    #[arg(long, value_name = "N")]
    pub views: Option<u8>,
    /// Image side that the teacher sees [default: that of its last training stage].
    #[arg(long, value_name = "SIZE")]
    pub teacher_size: Option<i64>,
    /// Keep the teacher's answers in memory: each wafer is asked about once [default: true].
    #[arg(long, value_name = "BOOL")]
    pub cache: Option<bool>,
}
