//! The updater with a real engine: a model runs only once its golden wafer's answer was right, and whatever
//! fails, the engine still runs a model.

use lightwafer_device::protocol::message::ErrorReply;
use lightwafer_device::store::sign::SecretKey;
use lightwafer_device::store::sim::{InPlace, SimFlash};
use lightwafer_device::store::{Block, Mapped, Store};
use lightwafer_device::{Updater, Updates};
use lightwafer_runtime::dies::Mask;
use lightwafer_runtime::image::Model;
use lightwafer_runtime::{AlignedBox, FixedEngine, crc32};
use lightwafer_testkit::MODEL;

const NAME: &[u8] = b"light";

/// A simulated flash whose images are read in place, by a copy that stays.
type Flash = InPlace<SimFlash<4, 4096>>;

fn key() -> SecretKey {
    SecretKey::new(&[7; 32])
}

/// A model and the block that vouches for it.
struct Signed {
    image: Vec<u8>,
    block: Block,
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
    Updater<'static, Flash>,
    FixedEngine<'static, 'static>,
    Box<Mask>,
);

fn boot(flash: SimFlash<4, 4096>) -> Board {
    let mut engine = FixedEngine::idle();
    let needed = Model::new_checked(MODEL).unwrap().header().arena_bytes as usize;
    let arena = Box::leak(Box::new(AlignedBox::zeroed(needed + 8)));
    engine.start(MODEL, arena).unwrap();
    let flash = InPlace::new(flash, |bytes| Box::leak(Box::new(AlignedBox::from(bytes))));
    let mut store = Store::open(flash, Some(key().public())).unwrap();
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
    board = boot(board.0.into_store().into_flash().into_inner());
    assert_eq!(runs(&mut board), "v0003");
    for _ in 0..2 {
        assert_eq!(roll_back(&mut board, 3), Ok(2));
        assert_eq!(runs(&mut board), "v0002");
    }
    board = boot(board.0.into_store().into_flash().into_inner());
    assert_eq!(runs(&mut board), "v0002");
    assert_eq!(roll_back(&mut board, 2), Ok(3));
    assert_eq!(board.0.store().flash().inner().misused(), None);
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
        board = boot(board.0.into_store().into_flash().into_inner());
        assert_eq!(runs(&mut board), "v0001");
    }
    // Back to the factory model, which is tried too.
    assert_eq!(roll_back(&mut board, 1), Ok(0));
    assert_eq!(board.1.model().image(), MODEL);
    assert_eq!(roll_back(&mut board, 0), Ok(1));
    assert_eq!(runs(&mut board), "v0001");
}
