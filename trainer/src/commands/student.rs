//! `trainer student`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use trainer::data::{Data, Protocol};
use trainer::optim::Schedule;
use trainer::train::{End, Precision, Run, Settings, Stage};

use super::{Machine, catch_ctrl_c, stop_asked};

#[derive(Args)]
pub struct StudentArgs {
    /// Labelled wafer maps in MixedWM38's layout (.npz).
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Folder for checkpoints and the log; created if missing.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Image sizes and epochs, in order: SIZExEPOCHS[/BATCH][@RATE]. Small images train many times
    /// faster; the deployed network sees 224×224, so end there. The default gave 96.7 % on MixedWM38's
    /// test wafers after 45 minutes on two processor cores.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "64x6@3e-3,112x5@3e-3,224x4@2e-3"
    )]
    stages: Vec<Stage>,
    /// Wafers in a step.
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// Peak learning rate.
    #[arg(long, default_value_t = 3e-3)]
    lr: f64,
    /// How the learning rate goes over each stage.
    #[arg(long, value_enum, default_value = "one-cycle")]
    schedule: Schedule,
    /// AdamW's weight decay (weights only).
    #[arg(long, default_value_t = 0.01)]
    weight_decay: f64,
    /// Probability that Dropout2d drops a channel.
    #[arg(long, default_value_t = 0.0)]
    dropout: f64,
    /// Compute the mask's loss in every K-th step only: the mask is learned in two epochs, and its
    /// decoder takes half of the time.
    #[arg(long, value_name = "K", default_value_t = 4)]
    mask_every: u64,
    /// Seed of initial weights, order, symmetries and dropout.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Number format of convolutions.
    #[arg(long, value_enum, default_value = "f32")]
    precision: Precision,
    /// The published protocol: keep repeated maps when splitting.
    #[arg(long)]
    paper_split: bool,
    /// Start from these weights (.safetensors).
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    init: Option<PathBuf>,
    /// Go on with the run in --out, with its own settings.
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    machine: Machine,
}

pub fn run(args: StudentArgs) -> Result<()> {
    let device = args.machine.device()?;
    let mut run = if args.resume {
        Run::resume(&args.out, device)?
    } else {
        let settings = Settings {
            stages: args.stages,
            batch: args.batch,
            rate: args.lr,
            schedule: args.schedule,
            weight_decay: args.weight_decay,
            dropout: args.dropout,
            mask_every: args.mask_every,
            seed: args.seed,
            precision: args.precision,
            split: if args.paper_split {
                Protocol::Paper
            } else {
                Protocol::Distinct
            },
        };
        Run::start(&args.out, settings, args.init.as_deref(), device)?
    };
    let data = Data::load(&args.data, run.settings().split)?;
    eprintln!("{}", data.describe());
    eprintln!("{}", run.student().describe());
    catch_ctrl_c()?;
    match run.train(&data, &stop_asked)? {
        End::Finished => eprintln!("done: {}", Run::best(&args.out).display()),
        End::Stopped => eprintln!(
            "stopped and saved; to go on: trainer student --data {} --out {} --resume",
            args.data.display(),
            args.out.display()
        ),
    }
    Ok(())
}
