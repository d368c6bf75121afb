//! Models over the emulated board's own line: taken, refused, broken off, taken up again, gone back from.
//!
//! The firmware is that of `cargo xtask firmware`, with a test's public key put where it keeps one.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use lightwafer_device::protocol::message::ErrorReply;
use lightwafer_equipment::emulator::{Emulator, EmulatorOptions};
use lightwafer_equipment::sign::SecretKey;
use lightwafer_equipment::{
    Board, BoardOptions, DieMap, ResetCause, SerialLine, SignedModel, Step, Transport, UpdateError,
};
use lightwafer_runtime::crc32;

use super::{boards, options, root, skipped};

const MACHINE: &str = "mps2-an500";
/// What lies in front of the key in the firmware.
const MARK: &[u8] = b"LIGHTWAFER-KEY:\0";

fn key() -> SecretKey {
    SecretKey::new(&[0x5a; 32])
}

/// A file that goes when the test ends.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The firmware with the test's key.
fn keyed(test: &str) -> (EmulatorOptions, Scratch) {
    keyed_on(MACHINE, test)
}

fn keyed_on(machine: &str, test: &str) -> (EmulatorOptions, Scratch) {
    let mut options = options(machine);
    let mut firmware = fs::read(&options.firmware).unwrap();
    let at = firmware.windows(MARK.len()).position(|bytes| bytes == MARK);
    let at =
        at.expect("the firmware has no place for a key; run: cargo xtask firmware") + MARK.len();
    firmware[at..at + 32].copy_from_slice(&key().public());
    let name = format!("lightwafer-{test}-{}.elf", std::process::id());
    options.firmware = std::env::temp_dir().join(name);
    fs::write(&options.firmware, firmware).unwrap();
    let scratch = Scratch(options.firmware.clone());
    (options, scratch)
}

/// The published model under another name, signed; `spoil` may change its image.
fn model_with(version: u32, floor: u32, spoil: impl FnOnce(&mut [u8])) -> SignedModel {
    let mut image = fs::read(root().join("models/light-int8.lw")).unwrap();
    let at = image.windows(5).position(|w| w == b"light").unwrap();
    image[at..at + 5].copy_from_slice(format!("v{version:04}").as_bytes());
    spoil(&mut image);
    let end = image.len() - 4;
    let crc = crc32(&image[..end]);
    image[end..].copy_from_slice(&crc.to_le_bytes());
    let block = key().sign(&image, version, floor).unwrap();
    SignedModel::new_checked(&[&image[..], block.bytes()].concat()).unwrap()
}

fn model(version: u32) -> SignedModel {
    model_with(version, 0, |_| ())
}

fn assert_runs<T: Transport>(board: &mut Board<T>, model: &SignedModel) {
    // The update took the new identity over; a restart changes neither board nor model.
    board.hello().unwrap();
    assert_eq!(board.facts().model.sha256, model.facts().sha256);
    assert_eq!(
        board.health().unwrap().models.version,
        model.block().version()
    );
}

#[test]
fn a_model_comes_runs_stays_and_goes() {
    if skipped() {
        return;
    }
    let (options, _scratch) = keyed("comes");
    let (mut emulator, mut board) = Emulator::boot(&options, BoardOptions::default()).unwrap();
    let factory = board.facts().model.clone();
    let health = board.health().unwrap();
    assert_eq!((health.models.version, health.models.minimum), (0, 1));
    assert_eq!(health.starts[ResetCause::PowerOn as usize], 1);
    let error = board.roll_back().unwrap_err();
    assert!(
        matches!(
            error,
            UpdateError::Refused {
                reply: ErrorReply::NoOther,
                ..
            }
        ),
        "{error}"
    );

    let second = model(2);
    let mut steps = Vec::new();
    assert!(board.update(&second, |step| steps.push(step)).unwrap());
    assert_eq!(steps[0], Step::Begun { received: 0 });
    assert!(steps.len() > 100 && steps.contains(&Step::Trying));
    assert_runs(&mut board, &second);
    // Without a restart it answers as the same model does on the host.
    let map = DieMap::new_checked(1, 1, &[2]).unwrap();
    let answer = board.classify(&map).unwrap();
    let local = lightwafer_equipment::Local::load(root().join("models/light-int8.lw")).unwrap();
    assert_eq!(answer.logits, local.classify(&map).unwrap().logits);
    assert!(!board.update(&second, |_| ()).unwrap(), "it runs already");

    emulator.reset().unwrap();
    assert_runs(&mut board, &second);
    let health = board.health().unwrap();
    assert_eq!(health.starts[ResetCause::External as usize], 1);
    assert_eq!(board.facts().reset, ResetCause::External);

    // Refused before a byte of it is sent.
    let old = board.update(&model(1), |_| ()).unwrap_err();
    assert!(
        matches!(
            old,
            UpdateError::Version {
                version: 1,
                minimum: 3
            }
        ),
        "{old}"
    );
    let block = SecretKey::new(&[1; 32]).sign(second.image(), 9, 0).unwrap();
    let file = [second.image(), block.bytes()].concat();
    let other = SignedModel::new_checked(&file).unwrap();
    let other = board.update(&other, |_| ()).unwrap_err();
    assert!(matches!(other, UpdateError::Key { .. }), "{other}");
    // The right key's name, the wrong key's signature.
    let mut forged = *key().sign(second.image(), 9, 0).unwrap().bytes();
    forged[60..124].copy_from_slice(&block.bytes()[60..124]);
    let crc = crc32(&forged[..124]);
    forged[124..].copy_from_slice(&crc.to_le_bytes());
    let file = [second.image(), &forged].concat();
    let forged = board
        .update(&SignedModel::new_checked(&file).unwrap(), |_| ())
        .unwrap_err();
    let signature = ErrorReply::Signature;
    assert!(
        matches!(forged, UpdateError::Refused { reply, .. } if reply == signature),
        "{forged}"
    );
    // Sent, but it does not answer as it says it would.
    let wrong = model_with(3, 0, |image| image[image.len() - 6] ^= 1);
    let wrong = board.update(&wrong, |_| ()).unwrap_err();
    assert!(
        matches!(
            wrong,
            UpdateError::Refused {
                reply: ErrorReply::SelfTest,
                ..
            }
        ),
        "{wrong}"
    );
    assert_runs(&mut board, &second);

    let fourth = model(4);
    board.update(&fourth, |_| ()).unwrap();
    assert_runs(&mut board, &fourth);
    assert_eq!(board.roll_back().unwrap(), 2);
    emulator.reset().unwrap();
    assert_runs(&mut board, &second);
    assert_eq!(board.roll_back().unwrap(), 4);
    assert_runs(&mut board, &fourth);
    let fifth = model_with(5, 5, |_| ());
    board.update(&fifth, |_| ()).unwrap();
    let error = board.roll_back().unwrap_err();
    assert!(
        matches!(
            error,
            UpdateError::Refused {
                reply: ErrorReply::NoOther,
                ..
            }
        ),
        "{error}"
    );
    assert_ne!(board.facts().model, factory);
    let statistics = board.statistics().unwrap();
    assert!(
        statistics.stack_max <= 4096,
        "stack {}",
        statistics.stack_max
    );
}

