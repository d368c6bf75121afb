//! `trainer student`.

use anyhow::{Result, anyhow, ensure};
use clap::Args;
use trainer::architecture::Architecture;
use trainer::settings::Settings;
use trainer::topology::{Topology, TopologyOverrides};

use super::training::{self, TrainArgs};

#[derive(Args)]
pub struct StudentArgs {
    #[command(flatten)]
    shape: TopologyOverrides,
    #[command(flatten)]
    run: TrainArgs,
}

pub fn run(args: StudentArgs) -> Result<()> {
    let settings = settings(&args.shape, args.run.resumes())?;
    training::run("student", &args.run, settings, |_, _| Ok(()))
}

/// The defaults for a student of the `given` shape.
pub fn settings(given: &TopologyOverrides, resumes: bool) -> Result<Settings> {
    ensure!(
        !resumes || *given == TopologyOverrides::default(),
        "--resume goes on with the run's own network: leave out the shape"
    );
    let topology = Topology::new(given).map_err(|error| anyhow!(error))?;
    Ok(Settings::of(Architecture::Student(topology)))
}
