//! `trainer data`: look at a data set, write its split, make one.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use lightwafer_maps::npz::{MaskWriter, WaferSet, write_wafers};
use lightwafer_maps::synth::every_class;
use lightwafer_runtime::dies::{MAX_GRID, Mask};
use serde_json::json;
use trainer::contact_sheet::contact_sheet;
use trainer::data::{Data, Part, Protocol, SPLIT_SEED};
use trainer::data_statistics::statistics;
use trainer::files::write_atomically;
use trainer::image_eval::Grid;
use trainer::manifest::DataFile;

#[derive(Args)]
pub struct DataArgs {
    #[command(subcommand)]
    command: DataCommand,
}

#[derive(Subcommand)]
enum DataCommand {
    /// Counts by class and part, repeated maps, maps in two parts, and a picture of every class.
    Inspect(InspectArgs),
    /// Write the training, validation and test part as files of their own.
    Split(SplitArgs),
    /// Make synthetic wafers of all 38 classes, with labels and, if wanted, masks.
    Synth(SynthArgs),
}

#[derive(Args)]
struct InspectArgs {
    /// Labelled wafer maps in MixedWM38's layout (.npz).
    file: PathBuf,
    /// The published protocol: keep repeated maps when splitting.
    #[arg(long)]
    paper_split: bool,
    /// Draw some wafers of every class into this picture (.png).
    #[arg(long, value_name = "FILE")]
    sheet: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct SplitArgs {
    /// Labelled wafer maps in MixedWM38's layout (.npz).
    file: PathBuf,
    /// Folder for train.npz, val.npz, test.npz and split.json; created if missing.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The published protocol: keep repeated maps.
    #[arg(long)]
    paper_split: bool,
    /// Overwrite files that are there.
    #[arg(long)]
    force: bool,
}

#[derive(Args)]
struct SynthArgs {
    /// The file to write (.npz).
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Wafers of each of the 38 classes.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    per_class: u32,
    /// The same seed gives the same wafers.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Rows of dies.
    #[arg(long, default_value_t = 52, value_parser = clap::value_parser!(u16).range(1..=MAX_GRID as i64))]
    rows: u16,
    /// Columns of dies.
    #[arg(long, default_value_t = 52, value_parser = clap::value_parser!(u16).range(1..=MAX_GRID as i64))]
    cols: u16,
    /// Write the true masks too, (N, 224, 224), as `lightwafer classify --masks` writes predicted ones.
    #[arg(long, value_name = "FILE")]
    masks: Option<PathBuf>,
}

pub fn run(args: DataArgs) -> Result<()> {
    match args.command {
        DataCommand::Inspect(args) => inspect(&args),
        DataCommand::Split(args) => split(&args),
        DataCommand::Synth(args) => synth(&args),
    }
}

fn inspect(args: &InspectArgs) -> Result<()> {
    let data = Data::load(&args.file, Protocol::of_flag(args.paper_split))?;
    let statistics = statistics(&data);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&statistics)?);
    } else {
        print!("{}", statistics.table());
    }
    if let Some(sheet) = &args.sheet {
        let name = args.file.file_name().unwrap_or_default().to_string_lossy();
        let title = format!("{name}: {} wafers", data.labels.len());
        write_atomically(sheet, &contact_sheet(&data, &title)?)?;
    }
    Ok(())
}

fn split(args: &SplitArgs) -> Result<()> {
    let data = Data::load(&args.file, Protocol::of_flag(args.paper_split))?;
    let source = DataFile::of(&args.file)?;
    fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot create {}", args.out.display()))?;
    let parts = [Part::Train, Part::Val, Part::Test];
    let path = |name: Part| args.out.join(format!("{name}.npz"));
    let list = args.out.join("split.json");
    for path in parts.iter().map(|part| path(*part)).chain([list.clone()]) {
        ensure!(
            args.force || !path.exists(),
            "{} is there already: choose another --out, or give --force",
            path.display()
        );
    }
    let mut positions = serde_json::Map::new();
    for part in parts {
        let wafers = data.part(part);
        write_wafers(&path(part), &chosen(&data, &wafers))?;
        println!("{}: {} wafers", path(part).display(), wafers.len());
        positions.insert(part.to_string(), json!(wafers));
    }
    // Written last: if this file is there, the split is whole.
    let text = json!({
        "source": source, "protocol": data.protocol, "seed": SPLIT_SEED, "positions": positions,
    });
    write_atomically(&list, &serde_json::to_vec(&text)?)
}

/// The wafers at `positions`.
fn chosen(data: &Data, positions: &[u32]) -> WaferSet {
    let dies = positions.iter().flat_map(|i| data.wafers.dies(*i as usize));
    let labels = positions.iter().map(|i| data.labels[*i as usize]);
    WaferSet {
        rows: data.wafers.rows,
        cols: data.wafers.cols,
        dies: dies.copied().collect(),
        labels: Some(labels.collect()),
    }
}

fn synth(args: &SynthArgs) -> Result<()> {
    let set = every_class(args.per_class, args.seed, args.rows, args.cols);
    let count = set.len();
    write_wafers(&args.out, &set)?;
    if let Some(path) = &args.masks {
        write_masks(path, &set)?;
    }
    println!(
        "{}: {count} wafers of {}×{} dies, 38 classes",
        args.out.display(),
        args.rows,
        args.cols
    );
    Ok(())
}

/// The failing dies at 224×224.
fn write_masks(path: &Path, set: &WaferSet) -> Result<()> {
    let mut writer = MaskWriter::create(path, set.len())?;
    for i in 0..set.len() {
        let grid = Grid {
            rows: set.rows,
            cols: set.cols,
            dies: set.dies(i).to_vec(),
        };
        writer.push(&grid.packed(Mask::of_failing)?)?;
    }
    Ok(writer.finish()?)
}
