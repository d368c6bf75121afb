//! `cargo xtask size`: what each board's image takes of flash and RAM, against the project's budgets.
//!
//! Flash, RAM and arena are read out of the linked image; the stack is painted by the running board
//! and read back over its serial line after it has classified a few wafers.

use std::path::Path;

use anyhow::{Context, Result, bail};
use object::elf::{self, SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, SHT_NOBITS};
use object::{Object, ObjectSection, ObjectSymbol, SectionFlags};
use serde::Serialize;

use crate::project::{Board, Part};
use crate::{firmware, lightwafer, setup};

/// Most bytes of flash an image may take.
const IMAGE_BUDGET: u64 = 192 * 1024;
/// The same on a board whose HAL brings drivers of a whole part.
const REAL_IMAGE_BUDGET: u64 = 224 * 1024;
/// The same without logs.
const BARE_BUDGET: u64 = 128 * 1024;
/// Most bytes of code without logs and model updates.
const CORE_CODE_BUDGET: u64 = 40 * 1024;
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
    fn read(board: Board, part: Part, bare: &Linked) -> Result<Self> {
        let linked = Linked::read(&board.elf())?;
        Ok(Self {
            board: board.name(),
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
        })
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
    firmware::build(&Board::EMULATED, firmware::Features::Core)?;
    let mut core = Vec::new();
    for board in Board::EMULATED {
        core.push(Linked::read(&board.elf())?);
    }
    firmware::build(&Board::EMULATED, firmware::Features::NoLogs)?;
    let mut bare = Vec::new();
    for board in Board::EMULATED {
        bare.push(Linked::read(&board.elf())?);
    }
    firmware::build(&Board::REAL, firmware::Features::NoLogs)?;
    let mut parts = Vec::new();
    for board in Board::REAL {
        parts.push(Linked::read(&board.elf())?);
    }
    firmware::build(&Board::REAL, firmware::Features::All)?;
    let mut real = Vec::new();
    for (board, bare) in Board::REAL.into_iter().zip(&parts) {
        let part = board.part().context("a board without a part")?;
        real.push(PartRow::read(board, part, bare)?);
    }
    lightwafer::prepare(&Board::EMULATED)?;
    let mut boards = Vec::new();
    for (board, (bare, core)) in Board::EMULATED.into_iter().zip(bare.into_iter().zip(core)) {
        let linked = Linked::read(&board.elf())?;
        boards.push(Row {
            board: board.name(),
            flash_code: linked.code,
            flash_const: linked.constants,
            flash_model: linked.model,
            ram_static: linked.ram,
            arena: linked.arena,
            stack_max: lightwafer::measure(board)?.stack_max,
            without_logs: Bare {
                flash_code: bare.code,
                flash_const: bare.constants,
            },
            without_updates: Bare {
                flash_code: core.code,
                flash_const: core.constants,
            },
        });
    }
    let over = boards.iter().flat_map(Row::over);
    let over: Vec<String> = over.chain(real.iter().flat_map(PartRow::over)).collect();
    if args.json {
        let report = Report {
            boards,
            parts: real,
        };
        println!("{}", serde_json::to_string(&report)?);
    } else {
        table(&boards);
        part_table(&real);
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
        "image (of 196608)",
        "static RAM",
        "arena (of 400000)",
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

/// What the linker laid out, in bytes.
#[derive(Default)]
pub struct Linked {
    /// Instructions and the vector table.
    pub code: u64,
    /// Constants and the initial values of variables, without the model.
    pub constants: u64,
    /// The model image.
    pub model: u64,
    /// Variables, without the arena and without RAM that plays a flash.
    pub ram: u64,
    /// The executor's arena.
    pub arena: u64,
    /// What the stack may take, its guard included.
    pub stack: u64,
    /// Flash for models that come over the line; 0 where RAM plays it.
    pub slots: u64,
}

impl Linked {
    /// Reads a linked image.
    ///
    /// # Errors
    /// When it cannot be read or is not a board's.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&bytes).with_context(|| format!("in {}", path.display()))
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let file = object::File::parse(bytes).context("not an ELF file")?;
        let mut linked = Self {
            model: symbol_size(&file, "MODEL")?,
            arena: symbol_size(&file, "ARENA")?,
            stack: between(&file, &["_stack_guard", "_stack_end"], "_stack_start"),
            slots: between(&file, &["_models_start"], "_models_end"),
            ..Self::default()
        };
        for section in file.sections() {
            let SectionFlags::Elf { sh_type, sh_flags } = section.flags() else {
                continue;
            };
            let has = |flag: elf::SectionFlags| sh_flags.0 & flag.0 != 0;
            if !has(SHF_ALLOC) {
                continue;
            }
            if has(SHF_WRITE) {
                linked.ram += section.size();
            }
            if sh_type == SHT_NOBITS {
                continue;
            }
            if has(SHF_EXECINSTR) || section.name() == Ok(".vector_table") {
                linked.code += section.size();
            } else {
                linked.constants += section.size();
            }
        }
        linked.constants = linked
            .constants
            .checked_sub(linked.model)
            .context("the model does not lie among the constants")?;
        linked.ram = linked
            .ram
            .checked_sub(linked.arena)
            .context("the arena does not lie among the variables")?;
        // RAM that plays the flash of a board, where it has one.
        let flash = file
            .symbols()
            .find(|symbol| symbol.name() == Ok("RAM_FLASH"));
        let flash = flash.map_or(0, |symbol| symbol.size());
        linked.ram = linked
            .ram
            .checked_sub(flash)
            .context("RAM_FLASH does not lie among the variables")?;
        Ok(linked)
    }
}

/// Bytes from the first of the symbols that an image has up to another; 0 where it lacks either.
fn between(file: &object::File, from: &[&str], to: &str) -> u64 {
    let address = |name: &str| {
        let symbol = file.symbols().find(|symbol| symbol.name() == Ok(name))?;
        Some(symbol.address())
    };
    let from = from.iter().find_map(|name| address(name));
    from.zip(address(to))
        .map_or(0, |(from, to)| to.saturating_sub(from))
}

/// The size of the one static of this name, whatever its crate and mangling.
fn symbol_size(file: &object::File, name: &str) -> Result<u64> {
    let mut sizes = file
        .symbols()
        .filter(|symbol| symbol.size() > 0 && symbol.name().is_ok_and(|at| is_named(at, name)))
        .map(|symbol| symbol.size());
    match (sizes.next(), sizes.next()) {
        (Some(size), None) => Ok(size),
        (None, _) => bail!("no static {name}"),
        (Some(_), Some(_)) => bail!("more than one static {name}"),
    }
}

fn is_named(symbol: &str, name: &str) -> bool {
    let mangled = format!("{}{name}", name.len());
    symbol == name
        || symbol.starts_with("_ZN") && symbol.contains(&format!("{mangled}17h"))
        || symbol.starts_with("_R") && symbol.ends_with(&mangled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_static_is_found_under_every_mangling() {
        for symbol in [
            "MODEL",
            "_ZN10mps2_an5005MODEL17h0123456789abcdefE",
            "_RNvCs1234_10mps2_an5005MODEL",
        ] {
            assert!(is_named(symbol, "MODEL"), "{symbol}");
        }
        for symbol in [
            "MODEL_SIZE",
            "_ZN1a8MY_MODEL17h0123456789abcdefE",
            "_RNvC1a9OLD_MODEL",
        ] {
            assert!(!is_named(symbol, "MODEL"), "{symbol}");
        }
    }

    #[test]
    fn only_budgets_that_are_exceeded_are_named() {
        let mut row = Row {
            board: "b",
            flash_code: 60_000,
            flash_const: 6_608,
            flash_model: 130_000,
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

    #[test]
    fn what_is_no_image_is_refused() {
        assert!(Linked::parse(b"no ELF").is_err());
        // This test's own program is one, but of no board.
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(Linked::parse(&own).is_err());
    }
}
