//! The command line.

use std::num::NonZero;
use std::path::PathBuf;

/// Classifies wafer maps on a board, on an emulated board or on this machine.
#[derive(Debug, clap::Parser)]
#[command(
    name = "lightwafer",
    version,
    after_help = "Exit codes: 0 all answered, 1 some input or wafer failed (each named), 2 usage."
)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Classify wafer maps: class, scores and mask of each
    Classify(Classify),
    /// Show the facts of a model file or a board; a model file is also tested with its golden wafer (self-test)
    Info(Info),
    /// Show a board's counters and health
    Status(Status),
    /// Make a key pair to sign models with
    Keygen(Keygen),
    /// Sign a model file, so that boards with the public key accept it
    Sign(Sign),
    /// Send a signed model to a board and make the board run it
    Update(Update),
    /// Make a board go back to the model that it ran before
    Rollback(Rollback),
    /// Write synthetic, labelled wafer maps of all 38 classes (they imitate MixedWM38, not real wafers)
    Synth(Synth),
}

/// A board, real or emulated.
#[derive(Debug, clap::Args)]
pub struct BoardArgs {
    /// A board on a serial port, such as /dev/ttyACM0
    #[arg(long, value_name = "DEV", group = "where")]
    pub port: Option<String>,
    /// A board emulated by QEMU, such as mps2-an500
    #[arg(long, value_name = "BOARD", group = "where")]
    pub emulate: Option<String>,
    /// The emulated board's firmware [default: what `cargo xtask firmware` built]
    #[arg(long, value_name = "ELF", conflicts_with = "port")]
    pub firmware: Option<PathBuf>,
    /// File for the logs of the emulated firmware (defmt frames)
    #[arg(long, value_name = "FILE", conflicts_with = "port")]
    pub log: Option<PathBuf>,
    /// Line speed of the serial port [default: 115200]
    #[arg(long, value_name = "BAUD", conflicts_with = "emulate")]
    #[arg(value_parser = clap::value_parser!(u32).range(300..))]
    pub baud: Option<u32>,
    /// Longest wait for one inference, in seconds [default: 120]
    #[arg(long, value_name = "SECONDS")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub timeout: Option<u32>,
}

/// `lightwafer classify`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
JSON, a wafer: index, input, map (position in the input), class (0 to 37), label, scores (38 \
probabilities), mask_dies, mask_dice, elapsed_ms, on emulated boards instructions, truth where \
labelled; or error.
elapsed_ms is the board's own time, which on an emulated board is 64 ns an instruction.
A wafer without an answer has an empty mask.

Exit codes: 0 all answered, 1 some input or wafer failed (each named), 2 usage.")]
#[command(group = clap::ArgGroup::new("where").required(true).multiple(false))]
pub struct Classify {
    /// Wafer maps: .npz (arr_0, N×rows×columns; labels in arr_1) or .csv (one map of 0, 1, 2)
    #[arg(value_name = "INPUT", required = true)]
    pub inputs: Vec<PathBuf>,
    /// Classify on this machine, with this model file
    #[arg(long, value_name = "MODEL", group = "where")]
    #[arg(conflicts_with_all = ["firmware", "log", "baud", "timeout"])]
    pub local: Option<PathBuf>,
    #[command(flatten)]
    pub board: BoardArgs,
    /// Print one JSON object a wafer, one a line, instead of a table
    #[arg(long)]
    pub json: bool,
    /// Write the masks: uint8 (N,224,224)
    #[arg(long, value_name = "OUT.npz")]
    pub masks: Option<PathBuf>,
    /// Write a picture of each wafer into this folder
    #[arg(long, value_name = "DIR")]
    pub pictures: Option<PathBuf>,
    /// Classify only the first maps of all inputs together
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Print the board's counters at the end
    #[arg(long, conflicts_with = "local")]
    pub statistics: bool,
    /// Threads for --local [default: one a core]
    #[arg(long, value_name = "N", conflicts_with_all = ["port", "emulate"])]
    pub threads: Option<NonZero<usize>>,
}

