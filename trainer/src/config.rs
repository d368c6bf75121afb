//! The configuration of a whole run, as a TOML file: which networks, with which settings.
//!
//! ```toml
//! [teacher]
//! encoder = "resnet101"
//! stages = ["224x50"]
//!
//! [student]
//! stages = ["224x100@1e-3"]
//!
//! [topology]         # another shape of the student; without it, the published one
//! encoder = [8, 16, 16, 32, 64]
//! decoder = [32, 16, 16, 8]
//!
//! [distill]          # without it, the student learns from labels and masks alone
//! temperature = 4.0
//!
//! [export]           # the int8 image for boards
//! name = "lightwafer-light"
//! ```
//!
//! The keys of `[teacher]` and `[student]` are the flags of `trainer teacher` and `trainer student`
//! ([`Overrides`]), those of `[topology]` the flags of `trainer student` that shape the network
//! ([`TopologyOverrides`]), those of `[distill]` the flags of `trainer distill` ([`DistillOverrides`]).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use crate::architecture::{Architecture, Encoder};
use crate::data::Protocol;
use crate::settings::{DistillOverrides, Distillation, Overrides, Settings};
use crate::topology::{Topology, TopologyOverrides};

/// A whole run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// The purpose of the run.
    pub description: Option<String>,
    /// The seed of a network that has none of its own.
    pub seed: Option<u64>,
    /// Keep repeated maps when splitting, as published.
    #[serde(default)]
    pub paper_split: bool,
    teacher: Option<toml::Table>,
    student: Option<Overrides>,
    topology: Option<TopologyOverrides>,
    distill: Option<DistillOverrides>,
    /// The int8 image.
    pub export: Option<Export>,
}

/// The int8 image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Export {
    /// The model's name, as boards report it.
    pub name: String,
}

