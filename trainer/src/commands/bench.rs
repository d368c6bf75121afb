//! `trainer bench`.

use anyhow::{Result, anyhow, ensure};
use clap::Args;
use serde_json::json;
use trainer::architecture::{Architecture, Encoder};
use trainer::benchmark::{Load, measure};
use trainer::settings::Precision;
use trainer::topology::{SIZE, Topology};
use trainer::zoo;

use super::machine::Machine;

#[derive(Args)]
pub struct BenchArgs {
    /// Time the teacher with this encoder instead of the student.
    #[arg(long, value_enum)]
    encoder: Option<Encoder>,
    /// Image side in pixels.
    #[arg(long, default_value_t = SIZE)]
    size: i64,
    /// Wafers in a step.
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// Steps that are timed.
    #[arg(long, default_value_t = 8)]
    steps: u32,
    /// Steps before.
    #[arg(long, default_value_t = 3)]
    warm_up: u32,
    /// Compute the mask's loss in every K-th step only.
    #[arg(long, value_name = "K", default_value_t = 1)]
    mask_every: u32,
    /// Number format of convolutions.
    #[arg(long, value_enum, default_value = "f32")]
    precision: Precision,
    #[command(flatten)]
    machine: Machine,
}

pub fn run(args: BenchArgs) -> Result<()> {
    let architecture = match args.encoder {
        Some(encoder) => Architecture::Teacher(encoder),
        None => Architecture::Student(Topology::default()),
    };
    let fits = architecture.fits(args.size);
    fits.map_err(|error| anyhow!("--size: {error}"))?;
    ensure!(
        args.batch > 1 && args.steps > 0,
        "at least 2 wafers and 1 step are needed"
    );
    let device = args.machine.device()?;
    let load = Load {
        size: args.size,
        batch: args.batch,
        precision: args.precision,
        mask_every: args.mask_every,
        warm_up: args.warm_up,
        steps: args.steps,
    };
    tch::manual_seed(0);
    let network = zoo::build(&architecture, device);
    let speed = measure(&*network, &load)?;
    println!("{}", json!(speed));
    Ok(())
}
