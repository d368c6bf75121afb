//! Changes an emulated board's memory from outside, by QEMU's gdbstub, so that the firmware everyone runs can be made
//! to hang. A reset brings the code back: QEMU loads the image anew.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use object::elf::FileHeader32;
use object::read::elf::ElfFile;
use object::{Endianness, Object, ObjectSymbol, SymbolKind};

/// `b .` in Thumb code: a loop that never ends.
const HANG: [u8; 2] = [0xfe, 0xe7];

/// A debugger for one board.
#[derive(Debug, Clone)]
pub struct Debugger {
    socket: PathBuf,
    /// Of the function that is made to hang.
    address: u32,
}

impl Debugger {
    /// For the QEMU that listens at `socket` and runs this ELF file. What will hang is the kernel that pools: in the
    /// middle of an inference, on every board.
    ///
    /// # Errors
    /// The file has no such function.
    pub fn new(socket: PathBuf, firmware: &Path) -> Result<Self> {
        let bytes = fs::read(firmware)?;
        let elf = ElfFile::<FileHeader32<Endianness>>::parse(&*bytes)?;
        let kernel = elf.symbols().find(|symbol| {
            let name = symbol.name().unwrap_or_default();
            symbol.kind() == SymbolKind::Text && name.contains("pool") && name.contains("max_row")
        });
        let kernel = kernel.with_context(|| format!("no max_row in {}", firmware.display()))?;
        Ok(Self {
            socket,
            // The lowest bit says that it is Thumb code.
            address: u32::try_from(kernel.address())? & !1,
        })
    }

    /// Where the board will hang.
    pub fn address(&self) -> u32 {
        self.address
    }

    /// Makes the next inference hang, until a reset. The board stands still meanwhile.
    ///
    /// # Errors
    /// QEMU does not answer, or refuses.
    pub fn make_inference_hang(&self) -> Result<()> {
        let mut line = UnixStream::connect(&self.socket)
            .with_context(|| format!("no QEMU at {}", self.socket.display()))?;
        line.set_read_timeout(Some(Duration::from_secs(20)))?;
        let [low, high] = HANG;
        ask(
            &mut line,
            &format!("M{:x},2:{low:02x}{high:02x}", self.address),
        )?;
        // Detached, the board goes on.
        ask(&mut line, "D")
    }
}

/// One packet, which must be answered with OK. Acknowledgements, and news that the board was stopped, may come before.
fn ask(line: &mut UnixStream, packet: &str) -> Result<()> {
    line.write_all(&framed(packet))?;
    for _ in 0..8 {
        let answer = answer(line)?;
        line.write_all(b"+")?;
        match answer.as_bytes() {
            b"OK" => return Ok(()),
            [b'T' | b'S', ..] => {}
            _ => bail!("QEMU's debugger to {packet}: {answer}"),
        }
    }
    bail!("QEMU's debugger does not answer to {packet}")
}

fn framed(packet: &str) -> Vec<u8> {
    let sum = packet.bytes().fold(0u8, u8::wrapping_add);
    format!("${packet}#{sum:02x}").into_bytes()
}

/// What lies between `$` and `#`; two digits follow.
fn answer(line: &mut UnixStream) -> Result<String> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !matches!(bytes.iter().rev().nth(2), Some(b'#')) {
        ensure!(bytes.len() < 256, "QEMU's debugger talks too much");
        ensure!(line.read(&mut byte)? == 1, "QEMU's debugger ended");
        bytes.extend(byte);
    }
    let text = String::from_utf8_lossy(&bytes);
    let text = text.split_once('$').map_or("", |(_, rest)| rest);
    Ok(text.split('#').next().unwrap_or_default().to_owned())
}
