//! Firmware with a damaged model, or one that it computes wrongly: the board says so and refuses, instead of giving wrong
//! answers.

use std::fs;

use lightwafer_equipment::emulator::Emulator;
use lightwafer_equipment::{Board, BoardOptions, ClassifyError, DieMap, SerialLine};
use lightwafer_runtime::crc32;

use super::{options, root, skipped};

const MACHINE: &str = "mps2-an500";

/// Boots the firmware with a model that `spoil` has changed.
fn spoiled(test: &str, spoil: impl FnOnce(&mut [u8])) -> (Emulator, Board<SerialLine>) {
    let mut options = options(MACHINE);
    let mut firmware = fs::read(&options.firmware).unwrap();
    let model = fs::read(root().join("models/light-int8.lw")).unwrap();
    // The model lies in the image as it is in the file.
    let at = firmware
        .windows(model.len())
        .position(|bytes| bytes == model)
        .expect("the firmware holds another model; run: cargo xtask firmware");
    spoil(&mut firmware[at..at + model.len()]);
    let name = format!("lightwafer-{test}-{}.elf", std::process::id());
    options.firmware = std::env::temp_dir().join(name);
    fs::write(&options.firmware, firmware).unwrap();
    let booted = Emulator::boot(&options, BoardOptions::default());
    fs::remove_file(&options.firmware).unwrap();
    booted.unwrap()
}

fn assert_refuses(board: &mut Board<SerialLine>, reason: &str) {
    let name = board.facts().model.name.clone();
    assert!(name.starts_with(&format!("none: {reason}")), "{name}");
    assert_eq!(board.facts().model.macs, 0);
    let map = DieMap::new_checked(1, 1, &[2]).unwrap();
    let error = board.classify(&map).unwrap_err();
    assert!(matches!(error, ClassifyError::Engine), "{error}");
    assert_eq!(board.statistics().unwrap().wafers, 0);
}

#[test]
fn a_damaged_model_is_named_and_never_answers() {
    if skipped() {
        return;
    }
    let (_emulator, mut board) = spoiled("damaged", |model| model[model.len() / 2] ^= 4);
    assert_refuses(&mut board, "the CRC-32 is wrong");
}

#[test]
fn a_model_that_fails_its_golden_wafer_at_start_never_answers() {
    if skipped() {
        return;
    }
    // The expected mask's CRC-32 is the last thing before the image's own.
    let (_emulator, mut board) = spoiled("golden", |model| {
        let end = model.len() - 4;
        model[end - 2] ^= 1;
        let crc = crc32(&model[..end]);
        model[end..].copy_from_slice(&crc.to_le_bytes());
    });
    assert_refuses(&mut board, "the golden wafer's answer is not");
}