/// `lightwafer info`
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("where").required(true).multiple(false))]
pub struct Info {
    /// A model file
    #[arg(value_name = "MODEL", group = "where")]
    #[arg(conflicts_with_all = ["firmware", "log", "baud", "timeout"])]
    pub model: Option<PathBuf>,
    #[command(flatten)]
    pub board: BoardArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `lightwafer status`
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("where").required(true).multiple(false))]
pub struct Status {
    #[command(flatten)]
    pub board: BoardArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `lightwafer keygen`
#[derive(Debug, clap::Args)]
pub struct Keygen {
    /// File for the secret key; it must not exist yet. The public key is written to KEY.pub
    #[arg(value_name = "KEY")]
    pub key: PathBuf,
}

/// `lightwafer sign`
#[derive(Debug, clap::Args)]
pub struct Sign {
    /// A model file; an existing signature is replaced
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    /// The secret key from `lightwafer keygen`
    #[arg(long, value_name = "KEY")]
    pub key: PathBuf,
    /// The version of the model, higher than the versions of all earlier models
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub model_version: u32,
    /// Once a board has run this model, it never goes back to a version below N
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub floor: u32,
    /// The signed file
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}

/// `lightwafer update`
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("where").required(true).multiple(false))]
pub struct Update {
    /// A signed model file
    #[arg(value_name = "MODEL")]
    pub model: PathBuf,
    #[command(flatten)]
    pub board: BoardArgs,
    /// Only check whether the board would accept it
    #[arg(long)]
    pub dry_run: bool,
}

/// `lightwafer rollback`
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("where").required(true).multiple(false))]
pub struct Rollback {
    #[command(flatten)]
    pub board: BoardArgs,
}

/// `lightwafer synth`
#[derive(Debug, clap::Args)]
pub struct Synth {
    /// The file to write, in MixedWM38's layout
    #[arg(value_name = "OUT.npz")]
    pub out: PathBuf,
    /// Maps of each of the 38 classes
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub per_class: u32,
    /// The same seed gives the same maps
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub seed: u64,
    /// Dies a side, or ROWSxCOLUMNS
    #[arg(long, value_name = "GRID", default_value = "52", value_parser = grid)]
    pub grid: (u16, u16),
}

fn grid(text: &str) -> Result<(u16, u16), String> {
    let side = |text: &str| match text.parse() {
        Ok(side @ 1..=256) => Ok(side),
        _ => Err(format!("`{text}`: 1 to 256 dies a side expected")),
    };
    match text.split_once('x') {
        Some((rows, cols)) => Ok((side(rows)?, side(cols)?)),
        None => side(text).map(|side| (side, side)),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn exactly_one_place_to_classify() {
        let parse = |line: &str| Args::try_parse_from(line.split(' ')).map(drop);
        assert!(parse("lightwafer classify a.npz").is_err());
        assert!(parse("lightwafer classify a.npz --local m.lw --port p").is_err());
        assert!(parse("lightwafer classify a.npz --local m.lw --statistics").is_err());
        assert!(parse("lightwafer classify a.npz --port p --firmware f").is_err());
        assert!(parse("lightwafer classify a.npz --local m.lw --baud 9600").is_err());
        assert!(parse("lightwafer classify a.npz --emulate b --baud 9600").is_err());
        assert!(parse("lightwafer classify a.npz --emulate b --threads 2").is_err());
        assert!(parse("lightwafer info").is_err());
        assert!(parse("lightwafer info m.lw --firmware f").is_err());
        assert!(parse("lightwafer info m.lw --port p").is_err());
        parse("lightwafer classify a.npz b.csv --local m.lw --threads 2").unwrap();
        parse("lightwafer classify a.npz --port p --baud 9600 --statistics").unwrap();
        parse("lightwafer classify a.npz --emulate b --firmware f --json").unwrap();
        parse("lightwafer info m.lw --json").unwrap();
        parse("lightwafer status --emulate mps2-an500").unwrap();
        parse("lightwafer update m.lw --port p --dry-run").unwrap();
        parse("lightwafer rollback --port p").unwrap();
        assert!(parse("lightwafer update m.lw").is_err());
        assert!(parse("lightwafer sign m.lw --key k -o o --model-version 0").is_err());
    }

    #[test]
    fn grids() {
        assert_eq!(grid("52"), Ok((52, 52)));
        assert_eq!(grid("3x200"), Ok((3, 200)));
        assert!(grid("0").is_err() && grid("257").is_err() && grid("5x").is_err());
    }
}