/// The teacher of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct TeacherPlan {
    /// Its settings.
    pub settings: Settings,
    /// Weights that its encoder starts from.
    pub encoder_weights: Option<PathBuf>,
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// When it cannot be read, is no TOML, or has an unknown key or a value out of its range, with its place.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} is refused", path.display()))
    }

    /// As [`Config::read`], from text.
    ///
    /// # Errors
    /// As there.
    pub fn parse(text: &str) -> Result<Self> {
        let config: Self = toml::from_str(text).map_err(|e| anyhow!("{}", e.to_string().trim()))?;
        if config.teacher.is_none() && config.student.is_none() {
            bail!("neither [teacher] nor [student]: nothing to train");
        }
        let parts_of_student = [
            config.topology.is_some(),
            config.distill.is_some(),
            config.export.is_some(),
        ];
        if config.student.is_none() && parts_of_student.contains(&true) {
            bail!("[topology], [distill] and [export] need a [student]");
        }
        if let Some(distill) = &config.distill
            && distill.teacher.is_none()
            && config.teacher.is_none()
        {
            bail!("[distill] needs a [teacher], or teacher = \"FILE\"");
        }
        config.teacher()?;
        config.student(Path::new("teacher"))?;
        Ok(config)
    }

    /// The rule of the split.
    pub fn protocol(&self) -> Protocol {
        Protocol::of_flag(self.paper_split)
    }

    /// The teacher, if one is trained.
    ///
    /// # Errors
    /// When a key is unknown or a value out of its range.
    pub fn teacher(&self) -> Result<Option<TeacherPlan>> {
        let Some(mut table) = self.teacher.clone() else {
            return Ok(None);
        };
        let encoder = match table.remove("encoder") {
            Some(encoder) => encoder.try_into().context("[teacher] encoder")?,
            None => Encoder::ResNet101,
        };
        let weights = table.remove("encoder-weights");
        let encoder_weights = weights.map(toml::Value::try_into).transpose();
        let over: Overrides = table
            .try_into()
            .map_err(|e: toml::de::Error| anyhow!("[teacher]: {}", e.to_string().trim()))?;
        Ok(Some(TeacherPlan {
            settings: self.settings(Architecture::Teacher(encoder), &over)?,
            encoder_weights: encoder_weights.context("[teacher] encoder-weights")?,
        }))
    }

    /// The student, if one is trained; `teacher` is the checkpoint of the run's own teacher.
    ///
    /// # Errors
    /// When a setting is out of its range, or the shape is none that boards can run.
    pub fn student(&self, teacher: &Path) -> Result<Option<Settings>> {
        let Some(over) = &self.student else {
            return Ok(None);
        };
        let shape = self.topology.clone().unwrap_or_default();
        let topology = Topology::new(&shape).map_err(|e| anyhow!("[topology]: {e}"))?;
        if self.export.is_some() {
            topology
                .for_boards()
                .map_err(|e| anyhow!("[export]: {e}"))?;
        }
        let mut settings = self.settings(Architecture::Student(topology), over)?;
        if let Some(distill) = &self.distill {
            let mut distill = distill.clone();
            distill.teacher.get_or_insert_with(|| teacher.into());
            settings.distill =
                Distillation::paper(&distill).map_err(|e| anyhow!("[distill]: {e}"))?;
        }
        Ok(Some(settings))
    }

    fn settings(&self, network: Architecture, over: &Overrides) -> Result<Settings> {
        let mut settings = Settings::of(network).with(over);
        settings.seed = over.seed.or(self.seed).unwrap_or(settings.seed);
        settings.split = self.protocol();
        settings.check().map_err(|e| anyhow!(e))?;
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_configuration_is_read() {
        let config = Config::parse(
            "seed = 5\n[teacher]\nencoder = 'resnet18'\nstages = ['64x2@1e-3', '112x1/32']\nbatch = 128\n\
             [student]\nlr = 1e-3\nseed = 6\n[topology]\nencoder = [8, 16, 32]\ndecoder = [16, 8]\n\
             [distill]\ntemperature = 2.0\n[export]\nname = 'x'\n",
        )
        .unwrap();
        let teacher = config.teacher().unwrap().unwrap().settings;
        assert_eq!(teacher.network, Architecture::Teacher(Encoder::ResNet18));
        assert_eq!(
            (teacher.batch, teacher.seed, teacher.stages.len()),
            (128, 5, 2)
        );
        let student = config.student(Path::new("t")).unwrap().unwrap();
        assert_eq!(
            student.network.to_string(),
            "LightWaferSegClassNet 8-16-32/16-8"
        );
        let distill = student.distill.unwrap();
        assert_eq!((student.rate, student.seed), (1e-3, 6));
        assert_eq!((distill.temperature, distill.alpha_class), (2.0, 0.7));
        assert_eq!(distill.teacher, Path::new("t"));
    }

    #[test]
    fn what_does_not_belong_is_named() {
        for (text, expected) in [
            ("", "nothing to train"),
            ("[student]\nbach = 3", "bach"),
            ("[teacher]\nbach = 3", "bach"),
            ("[teacher]\nencoder = 'resnet19'", "resnet19"),
            ("[student]\nstages = ['100x1']", "multiple of 16"),
            ("[student]\n[distill]", "needs a [teacher]"),
            ("[teacher]\n[topology]", "need a [student]"),
            ("[student]\n[topology]\ndepth = 3", "depth"),
            (
                "[student]\n[topology]\nimage-size = 64\n[export]\nname = 'x'",
                "boards run 38 classes on 224×224",
            ),
            (
                "[student]\n[topology]\ndecoder = [8]",
                "need 4 decoder blocks",
            ),
            (
                "[student]\n[topology]\nencoder = [8, 10]\ndecoder = [8]",
                "10 channels",
            ),
            (
                "[teacher]\n[student]\n[distill]\nalpha-class = 2.0",
                "alpha-class",
            ),
            ("[teacher]\n[export]\nname = 'x'", "need a [student]"),
            ("[student", "TOML"),
        ] {
            let error = format!("{:#}", Config::parse(text).unwrap_err());
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn the_configurations_that_come_with_the_project_are_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
        let files: Vec<_> = std::fs::read_dir(folder).unwrap().flatten().collect();
        assert!(files.len() >= 5);
        for file in files {
            Config::read(&file.path()).unwrap();
        }
    }
}
