//! Firmware with a damaged model: the board says so and refuses, instead of giving wrong answers.

use std::fs;

use lightwafer_equipment::emulator::Emulator;
use lightwafer_equipment::{BoardOptions, ClassifyError, DieMap};

use super::{options, root, skipped};

#[test]
fn a_damaged_model_is_named_and_never_answers() {
    if skipped() {
        return;
    }
    let machine = "mps2-an500";
    let mut options = options(machine);
    let mut firmware = fs::read(&options.firmware).unwrap();
    let model = fs::read(root().join("models/light-int8.lw")).unwrap();
    // The model lies in the image as it is in the file.
    let at = firmware
        .windows(model.len())
        .position(|bytes| bytes == model)
        .expect("the firmware holds another model; run: cargo xtask firmware");
    firmware[at + model.len() / 2] ^= 4;
    options.firmware = std::env::temp_dir().join(format!("lightwafer-{}.elf", std::process::id()));
    fs::write(&options.firmware, firmware).unwrap();
    let booted = Emulator::boot(&options, BoardOptions::default());
    fs::remove_file(&options.firmware).unwrap();

    let (_emulator, mut board) = booted.unwrap();
    let name = board.facts().model.name.clone();
    assert!(name.starts_with("none: the CRC-32 is wrong"), "{name}");
    assert_eq!(board.facts().model.macs, 0);
    let map = DieMap::new_checked(1, 1, &[2]).unwrap();
    let error = board.classify(&map).unwrap_err();
    assert!(matches!(error, ClassifyError::Engine), "{error}");
    assert_eq!(board.statistics().unwrap().wafers, 0);
}
