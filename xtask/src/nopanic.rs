//! `cargo xtask nopanic`: proves that no panic and no allocation is left in the boards' images.
//!
//! The linker keeps what can be reached and drops the rest. So when an image holds neither the panic handler nor
//! any of `core::panicking`, the compiler has proved every check in it to hold: there is nothing left that a
//! panic could call. The same for the allocator's entry points. It looks at the firmware as it ships without
//! logs, station and start-up included; defmt itself can panic (`a log within a log`).
//!
//! Real boards' drivers come from a HAL, which keeps checks that the compiler cannot prove. There it looks at what every
//! call of a panic hands over, the source line to be named: none may be the project's own.
//!
//! That the search finds what it looks for is shown on an example that panics on purpose.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

use crate::process::say;
use crate::project::{self, Board};
use crate::{firmware, setup};

/// Parts of symbols' names that mean a panic or an allocation can be reached.
const TRACES: [&str; 8] = [
    "rust_begin_unwind",
    "core::panicking",
    "core::option::unwrap_failed",
    "core::option::expect_failed",
    "core::result::unwrap_failed",
    "slice_index_fail",
    "__rust_alloc",
    "alloc::",
];

/// What to look at.
#[derive(clap::Args)]
pub struct Args {}

/// Builds every board's image without logs and looks for panics and allocations.
///
/// # Errors
/// When there is one, by the functions that call it, or a step fails.
pub fn run(_: &Args) -> Result<()> {
    setup::arm::setup()?;
    firmware::build(Board::all(), firmware::Features::NoLogs)?;
    let mut found = Vec::new();
    for board in Board::emulated() {
        let traces = look(&board.elf())?;
        match traces.is_empty() {
            true => println!("{:<12} no panic, no allocation", board.name()),
            false => found.push(format!("{}: {}", board.name(), traces.join(", "))),
        }
    }
    for board in Board::real() {
        let locations = locations(&read(&board.elf())?);
        let locations = locations.with_context(|| format!("in {}", board.elf().display()))?;
        let of = locations.of_crates.iter();
        let of: Vec<String> = of.map(|(name, lines)| format!("{name} {lines}")).collect();
        match locations.own.is_empty() {
            true => println!(
                "{:<13} no panic of the project's own; lines that may: {}",
                board.name(),
                of.join(", ")
            ),
            false => found.push(format!("{}: {}", board.name(), locations.own.join(", "))),
        }
    }
    // What lies there is what `cargo xtask firmware` and the tests expect: the image with logs.
    firmware::build(Board::all(), firmware::Features::All)?;
    if !found.is_empty() {
        bail!("panics or allocations can be reached: {}", found.join("; "));
    }
    say("nopanic: a probe that does panic, to see that it is found");
    let board = *Board::emulated().first().context("no emulated board")?;
    firmware::build_probe(board)?;
    let crash = board.probe();
    let traces = look(&crash)?;
    if traces.is_empty() {
        bail!("no panic was found in {}, which has one", crash.display());
    }
    let named = locations(&read(&crash)?)?.own;
    if !named.iter().any(|line| line.contains("/probe.rs:")) {
        bail!(
            "no line was found in {}, whose probe panics on purpose",
            crash.display()
        );
    }
    say(format_args!("nopanic: found there: {}", traces.join(", ")));
    Ok(())
}

