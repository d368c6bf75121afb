//! `cargo xtask demo`: wafer maps through the whole chain, on an emulated board.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::lightwafer;
use crate::process::{self, say};
use crate::project::Board;

/// What to classify, and where.
#[derive(clap::Args)]
pub struct Args {
    /// A file of wafer maps in MixedWM38's layout; synthetic maps, one a class, without it
    #[arg(long, value_name = "FILE.npz")]
    data: Option<PathBuf>,
    /// Most maps of the file to classify
    #[arg(long, default_value_t = 38, value_parser = clap::value_parser!(u32).range(1..), requires = "data")]
    count: u32,
    /// The board to boot
    #[arg(long, default_value = "mps2-an500")]
    board: Board,
    /// Where pictures and masks go [default: target/demo]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Prepares, classifies, draws.
///
/// # Errors
/// When a step fails or the board leaves a wafer unanswered.
pub fn run(args: &Args) -> Result<()> {
    // Paths are the caller's, programs run in the repository's root.
    let data = args.data.as_ref().map(|file| {
        file.canonicalize()
            .with_context(|| format!("cannot read {}", file.display()))
    });
    let data = data.transpose()?;
    let out = match &args.out {
        Some(folder) => std::path::absolute(folder)?,
        None => lightwafer::target()?.join("demo"),
    };
    std::fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;

    lightwafer::prepare(&[args.board])?;
    let wafers = match data {
        Some(file) => file,
        None => {
            let file = out.join("wafers.npz");
            say(format_args!(
                "demo: drawing a wafer of each class: {}",
                file.display()
            ));
            lightwafer::synthesize(&file)?;
            file
        }
    };
    let pictures = out.join("pictures");
    let masks = out.join("masks.npz");
    say(format_args!(
        "demo: booting {} and sending wafers over its UART",
        args.board.name()
    ));
    let mut classify = lightwafer::command();
    lightwafer::emulated(classify.arg("classify").arg(&wafers), args.board)
        .args(["--limit", &args.count.to_string(), "--pictures"])
        .arg(&pictures)
        .arg("--masks")
        .arg(&masks);
    process::answer(&mut classify)?;
    println!(
        "\npictures: {}\nmasks:    {}",
        pictures.display(),
        masks.display()
    );
    Ok(())
}
