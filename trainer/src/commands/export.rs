//! `trainer export`: a checkpoint becomes the int8 image that boards run.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::machine::Threads;
use super::quantized::{CALIBRATION, COMPARED, load_data, write_image};

/// Quantize a checkpoint into the int8 model image that boards run.
///
/// A student in floats is prepared first: batch normalization is folded, channels are equalized between layers where
/// that helps, biases are corrected, and the range of every tensor is chosen on training wafers. A student of
/// `trainer quantize` keeps the ranges that it learned. The report says what was chosen and why, which kernels boards run
/// for each layer (fast ones, or slower ones and why), and how far the image's answers are from the checkpoint's.
#[derive(Args)]
#[command(after_help = "Examples:
  trainer export --checkpoint runs/1/student/best.safetensors --data MixedWM38.npz -o light-int8.lw

Then:
  trainer schedule     the same network in less memory
  lightwafer sign      for updates over the line: boards take signed images only

SOURCE_DATE_EPOCH gives the time that is written into the image, so that an export can be repeated to the bit.")]
pub struct ExportArgs {
    /// The checkpoint (.safetensors) of a student in floats, or of `trainer quantize`.
    #[arg(long, value_name = "FILE")]
    checkpoint: PathBuf,
    /// Labelled wafer maps in MixedWM38's layout (.npz): ranges are chosen on its training part, answers compared on
    /// its validation part.
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// The model image to write (.lw).
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// The model's name, as boards report it.
    #[arg(long, default_value = "lightwafer-light")]
    name: String,
    /// Training wafers to choose ranges on.
    #[arg(long, value_name = "N", default_value_t = CALIBRATION)]
    calibration: usize,
    /// Validation wafers to compare the image with the checkpoint on.
    #[arg(long, value_name = "N", default_value_t = COMPARED)]
    compare: usize,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    threads: Threads,
}

pub fn run(args: ExportArgs) -> Result<()> {
    args.threads.set();
    let data = load_data(&args.checkpoint, &args.data)?;
    let written = write_image(
        &args.checkpoint,
        &data,
        &args.output,
        &args.name,
        args.calibration,
        args.compare,
    )?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&written.json()?)?);
    } else {
        print!("{}", written.text()?);
    }
    Ok(())
}
