//! `lightwafer-linux`: a Linux board's side of the serial protocol, as a daemon.
//!
//! The conversation itself is the runtime's [`Station`](lightwafer_device::Station), the same
//! as on a microcontroller; here are only what Linux adds: a terminal device, signals, logs, systemd.
//!
//! Exit codes: 0 ended by SIGTERM or SIGINT, 1 the line or the system failed, 2 usage, 3 the model file
//! cannot be used (starting again does not help).
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod engine;
mod line;
mod logs;
mod service;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Classifies wafers that come over a serial line, as LightWafer's boards do.
///
/// Speaks docs/serial-protocol.md on a terminal device and answers until SIGTERM or SIGINT. `lightwafer
/// classify --port …` on the other end of the line is a client.
#[derive(Parser)]
#[command(name = "lightwafer-linux", version, after_help = AFTER_HELP)]
struct Args {
    /// Terminal device of the line to the host, such as /dev/ttyS0; opened again when it vanishes
    #[arg(long, value_name = "DEVICE", required_unless_present = "pty")]
    port: Option<String>,
    /// Symbols a second on the line; 8 data bits, no parity, 1 stop bit, no flow control
    #[arg(long, default_value_t = 115_200, value_name = "RATE",
          value_parser = clap::value_parser!(u32).range(1..))]
    baud: u32,
    /// Make a pseudo-terminal instead, and print its path on stdout
    #[arg(long, conflicts_with = "port")]
    pty: bool,
    /// What computes: `fixed` runs a model image (.lw) in integers, `tract` (in programs built with that
    /// feature) an ONNX student (.onnx) in floats
    #[arg(long, value_enum, default_value_t = Engine::Fixed)]
    engine: Engine,
    /// Model to run: .lw for the engine `fixed`, .onnx for `tract`
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    /// Name of this board, as hosts see it [default: linux-ARCHITECTURE]
    #[arg(long)]
    name: Option<String>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Engine {
    Fixed,
    #[cfg(feature = "tract")]
    Tract,
}

const AFTER_HELP: &str = "\
Exit codes: 0 ended by SIGTERM or SIGINT, 1 the line or the system failed, 2 usage, 3 the model file \
cannot be used.

Logs go to stderr, with journald's levels under systemd; RUST_LOG=debug shows more, RUST_LOG=warn less.";

/// Why the daemon ends, other than by a signal.
enum Failure {
    /// The model file: exit code 3.
    Model(anyhow::Error),
    /// Anything else: exit code 1.
    System(anyhow::Error),
}

fn main() -> ExitCode {
    let args = Args::parse();
    logs::start();
    let (error, code) = match run(&args) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Model(error)) => (error, 3),
        Err(Failure::System(error)) => (error, 1),
    };
    log::error!("{error:#}");
    ExitCode::from(code)
}

fn run(args: &Args) -> Result<(), Failure> {
    // First of all, so that no signal finds the daemon half started.
    let stop = line::Stop::on_signals().map_err(Failure::System)?;
    let name = match &args.name {
        Some(name) => name.clone(),
        None => format!("linux-{}", std::env::consts::ARCH),
    };
    let open = || {
        match &args.port {
            Some(port) => line::Tty::open(port, args.baud, stop),
            None => line::Tty::pseudo(stop),
        }
        .map_err(Failure::System)
    };
    match args.engine {
        Engine::Fixed => engine::fixed(&args.model, |engine| {
            service::serve(engine, open()?, &name);
            Ok(())
        }),
        #[cfg(feature = "tract")]
        Engine::Tract => engine::tract(&args.model, |engine| {
            service::serve(engine, open()?, &name);
            Ok(())
        }),
    }
}
