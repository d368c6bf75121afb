//! Every board whose firmware this repository holds: the one list of them, with the facts that firmware, build
//! scripts, `cargo xtask`, the `lightwafer` command and the tests need.
//!
//! A board's own test here holds its folder, its `.cargo/config.toml` and the tables of `boards/README.md` to this list.
#![no_std]

/// A board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Board {
    /// Its name: that of its folder, its package, its firmware's ELF file, and of QEMU's machine where it is emulated.
    pub name: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// Its processor.
    pub core: Core,
    /// The processor's clock, in Hz.
    pub clock_hz: u32,
    /// Where its firmware runs.
    pub kind: Kind,
}

/// Where a board's firmware runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// In QEMU.
    Emulated,
    /// On a desk; here it is built, linked and measured.
    Real(Part),
}

/// What the microcontroller of a real board has, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Flash, the slots for model updates included.
    pub flash: u64,
    /// RAM, as far as the firmware uses any of a region.
    pub ram: u64,
}

/// A processor that the runtime has kernels for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Core {
    /// Armv7E-M with the DSP extension and a single-precision FPU.
    CortexM4F,
    /// Armv7E-M with the DSP extension and an FPU.
    CortexM7,
    /// Armv8-M with the DSP extension and an FPU.
    CortexM33,
    /// Armv8.1-M with Helium.
    CortexM55,
}

/// QEMU's `-icount shift=` for emulated boards: 2^6 = 64 ns of the board's time an instruction.
pub const ICOUNT_SHIFT: u8 = 6;

const KIB: u64 = 1024;

/// Every board, the emulated ones first.
pub const BOARDS: [Board; 7] = [
    Board {
        name: "mps2-an500",
        title: "Arm MPS2 with FPGA image AN500",
        core: Core::CortexM7,
        clock_hz: 25_000_000,
        kind: Kind::Emulated,
    },
    Board {
        name: "mps2-an386",
        title: "Arm MPS2 with FPGA image AN386",
        core: Core::CortexM4F,
        clock_hz: 25_000_000,
        kind: Kind::Emulated,
    },
    Board {
        name: "mps2-an505",
        title: "Arm MPS2 with FPGA image AN505",
        core: Core::CortexM33,
        clock_hz: 20_000_000,
        kind: Kind::Emulated,
    },
    Board {
        name: "mps3-an547",
        title: "Arm MPS3 with FPGA image AN547",
        core: Core::CortexM55,
        clock_hz: 32_000_000,
        kind: Kind::Emulated,
    },
    Board {
        name: "nrf52840-dk",
        title: "Nordic nRF52840 DK",
        core: Core::CortexM4F,
        clock_hz: 64_000_000,
        kind: Kind::Real(Part {
            flash: 1024 * KIB,
            ram: 256 * KIB,
        }),
    },
    Board {
        name: "rp2350-pico2",
        title: "Raspberry Pi Pico 2",
        core: Core::CortexM33,
        clock_hz: 150_000_000,
        kind: Kind::Real(Part {
            flash: 4096 * KIB,
            ram: 520 * KIB,
        }),
    },
    Board {
        name: "nucleo-h743zi",
        title: "ST Nucleo-H743ZI",
        core: Core::CortexM7,
        clock_hz: 400_000_000,
        kind: Kind::Real(Part {
            flash: 2048 * KIB,
            // DTCM and AXI SRAM.
            ram: (128 + 512) * KIB,
        }),
    },
];

/// The boards that QEMU emulates.
pub fn emulated() -> impl Iterator<Item = Board> {
    BOARDS.into_iter().filter(|board| board.part().is_none())
}

/// The boards that nothing here runs.
pub fn real() -> impl Iterator<Item = Board> {
    BOARDS.into_iter().filter(|board| board.part().is_some())
}

impl Board {
    /// The board of this name; `None` where there is none.
    pub const fn named(name: &str) -> Option<Self> {
        let mut at = 0;
        while at < BOARDS.len() {
            if same(BOARDS[at].name, name) {
                return Some(BOARDS[at]);
            }
            at += 1;
        }
        None
    }

    /// What its microcontroller has; `None` for an emulated board.
    pub const fn part(&self) -> Option<Part> {
        match self.kind {
            Kind::Emulated => None,
            Kind::Real(part) => Some(part),
        }
    }
}

