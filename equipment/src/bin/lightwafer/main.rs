//! `lightwafer`: classifies wafer maps on a board, on an emulated board or on this machine.
//!
//! Exit codes: 0 all wafers answered, 1 an input or a wafer failed (each is named on stderr), 2 wrong usage.

mod args;
mod classify;
mod info;
mod output;
mod source;
mod synth;
mod update;

use std::io;
use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Classify(args) => classify::run(&args),
        Command::Info(args) => info::info(&args),
        Command::Status(args) => info::status(&args),
        Command::Keygen(args) => update::keygen(&args),
        Command::Sign(args) => update::sign(&args),
        Command::Update(args) => update::update(&args),
        Command::Rollback(args) => update::rollback(&args),
        Command::Synth(args) => synth::run(&args),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // The reader of the output may stop early (`| head`). That is not an error.
            let closed = |cause: &(dyn std::error::Error + 'static)| {
                cause.downcast_ref::<io::Error>().map(io::Error::kind)
                    == Some(io::ErrorKind::BrokenPipe)
            };
            if !error.chain().any(closed) {
                eprintln!("lightwafer: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}
