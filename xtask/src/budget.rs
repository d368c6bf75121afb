//! `cargo xtask budget`: what each board's firmware takes, against the committed table `boards/budget.json`.
//!
//! Flash, RAM, stack and instructions of the image without logs, and what logs add. Whatever has grown by
//! more than 2 % fails, by name, from what to what. What has shrunk lowers its row (from 0.1 % on), so that it cannot
//! grow back unnoticed; `--accept` takes growth in as well. With `--check`, or `CI=true` in the environment,
//! the table stays as it is, and what has shrunk is only told.
//!
//! Another compiler lays out other code: where it is not the table's, growth of up to 10 % passes.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::firmware::{self, Features};
use crate::project::{self, Board};
use crate::{lightwafer, linked, process, setup};

/// Growth that passes, in per cent.
const SLACK: u64 = 2;
/// The same where another compiler than the table's built the firmware.
const SLACK_ELSEWHERE: u64 = 10;

/// What to do with the table.
#[derive(clap::Args)]
pub struct Args {
    /// Leave the table as it is (as with CI=true in the environment)
    #[arg(long)]
    check: bool,
    /// Take growth into the table
    #[arg(long, conflicts_with = "check")]
    accept: bool,
}

/// The committed table.
#[derive(Serialize, Deserialize, PartialEq, Debug, Default)]
struct Table {
    /// The compiler's version.
    rustc: String,
    /// By board, by what is measured. Bytes, or instructions of an inference.
    boards: BTreeMap<String, Row>,
}

type Row = BTreeMap<String, u64>;

/// Measures every board and compares.
///
/// # Errors
/// When something has grown too much, a row is missing (with `--check`), or a step fails.
pub fn run(args: &Args) -> Result<()> {
    let check = args.check || std::env::var_os("CI").is_some_and(|value| value == "true");
    let path = project::boards().join("budget.json");
    let committed = read(&path)?;
    let measured = measure()?;
    let outcome = compare(&committed, &measured, args.accept);
    print!("{}", outcome.text);
    if !outcome.grown.is_empty() {
        bail!(
            "over budget: {}. If that is meant: cargo xtask budget --accept, and commit boards/budget.json",
            outcome.grown.join("; ")
        );
    }
    if outcome.table == committed {
        return Ok(());
    }
    if !check {
        let text = serde_json::to_string_pretty(&outcome.table)? + "\n";
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("boards/budget.json: rewritten; commit it");
    } else if outcome.missing.is_empty() {
        println!("boards/budget.json: could be lowered; run: cargo xtask budget");
    } else {
        bail!(
            "boards/budget.json has no {}; run: cargo xtask budget, and commit it",
            outcome.missing.join(", ")
        );
    }
    Ok(())
}

/// [`run`] with `--check`.
///
/// # Errors
/// As [`run`].
pub fn check() -> Result<()> {
    run(&Args {
        check: true,
        accept: false,
    })
}

fn read(path: &PathBuf) -> Result<Table> {
    if !path.exists() {
        return Ok(Table::default());
    }
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not a budget table", path.display()))
}

fn measure() -> Result<Table> {
    lightwafer::prepare(&Board::emulated())?;
    let toolchain = setup::arm::toolchain()?;
    let mut rustc = process::command("rustup");
    rustc.env_remove("RUSTUP_TOOLCHAIN");
    let version = process::read(rustc.args(["run", &toolchain, "rustc", "--version"]))?;
    let rustc = version.split_whitespace().nth(1).unwrap_or("unknown");
    let emulated = Board::emulated();
    let with_logs = linked::read(&emulated)?;
    let cores = linked::build(&emulated, Features::Core)?;
    let bares = linked::build(&emulated, Features::NoLogs)?;
    let mut boards = BTreeMap::new();
    for ((board, linked), (with_logs, core)) in emulated
        .iter()
        .zip(&bares)
        .zip(with_logs.iter().zip(&cores))
    {
        let run = lightwafer::measure(*board)?;
        let row = [
            ("code", linked.code),
            ("constants", linked.constants),
            ("model", linked.model),
            ("static_ram", linked.ram),
            ("arena", run.arena_bytes),
            ("arena_reserved", linked.arena),
            ("stack", run.stack_max),
            ("instructions", run.instructions),
            ("code_without_updates", core.code),
            ("constants_without_updates", core.constants),
            ("code_with_logs", with_logs.code),
            ("constants_with_logs", with_logs.constants),
        ];
        let row = row.map(|(what, value)| (what.to_owned(), value));
        boards.insert(board.name().to_owned(), Row::from(row));
    }
    // What lies there is what `cargo xtask firmware` and the tests expect: the image with logs.
    firmware::build(&emulated, Features::All)?;
    Ok(Table {
        rustc: rustc.to_owned(),
        boards,
    })
}