fn look(path: &Path) -> Result<Vec<String>> {
    traces(&read(path)?).with_context(|| format!("in {}", path.display()))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// An image's functions by address.
fn functions(file: &object::File) -> Result<BTreeMap<u32, String>> {
    let mut functions = BTreeMap::new();
    for symbol in file.symbols().filter(|s| s.kind() == SymbolKind::Text) {
        let name = symbol.name().context("a symbol without a name")?;
        let name = format!("{:#}", rustc_demangle::demangle(name));
        // The lowest bit says Thumb.
        functions.insert((symbol.address() & !1) as u32, name);
    }
    if functions.is_empty() {
        bail!("the image has no symbols");
    }
    Ok(functions)
}

fn is_trace(name: &str) -> bool {
    TRACES.iter().any(|trace| name.contains(trace))
}

/// What means a panic or an allocation in an image, each with the functions that call it.
fn traces(bytes: &[u8]) -> Result<Vec<String>> {
    let file = object::File::parse(bytes).context("not an ELF file")?;
    let functions = functions(&file)?;
    let text = file.section_by_name(".text").context("no .text")?;
    let mut callers: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for name in functions.values().filter(|name| is_trace(name)) {
        callers.entry(name).or_default();
    }
    for (from, to) in calls(text.data()?, text.address() as u32) {
        let Some(called) = functions.get(&to).filter(|name| is_trace(name)) else {
            continue;
        };
        if let Some((_, caller)) = functions.range(..=from).next_back() {
            callers.entry(called).or_default().insert(caller);
        }
    }
    let shown = callers.into_iter().map(|(called, callers)| {
        let callers: Vec<&str> = callers.into_iter().collect();
        match callers.is_empty() {
            true => called.to_owned(),
            false => format!("{called} (called by {})", callers.join(", ")),
        }
    });
    Ok(shown.collect())
}

/// The source lines that an image's panics would name.
struct Locations {
    /// The project's own.
    own: Vec<String>,
    /// Dependencies', as a number by crate.
    of_crates: BTreeMap<String, usize>,
}

/// Finds every `core::panic::Location`: each call of a panic passes one, so that a line without one has no panic left.
///
/// An `async fn` that is polled after its end, which no executor does, panics by a call that the compiler puts
/// into every one: lines that hold `async` are left out.
fn locations(bytes: &[u8]) -> Result<Locations> {
    let file = object::File::parse(bytes).context("not an ELF file")?;
    let section = file.section_by_name(".rodata").context("no .rodata")?;
    let (data, start) = (section.data()?, section.address());
    let words: Vec<u32> = data
        .chunks_exact(4)
        .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    let text = |at: u32, len: u32| {
        let at = u64::from(at).checked_sub(start)? as usize;
        let bytes = data.get(at..at.checked_add(len as usize)?)?;
        let path = std::str::from_utf8(bytes).ok()?;
        path.ends_with(".rs").then_some(path)
    };
    let mut own = BTreeSet::new();
    let mut of_crates: BTreeMap<String, BTreeSet<(&str, u32, u32)>> = BTreeMap::new();
    for location in words.windows(4) {
        let &[at, len, line, column] = location else {
            continue;
        };
        let Some(path) = text(at, len) else {
            continue;
        };
        if path.contains("library/core/") {
            continue;
        }
        // A dependency, or what its build script wrote: `build/NAME-HASH/out`.
        let source = path.split_once("/registry/src/");
        let source = source.and_then(|(_, path)| path.split('/').nth(1));
        let written = path.split_once("/release/build/");
        let written = written.and_then(|(_, path)| path.split('/').next());
        if let Some((name, _)) = source.or(written).and_then(|name| name.rsplit_once('-')) {
            let lines = of_crates.entry(name.to_owned()).or_default();
            lines.insert((path, line, column));
        } else if !is_async(path, line)? {
            own.insert(format!("{path}:{line}:{column}"));
        }
    }
    Ok(Locations {
        own: own.into_iter().collect(),
        of_crates: of_crates
            .into_iter()
            .map(|(name, lines)| (name, lines.len()))
            .collect(),
    })
}

/// Whether a line of the boards' workspace, or of a file by its whole path, is where an `async fn` begins.
fn is_async(path: &str, line: u32) -> Result<bool> {
    let path = project::boards().join(path);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let line = text.lines().nth(line.saturating_sub(1) as usize);
    Ok(line.is_some_and(|line| line.contains("async fn")))
}

/// Thumb's long branches, BL and B.W (T4): from where to where. Data among the code may look like one; a branch
/// to nowhere does no harm here.
fn calls(code: &[u8], start: u32) -> impl Iterator<Item = (u32, u32)> {
    let halves = code
        .chunks_exact(2)
        .map(|b| u32::from(u16::from_le_bytes([b[0], b[1]])));
    let halves: Vec<u32> = halves.collect();
    let pairs: Vec<[u32; 2]> = halves.windows(2).map(|pair| [pair[0], pair[1]]).collect();
    pairs
        .into_iter()
        .enumerate()
        .filter_map(move |(at, [a, b])| {
            if a & 0xf800 != 0xf000 || b & 0x9000 != 0x9000 {
                return None;
            }
            let sign = a >> 10 & 1;
            let [j1, j2] = [b >> 13, b >> 11].map(|j| !(j ^ sign) & 1);
            let offset = sign << 24 | j1 << 23 | j2 << 22 | (a & 0x3ff) << 12 | (b & 0x7ff) << 1;
            // 25 bits, sign-extended; counted from behind the branch.
            let offset = ((offset << 7) as i32 >> 7) as u32;
            let from = start + 2 * at as u32;
            Some((from, from.wrapping_add(4).wrapping_add(offset)))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_lead_where_the_architecture_says() {
        // bl +4 (to 0x1008), b.w −8 (from 0x1004 to 0x1000), nop.
        let code = [0x00, 0xf0, 0x02, 0xf8, 0xff, 0xf7, 0xfc, 0xbf, 0x00, 0xbf];
        let found: Vec<_> = calls(&code, 0x1000).collect();
        assert_eq!(found, [(0x1000, 0x1008), (0x1004, 0x1000)]);
    }

    #[test]
    fn an_image_without_symbols_proves_nothing() {
        assert!(traces(b"no ELF").is_err());
    }
}
