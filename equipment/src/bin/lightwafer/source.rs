//! Opens the board that the command line names.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lightwafer_board_list as list;
use lightwafer_device::protocol::message::ErrorReply;
use lightwafer_equipment::emulator::{Emulator, EmulatorOptions};
use lightwafer_equipment::{Board, BoardError, BoardOptions, Health};

use crate::args::BoardArgs;

/// A board that has said hello, and what keeps it running.
pub struct Connection {
    /// The board.
    pub board: Board,
    /// Its QEMU, if it is emulated. Dropping it ends the board.
    pub emulator: Option<Emulator>,
}

impl Connection {
    /// Opens the board that the arguments name.
    pub fn open(args: &BoardArgs) -> Result<Self> {
        let mut options = BoardOptions::default();
        if let Some(baud) = args.baud {
            options.baud = baud;
        }
        if let Some(seconds) = args.timeout {
            options.run_timeout = Duration::from_secs(seconds.into());
        }
        if let Some(machine) = &args.emulate {
            let firmware = match &args.firmware {
                Some(firmware) => firmware.clone(),
                None => default_firmware(machine)?,
            };
            let mut emulator = EmulatorOptions::new(machine, firmware);
            emulator.log = args.log.clone();
            let (emulator, board) = Emulator::boot(&emulator, options)?;
            return Ok(Self {
                board,
                emulator: Some(emulator),
            });
        }
        let port = args.port.as_deref().context("no board named")?;
        Ok(Self {
            board: Board::open_with(port, options)?,
            emulator: None,
        })
    }
}

impl Connection {
    /// The board's health; `None` for firmware that does not know this request.
    pub fn health(&mut self) -> Result<Option<Health>> {
        match self.board.health() {
            Ok(health) => Ok(Some(health)),
            Err(BoardError::Refused {
                reply: ErrorReply::Malformed,
                ..
            }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// The board's firmware in the workspace that the current folder, or this program, lies in.
fn default_firmware(machine: &str) -> Result<PathBuf> {
    let Some(board) = list::emulated().find(|board| board.name == machine) else {
        let names: Vec<&str> = list::emulated().map(|board| board.name).collect();
        bail!(
            "no emulated board `{machine}` here, only {}; for another, name its firmware: --firmware ELF",
            names.join(", ")
        );
    };
    let firmware = Path::new(board.core.release_folder()).join(board.name);
    let places = [std::env::current_dir(), std::env::current_exe()];
    let folders = places.iter().flatten().flat_map(|place| place.ancestors());
    let mut files = folders.map(|folder| folder.join(&firmware));
    let found = files.find(|file| file.is_file());
    Ok(found.unwrap_or(firmware))
}
