//! `trainer quantize`.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use tch::Device;
use trainer::batch::Source;
use trainer::checkpoint::Checkpoint;
use trainer::data::Data;
use trainer::export::{Prepared, fake};
use trainer::network::{self, Kind, Network};
use trainer::settings::{DistillOverrides, Precision, Settings, Stage};

use super::distill::distillation;
use super::export::{CALIBRATION, calibration};
use super::training::{self, RunArgs};

#[derive(Args)]
pub struct QuantizeArgs {
    /// The trained student in floats (.safetensors) to start from. Its normalizations are folded and its
    /// ranges chosen as `export --int8` does it; both are trained from there.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["resume", "init"],
          conflicts_with_all = ["resume", "init"])]
    checkpoint: Option<PathBuf>,
    /// Epochs at 224×224, parts of one are fine: short for --stages 224xN [default: 1].
    #[arg(long, value_name = "N", conflicts_with_all = ["stages", "resume"])]
    epochs: Option<f64>,
    /// Training wafers that the ranges to start from are chosen on.
    #[arg(long, value_name = "N", default_value_t = CALIBRATION)]
    calibration: usize,
    #[command(flatten)]
    soft: DistillOverrides,
    #[command(flatten)]
    run: RunArgs,
}

pub fn run(mut args: QuantizeArgs) -> Result<()> {
    let mut settings = Settings::of(Kind::Quantized);
    if args.run.resumes() {
        ensure!(
            args.soft == DistillOverrides::default(),
            "--resume goes on with the run's own teacher and settings"
        );
    } else {
        settings.distill = distillation(&args.soft)?;
    }
    if let Some(epochs) = args.epochs {
        let stage: Stage = format!("224x{epochs}")
            .parse()
            .map_err(anyhow::Error::msg)?;
        args.run.overrides().stages = Some(vec![stage]);
    }
    ensure!(
        args.run.overrides().precision != Some(Precision::Bf16),
        "--precision bf16 is coarser than the steps that are trained: leave it out"
    );
    if let Some(path) = &args.checkpoint {
        let split = Checkpoint::read(path)?.info.split;
        settings.split = split.unwrap_or(settings.split);
    }
    training::run(
        "quantize",
        &args.run,
        settings,
        |network, data| match &args.checkpoint {
            Some(path) => start(network, path, data, args.calibration),
            None => Ok(()),
        },
    )
}

/// Puts the calibrated student of `path` into the fresh `network`.
fn start(network: &dyn Network, path: &std::path::Path, data: &Data, wafers: usize) -> Result<()> {
    let (student, checkpoint) = network::open(path, Device::Cpu)?;
    let kind = Kind::named(&checkpoint.info.architecture);
    ensure!(
        kind == Some(Kind::Student),
        "{}: {} is no student in floats; to go on with a quantized one, give --init",
        path.display(),
        checkpoint.info.architecture
    );
    eprintln!("choosing ranges on {wafers} training wafers");
    let batches = calibration(data, &Source::new(data, Device::Cpu), wafers)?;
    let tensors = trainer::checkpoint::tensors(student.vars());
    let prepared = Prepared::calibrated(&tensors.into_iter().collect(), &batches)?;
    fake::start(network.vars(), prepared.folded, &prepared.ranges)
        .with_context(|| format!("{} cannot be quantized", path.display()))
}