impl Core {
    /// The name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CortexM4F => "Cortex-M4F",
            Self::CortexM7 => "Cortex-M7",
            Self::CortexM33 => "Cortex-M33",
            Self::CortexM55 => "Cortex-M55",
        }
    }

    /// What rustc's `-C target-cpu` calls it.
    pub const fn target_cpu(self) -> &'static str {
        match self {
            Self::CortexM4F => "cortex-m4",
            Self::CortexM7 => "cortex-m7",
            Self::CortexM33 => "cortex-m33",
            Self::CortexM55 => "cortex-m55",
        }
    }

    /// Its Rust target, one of [`TARGETS`].
    pub const fn target(self) -> &'static str {
        match self {
            Self::CortexM4F | Self::CortexM7 => TARGETS[0],
            Self::CortexM33 | Self::CortexM55 => TARGETS[1],
        }
    }

    /// Where cargo puts release builds for it, from the repository's root: the firmware as [`Board::name`], the probe as
    /// `examples/NAME-probe`.
    pub const fn release_folder(self) -> &'static str {
        match self {
            Self::CortexM4F | Self::CortexM7 => "boards/target/thumbv7em-none-eabihf/release",
            Self::CortexM33 | Self::CortexM55 => "boards/target/thumbv8m.main-none-eabihf/release",
        }
    }
}

/// The Rust targets that firmware is built for: Armv7E-M and Armv8-M.
pub const TARGETS: [&str; 2] = ["thumbv7em-none-eabihf", "thumbv8m.main-none-eabihf"];

/// Whether two texts are equal, also while the compiler evaluates.
pub const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::format;
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::string::String;

    use super::*;

    /// The folder `boards/`.
    fn boards() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    fn read(path: PathBuf) -> String {
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Fails, and says what is missing where, unless the file of `boards/` contains this.
    #[track_caller]
    fn assert_contains(file: &str, part: &str) {
        let text = read(boards().join(file));
        assert!(text.contains(part), "boards/{file} does not have: {part}");
    }

    /// The number as the documents write it: `1,048,576`.
    fn grouped(number: u64) -> String {
        let digits = format!("{number}");
        let mut text = String::new();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        text
    }

    #[test]
    fn boards_are_found_by_name() {
        for board in BOARDS {
            assert_eq!(Board::named(board.name), Some(board));
        }
        assert_eq!(Board::named("mps2-an50"), None);
        for board in BOARDS {
            let folder = format!("boards/target/{}/release", board.core.target());
            assert_eq!(board.core.release_folder(), folder);
        }
        assert_eq!(emulated().chain(real()).count(), BOARDS.len());
    }

    #[test]
    fn every_board_has_its_folder_that_names_its_processor() {
        for board in BOARDS {
            let (name, core) = (board.name, board.core);
            let config = format!("{name}/.cargo/config.toml");
            assert_contains(&config, &format!("\ntarget = \"{}\"", core.target()));
            assert_contains(&config, &format!("target-cpu={}\"", core.target_cpu()));
            let package = format!("[package]\nname = \"{name}\"");
            assert_contains(&format!("{name}/Cargo.toml"), &package);
            match board.part() {
                None => assert_contains(&config, &format!("[\"../run-qemu\", \"{name}\"]")),
                Some(part) => {
                    let page = format!("{name}/README.md");
                    assert_contains(&page, &format!(" {} |", grouped(part.flash)));
                    assert_contains(&page, &format!(" {} |", grouped(part.ram)));
                }
            }
        }
    }

    #[test]
    fn the_documents_list_these_boards() {
        let page = read(boards().join("README.md"));
        let table = page
            .split("\n\n")
            .find(|part| part.starts_with("| board |"));
        let rows: std::vec::Vec<&str> = table.unwrap().lines().skip(2).collect();
        let advice =
            "boards/README.md: its table must have the boards of the list, in the list's order";
        assert_eq!(rows.len(), BOARDS.len(), "{advice}");
        for (board, row) in BOARDS.iter().zip(rows) {
            let (name, core) = (board.name, board.core.name());
            assert!(
                row.starts_with(&format!("| [`{name}`]({name}) | {core}")),
                "{advice}: {name} is where it has {row}"
            );
        }
        assert_contains("run-qemu", &format!("-icount shift={ICOUNT_SHIFT}"));
    }
}
