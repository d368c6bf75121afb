//! Where things lie: the repository, its boards, and the user's cache.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Armv7E-M: Cortex-M4F and M7.
const ARMV7: &str = "thumbv7em-none-eabihf";
/// Armv8-M: Cortex-M33 and later.
const ARMV8: &str = "thumbv8m.main-none-eabihf";

/// The targets the boards' firmware is built for.
pub const ARM_TARGETS: [&str; 2] = [ARMV7, ARMV8];

/// A board whose firmware this repository holds; its package and its folder have its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Board {
    /// Arm MPS2-AN500, Cortex-M7.
    #[value(name = "mps2-an500")]
    Mps2An500,
    /// Arm MPS2-AN386, Cortex-M4F.
    #[value(name = "mps2-an386")]
    Mps2An386,
    /// Arm MPS2-AN505, Cortex-M33.
    #[value(name = "mps2-an505")]
    Mps2An505,
    /// Arm MPS3-AN547, Cortex-M55.
    #[value(name = "mps3-an547")]
    Mps3An547,
    /// Nordic nRF52840 DK, Cortex-M4F.
    #[value(name = "nrf52840-dk")]
    Nrf52840Dk,
    /// Raspberry Pi Pico 2, Cortex-M33.
    #[value(name = "rp2350-pico2")]
    Rp2350Pico2,
    /// ST Nucleo-H743ZI, Cortex-M7.
    #[value(name = "nucleo-h743zi")]
    NucleoH743zi,
}

/// What a part on a board has, in bytes.
#[derive(Clone, Copy)]
pub struct Part {
    /// Flash, what models that come over the line may take included.
    pub flash: u64,
    /// RAM that the firmware uses any of.
    pub ram: u64,
}

impl Board {
    /// Every board.
    pub const ALL: [Board; 7] = [
        Board::Mps2An500,
        Board::Mps2An386,
        Board::Mps2An505,
        Board::Mps3An547,
        Board::Nrf52840Dk,
        Board::Rp2350Pico2,
        Board::NucleoH743zi,
    ];

    /// Those that QEMU emulates.
    pub const EMULATED: [Board; 4] = [
        Board::Mps2An500,
        Board::Mps2An386,
        Board::Mps2An505,
        Board::Mps3An547,
    ];

    /// Those that are built and checked here, and run on a desk.
    pub const REAL: [Board; 3] = [Board::Nrf52840Dk, Board::Rp2350Pico2, Board::NucleoH743zi];

    /// What its part has; `None` for a board that is emulated.
    pub fn part(self) -> Option<Part> {
        const KIB: u64 = 1024;
        let (flash, ram) = match self {
            Board::Nrf52840Dk => (1024 * KIB, 256 * KIB),
            Board::Rp2350Pico2 => (4096 * KIB, 520 * KIB),
            // DTCM and AXI SRAM.
            Board::NucleoH743zi => (2048 * KIB, (128 + 512) * KIB),
            _ => return None,
        };
        Some(Part { flash, ram })
    }

    /// The board's name: package, folder, and QEMU machine.
    pub fn name(self) -> &'static str {
        match self {
            Board::Mps2An500 => "mps2-an500",
            Board::Mps2An386 => "mps2-an386",
            Board::Mps2An505 => "mps2-an505",
            Board::Mps3An547 => "mps3-an547",
            Board::Nrf52840Dk => "nrf52840-dk",
            Board::Rp2350Pico2 => "rp2350-pico2",
            Board::NucleoH743zi => "nucleo-h743zi",
        }
    }

    /// The board's Rust target.
    pub fn target(self) -> &'static str {
        match self {
            Board::Mps2An500 | Board::Mps2An386 => ARMV7,
            Board::Nrf52840Dk | Board::NucleoH743zi => ARMV7,
            Board::Mps2An505 | Board::Mps3An547 | Board::Rp2350Pico2 => ARMV8,
        }
    }

    /// The folder of its crate.
    pub fn folder(self) -> PathBuf {
        boards().join(self.name())
    }

    /// Its linked firmware.
    pub fn elf(self) -> PathBuf {
        self.release().join(self.name())
    }

    /// Its probe: firmware for tests and measurements.
    pub fn probe(self) -> PathBuf {
        self.release().join("examples").join(self.probe_name())
    }

    /// The name of that example.
    pub fn probe_name(self) -> String {
        format!("{}-probe", self.name())
    }

    fn release(self) -> PathBuf {
        boards().join("target").join(self.target()).join("release")
    }
}

/// The repository's root: the folder that holds this crate's folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this crate lies in a folder of the repository")
}

/// The boards' own cargo workspace.
pub fn boards() -> PathBuf {
    root().join("boards")
}

/// What the set-up downloads and builds, shared by every checkout: `~/.cache/lightwafer`.
///
/// # Errors
/// When neither `XDG_CACHE_HOME` nor `HOME` is set.
pub fn cache() -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME").filter(|dir| Path::new(dir).is_absolute()) {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    };
    Ok(base.join("lightwafer"))
}
