//! `trainer compare`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use trainer::class_comparison::ClassComparison;
use trainer::evaluation::Evaluation;
use trainer::paper_comparison::compare;
use trainer::run_folder::reader::RunFolder;

#[derive(Args)]
pub struct CompareArgs {
    /// Folders of `trainer run`; of two with the same model the later one counts.
    #[arg(required_unless_present = "classes", value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Instead of the paper's tables: compare two evaluations of the same wafers class by class, such as the float
    /// student's and its int8 image's. FIRST and SECOND are what `trainer eval --json` printed.
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
        let [first, second] = [Evaluation::read(first)?, Evaluation::read(second)?];
        let comparison = ClassComparison::new(&first, &second)?;
        if args.json {
            println!("{}", serde_json::to_string_pretty(&comparison)?);
        } else {
            print!("{}", comparison.table());
        }
        return Ok(());
    }
    let folders = args.runs.iter().map(|path| RunFolder::read(path));
    let comparison = compare(&folders.collect::<Result<Vec<_>>>()?)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&comparison)?);
    } else {
        print!("{}", comparison.table(args.markdown));
    }
    Ok(())
}
