//! `trainer distill`.

use anyhow::{Result, ensure};
use clap::Args;
use trainer::network::Kind;
use trainer::settings::{DistillOverrides, Distillation, Settings};

use super::training::{self, RunArgs};

#[derive(Args)]
pub struct DistillArgs {
    /// Hard losses only, without a teacher: the paper's ablation. The same as `trainer student`.
    #[arg(long)]
    hard_only: bool,
    #[command(flatten)]
    soft: DistillOverrides,
    #[command(flatten)]
    run: RunArgs,
}

pub fn run(args: DistillArgs) -> Result<()> {
    let mut settings = Settings::of(Kind::Student);
    let given = args.soft != DistillOverrides::default();
    if args.run.resumes() {
        ensure!(
            !given,
            "--resume goes on with the run's own teacher and settings"
        );
    } else if args.hard_only {
        ensure!(
            !given,
            "--hard-only leaves the teacher out: settings of a distillation do not fit"
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

/// What the flags say; none without a teacher.
pub fn distillation(given: &DistillOverrides) -> Result<Option<Distillation>> {
    let mut soft = given.clone();
    // The same from wherever the run is gone on with; a file that is not there is named later.
    soft.teacher = soft.teacher.map(|path| path.canonicalize().unwrap_or(path));
    Distillation::paper(&soft).map_err(anyhow::Error::msg)
}
