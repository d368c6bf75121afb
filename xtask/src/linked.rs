//! What the linker laid out: a board's image, read section by section.

use std::path::Path;

use anyhow::{Context, Result, bail};
use object::elf::{self, SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, SHT_NOBITS};
use object::{Object, ObjectSection, ObjectSymbol, SectionFlags};

use crate::firmware::{self, Features};
use crate::project::Board;

/// Builds the boards' images with these features, and reads each.
///
/// # Errors
/// When a build fails, or what it leaves is not a board's image.
pub fn build(boards: &[Board], features: Features) -> Result<Vec<Linked>> {
    firmware::build(boards, features)?;
    read(boards)
}

/// Reads the images that were built last.
///
/// # Errors
/// When one is missing, or is not a board's image.
pub fn read(boards: &[Board]) -> Result<Vec<Linked>> {
    boards
        .iter()
        .map(|board| Linked::read(&board.elf()))
        .collect()
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
    fn read(path: &Path) -> Result<Self> {
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
    fn what_is_no_image_is_refused() {
        assert!(Linked::parse(b"no ELF").is_err());
        // This test's own program is one, but of no board.
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(Linked::parse(&own).is_err());
    }
}
