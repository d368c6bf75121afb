//! `trainer compare`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use trainer::compare::compare;
use trainer::folder::Folder;

#[derive(Args)]
pub struct CompareArgs {
    /// Folders of `trainer run`; of two with the same model the later one counts.
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Print a Markdown table.
    #[arg(long)]
    markdown: bool,
}

pub fn run(args: CompareArgs) -> Result<()> {
    let folders = args.runs.iter().map(|path| Folder::read(path));
    let comparison = compare(&folders.collect::<Result<Vec<_>>>()?)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&comparison)?);
    } else {
        print!("{}", comparison.table(args.markdown));
    }
    Ok(())
}
