//! Where things lie: the repository, its boards, and the user's cache.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The targets the boards' firmware is built for.
pub const ARM_TARGETS: [&str; 2] = ["thumbv7em-none-eabihf", "thumbv8m.main-none-eabihf"];

/// A board whose firmware this repository holds; its package and its folder have its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Board {
    /// Arm MPS2-AN500, Cortex-M7.
    #[value(name = "mps2-an500")]
    Mps2An500,
    /// Arm MPS2-AN386, Cortex-M4F.
    #[value(name = "mps2-an386")]
    Mps2An386,
}

impl Board {
    /// Every board.
    pub const ALL: [Board; 2] = [Board::Mps2An500, Board::Mps2An386];

    /// The board's name: package, folder, and QEMU machine.
    pub fn name(self) -> &'static str {
        match self {
            Board::Mps2An500 => "mps2-an500",
            Board::Mps2An386 => "mps2-an386",
        }
    }

    /// The board's Rust target.
    pub fn target(self) -> &'static str {
        "thumbv7em-none-eabihf"
    }

    /// The folder of its crate.
    pub fn folder(self) -> PathBuf {
        boards().join(self.name())
    }

    /// Its linked firmware.
    pub fn elf(self) -> PathBuf {
        boards()
            .join("target")
            .join(self.target())
            .join("release")
            .join(self.name())
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
