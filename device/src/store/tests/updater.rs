//! The updater with a real engine: a model runs only once its golden wafer's answer was right, and whatever
//! fails, the engine still runs a model.

use core::ops::Range;

use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};

use super::super::sim::{SimError, SimFlash};
use super::super::{Mapped, Store, Updater};
use super::{Signed, key};
use crate::protocol::message::ErrorReply;
use crate::station::Updates;
use lightwafer_runtime::AlignedBox;
use lightwafer_runtime::FixedEngine;
use lightwafer_runtime::crc32;
use lightwafer_runtime::dies::Mask;
use lightwafer_runtime::image::Model;
use lightwafer_runtime::include_model;

const MODEL: &[u8] = include_model!("../../../../models/light-int8.lw");
const NAME: &[u8] = b"light";

/// A simulated flash whose images can be read in place, by a copy that stays.
struct Leaking(SimFlash<4, 4096>);

impl ErrorType for Leaking {
    type Error = SimError;
}

impl ReadNorFlash for Leaking {
    const READ_SIZE: usize = 1;
    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), SimError> {
        self.0.read(offset, bytes)
    }
    fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

impl NorFlash for Leaking {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 4096;
    fn erase(&mut self, from: u32, to: u32) -> Result<(), SimError> {
        self.0.erase(from, to)
    }
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), SimError> {
        self.0.write(offset, bytes)
    }
}

impl Mapped<'static> for Leaking {
    fn mapped(&self, range: Range<u32>) -> Option<&'static [u8]> {
        let mut flash = self.0.clone();
        let range = range.start as usize..range.end as usize;
        let image = AlignedBox::from(flash.bytes_mut().get(range)?.to_vec());
        Some(Box::leak(Box::new(image)))
    }
}

/// The published model with another name, and what else is changed.
fn model(version: u32, change: impl FnOnce(&mut Vec<u8>)) -> Signed {
    let mut image = MODEL.to_vec();
    let at = image.windows(NAME.len()).position(|w| w == NAME).unwrap();
    image[at..at + NAME.len()].copy_from_slice(format!("v{version:04}").as_bytes());
    change(&mut image);
    let end = image.len() - 4;
    let crc = crc32(&image[..end]);
    image[end..].copy_from_slice(&crc.to_le_bytes());
    let block = key().vouch(&image, version, 0).unwrap();
    Signed { image, block }
}

type Board = (
    Updater<'static, Leaking>,
    FixedEngine<'static, 'static>,
    Box<Mask>,
);

fn boot(flash: SimFlash<4, 4096>) -> Board {
    let mut engine = FixedEngine::idle();
    let needed = Model::new_checked(MODEL).unwrap().header().arena_bytes as usize;
    let arena = Box::leak(Box::new(AlignedBox::zeroed(needed + 8)));
    engine.start(MODEL, arena).unwrap();
    let mut store = Store::open(Leaking(flash), Some(key().public())).unwrap();
    store.boot(|flash, range| engine.load(flash.mapped(range).unwrap()).is_ok());
    if store.running().is_none() {
        engine.load(MODEL).unwrap();
    }
    (Updater::new(store, MODEL), engine, Box::new(Mask::new()))
}

fn send((updater, ..): &mut Board, model: &Signed) -> Result<(), ErrorReply> {
    type E = FixedEngine<'static, 'static>;
    let begun = <_ as Updates<E>>::begin(updater, model.block.bytes())?;
    let mut at = begun.received as usize;
    while at < model.image.len() {
        let data = &model.image[at..model.image.len().min(at + 512)];
        at = <_ as Updates<E>>::chunk(updater, begun.version, at as u32, data)? as usize;
    }
    Ok(())
}

fn commit((updater, engine, mask): &mut Board, version: u32) -> Result<u32, ErrorReply> {
    updater.commit(version, engine, mask)
}

fn roll_back((updater, engine, mask): &mut Board, from: u32) -> Result<u32, ErrorReply> {
    updater.roll_back(from, engine, mask)
}

/// The model that the engine runs, and that it does.
fn runs((_, engine, mask): &mut Board) -> String {
    engine.self_test(mask).unwrap();
    let name = engine.model().header().name;
    name.chars().skip_while(|c| *c != 'v').take(5).collect()
}

#[test]
fn updates_and_rollbacks_run_at_once_and_after_a_restart() {
    let mut board = boot(SimFlash::new(256 * 1024));
    let [second, third] = [2, 3].map(|version| model(version, |_| ()));
    send(&mut board, &second).unwrap();
    assert_eq!(commit(&mut board, 2), Ok(2));
    assert_eq!(runs(&mut board), "v0002");
    // Asked again: the same answer.
    assert_eq!(commit(&mut board, 2), Ok(2));
    assert_eq!(commit(&mut board, 3), Err(ErrorReply::NoTransfer));
    send(&mut board, &third).unwrap();
    assert_eq!(commit(&mut board, 3), Ok(3));
    board = boot(board.0.into_store().into_flash().0);
    assert_eq!(runs(&mut board), "v0003");
    for _ in 0..2 {
        assert_eq!(roll_back(&mut board, 3), Ok(2));
        assert_eq!(runs(&mut board), "v0002");
    }
    board = boot(board.0.into_store().into_flash().0);
    assert_eq!(runs(&mut board), "v0002");
    assert_eq!(roll_back(&mut board, 2), Ok(3));
    assert_eq!(board.0.store().flash().0.misused(), None);
}

#[test]
fn what_does_not_prove_itself_does_not_run() {
    let mut board = boot(SimFlash::new(256 * 1024));
    send(&mut board, &model(1, |_| ())).unwrap();
    commit(&mut board, 1).unwrap();
    // The golden wafer's mask ends the image: its CRC-32 is a varint of five bytes at most.
    let wrong_answer = model(2, |image| {
        let at = image.len() - 6;
        image[at] ^= 1;
    });
    let golden = Model::new_checked(MODEL).unwrap().golden().mask_crc;
    let changed = Model::new_checked(&AlignedBox::from(wrong_answer.image.clone()))
        .unwrap()
        .golden()
        .mask_crc;
    assert_ne!(golden, changed);
    // Signed, but no model.
    let nonsense = model(3, |image| image[30..300].fill(0xff));
    let other_format = model(4, |image| image[8] ^= 0xff);
    for (bad, error) in [
        (&wrong_answer, ErrorReply::SelfTest),
        (&nonsense, ErrorReply::Model),
        (&other_format, ErrorReply::Model),
    ] {
        send(&mut board, bad).unwrap();
        let version = bad.block.version();
        assert_eq!(commit(&mut board, version), Err(error));
        assert_eq!(commit(&mut board, version), Err(error));
        assert_eq!(runs(&mut board), "v0001");
        board = boot(board.0.into_store().into_flash().0);
        assert_eq!(runs(&mut board), "v0001");
    }
    // Back to the factory model, which is tried too.
    assert_eq!(roll_back(&mut board, 1), Ok(0));
    assert_eq!(board.1.model().image(), MODEL);
    assert_eq!(roll_back(&mut board, 0), Ok(1));
    assert_eq!(runs(&mut board), "v0001");
}
