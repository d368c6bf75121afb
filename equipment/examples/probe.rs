//! Boots a board's probe (firmware for tests and measurements) in QEMU, sends it a letter, and prints its answer up
//! to the line that begins with `END`: `probe mps2-an386 FIRMWARE.elf l '{"rest"'`.
//!
//! `boards/common/src/probe.rs` lists the letters.

use std::error::Error;
use std::time::{Duration, Instant};

use lightwafer_equipment::Transport;
use lightwafer_equipment::emulator::{Emulator, EmulatorOptions};

/// The longest wait for the next bytes.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [machine, firmware, letter, end] = arguments.as_slice() else {
        return Err("usage: probe MACHINE FIRMWARE.elf LETTER END".into());
    };
    let mut emulator = Emulator::start(&EmulatorOptions::new(machine, firmware))?;
    let mut line = emulator.line()?;
    emulator.resume()?;
    let mut text = String::new();
    let mut last = Instant::now();
    let mut asked = false;
    while last.elapsed() < PATIENCE {
        let mut bytes = [0; 256];
        let count = line.read(&mut bytes, Duration::from_millis(200))?;
        if count == 0 {
            continue;
        }
        last = Instant::now();
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        while let Some((first, rest)) = text.split_once('\n') {
            // The first line says why the board started.
            if asked {
                println!("{first}");
                if first.starts_with(end.as_str()) {
                    return Ok(());
                }
            } else {
                line.write(letter.as_bytes())?;
                asked = true;
            }
            text = rest.to_owned();
        }
    }
    Err(format!("{machine} has been silent for {PATIENCE:?}").into())
}
