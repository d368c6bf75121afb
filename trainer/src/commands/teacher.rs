//! `trainer teacher`.

use anyhow::Result;
use clap::Args;
use trainer::network::Kind;
use trainer::settings::Settings;
use trainer::teacher::Encoder;

use super::training::{self, RunArgs};

#[derive(Args)]
pub struct TeacherArgs {
    /// The ResNet below DeepLabV3+. ResNet101 is the paper's and wants a GPU.
    #[arg(long, value_enum, default_value = "resnet101")]
    encoder: Encoder,
    #[command(flatten)]
    run: RunArgs,
}

pub fn run(args: TeacherArgs) -> Result<()> {
    let defaults = Settings::of(Kind::Teacher(args.encoder));
    training::run("teacher", &args.run, defaults, |_| Ok(()))
}
