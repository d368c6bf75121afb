//! `cargo xtask size`: what each board's image takes of flash and RAM, against the project's budgets.
//!
//! Flash, RAM and arena are read out of the linked image; the stack is painted by the running board
//! and read back over its serial line after it has classified a few wafers.

use anyhow::{Context, Result, bail};
use lightwafer_board_list::Part;
use serde::Serialize;

use crate::firmware::Features;
use crate::linked::{self, Linked};
use crate::project::Board;
use crate::{lightwafer, setup};

/// Most bytes of flash an image may take.
const IMAGE_BUDGET: u64 = 192 * 1024;
/// The same on a board whose HAL brings drivers of a whole part.
const REAL_IMAGE_BUDGET: u64 = 224 * 1024;
/// The same without logs.
const BARE_BUDGET: u64 = 136 * 1024;
/// Most bytes of code without logs and model updates.
const CORE_CODE_BUDGET: u64 = 48 * 1024;
/// Most bytes the executor's arena may take.
const ARENA_BUDGET: u64 = 400_000;

/// How to print.
#[derive(clap::Args)]
pub struct Args {
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    boards: Vec<Row>,
    parts: Vec<PartRow>,
}

/// A board that nothing runs here, in bytes, against what its part has. The linker holds each region to its
/// own size besides.
#[derive(Serialize, Debug, PartialEq)]
struct PartRow {
    board: &'static str,
    flash_code: u64,
    flash_const: u64,
    flash_model: u64,
    /// The image without logs.
    flash_without_logs: u64,
    /// Two slots for models that come over the line.
    flash_slots: u64,
    flash_part: u64,
    ram_static: u64,
    arena: u64,
    /// Reserved, its guard included.
    stack: u64,
    ram_part: u64,
}

impl PartRow {
    fn new(board: &'static str, part: Part, linked: &Linked, bare: &Linked) -> Self {
        Self {
            board,
            flash_code: linked.code,
            flash_const: linked.constants,
            flash_model: linked.model,
            flash_without_logs: bare.code + bare.constants + bare.model,
            flash_slots: linked.slots,
            flash_part: part.flash,
            ram_static: linked.ram,
            arena: linked.arena,
            stack: linked.stack,
            ram_part: part.ram,
        }
    }

    fn image(&self) -> u64 {
        self.flash_code + self.flash_const + self.flash_model
    }

    fn flash(&self) -> u64 {
        self.image() + self.flash_slots
    }

    fn ram(&self) -> u64 {
        self.ram_static + self.arena + self.stack
    }

    fn over(&self) -> Vec<String> {
        let limits = [
            ("image", self.image(), REAL_IMAGE_BUDGET),
            ("flash", self.flash(), self.flash_part),
            ("RAM", self.ram(), self.ram_part),
        ];
        let over = limits.iter().filter(|(_, bytes, limit)| bytes > limit);
        over.map(|(what, bytes, limit)| {
            format!("{}: {what} takes {bytes} bytes of {limit}", self.board)
        })
        .collect()
    }
}

/// Bytes, all of them.
#[derive(Serialize, Debug, PartialEq)]
struct Row {
    board: &'static str,
    flash_code: u64,
    flash_const: u64,
    flash_model: u64,
    ram_static: u64,
    arena: u64,
    stack_max: u64,
    without_logs: Bare,
    /// Nor model updates.
    without_updates: Bare,
}

/// Bytes of the image without logs.
#[derive(Serialize, Debug, PartialEq)]
struct Bare {
    flash_code: u64,
    flash_const: u64,
}

impl Bare {
    fn of(linked: &Linked) -> Self {
        Self {
            flash_code: linked.code,
            flash_const: linked.constants,
        }
    }
}

impl Row {
    fn image(&self) -> u64 {
        self.flash_code + self.flash_const + self.flash_model
    }

    fn bare(&self) -> u64 {
        let Bare {
            flash_code,
            flash_const,
        } = self.without_logs;
        flash_code + flash_const + self.flash_model
    }

    fn over(&self) -> Vec<String> {
        let mut over = Vec::new();
        for (what, bytes, budget) in [
            ("image", self.image(), IMAGE_BUDGET),
            ("image without logs", self.bare(), BARE_BUDGET),
            (
                "code without logs and updates",
                self.without_updates.flash_code,
                CORE_CODE_BUDGET,
            ),
            ("arena", self.arena, ARENA_BUDGET),
        ] {
            if bytes > budget {
                over.push(format!(
                    "{}: {what} takes {bytes} bytes of {budget}",
                    self.board
                ));
            }
        }
        over
    }
}

/// As `cargo xtask size` without arguments: for tests.
///
/// # Errors
/// As [`run`].
pub fn check() -> Result<()> {
    run(&Args { json: false })
}

