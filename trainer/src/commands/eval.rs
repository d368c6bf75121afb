//! `trainer eval`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use lightwafer_runtime::model::{MAGIC, Model};
use lightwafer_runtime::wafer::IMAGE_SIZE;
use serde_json::{Value, json};
use trainer::batch::Source;
use trainer::data::{Data, Part, Protocol};
use trainer::eval::View;
use trainer::metrics::Report;
use trainer::settings::Precision;
use trainer::{eval, int8, network};

use super::{Machine, catch_ctrl_c, stop_asked};

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
    /// Image side for a float checkpoint; model images and boards have 224.
    #[arg(long, default_value_t = IMAGE_SIZE as i64, value_parser = clap::value_parser!(i64).range(16..=224))]
    size: i64,
    /// Number format of a float checkpoint's convolutions.
    #[arg(long, value_enum, default_value = "f32")]
    precision: Precision,
    /// Leave out the evaluation on wafers turned by 90°.
    #[arg(long)]
    no_turned: bool,
    /// Print JSON, with the confusion matrix.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    machine: Machine,
}

pub fn run(args: EvalArgs) -> Result<()> {
    let device = args.machine.device()?;
    let bytes = fs::read(&args.checkpoint)
        .with_context(|| format!("cannot read {}", args.checkpoint.display()))?;
    if args.size % 16 != 0 {
        bail!("--size {}: a multiple of 16 is needed", args.size);
    }
    let split = if args.paper_split {
        Protocol::Paper
    } else {
        Protocol::Distinct
    };
    let data = Data::load(&args.data, split)?;
    let wafers = data.part(args.split);
    if wafers.is_empty() {
        bail!(
            "{}: no wafers in this part of the split",
            args.data.display()
        );
    }
    catch_ctrl_c()?;

    let turns: &[bool] = if args.no_turned {
        &[false]
    } else {
        &[false, true]
    };
    let mut reports: Vec<(&str, Report)> = Vec::new();
    let mut keep = |turned: bool, report: Option<Report>| -> Result<()> {
        let report = report.context("stopped before the evaluation was complete")?;
        reports.push((
            if turned {
                "turned by 90°"
            } else {
                "as they are"
            },
            report,
        ));
        Ok(())
    };
    let model = if bytes.starts_with(&MAGIC) {
        let model = Model::new_checked(&bytes)
            .with_context(|| format!("{} is refused", args.checkpoint.display()))?;
        for &turned in turns {
            let threads = args.machine.threads();
            keep(
                turned,
                int8::evaluate(&bytes, &data, &wafers, turned, threads, &stop_asked)?,
            )?;
        }
        let header = model.header();
        json!({
            "form": "int8 model image", "name": header.name, "size": IMAGE_SIZE,
            "bytes": bytes.len(), "macs": header.macs, "arena_bytes": header.arena_bytes,
            "parameters": header.parameters,
        })
    } else {
        let (network, checkpoint) = network::open(&args.checkpoint, device)?;
        if let Some(trained) = checkpoint.info.split.filter(|trained| *trained != split) {
            eprintln!("note: trained under another split ({trained}): wafers may have been seen");
        }
        let source = Source::new(&data, device);
        for &turned in turns {
            let view = View {
                symmetry: u8::from(turned),
                precision: args.precision,
                ..View::plain(args.size)
            };
            let report = eval::evaluate(&*network, &source, &wafers, view, &stop_asked);
            keep(turned, report)?;
        }
        json!({
            "form": "float checkpoint", "name": network.architecture(), "size": args.size,
            "parameters": network.parameters(), "parts": network.parts(),
            "trained_at_size": checkpoint.info.size, "epochs": checkpoint.info.epochs,
        })
    };
    print(&args, &data, &model, &reports)
}

fn print(args: &EvalArgs, data: &Data, model: &Value, reports: &[(&str, Report)]) -> Result<()> {
    let part = format!("{:?}", args.split).to_lowercase();
    if args.json {
        let reports: Value = reports
            .iter()
            .map(|(how, report)| Ok((how.to_string(), serde_json::to_value(report)?)))
            .collect::<Result<serde_json::Map<_, _>>>()?
            .into();
        let all = json!({
            "checkpoint": args.checkpoint.display().to_string(), "model": model,
            "data": data.describe(), "protocol": data.protocol, "part": part, "wafers": reports,
        });
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(());
    }
    println!("{}: {model}", args.checkpoint.display());
    println!("{}", data.describe());
    for (how, report) in reports {
        println!(
            "\n{} {part} wafers, {how}: {}",
            report.wafers,
            report.line()
        );
    }
    if let Some((_, report)) = reports.first() {
        println!("\nas they are, by class:\n{}", report.table());
    }
    Ok(())
}