/// What a comparison found.
#[derive(Debug)]
struct Outcome {
    /// A line for each value.
    text: String,
    /// What has grown too much.
    grown: Vec<String>,
    /// What the table does not have.
    missing: Vec<String>,
    /// The table as it should be.
    table: Table,
}

fn compare(committed: &Table, measured: &Table, accept: bool) -> Outcome {
    let same_compiler = committed.rustc == measured.rustc;
    let slack = if same_compiler {
        SLACK
    } else {
        SLACK_ELSEWHERE
    };
    let mut outcome = Outcome {
        text: String::new(),
        grown: Vec::new(),
        missing: Vec::new(),
        table: Table {
            rustc: measured.rustc.clone(),
            boards: BTreeMap::new(),
        },
    };
    for (board, row) in &measured.boards {
        let known = committed.boards.get(board);
        let mut kept = Row::new();
        for (what, &now) in row {
            let before = known.and_then(|row| row.get(what)).copied();
            let mut value = now;
            let verdict = match before {
                None => {
                    outcome.missing.push(format!("{what} of {board}"));
                    "new".to_owned()
                }
                Some(before) if now > before + before * slack / 100 && !accept => {
                    let growth = growth(before, now);
                    outcome.grown.push(format!(
                        "{board}: {what} grew from {before} to {now} ({growth})"
                    ));
                    format!("GREW ({growth} of {before}; {slack} % pass)")
                }
                Some(before) if now == before => "as before".to_owned(),
                Some(before) => {
                    // Small growth does not add up: the row stays until it is lowered. Instructions differ by
                    // one or two from run to run, which is no shrinking.
                    let noise = before / 1000;
                    if now + noise >= before && !(accept && now > before) {
                        value = before;
                    }
                    format!("{} of {before}", growth(before, now))
                }
            };
            let line = format!("{board:<12} {what:<20} {now:>12}  {verdict}\n");
            outcome.text.push_str(&line);
            kept.insert(what.clone(), value);
        }
        outcome.table.boards.insert(board.clone(), kept);
    }
    // Another compiler's figures are no reason to change the table's.
    if !same_compiler && !committed.rustc.is_empty() && !accept {
        let text = format!(
            "built with rustc {}, the table with {}: {slack} % of growth pass, the table stays\n",
            measured.rustc, committed.rustc
        );
        outcome.text.push_str(&text);
        outcome.table = Table {
            rustc: committed.rustc.clone(),
            boards: committed.boards.clone(),
        };
    }
    outcome
}

fn growth(before: u64, now: u64) -> String {
    let percent = (now as f64 / before.max(1) as f64 - 1.0) * 100.0;
    format!("{percent:+.2} %")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rustc: &str, values: &[(&str, u64)]) -> Table {
        let row = values.iter().map(|&(what, value)| (what.to_owned(), value));
        Table {
            rustc: rustc.to_owned(),
            boards: BTreeMap::from([("b".to_owned(), row.collect())]),
        }
    }

    #[test]
    fn growth_beyond_two_per_cent_is_named() {
        let before = table("1", &[("code", 1000), ("stack", 1000)]);
        let now = table("1", &[("code", 1021), ("stack", 1020)]);
        let outcome = compare(&before, &now, false);
        assert_eq!(outcome.grown, ["b: code grew from 1000 to 1021 (+2.10 %)"]);
        assert!(compare(&before, &now, true).grown.is_empty());
        assert_eq!(compare(&before, &now, true).table, now);
    }

    #[test]
    fn small_growth_passes_and_does_not_add_up() {
        let before = table("1", &[("code", 1000)]);
        let outcome = compare(&before, &table("1", &[("code", 1020)]), false);
        assert!(outcome.grown.is_empty() && outcome.missing.is_empty());
        assert_eq!(outcome.table, before);
    }

    #[test]
    fn what_shrinks_lowers_its_row() {
        let before = table("1", &[("code", 1000)]);
        let now = table("1", &[("code", 998)]);
        let outcome = compare(&before, &now, false);
        assert!(outcome.grown.is_empty());
        assert_eq!(outcome.table, now);
        let outcome = compare(&before, &table("1", &[("code", 999)]), false);
        assert_eq!(outcome.table, before);
    }

    #[test]
    fn a_missing_row_is_told() {
        let now = table("1", &[("code", 900)]);
        let outcome = compare(&table("1", &[]), &now, false);
        assert_eq!(outcome.missing, ["code of b"]);
        assert_eq!(outcome.table, now);
    }

    #[test]
    fn another_compiler_has_more_slack_and_leaves_the_table() {
        let before = table("1", &[("code", 1000)]);
        let outcome = compare(&before, &table("2", &[("code", 1090)]), false);
        assert!(outcome.grown.is_empty());
        assert_eq!(outcome.table, before);
        let outcome = compare(&before, &table("2", &[("code", 1101)]), false);
        assert_eq!(outcome.grown.len(), 1);
        let outcome = compare(&before, &table("2", &[("code", 900)]), false);
        assert_eq!(outcome.table, before);
    }
}
