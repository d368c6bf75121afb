//! `trainer report`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use trainer::data::{Data, Protocol};
use trainer::files::write_atomically;
use trainer::report::make;
use trainer::run_folder::reader::RunFolder;
use trainer::zoo;

use super::machine::{Machine, catch_ctrl_c, stop_asked};
use super::measurement::usual_size;

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
    let folder = RunFolder::read(&args.run)?;
    let data = Data::load(&args.data, Protocol::of_flag(args.paper_split))?;
    ensure!(
        !data.test.is_empty(),
        "{}: no test wafers",
        args.data.display()
    );
    catch_ctrl_c()?;
    let open = move |path: &Path| {
        let (network, checkpoint) = zoo::open(path, device)?;
        let size = usual_size(&network.architecture(), checkpoint.info.size);
        Ok((network, size))
    };
    let say = |text: &str| eprintln!("{text}");
    let page = make(&folder, &data, device, &open, &stop_asked, &say)?;
    let page = page.context("stopped before the page was made")?;
    let out = args.out.unwrap_or_else(|| args.run.join("report.html"));
    write_atomically(&out, page.as_bytes())?;
    println!("{}: {} bytes", out.display(), page.len());
    Ok(())
}
