//! `trainer eval`.

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use clap::Args;
use trainer::class_comparison::ClassComparison;
use trainer::data::{Data, Part, Protocol};
use trainer::evaluation::Evaluation;
use trainer::settings::Precision;
use trainer::topology::check_size;

use super::machine::{Machine, catch_ctrl_c};
use super::measurement::Measurement;

#[derive(Args)]
pub struct EvalArgs {
    /// A checkpoint (.safetensors), or a model image (.lw), which the runtime's own engine evaluates.
    #[arg(long, value_name = "FILE")]
    checkpoint: PathBuf,
    /// Labelled wafer maps in MixedWM38's layout (.npz).
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// The part of the split.
    #[arg(long, value_enum, default_value = "test")]
    split: Part,
    /// The published protocol: keep repeated maps when splitting.
    #[arg(long)]
    paper_split: bool,
    /// Image side for a float checkpoint, in pixels [default: for a student the size it is made for, which boards
    /// have; for a teacher that of its last training stage].
    #[arg(long, value_name = "PIXELS")]
    size: Option<i64>,
    /// Number format of a float checkpoint's convolutions.
    #[arg(long, value_enum, default_value = "f32")]
    precision: Precision,
    /// Leave out the evaluation on wafers rotated by 90°.
    #[arg(long)]
    no_turned: bool,
    /// Compare class by class with FILE instead: another checkpoint or image, measured in the same way, or an
    /// evaluation that `trainer eval --json` printed (.json). FILE's figures come first.
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Print JSON, with the confusion matrix.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    machine: Machine,
}

pub fn run(args: EvalArgs) -> Result<()> {
    let device = args.machine.device()?;
    let size = args.size.map_or(Ok(()), check_size);
    size.map_err(|error| anyhow!("--size: {error}"))?;
    let data = Data::load(&args.data, Protocol::of_flag(args.paper_split))?;
    catch_ctrl_c()?;
    let measure = |checkpoint| {
        Measurement {
            checkpoint,
            data: &data,
            part: args.split,
            size: args.size,
            precision: args.precision,
            rotated: !args.no_turned && args.against.is_none(),
            device,
            threads: args.machine.threads(),
        }
        .take()
    };
    if let Some(other) = &args.against {
        let first = if other.extension().is_some_and(|e| e == "json") {
            Evaluation::read(other)?
        } else {
            measure(other)?
        };
        let comparison = ClassComparison::new(&first, &measure(&args.checkpoint)?)?;
        if args.json {
            println!("{}", serde_json::to_string_pretty(&comparison)?);
        } else {
            print!("{}", comparison.table());
        }
        return Ok(());
    }
    let evaluation = measure(&args.checkpoint)?;
    if args.json {
        println!("{}", evaluation.json()?);
    } else {
        print(&evaluation);
    }
    Ok(())
}

fn print(evaluation: &Evaluation) {
    println!("{}: {}", evaluation.checkpoint, evaluation.model.describe());
    println!("{}", evaluation.data);
    for line in evaluation.lines() {
        println!("\n{line}");
    }
    let table = evaluation.views.plain.table();
    println!("\nby class, not rotated:\n{table}");
}