/// The same in short on every board; [`a_model_comes_runs_stays_and_goes`] has the details.
#[test]
fn every_board_takes_a_model_and_goes_back() {
    if skipped() {
        return;
    }
    for machine in boards() {
        let (options, _scratch) = keyed_on(machine, machine);
        let (mut emulator, mut board) = Emulator::boot(&options, BoardOptions::default()).unwrap();
        let factory = board.facts().model.sha256;
        let model = model(2);
        assert!(board.update(&model, |_| ()).unwrap(), "{machine}");
        assert_runs(&mut board, &model);
        let map = DieMap::new_checked(1, 1, &[2]).unwrap();
        let answer = board.classify(&map).unwrap();
        emulator.reset().unwrap();
        assert_runs(&mut board, &model);
        assert_eq!(board.classify(&map).unwrap().logits, answer.logits);
        assert_eq!(board.roll_back().unwrap(), 0, "{machine}");
        assert_eq!(board.hello().unwrap().model.sha256, factory);
    }
}

/// A line that is lost after so many bytes were written, and comes back.
struct Cable {
    line: SerialLine,
    left: usize,
}

impl Transport for Cable {
    fn read(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize> {
        self.line.read(buffer, timeout)
    }
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let count = bytes.len().min(self.left);
        self.left -= count;
        self.line.write(&bytes[..count])?;
        match count < bytes.len() {
            true => Err(io::ErrorKind::BrokenPipe.into()),
            false => Ok(()),
        }
    }
    fn reopen(&mut self) -> io::Result<()> {
        self.left = usize::MAX;
        Ok(())
    }
}

#[test]
fn a_lost_cable_and_a_reset_break_nothing_off() {
    if skipped() {
        return;
    }
    let (options, _scratch) = keyed("cable");
    let mut emulator = Emulator::start(&options).unwrap();
    let line = emulator.line().unwrap();
    emulator.resume().unwrap();
    let cable = Cable { line, left: 30_000 };
    let mut board = Board::over_with(cable, BoardOptions::default()).unwrap();
    let model = model(7);
    let (mut begun, mut resets) = (Vec::new(), 0);
    board
        .update(&model, |step| match step {
            Step::Begun { received } => begun.push(received),
            Step::Sent { received } if received > 40_000 && resets == 0 => {
                resets += 1;
                emulator.reset().unwrap();
            }
            _ => {}
        })
        .unwrap();
    assert_eq!(begun.len(), 3, "{begun:?}");
    assert!(
        begun[0] == 0 && begun[1] > 20_000 && begun[2] > 35_000,
        "{begun:?}"
    );
    assert_runs(&mut board, &model);
    emulator.reset().unwrap();
    assert_runs(&mut board, &model);

    // A reset in the middle, and the host gives up: the old model runs, and the next host goes on.
    let next = self::model(8);
    struct GivenUp;
    let given_up = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        board.update(&next, |step| {
            if matches!(step, Step::Sent { received } if received > 10_000) {
                std::panic::resume_unwind(Box::new(GivenUp));
            }
        })
    }));
    assert!(given_up.is_err());
    emulator.reset().unwrap();
    assert_runs(&mut board, &model);
    let mut first = None;
    board
        .update(&next, |step| {
            if let Step::Begun { received } = step {
                first.get_or_insert(received);
            }
        })
        .unwrap();
    assert!(first.unwrap() > 9_000);
    assert_runs(&mut board, &next);
}

#[test]
fn firmware_without_a_key_says_so() {
    if skipped() {
        return;
    }
    let options = options(MACHINE);
    let (_emulator, mut board) = Emulator::boot(&options, BoardOptions::default()).unwrap();
    assert_eq!(board.health().unwrap().models.key, None);
    let error = board.update(&model(2), |_| ()).unwrap_err();
    assert!(error.to_string().contains("HAS NO UPDATE KEY"), "{error}");
}
