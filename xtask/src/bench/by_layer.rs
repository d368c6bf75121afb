//! `cargo xtask bench --layers`: instructions of each layer on every emulated board.
//!
//! Each board's probe classifies the model's golden wafer and looks at its counter before and after every
//! row; what looking costs is subtracted. The station takes no part, so the sum is a little less than
//! what `cargo xtask bench` gives.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::process::{self, say};
use crate::project::Board;
use crate::{firmware, setup};

/// One layer, as a probe prints it.
#[derive(Deserialize)]
struct Layer {
    layer: usize,
    op: String,
    width: u16,
    height: u16,
    inputs: u16,
    outputs: u16,
    macs: u64,
    instructions: u64,
}

/// What a probe prints.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Layer(Layer),
    /// Instructions of none of the layers: the order of rows, the answer.
    Rest {
        rest: u64,
    },
    Error {
        error: String,
    },
}

/// One row of the table.
#[derive(Serialize)]
struct Row {
    /// The layer's position, or what else it is.
    name: String,
    macs: u64,
    /// By board, in the table's order.
    instructions: Vec<u64>,
}

#[derive(Serialize)]
struct Report {
    boards: Vec<&'static str>,
    layers: Vec<Row>,
    operators: Vec<Row>,
}

/// Builds the probes, runs them, prints Markdown or JSON.
///
/// # Errors
/// When a step fails, or a probe does not answer as it should.
pub fn run(boards: &[Board], json: bool) -> Result<()> {
    setup::arm::setup()?;
    setup::qemu::setup()?;
    let mut report = Report {
        boards: boards.iter().map(|board| board.name()).collect(),
        layers: Vec::new(),
        operators: Vec::new(),
    };
    for (at, &board) in boards.iter().enumerate() {
        for line in measure(board)? {
            let (name, kind, macs, instructions) = match line {
                Line::Layer(l) => {
                    let shape = format!("{}×{}, {} → {}", l.width, l.height, l.inputs, l.outputs);
                    let name = format!("{} | {} | {shape}", l.layer, l.op);
                    (name, l.op, l.macs, l.instructions)
                }
                Line::Rest { rest } => {
                    let name = " | order of rows, answer | ".to_owned();
                    (name, "order of rows, answer".to_owned(), 0, rest)
                }
                Line::Error { error } => bail!("{}: {error}", board.name()),
            };
            add(&mut report.layers, &name, at, macs, instructions);
            add(&mut report.operators, &kind, at, macs, instructions);
        }
    }
    if json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print(&report, "| | layer | output |", 3, &report.layers);
        println!();
        print(&report, "| operator |", 1, &report.operators);
    }
    Ok(())
}

/// Counts a layer of board number `board` into the row of that name.
fn add(rows: &mut Vec<Row>, name: &str, board: usize, macs: u64, instructions: u64) {
    let at = rows.iter().position(|row| row.name == name);
    let at = at.unwrap_or_else(|| {
        rows.push(Row {
            name: name.to_owned(),
            macs: 0,
            instructions: Vec::new(),
        });
        rows.len() - 1
    });
    let row = &mut rows[at];
    row.instructions.resize(board + 1, 0);
    row.instructions[board] += instructions;
    // Every board runs the same model.
    row.macs += if board == 0 { macs } else { 0 };
}

/// A table in Markdown: millions, and instructions a multiply-accumulate.
fn print(report: &Report, first: &str, columns: usize, rows: &[Row]) {
    let boards: String = report
        .boards
        .iter()
        .map(|b| format!(" {b} | a MAC |"))
        .collect();
    println!("{first} M MACs |{boards}");
    println!(
        "|{} ---: |{}",
        " --- |".repeat(columns),
        " ---: | ---: |".repeat(report.boards.len())
    );
    let mut all = Row {
        name: format!("{}**all**", " | ".repeat(columns - 1)),
        macs: 0,
        instructions: vec![0; report.boards.len()],
    };
    for row in rows {
        show(row);
        all.macs += row.macs;
        for (sum, instructions) in all.instructions.iter_mut().zip(&row.instructions) {
            *sum += instructions;
        }
    }
    show(&all);
}

fn show(row: &Row) {
    print!("| {} | {:.2} |", row.name, row.macs as f64 / 1e6);
    for &instructions in &row.instructions {
        print!(" {:.2} |", instructions as f64 / 1e6);
        match row.macs {
            0 => print!(" – |"),
            macs => print!(" {:.3} |", instructions as f64 / macs as f64),
        }
    }
    println!();
}

fn measure(board: Board) -> Result<Vec<Line>> {
    firmware::build_probe(board)?;
    say(format_args!("{}: counting layer by layer", board.name()));
    let mut cargo = process::cargo();
    cargo.args(["run", "--quiet", "--package", "lightwafer-equipment"]);
    cargo.args(["--example", "probe", "--", board.name()]);
    let text = process::read(cargo.arg(board.probe()).args(["l", "{\"rest\""]))?;
    let lines = text
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("not a layer: {line}")));
    lines.collect()
}
