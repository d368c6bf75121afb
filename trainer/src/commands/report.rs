//! `trainer report`.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use trainer::checkpoint::write_atomically;
use trainer::data::{Data, Protocol};
use trainer::folder::Folder;
use trainer::report::make;

use super::{Machine, catch_ctrl_c, stop_asked};

#[derive(Args)]
pub struct ReportArgs {
    /// Folder of `trainer run`, or of one training.
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// The data that the run was made from (.npz): the page measures the best checkpoints on its test part.
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// The page to write [default: RUN/report.html].
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The published protocol: keep repeated maps when splitting.
    #[arg(long)]
    paper_split: bool,
    #[command(flatten)]
    machine: Machine,
}

pub fn run(args: ReportArgs) -> Result<()> {
    let device = args.machine.device()?;
    let folder = Folder::read(&args.run)?;
    let split = if args.paper_split {
        Protocol::Paper
    } else {
        Protocol::Distinct
    };
    let data = Data::load(&args.data, split)?;
    ensure!(
        !data.test.is_empty(),
        "{}: no test wafers",
        args.data.display()
    );
    catch_ctrl_c()?;
    let page = make(&folder, &data, device, &stop_asked, &|text| {
        eprintln!("{text}")
    })?;
    let page = page.context("stopped before the page was made")?;
    let out = args.out.unwrap_or_else(|| args.run.join("report.html"));
    write_atomically(&out, page.as_bytes())?;
    println!("{}: {} bytes", out.display(), page.len());
    Ok(())
}
