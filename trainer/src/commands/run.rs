//! `trainer run`: every stage of a configuration, each where it stopped.
//!
//! `OUT/teacher` and `OUT/student` are the folders of the two trainings; `OUT/student/light-int8.lw` is
//! the image; `OUT/eval-*.json` are what `trainer eval --json` prints for each on the test part, and
//! `OUT/eval-*-val.json` on the validation part.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use tch::Device;
use trainer::checkpoint::write_atomically;
use trainer::config::Config;
use trainer::data::{Data, Part};
use trainer::network::Network;
use trainer::record::Record;
use trainer::settings::{Precision, Settings};
use trainer::train::{End, Run};
use trainer::weights;

use super::eval::Measurement;
use super::training::train;
use super::{Machine, catch_ctrl_c, export};

#[derive(Args)]
pub struct RunArgs {
    /// The configuration (.toml); `trainer/configs/` has the paper's and ours.
    #[arg(value_name = "CONFIG")]
    config: PathBuf,
    /// Labelled wafer maps in MixedWM38's layout (.npz).
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Folder of the run; what is done there already is not done again.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    machine: Machine,
}

/// One run's surroundings.
struct Here<'a> {
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
    // The teacher's place is one of the student's settings: the same from wherever the run goes on.
    args.out = fs::canonicalize(&args.out)
        .with_context(|| format!("cannot find {}", args.out.display()))?;
    let copy = args.out.join("config.toml");
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
    Record::keep(
        &args.out,
        serde_json::to_value(&config)?,
        &args.data,
        device,
    )?;
    catch_ctrl_c()?;
    let here = Here {
        args: &args,
        data,
        device,
    };
    if here.all(&config)? == End::Stopped {
        eprintln!(
            "stopped and saved; to go on: trainer run {} --data {} --out {}",
            args.config.display(),
            args.data.display(),
            args.out.display()
        );
    }
    Ok(())
}

impl Here<'_> {
    fn all(&self, config: &Config) -> Result<End> {
        let folder = |name: &str| self.args.out.join(name);
        let (teacher, student) = (folder("teacher"), folder("student"));
        if let Some(plan) = config.teacher()? {
            let file = plan.encoder_weights.as_deref();
            let init = |network: &dyn Network| weights::start_encoder(network, file);
            if self.network(&teacher, plan.settings.clone(), init)? == End::Stopped {
                return Ok(End::Stopped);
            }
            self.evaluations("teacher", &Run::best(&teacher), plan.settings.precision)?;
        }
        let Some(settings) = config.student(&Run::best(&teacher))? else {
            return Ok(End::Finished);
        };
        if self.network(&student, settings, |_| Ok(()))? == End::Stopped {
            return Ok(End::Stopped);
        }
        self.evaluations("student", &Run::best(&student), Precision::F32)?;
        if let Some(wanted) = &config.export {
            let image = student.join("light-int8.lw");
            if !image.exists() {
                let (some, few) = (export::CALIBRATION, export::COMPARE);
                let written = export::write_image(
                    &Run::best(&student),
                    &self.data,
                    &image,
                    &wanted.name,
                    some,
                    few,
                )?;
                print!("{}", written.text());
            }
            self.evaluation("int8", &image, Part::Test, Precision::F32)?;
        }
        Ok(End::Finished)
    }

    /// Trains in `out`, from the start or from where it stands; a finished training is left alone.
    fn network(
        &self,
        out: &Path,
        settings: Settings,
        init: impl FnOnce(&dyn Network) -> Result<()>,
    ) -> Result<End> {
        let mut run = if Run::last(out).exists() {
            let run = Run::resume(out, self.device)?;
            ensure!(
                *run.settings() == settings,
                "{} was started with other settings: choose another --out",
                out.display()
            );
            run
        } else {
            Run::start(out, settings, init, self.device)?
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
        let path = self.args.out.join(format!("eval-{name}.json"));
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
            turned: part == Part::Test,
            device: self.device,
            threads: self.args.machine.threads(),
        }
        .take()?;
        measured.lines().iter().for_each(|line| eprintln!("{line}"));
        write_atomically(
            &path,
            serde_json::to_string_pretty(&measured.json()?)?.as_bytes(),
        )
    }
}
