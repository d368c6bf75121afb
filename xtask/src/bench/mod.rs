//! `cargo xtask bench`: instructions per inference on every emulated board.
//!
//! The emulator counts instructions, the same ones every time (`-icount`); it does not tell cycles.
//!
//! `--layers` gives them layer by layer (`by_layer.rs`); `--board` measures one board alone.
//!
//! `--training` compares training steps with eager PyTorch instead (`training.rs`); `--host` one wafer
//! on this machine with onnxruntime and tract (`host.rs`).

mod by_layer;
mod figures;
mod host;
mod training;

use anyhow::Result;
use serde::Serialize;

use crate::lightwafer;
use crate::project::Board;

/// How to print.
#[derive(clap::Args)]
pub struct Args {
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Boards to measure; all of them when none is named
    #[arg(long, conflicts_with_all = ["training", "host"])]
    board: Vec<Board>,
    /// Give the instructions of each layer, as tables in Markdown
    #[arg(long, conflicts_with_all = ["training", "host"])]
    layers: bool,
    /// Compare training steps with eager PyTorch instead (a few minutes)
    #[arg(long)]
    training: bool,
    /// Compare one wafer on this machine with onnxruntime and tract instead (a minute, the first time ten)
    #[arg(long, conflicts_with = "training")]
    host: bool,
    /// Threads for --training; all if not given
    #[arg(long, requires = "training")]
    threads: Option<usize>,
}

#[derive(Serialize)]
struct Report {
    boards: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    board: &'static str,
    instructions: u64,
    macs: u64,
    instructions_per_mac: f64,
}

/// Measures every board.
///
/// # Errors
/// When a step fails or a board does not answer.
pub fn run(args: &Args) -> Result<()> {
    if args.training {
        return training::run(args.threads, args.json);
    }
    if args.host {
        return host::run(args.json);
    }
    let measured = if args.board.is_empty() {
        &Board::emulated()
    } else {
        &args.board[..]
    };
    if args.layers {
        return by_layer::run(measured, args.json);
    }
    lightwafer::prepare(measured)?;
    let mut boards = Vec::new();
    for &board in measured {
        let measured = lightwafer::measure(board)?;
        let ratio = measured.instructions as f64 / measured.macs as f64;
        boards.push(Row {
            board: board.name(),
            instructions: measured.instructions,
            macs: measured.macs,
            instructions_per_mac: figures::rounded(ratio),
        });
    }
    if args.json {
        println!("{}", serde_json::to_string(&Report { boards })?);
        return Ok(());
    }
    println!(
        "{:<12} {:>14} {:>14} {:>16}",
        "board", "instructions", "MACs", "instructions/MAC"
    );
    for row in boards {
        println!(
            "{:<12} {:>14} {:>14} {:>16.3}",
            row.board, row.instructions, row.macs, row.instructions_per_mac
        );
    }
    Ok(())
}
