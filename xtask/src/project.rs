//! Where things lie: the repository, its boards, and the user's cache.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use anyhow::{Context, Result};
use clap::ValueEnum;
use clap::builder::PossibleValue;
use lightwafer_board_list::{BOARDS, Part};

/// A board of the list in `boards/list`, with where its files lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Board(lightwafer_board_list::Board);

impl ValueEnum for Board {
    fn value_variants<'a>() -> &'a [Self] {
        Self::all()
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = format!("{}, {}", self.0.title, self.0.core.name());
        Some(PossibleValue::new(self.name()).help(help))
    }
}

impl Board {
    /// Every board.
    pub fn all() -> &'static [Self] {
        static ALL: LazyLock<[Board; BOARDS.len()]> = LazyLock::new(|| BOARDS.map(Board));
        &*ALL
    }

    /// Those that QEMU emulates.
    pub fn emulated() -> Vec<Self> {
        lightwafer_board_list::emulated().map(Self).collect()
    }

    /// Those that are built and checked here, and run on a desk.
    pub fn real() -> Vec<Self> {
        lightwafer_board_list::real().map(Self).collect()
    }

    /// What its microcontroller has; `None` for a board that is emulated.
    pub fn part(self) -> Option<Part> {
        self.0.part()
    }

    /// The board's name: package, folder, and QEMU machine.
    pub fn name(self) -> &'static str {
        self.0.name
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
        root().join(self.0.core.release_folder())
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
