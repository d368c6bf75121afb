//! `lightwafer classify`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use lightwafer_equipment::{DieMap, Local, Report, Statistics};
use lightwafer_maps::{self as maps, Wafer};
use serde_json::json;

use crate::args::Classify;
use crate::output::{Output, check_output, entries, grouped};
use crate::source::Connection;

/// After this number of board failures in a row, the remaining wafers are not tried.
const PATIENCE: usize = 3;
/// The error of a wafer that would get an answer about nothing.
const NO_DIE: &str = "the map has no die: all its values are 0";

/// Classifies every input. `false` if an input or a wafer failed.
pub fn run(args: &Classify) -> Result<bool> {
    if let Some(masks) = &args.masks {
        let others = [&args.local, &args.board.firmware];
        let inputs = args.inputs.iter().chain(others.into_iter().flatten());
        check_output(masks, inputs.map(PathBuf::as_path))?;
    }
    let (mut wafers, mut complete) = (Vec::new(), true);
    for path in &args.inputs {
        if args.limit.is_some_and(|limit| wafers.len() >= limit) {
            break;
        }
        match maps::read(path) {
            Ok(read) => wafers.extend(read),
            Err(error) => {
                complete = false;
                eprintln!("lightwafer: {error}");
            }
        }
    }
    wafers.truncate(args.limit.unwrap_or(usize::MAX));
    if wafers.is_empty() && !complete {
        return Ok(false);
    }
    let answered = match &args.local {
        Some(model) => local(args, &Local::load(model)?, &wafers)?,
        None => board(args, &mut Connection::open(&args.board)?, &wafers)?,
    };
    Ok(answered && complete)
}

fn local(args: &Classify, local: &Local, wafers: &[Wafer]) -> Result<bool> {
    let mut output = Output::new(args, wafers, false)?;
    let start = Instant::now();
    let mut numbers: Vec<usize> = (0..wafers.len()).collect();
    // Threads finish in any order; the outputs have the order of the inputs.
    let mut early: BTreeMap<usize, Result<Report, String>> = BTreeMap::new();
    for number in numbers.extract_if(.., |number| !wafers[*number].has_dies()) {
        early.insert(number, Err(NO_DIE.into()));
    }
    let maps: Vec<DieMap<'_>> = numbers.iter().map(|n| wafers[*n].map()).collect();
    let (mut next, mut written) = (0, Ok(()));
    local.classify_all(&maps, args.threads, |index, report| {
        early.insert(numbers[index], Ok(report));
        while let Some(outcome) = early.remove(&next) {
            if written.is_ok() {
                written = output.take(next, outcome);
            }
            next += 1;
        }
    })?;
    written?;
    // Those without a die after the last answer.
    for (number, outcome) in early {
        output.take(number, outcome)?;
    }
    output.finish(start.elapsed())
}

fn board(args: &Classify, connection: &mut Connection, wafers: &[Wafer]) -> Result<bool> {
    let board = &mut connection.board;
    let mut output = Output::new(args, wafers, args.board.emulate.is_some())?;
    let start = Instant::now();
    let mut failures = 0;
    for (index, wafer) in wafers.iter().enumerate() {
        let outcome = if !wafer.has_dies() {
            Err(NO_DIE.into())
        } else if failures >= PATIENCE {
            Err("not sent: the board failed on the wafers before".into())
        } else {
            board.classify(&wafer.map()).map_err(|error| {
                failures = if error.is_board_failure() {
                    failures + 1
                } else {
                    0
                };
                let output = connection
                    .emulator
                    .as_ref()
                    .map(|e| e.output())
                    .unwrap_or_default();
                let said = if output.is_empty() {
                    ""
                } else {
                    "; QEMU wrote:\n"
                };
                format!("{error}{said}{output}")
            })
        };
        if outcome.is_ok() {
            failures = 0;
        }
        output.take(index, outcome)?;
    }
    let answered = output.finish(start.elapsed())?;
    if args.statistics {
        statistics(&board.statistics()?, args.json)?;
    }
    Ok(answered)
}

fn statistics(statistics: &Statistics, json: bool) -> Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", json!({ "statistics": statistics }))?;
        return Ok(());
    }
    writeln!(out, "\nboard:")?;
    for (name, value) in entries(&serde_json::to_value(statistics)?) {
        writeln!(
            out,
            "  {name:<12}{:>12}",
            grouped(value.as_u64().unwrap_or(0))
        )?;
    }
    Ok(())
}
