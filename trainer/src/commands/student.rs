//! `trainer student`.

use anyhow::Result;
use clap::Args;
use trainer::network::Kind;
use trainer::settings::Settings;

use super::training::{self, RunArgs};

#[derive(Args)]
pub struct StudentArgs {
    #[command(flatten)]
    run: RunArgs,
}

pub fn run(args: StudentArgs) -> Result<()> {
    training::run("student", &args.run, Settings::of(Kind::Student), |_, _| {
        Ok(())
    })
}
