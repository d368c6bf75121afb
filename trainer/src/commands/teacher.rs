//! `trainer teacher`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use trainer::architecture::{Architecture, Encoder};
use trainer::settings::Settings;
use trainer::weights;

use super::training::{self, TrainArgs};

#[derive(Args)]
pub struct TeacherArgs {
    /// The ResNet below DeepLabV3+. ResNet101 is the paper's and wants a GPU.
    #[arg(long, value_enum, default_value = "resnet101")]
    encoder: Encoder,
    /// Start the encoder from these weights: a state dict of torchvision, timm or
    /// segmentation_models.pytorch (.safetensors, or .pth of torch.save), by name. From a whole
    /// DeepLabV3+ the decoder is taken too.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["resume", "init"])]
    encoder_weights: Option<PathBuf>,
    #[command(flatten)]
    run: TrainArgs,
}

pub fn run(args: TeacherArgs) -> Result<()> {
    let defaults = Settings::of(Architecture::Teacher(args.encoder));
    let file = args.encoder_weights.as_deref();
    let fresh = args.run.init().is_none();
    training::run("teacher", &args.run, defaults, |network, _| {
        if fresh {
            weights::start_encoder(network, file)
        } else {
            Ok(())
        }
    })
}
