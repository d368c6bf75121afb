//! `cargo xtask nopanic`: proves that no panic and no allocation is left in the boards' images.
//!
//! The linker keeps what can be reached and drops the rest. So when an image holds neither the panic handler nor
//! any of `core::panicking`, the compiler has proved every check in it to hold: there is nothing left that a
//! panic could call. The same for the allocator's entry points. It looks at the firmware as it ships without
//! logs, on every board, station and start-up included; defmt itself can panic (`a log within a log`).
//!
//! That the search finds what it looks for is shown on an example that panics on purpose.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

use crate::process::say;
use crate::project::Board;
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
    firmware::build(&Board::ALL, firmware::Features::NoLogs)?;
    let mut found = Vec::new();
    for board in Board::ALL {
        let traces = look(&board.elf())?;
        match traces.is_empty() {
            true => println!("{:<12} no panic, no allocation", board.name()),
            false => found.push(format!("{}: {}", board.name(), traces.join(", "))),
        }
    }
    // What lies there is what `cargo xtask firmware` and the tests expect: the image with logs.
    firmware::build(&Board::ALL, firmware::Features::All)?;
    if !found.is_empty() {
        bail!("panics or allocations can be reached: {}", found.join("; "));
    }
    say("nopanic: a probe that does panic, to see that it is found");
    firmware::build_probe(Board::Mps2An500)?;
    let crash = Board::Mps2An500.probe();
    let traces = look(&crash)?;
    if traces.is_empty() {
        bail!("no panic was found in {}, which has one", crash.display());
    }
    say(format_args!("nopanic: found there: {}", traces.join(", ")));
    Ok(())
}

fn look(path: &Path) -> Result<Vec<String>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    traces(&bytes).with_context(|| format!("in {}", path.display()))
}

/// What means a panic or an allocation in an image, each with the functions that call it.
fn traces(bytes: &[u8]) -> Result<Vec<String>> {
    let file = object::File::parse(bytes).context("not an ELF file")?;
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
    let is_trace = |name: &str| TRACES.iter().any(|trace| name.contains(trace));
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
