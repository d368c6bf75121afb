//! `cargo xtask soak`: see [`lightwafer_tests::soak`].

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use lightwafer_tests::soak::{Outcome, Plan, run};

/// A board at work for hours, on a line that goes wrong.
#[derive(Parser)]
struct Args {
    /// QEMU's machine
    #[arg(long)]
    board: String,
    /// The firmware's ELF file
    #[arg(long)]
    firmware: PathBuf,
    /// The model in it
    #[arg(long)]
    model: PathBuf,
    /// Wafers to classify
    #[arg(long)]
    wafers: u32,
    /// Of everything that is drawn
    #[arg(long)]
    seed: u64,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let plan = Plan::new(args.wafers, args.seed);
    let style = "{bar:40} {pos} of {len} wafers, {elapsed} gone, {eta} to go";
    let bar = ProgressBar::new(args.wafers.into()).with_style(ProgressStyle::with_template(style)?);
    let outcome = run(&args.board, &args.firmware, &args.model, &plan, |done| {
        bar.set_position(done.into());
    });
    bar.finish_and_clear();
    let outcome = outcome?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&outcome)?);
    } else {
        print(&outcome);
    }
    Ok(())
}

fn print(o: &Outcome) {
    let (faults, events): (u64, u64) = (o.faults.values().sum(), o.events.values().sum());
    println!(
        "{}: {} wafers, each answered rightly, in {:.0} s (seed {})",
        o.board, o.wafers, o.seconds, o.seed
    );
    println!("{faults} faults of frames: {:?}", o.faults);
    println!("{events} times the board or its cable: {:?}", o.events);
    println!("the host repaired: {:?}", o.repairs);
    println!("the board counted: {:?}", o.seen);
    println!("queued again: {:?}", o.queued_again);
    println!("starts: {:?}", o.starts);
    println!("deepest stack by tenths of the run: {:?}", o.stack);
}
