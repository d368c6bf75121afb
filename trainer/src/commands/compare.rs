//! `trainer compare`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use trainer::against::Against;
use trainer::compare::compare;
use trainer::folder::Folder;

#[derive(Args)]
pub struct CompareArgs {
    /// Folders of `trainer run`; of two with the same model the later one counts.
    #[arg(required_unless_present = "classes", value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Instead of the paper's tables: two evaluations of the same wafers class by class, such as the float
    /// student's and its int8 image's; what `trainer eval --json` printed.
    #[arg(long, num_args = 2, value_names = ["FIRST", "SECOND"], conflicts_with_all = ["runs", "markdown"])]
    classes: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// Print a Markdown table.
    #[arg(long)]
    markdown: bool,
}

pub fn run(args: CompareArgs) -> Result<()> {
    if let [first, second] = &args.classes[..] {
        let against = Against::new(&Against::read(first)?, &Against::read(second)?)?;
        if args.json {
            println!("{}", serde_json::to_string_pretty(&against)?);
        } else {
            print!("{}", against.table());
        }
        return Ok(());
    }
    let folders = args.runs.iter().map(|path| Folder::read(path));
    let comparison = compare(&folders.collect::<Result<Vec<_>>>()?)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&comparison)?);
    } else {
        print!("{}", comparison.table(args.markdown));
    }
    Ok(())
}
