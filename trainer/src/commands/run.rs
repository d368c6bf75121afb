//! `trainer run`: every stage of a configuration; each is resumed where it stopped.
//!
//! `OUT/teacher` and `OUT/student` are the folders of the two trainings; `OUT/student/light-int8.lw` is
//! the image; `OUT/eval-*.json` are what `trainer eval --json` prints for each on the test part, and
//! `OUT/eval-*-val.json` on the validation part.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use tch::Device;
use trainer::config::Config;
use trainer::data::{Data, Part};
use trainer::files::write_atomically;
use trainer::manifest::Manifest;
use trainer::network::Network;
use trainer::run_folder::{best, configuration, evaluation, image, last};
use trainer::settings::{Precision, Settings};
use trainer::train::End;
use trainer::{weights, zoo};

use super::machine::{Machine, catch_ctrl_c};
use super::measurement::Measurement;
use super::quantized::{CALIBRATION, COMPARED, write_image};
use super::training::train;

#[derive(Args)]
pub struct RunArgs {
    /// The configuration (.toml); `trainer/configs/` has the paper's and the project's own.
    #[arg(value_name = "CONFIG")]
    config: PathBuf,
    /// Labelled wafer maps in MixedWM38's layout (.npz).
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Folder of the run. What is finished there is not done again.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    machine: Machine,
}

/// A run of a configuration in a folder.
struct Work<'a> {
    args: &'a RunArgs,
    data: Data,
    device: Device,
}

pub fn run(mut args: RunArgs) -> Result<()> {
    let config = Config::read(&args.config)?;
    let device = args.machine.device()?;
    let text =
        fs::read(&args.config).with_context(|| format!("cannot read {}", args.config.display()))?;
    fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot create {}", args.out.display()))?;
    // The teacher's path is one of the student's settings: absolute, so that it is the same when resumed elsewhere.
    args.out = fs::canonicalize(&args.out)
        .with_context(|| format!("cannot find {}", args.out.display()))?;
    let copy = configuration(&args.out);
    if copy.exists() {
        let before = fs::read(&copy).with_context(|| format!("cannot read {}", copy.display()))?;
        ensure!(
            before == text,
            "{} holds a run of another configuration ({}): choose another --out",
            args.out.display(),
            copy.display()
        );
    }
    let data = Data::load(&args.data, config.protocol())?;
    eprintln!("{}", data.describe());
    write_atomically(&copy, &text)?;
    Manifest::keep(
        &args.out,
        serde_json::to_value(&config)?,
        &args.data,
        device,
    )?;
    catch_ctrl_c()?;
    let work = Work {
        args: &args,
        data,
        device,
    };
    if work.all(&config)? == End::Stopped {
        eprintln!(
            "stopped and saved; to go on: trainer run {} --data {} --out {}",
            args.config.display(),
            args.data.display(),
            args.out.display()
        );
    }
    Ok(())
}

impl Work<'_> {
    fn all(&self, config: &Config) -> Result<End> {
        let folder = |name: &str| self.args.out.join(name);
        let (teacher, student) = (folder("teacher"), folder("student"));
        if let Some(plan) = config.teacher()? {
            let file = plan.encoder_weights.as_deref();
            let init = |network: &dyn Network| weights::start_encoder(network, file);
            if self.network(&teacher, plan.settings.clone(), init)? == End::Stopped {
                return Ok(End::Stopped);
            }
            self.evaluations("teacher", &best(&teacher), plan.settings.precision)?;
        }
        let Some(settings) = config.student(&best(&teacher))? else {
            return Ok(End::Finished);
        };
        if self.network(&student, settings, |_| Ok(()))? == End::Stopped {
            return Ok(End::Stopped);
        }
        self.evaluations("student", &best(&student), Precision::F32)?;
        if let Some(wanted) = &config.export {
            let image = image(&student);
            if !image.exists() {
                let (from, name) = (best(&student), &wanted.name);
                let written = write_image(&from, &self.data, &image, name, CALIBRATION, COMPARED)?;
                print!("{}", written.text()?);
            }
            self.evaluation("int8", &image, Part::Test, Precision::F32)?;
        }
        Ok(End::Finished)
    }

    /// Trains in `out`: starts or resumes the training. A finished one is left alone.
    fn network(
        &self,
        out: &Path,
        settings: Settings,
        init: impl FnOnce(&dyn Network) -> Result<()>,
    ) -> Result<End> {
        let mut run = if last(out).exists() {
            let run = zoo::resume(out, self.device)?;
            ensure!(
                *run.settings() == settings,
                "{} was started with other settings: choose another --out",
                out.display()
            );
            run
        } else {
            zoo::start(out, settings, init, self.device)?
        };
        if run.is_finished() {
            eprintln!("{}: trained already", out.display());
            return Ok(End::Finished);
        }
        train(&mut run, &self.data)
    }

    fn evaluations(&self, name: &str, checkpoint: &Path, precision: Precision) -> Result<()> {
        self.evaluation(name, checkpoint, Part::Test, precision)?;
        self.evaluation(&format!("{name}-val"), checkpoint, Part::Val, precision)
    }

    /// Measures `checkpoint` unless that is done, and writes `eval-NAME.json`.
    fn evaluation(
        &self,
        name: &str,
        checkpoint: &Path,
        part: Part,
        precision: Precision,
    ) -> Result<()> {
        let path = evaluation(&self.args.out, name);
        if path.exists() || self.data.part(part).is_empty() {
            return Ok(());
        }
        eprintln!("measuring {}", checkpoint.display());
        let measured = Measurement {
            checkpoint,
            data: &self.data,
            part,
            size: None,
            precision,
            rotated: part == Part::Test,
            device: self.device,
            threads: self.args.machine.threads(),
        }
        .take()?;
        measured.lines().iter().for_each(|line| eprintln!("{line}"));
        write_atomically(&path, measured.json()?.as_bytes())
    }
}