/// Measures every board.
///
/// # Errors
/// When a step fails, a board does not answer, or a budget is exceeded.
pub fn run(args: &Args) -> Result<()> {
    setup::arm::setup()?;
    let (emulated, real) = (Board::emulated(), Board::real());
    let cores = linked::build(&emulated, Features::Core)?;
    let bares = linked::build(&emulated, Features::NoLogs)?;
    let real_bares = linked::build(&real, Features::NoLogs)?;
    let real_linked = linked::build(&real, Features::All)?;
    let mut parts = Vec::new();
    for ((board, linked), bare) in real.iter().zip(&real_linked).zip(&real_bares) {
        let part = board.part().context("a board without a part")?;
        parts.push(PartRow::new(board.name(), part, linked, bare));
    }
    lightwafer::prepare(&emulated)?;
    let images = linked::read(&emulated)?;
    let mut boards = Vec::new();
    for ((board, linked), (bare, core)) in
        emulated.iter().zip(&images).zip(bares.iter().zip(&cores))
    {
        boards.push(Row {
            board: board.name(),
            flash_code: linked.code,
            flash_const: linked.constants,
            flash_model: linked.model,
            ram_static: linked.ram,
            arena: linked.arena,
            stack_max: lightwafer::measure(*board)?.stack_max,
            without_logs: Bare::of(bare),
            without_updates: Bare::of(core),
        });
    }
    let over = boards.iter().flat_map(Row::over);
    let over: Vec<String> = over.chain(parts.iter().flat_map(PartRow::over)).collect();
    if args.json {
        let report = Report { boards, parts };
        println!("{}", serde_json::to_string(&report)?);
    } else {
        table(&boards);
        part_table(&parts);
    }
    if !over.is_empty() {
        bail!("over budget: {}", over.join("; "));
    }
    Ok(())
}

fn table(rows: &[Row]) {
    println!(
        "{:<12} {:>8} {:>8} {:>8} {:>17} {:>10} {:>17} {:>9} {:>9} {:>10} {:>9}",
        "board",
        "code",
        "const",
        "model",
        format!("image (of {IMAGE_BUDGET})"),
        "static RAM",
        format!("arena (of {ARENA_BUDGET})"),
        "stack max",
        "bare code",
        "bare image",
        "core code"
    );
    for row in rows {
        println!(
            "{:<12} {:>8} {:>8} {:>8} {:>17} {:>10} {:>17} {:>9} {:>9} {:>10} {:>9}",
            row.board,
            row.flash_code,
            row.flash_const,
            row.flash_model,
            row.image(),
            row.ram_static,
            row.arena,
            row.stack_max,
            row.without_logs.flash_code,
            row.bare(),
            row.without_updates.flash_code
        );
    }
    println!(
        "bare: without logs, of {BARE_BUDGET} bytes; core: without model updates too, of {CORE_CODE_BUDGET}"
    );
}

fn part_table(rows: &[PartRow]) {
    println!(
        "\n{:<13} {:>8} {:>8} {:>8} {:>10} {:>8} {:>20} {:>10} {:>8} {:>8} {:>17}",
        "board, linked",
        "code",
        "const",
        "model",
        "bare image",
        "slots",
        "flash (of the part)",
        "static RAM",
        "arena",
        "stack",
        "RAM (of the part)"
    );
    for row in rows {
        println!(
            "{:<13} {:>8} {:>8} {:>8} {:>10} {:>8} {:>20} {:>10} {:>8} {:>8} {:>17}",
            row.board,
            row.flash_code,
            row.flash_const,
            row.flash_model,
            row.flash_without_logs,
            row.flash_slots,
            format!("{} ({})", row.flash(), row.flash_part),
            row.ram_static,
            row.arena,
            row.stack,
            format!("{} ({})", row.ram(), row.ram_part)
        );
    }
    println!("linked: built and measured, run by nothing here");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_budgets_that_are_exceeded_are_named() {
        let mut row = Row {
            board: "b",
            flash_code: 51_808,
            flash_const: 6_608,
            flash_model: 138_192,
            ram_static: 10_000,
            arena: ARENA_BUDGET,
            stack_max: 1_000,
            without_logs: Bare {
                flash_code: 1_000,
                flash_const: 72,
            },
            without_updates: Bare {
                flash_code: CORE_CODE_BUDGET,
                flash_const: 72,
            },
        };
        assert_eq!(row.image(), IMAGE_BUDGET);
        assert_eq!(row.bare(), BARE_BUDGET);
        assert!(row.over().is_empty());
        row.arena += 1;
        assert_eq!(row.over(), ["b: arena takes 400001 bytes of 400000"]);
    }

    #[test]
    fn what_a_part_lacks_is_named() {
        let mut row = PartRow {
            board: "b",
            flash_code: 100_000,
            flash_const: 10_000,
            flash_model: 60_000,
            flash_without_logs: 160_000,
            flash_slots: 262_144,
            flash_part: 524_288,
            ram_static: 32_000,
            arena: 162_064,
            stack: 16_384,
            ram_part: 210_448,
        };
        assert!(row.over().is_empty());
        row.arena += 1;
        row.flash_slots *= 2;
        let over = row.over();
        assert_eq!(over[0], "b: flash takes 694288 bytes of 524288");
        assert_eq!(over[1], "b: RAM takes 210449 bytes of 210448");
    }
}
