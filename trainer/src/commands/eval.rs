//! `trainer eval`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use lightwafer_runtime::AlignedBox;
use lightwafer_runtime::dies::IMAGE_SIZE;
use lightwafer_runtime::image::{MAGIC, Model};
use serde_json::{Value, json};
use tch::Device;
use trainer::against::Against;
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
    /// Image side for a float checkpoint [default: 224 for a student, as boards have it; what it was
    /// trained at for a teacher].
    #[arg(long, value_parser = clap::value_parser!(i64).range(16..=224))]
    size: Option<i64>,
    /// Number format of a float checkpoint's convolutions.
    #[arg(long, value_enum, default_value = "f32")]
    precision: Precision,
    /// Leave out the evaluation on wafers turned by 90°.
    #[arg(long)]
    no_turned: bool,
    /// Print instead, class by class, how it compares with FILE: another checkpoint or image, measured in the
    /// same way, or what `trainer eval --json` printed for one (.json). FILE's figures come first.
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
    if let Some(size) = args.size.filter(|size| size % 16 != 0) {
        bail!("--size {size}: a multiple of 16 is needed");
    }
    let split = if args.paper_split {
        Protocol::Paper
    } else {
        Protocol::Distinct
    };
    let data = Data::load(&args.data, split)?;
    catch_ctrl_c()?;
    let measure = |checkpoint| {
        Measurement {
            checkpoint,
            data: &data,
            part: args.split,
            size: args.size,
            precision: args.precision,
            turned: !args.no_turned && args.against.is_none(),
            device,
            threads: args.machine.threads(),
        }
        .take()
    };
    if let Some(other) = &args.against {
        let first = if other.extension().is_some_and(|e| e == "json") {
            Against::read(other)?
        } else {
            measure(other)?.json()?
        };
        let against = Against::new(&first, &measure(&args.checkpoint)?.json()?)?;
        if args.json {
            println!("{}", serde_json::to_string_pretty(&against)?);
        } else {
            print!("{}", against.table());
        }
        return Ok(());
    }
    let measured = measure(&args.checkpoint)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&measured.json()?)?);
    } else {
        measured.print();
    }
    Ok(())
}

/// What to measure, and how.
pub struct Measurement<'a> {
    /// A checkpoint or a model image.
    pub checkpoint: &'a Path,
    /// The data with its split.
    pub data: &'a Data,
    /// The part of it.
    pub part: Part,
    /// Image side for a float checkpoint.
    pub size: Option<i64>,
    /// Number format for a float checkpoint.
    pub precision: Precision,
    /// Whether also on the wafers turned by 90°.
    pub turned: bool,
    /// Where a float checkpoint computes.
    pub device: Device,
    /// Threads for a model image.
    pub threads: usize,
}

/// What was measured.
pub struct Measured<'a> {
    measurement: Measurement<'a>,
    model: Value,
    reports: Vec<(&'static str, Report)>,
}

impl<'a> Measurement<'a> {
    /// Measures.
    pub fn take(self) -> Result<Measured<'a>> {
        let name = self.checkpoint.display();
        let bytes = fs::read(self.checkpoint).with_context(|| format!("cannot read {name}"))?;
        let bytes = AlignedBox::from(bytes);
        let wafers = self.data.part(self.part);
        if wafers.is_empty() {
            bail!("no wafers in this part of the split of the data");
        }
        let turns: &[bool] = if self.turned {
            &[false, true]
        } else {
            &[false]
        };
        let mut reports = Vec::new();
        let mut keep = |turned: bool, report: Option<Report>| -> Result<()> {
            let report = report.context("stopped before the evaluation was complete")?;
            reports.push((
                ["as they are", "turned by 90°"][usize::from(turned)],
                report,
            ));
            Ok(())
        };
        let model = if bytes.starts_with(&MAGIC) {
            let model = Model::new_checked(&bytes).with_context(|| format!("{name} is refused"))?;
            for &turned in turns {
                let threads = self.threads;
                let report =
                    int8::evaluate(&bytes, self.data, &wafers, turned, threads, &stop_asked)?;
                keep(turned, report)?;
            }
            let header = model.header();
            json!({
                "form": "int8 model image", "name": header.name, "size": IMAGE_SIZE,
                "bytes": bytes.len(), "macs": header.macs, "arena_bytes": header.arena_bytes,
                "parameters": header.parameters,
            })
        } else {
            let (network, checkpoint) = network::open(self.checkpoint, self.device)?;
            let info = &checkpoint.info;
            if let Some(trained) = info.split.filter(|trained| *trained != self.data.protocol) {
                eprintln!(
                    "note: trained under another split ({trained}): wafers may have been seen"
                );
            }
            // Boards see the full size; a teacher is asked at the size it was trained at.
            let teacher = matches!(
                network::Kind::named(&info.architecture),
                Some(network::Kind::Teacher(_))
            );
            let student = !teacher || info.size == 0;
            let usual = if student {
                IMAGE_SIZE as i64
            } else {
                info.size
            };
            let size = self.size.unwrap_or(usual);
            let source = Source::new(self.data, self.device);
            for &turned in turns {
                let view = View {
                    symmetry: u8::from(turned),
                    precision: self.precision,
                    ..View::plain(size)
                };
                keep(
                    turned,
                    eval::evaluate(&*network, &source, &wafers, view, &stop_asked),
                )?;
            }
            json!({
                "form": "float checkpoint", "name": network.architecture(), "size": size,
                "bytes": bytes.len(), "precision": self.precision,
                "parameters": network.parameters(), "parts": network.parts(),
                "trained_at_size": info.size, "epochs": info.epochs,
            })
        };
        Ok(Measured {
            measurement: self,
            model,
            reports,
        })
    }
}

impl Measured<'_> {
    fn part(&self) -> String {
        format!("{:?}", self.measurement.part).to_lowercase()
    }

    /// For machines.
    pub fn json(&self) -> Result<Value> {
        let mut reports = serde_json::Map::new();
        for (how, report) in &self.reports {
            reports.insert(how.to_string(), serde_json::to_value(report)?);
        }
        let data = self.measurement.data;
        Ok(json!({
            "checkpoint": self.measurement.checkpoint.display().to_string(),
            "model": self.model, "data": data.describe(), "protocol": data.protocol,
            "part": self.part(), "wafers": reports,
        }))
    }

    /// One line a view.
    pub fn lines(&self) -> Vec<String> {
        let part = self.part();
        let line = |(how, report): &(&str, Report)| {
            format!("{} {part} wafers, {how}: {}", report.wafers, report.line())
        };
        self.reports.iter().map(line).collect()
    }

    fn print(&self) {
        println!("{}: {}", self.measurement.checkpoint.display(), self.model);
        println!("{}", self.measurement.data.describe());
        for line in self.lines() {
            println!("\n{line}");
        }
        if let Some((_, report)) = self.reports.first() {
            println!("\nas they are, by class:\n{}", report.table());
        }
    }
}
