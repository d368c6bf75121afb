//! `trainer bench`.

use anyhow::{Result, ensure};
use clap::Args;
use serde_json::json;
use trainer::network::Kind;
use trainer::settings::Precision;
use trainer::speed::{Load, measure};
use trainer::teacher::Encoder;

use super::Machine;

#[derive(Args)]
pub struct BenchArgs {
    /// Time the teacher with this encoder instead of the student.
    #[arg(long, value_enum)]
    encoder: Option<Encoder>,
    /// Image side in pixels.
    #[arg(long, default_value_t = 224)]
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
    ensure!(
        args.size % 16 == 0 && (16..=224).contains(&args.size) && args.batch > 1 && args.steps > 0,
        "a size that is a multiple of 16 in 16…224, at least 2 wafers and 1 step are needed"
    );
    let device = args.machine.device()?;
    let load = Load {
        network: args.encoder.map_or(Kind::Student, Kind::Teacher),
        size: args.size,
        batch: args.batch,
        precision: args.precision,
        mask_every: args.mask_every,
        warm_up: args.warm_up,
        steps: args.steps,
    };
    let speed = measure(&load, device)?;
    println!("{}", json!(speed));
    Ok(())
}
