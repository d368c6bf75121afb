//! `trainer distill`.

use anyhow::{Result, ensure};
use clap::Args;
use trainer::settings::{DistillOverrides, Distillation};
use trainer::topology::TopologyOverrides;

use super::student;
use super::training::{self, TrainArgs};

#[derive(Args)]
pub struct DistillArgs {
    /// Hard losses only, without a teacher: the paper's ablation. The same as `trainer student`.
    #[arg(long)]
    hard_only: bool,
    #[command(flatten)]
    soft: DistillOverrides,
    #[command(flatten)]
    shape: TopologyOverrides,
    #[command(flatten)]
    run: TrainArgs,
}

pub fn run(args: DistillArgs) -> Result<()> {
    let mut settings = student::settings(&args.shape, args.run.resumes())?;
    let given = args.soft != DistillOverrides::default();
    if args.run.resumes() {
        ensure!(
            !given,
            "--resume goes on with the run's own teacher and settings"
        );
    } else if args.hard_only {
        ensure!(
            !given,
            "--hard-only leaves the teacher out: it takes no settings of a distillation"
        );
    } else {
        ensure!(
            args.soft.teacher.is_some(),
            "--teacher FILE is needed (or --hard-only)"
        );
        settings.distill = distillation(&args.soft)?;
    }
    training::run("distill", &args.run, settings, |_, _| Ok(()))
}

/// The distillation that the flags describe; none without a teacher.
pub fn distillation(given: &DistillOverrides) -> Result<Option<Distillation>> {
    let mut soft = given.clone();
    // Absolute, so that a run resumed from another folder finds it; a missing file is named later.
    soft.teacher = soft.teacher.map(|path| path.canonicalize().unwrap_or(path));
    Distillation::paper(&soft).map_err(anyhow::Error::msg)
}
