//! `trainer teacher`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use trainer::network::Kind;
use trainer::settings::Settings;
use trainer::teacher::Encoder;
use trainer::weights;

use super::training::{self, RunArgs};

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
    run: RunArgs,
}

pub fn run(args: TeacherArgs) -> Result<()> {
    let defaults = Settings::of(Kind::Teacher(args.encoder));
    let file = args.encoder_weights.as_deref();
    let fresh = !args.run.has_init();
    training::run("teacher", &args.run, defaults, |network, _| {
        if fresh {
            weights::start_encoder(network, file)
        } else {
            Ok(())
        }
    })
}
