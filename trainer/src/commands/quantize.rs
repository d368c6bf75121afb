//! `trainer quantize`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use tch::Device;
use trainer::architecture::Architecture;
use trainer::batch::Source;
use trainer::checkpoint::{Checkpoint, tensors};
use trainer::data::Data;
use trainer::export::{Prepared, qat};
use trainer::network::Network;
use trainer::settings::{DistillOverrides, Precision, Settings};
use trainer::student::Student;
use trainer::topology::Topology;

use super::distill::distillation;
use super::quantized::{CALIBRATION, calibration};
use super::training::{self, TrainArgs};

#[derive(Args)]
pub struct QuantizeArgs {
    /// The trained student in floats (.safetensors) to start from. Its normalizations are folded and its
    /// ranges chosen as `trainer export` does it; weights and ranges are then trained.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["resume", "init"],
          conflicts_with_all = ["resume", "init"])]
    checkpoint: Option<PathBuf>,
    /// Epochs at the size that the student is made for; parts of an epoch are fine. Short for --stages 224xN
    /// [default: 1].
    #[arg(long, value_name = "N", conflicts_with_all = ["stages", "resume"])]
    epochs: Option<f64>,
    /// Training wafers that the ranges to start from are chosen on.
    #[arg(long, value_name = "N", default_value_t = CALIBRATION)]
    calibration: usize,
    #[command(flatten)]
    soft: DistillOverrides,
    #[command(flatten)]
    run: TrainArgs,
}

pub fn run(mut args: QuantizeArgs) -> Result<()> {
    let from = args.checkpoint.as_deref().or(args.run.init());
    let (topology, split) = match from {
        Some(path) => shape(path)?,
        None => (Topology::default(), None),
    };
    let mut settings = Settings::of(Architecture::Qat(topology));
    if let Some(split) = split.filter(|_| args.checkpoint.is_some()) {
        settings.split = split;
    }
    if args.run.resumes() {
        ensure!(
            args.soft == DistillOverrides::default(),
            "--resume goes on with the run's own teacher and settings"
        );
    } else {
        settings.distill = distillation(&args.soft)?;
    }
    if let Some(epochs) = args.epochs {
        let text = format!("{}x{epochs}", settings.network.size());
        let stage = text.parse().map_err(anyhow::Error::msg)?;
        args.run.overrides().stages = Some(vec![stage]);
    }
    ensure!(
        args.run.overrides().precision != Some(Precision::Bf16),
        "--precision bf16 is coarser than the steps that are trained: leave it out"
    );
    let first = |network: &dyn Network, data: &Data| match &args.checkpoint {
        Some(path) => start(network, path, data, args.calibration),
        None => Ok(()),
    };
    training::run("quantize", &args.run, settings, first)
}

/// The shape of the student in a checkpoint, and the split that it was trained with.
fn shape(path: &Path) -> Result<(Topology, Option<trainer::data::Protocol>)> {
    let info = Checkpoint::read(path)?.info;
    let architecture = Architecture::of_checkpoint(&info.architecture);
    let architecture = architecture
        .map_err(|error| anyhow!(error))
        .with_context(|| format!("{} cannot be quantized", path.display()))?;
    let topology = architecture.topology().with_context(|| {
        format!(
            "{}: {architecture} is a teacher; a student is needed",
            path.display()
        )
    })?;
    Ok((topology.clone(), info.split))
}

/// Puts the calibrated student of `path` into the fresh `network`.
fn start(network: &dyn Network, path: &Path, data: &Data, wafers: usize) -> Result<()> {
    let checkpoint = Checkpoint::read(path)?;
    let name = &checkpoint.info.architecture;
    let Ok(Architecture::Student(topology)) = Architecture::of_checkpoint(name) else {
        bail!(
            "{}: {name} is no student in floats; to go on with a quantized one, give --init",
            path.display()
        );
    };
    let student = Student::new(&topology, Device::Cpu);
    checkpoint.load(student.vars(), &student.architecture())?;
    eprintln!("choosing ranges on {wafers} training wafers");
    let source = Source::new(data, Device::Cpu);
    let batches = calibration(data, &source, wafers, topology.size())?;
    let tensors = tensors(student.vars()).into_iter().collect();
    let prepared = Prepared::calibrated(&topology, &tensors, &batches)?;
    qat::start(network.vars(), prepared.folded, &prepared.ranges)
        .with_context(|| format!("{} cannot be quantized", path.display()))
}
