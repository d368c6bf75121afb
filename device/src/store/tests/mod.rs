//! The store on a flash that is used as it should be: what it takes, what it refuses, what runs afterwards.
//! Cuts of power are in `cuts`, keys and signed files in `signing`, signatures in `ed25519`.

mod cuts;
mod ed25519;
mod signing;

use super::sign::SecretKey;
use super::sim::SimFlash;
use super::{BLOCK_LEN, Block, BlockError, Store, StoreError, VerifyError};

/// A flash of four-byte words, as most have.
type Flash = SimFlash<4, 512>;

fn key() -> SecretKey {
    SecretKey::new(&[7; 32])
}

/// Bytes that stand for an image: a store looks at their digest alone.
#[derive(Clone, Debug, PartialEq)]
struct Signed {
    image: Vec<u8>,
    block: Block,
}

fn signed(version: u32, length: usize, floor: u32) -> Signed {
    let byte = |at: usize| {
        (at as u32 * 31 + version * 101).to_le_bytes()[usize::from(at.is_multiple_of(7))]
    };
    let mut image: Vec<u8> = (0..length).map(byte).collect();
    // Runs of erased bytes, also at the end, look like bytes that have not come.
    image[length / 3..length / 2].fill(0xff);
    image[length - 40..].fill(0xff);
    let block = key().vouch(&image, version, floor).unwrap();
    Signed { image, block }
}

fn open<F: embedded_storage::nor_flash::NorFlash>(flash: F) -> Store<F> {
    let mut store = Store::open(flash, Some(key().public())).unwrap();
    store.boot(|_, _| true);
    store
}

/// Sends the image from where the store says, as a host does.
fn send<F: embedded_storage::nor_flash::NorFlash>(
    store: &mut Store<F>,
    model: &Signed,
    piece: usize,
) -> Result<(), StoreError> {
    let mut received = store.begin(model.block.bytes())?.received as usize;
    let mut steps = 4 * model.image.len() / 32 + 100;
    while received < model.image.len() {
        steps -= 1;
        assert!(steps > 0, "no end");
        let end = model.image.len().min(received + piece);
        let data = &model.image[received..end];
        received = store.chunk(model.block.version(), received as u32, data)? as usize;
    }
    Ok(())
}

/// A whole update.
fn update<F: embedded_storage::nor_flash::NorFlash>(
    store: &mut Store<F>,
    model: &Signed,
) -> Result<(), StoreError> {
    let version = model.block.version();
    for _ in 0..3 {
        send(store, model, 200)?;
        match store.candidate(version) {
            Err(StoreError::Digest) => {}
            Err(error) => return Err(error),
            Ok(_) => return store.activate(version),
        }
    }
    panic!("the digest is wrong again and again")
}

fn image<const W: usize, const E: usize>(store: &mut Store<SimFlash<W, E>>) -> Option<Vec<u8>> {
    let range = store.running()?;
    let bytes = store.slots.flash.bytes_mut();
    Some(bytes[range.start as usize..range.end as usize].to_vec())
}

#[test]
fn models_follow_each_other_and_survive_restarts() {
    let mut store = open(Flash::new(16 * 1024));
    assert_eq!((store.version(), store.running()), (0, None));
    for version in [1, 2, 3, 7, 1000] {
        let model = signed(version, 3000 + version as usize, 0);
        assert_ne!(store.version(), version);
        update(&mut store, &model).unwrap();
        assert_eq!(store.version(), version);
        store = open(store.into_flash());
        assert_eq!(store.version(), version);
        assert_eq!(image(&mut store).unwrap(), model.image);
        assert_eq!(store.state().minimum, version + 1);
    }
    assert_eq!(store.slots.flash.misused(), None);
}

#[test]
fn every_refusal_has_a_name_and_changes_nothing() {
    let mut store = open(Flash::new(16 * 1024));
    let model = signed(5, 3000, 0);
    update(&mut store, &model).unwrap();
    let limit = store.state().limit;
    let steps = store.slots.flash.steps();

    let mut begin = |block: &[u8]| store.begin(block).unwrap_err();
    let good = *signed(6, 100, 0).block.bytes();
    for (at, error) in [
        (0, BlockError::Magic),
        (59, BlockError::Crc),
        (127, BlockError::Crc),
    ] {
        let mut bad = good;
        bad[at] ^= 1;
        assert_eq!(begin(&bad), StoreError::Block(error));
    }
    let short = BlockError::Length(BLOCK_LEN - 1);
    assert_eq!(begin(&good[..BLOCK_LEN - 1]), StoreError::Block(short));
    // With its CRC-32 put right.
    let [other_key, wrong] = [VerifyError::Key, VerifyError::Signature].map(StoreError::Verify);
    for (at, error) in [
        (8, wrong),
        (13, StoreError::Block(BlockError::Floor)),
        (20, other_key),
        (28, wrong),
        (60, wrong),
        (123, wrong),
    ] {
        let mut bad = good;
        bad[at] ^= 1;
        let crc = lightwafer_runtime::crc32(&bad[..124]);
        bad[124..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(begin(&bad), error, "byte {at}");
    }
    let other = SecretKey::new(&[8; 32]).vouch(&[1; 100], 9, 0).unwrap();
    assert_eq!(begin(other.bytes()), other_key);
    for version in [1, 4, 5] {
        let old = signed(version, 100, 0);
        assert_eq!(begin(old.block.bytes()), StoreError::Version { minimum: 6 });
    }
    let large = signed(6, limit as usize + 1, 0);
    assert_eq!(begin(large.block.bytes()), StoreError::Size { limit });
    let empty = key().vouch(&[], 6, 0).unwrap();
    assert_eq!(begin(empty.bytes()), StoreError::Size { limit });

    assert_eq!(store.chunk(6, 0, &[0; 64]), Err(StoreError::NoTransfer));
    assert_eq!(store.candidate(6), Err(StoreError::NoTransfer));
    assert_eq!(store.activate(6), Err(StoreError::NoTransfer));
    assert_eq!(store.slots.flash.steps(), steps);
    let mut keyless = Store::open(store.into_flash(), None).unwrap();
    keyless.boot(|_, _| true);
    assert_eq!(keyless.version(), 0, "without a key nothing is vouched for");
    assert_eq!(keyless.begin(&good), Err(StoreError::NoKey));
    assert_eq!(keyless.state().key, None);
    assert_eq!(open(keyless.into_flash()).version(), 5);
}

#[test]
fn pieces_come_in_order_and_may_repeat() {
    let mut store = open(Flash::new(16 * 1024));
    let model = signed(2, 1000, 0);
    assert_eq!(store.begin(model.block.bytes()).unwrap().received, 0);
    let mut chunk = |offset: u32, data: &[u8]| store.chunk(2, offset, data);
    let image = &model.image;
    assert_eq!(
        chunk(1, &image[1..33]),
        Err(StoreError::Gap { received: 0 })
    );
    assert_eq!(chunk(0, &[]), Ok(0));
    // Whole units only.
    assert_eq!(chunk(0, &image[..31]), Ok(0));
    assert_eq!(chunk(0, &image[..100]), Ok(96));
    assert_eq!(chunk(0, &image[..100]), Ok(96));
    assert_eq!(chunk(50, &image[50..300]), Ok(288));
    let conflict = Err(StoreError::Conflict { received: 288 });
    assert_eq!(chunk(7, &image[8..40]), conflict);
    assert_eq!(chunk(288, &[1; 512]), Ok(800));
    assert_eq!(
        chunk(u32::MAX, &[1]),
        Err(StoreError::Gap { received: 800 })
    );
    let conflict = Err(StoreError::Conflict { received: 800 });
    assert_eq!(chunk(800, &[1; 201]), conflict);
    assert_eq!(store.chunk(3, 0, &[]), Err(StoreError::NoTransfer));
    let incomplete = StoreError::Incomplete {
        received: 800,
        expected: 1000,
    };
    assert_eq!(store.candidate(2), Err(incomplete));
    // Bytes that are not the signed ones: all of it must come anew.
    assert_eq!(store.chunk(2, 800, &image[800..]), Ok(1000));
    assert_eq!(store.candidate(2), Err(StoreError::Digest));
    assert_eq!(store.candidate(2), Err(StoreError::NoTransfer));
    update(&mut store, &model).unwrap();
    assert_eq!(self::image(&mut store).unwrap(), model.image);
    assert_eq!(store.slots.flash.misused(), None);
}

#[test]
fn a_broken_off_transfer_goes_on_after_a_restart() {
    let model = signed(2, 3001, 0);
    for stop in (0..3000).step_by(70) {
        let mut store = open(Flash::new(16 * 1024));
        assert_eq!(store.begin(model.block.bytes()).unwrap().received, 0);
        let mut sent = 0;
        while sent < stop {
            sent = store
                .chunk(2, sent as u32, &model.image[sent..sent + 64])
                .unwrap() as usize;
        }
        // A lost cable: all that came counts.
        assert_eq!(
            store.begin(model.block.bytes()).unwrap().received,
            there(&model, sent)
        );
        // A restart: likewise.
        let mut store = open(store.into_flash());
        assert_eq!(store.state().incoming, None);
        assert_eq!(
            store.begin(model.block.bytes()).unwrap().received,
            there(&model, sent)
        );
        // Another model in between: from the start.
        if stop % 3 == 0 {
            let other = signed(3, 500, 0);
            assert_eq!(store.begin(other.block.bytes()).unwrap().received, 0);
            assert_eq!(
                store.chunk(2, 0, &model.image[..64]),
                Err(StoreError::NoTransfer)
            );
            assert_eq!(store.begin(model.block.bytes()).unwrap().received, 0);
        }
        update(&mut store, &model).unwrap();
        assert_eq!(image(&mut store).unwrap(), model.image);
        assert_eq!(store.slots.flash.misused(), None);
    }
}

/// What a store can tell to be there of the first `sent` bytes: up to the last unit that is not erased.
fn there(model: &Signed, sent: usize) -> u32 {
    let last = model.image[..sent].iter().rposition(|byte| *byte != 0xff);
    last.map_or(0, |at| at / 32 * 32) as u32
}

#[test]
fn going_back_and_forth() {
    let mut store = open(Flash::new(16 * 1024));
    assert!(matches!(store.earlier(), Err(StoreError::NoOther)));
    let (first, second) = (signed(4, 2000, 0), signed(6, 2500, 0));
    let back = |store: &mut Store<Flash>| {
        let earlier = store.earlier()?;
        store.go_back(earlier)
    };
    update(&mut store, &first).unwrap();
    // The first update: back is the factory model, and back again.
    back(&mut store).unwrap();
    assert_eq!(store.version(), 0);
    store = open(store.into_flash());
    assert_eq!((store.version(), store.state().minimum), (0, 4));
    back(&mut store).unwrap();
    assert_eq!(store.version(), 4);
    update(&mut store, &second).unwrap();
    for version in [4, 6, 4] {
        back(&mut store).unwrap();
        assert_eq!(store.version(), version);
        store = open(store.into_flash());
        assert_eq!(store.version(), version);
        // The highest that ever ran is what counts against replay.
        assert_eq!(store.state().minimum, if version == 6 { 7 } else { 6 });
    }
    // The model that was left may come again: nothing of it has to be sent.
    let steps = store.slots.flash.steps();
    let begun = store.begin(second.block.bytes()).unwrap();
    assert!(begun.received >= 2400 && store.slots.flash.steps() == steps);
    update(&mut store, &second).unwrap();
    assert_eq!(store.version(), 6);
    // A model with a floor: what is below it is not gone back to, not even the factory model.
    let third = signed(7, 100, 7);
    update(&mut store, &third).unwrap();
    store = open(store.into_flash());
    assert_eq!(store.state().floor, 7);
    assert!(matches!(store.earlier(), Err(StoreError::NoOther)));
    // The next one's floor is lower; the board's does not sink.
    update(&mut store, &signed(8, 100, 1)).unwrap();
    assert_eq!(store.state().floor, 7);
    back(&mut store).unwrap();
    assert_eq!(store.version(), 7);
    assert_eq!(store.slots.flash.misused(), None);
}

#[test]
fn a_factory_model_that_was_gone_back_to_stays_through_the_next_update() {
    let mut store = open(Flash::new(16 * 1024));
    update(&mut store, &signed(4, 2000, 0)).unwrap();
    update(&mut store, &signed(5, 2000, 0)).unwrap();
    // The other slot is taken by half a model, so back is the factory model.
    store.begin(signed(6, 2000, 0).block.bytes()).unwrap();
    let earlier = store.earlier().unwrap();
    store.go_back(earlier).unwrap();
    assert_eq!(store.version(), 0);
    store = open(store.into_flash());
    assert_eq!(store.version(), 0);
    let model = signed(6, 2000, 0);
    send(&mut store, &model, 512).unwrap();
    store = open(store.into_flash());
    assert_eq!((store.version(), store.state().minimum), (0, 5));
    update(&mut store, &model).unwrap();
    assert_eq!(store.version(), 6);
    assert_eq!(open(store.into_flash()).version(), 6);
}

#[test]
fn a_model_that_does_not_start_or_is_damaged_gives_way() {
    let mut store = open(Flash::new(16 * 1024));
    let (first, second) = (signed(1, 2000, 0), signed(2, 2000, 0));
    update(&mut store, &first).unwrap();
    update(&mut store, &second).unwrap();
    let range = store.running().unwrap();
    // Firmware that cannot run the newest.
    store.boot(|_, image| image != range);
    assert_eq!(store.version(), 1);
    store.boot(|_, _| false);
    assert_eq!(store.version(), 0);
    // A bit that fell over.
    let mut flash = store.into_flash();
    flash.bytes_mut()[range.start as usize + 77] ^= 8;
    store = open(flash);
    assert_eq!((store.version(), store.state().minimum), (1, 2));
    // The next update takes the damaged slot, and what is known of versions is kept on the way.
    store.begin(signed(3, 500, 0).block.bytes()).unwrap();
    store = open(store.into_flash());
    assert_eq!((store.version(), store.state().minimum), (1, 2));
    update(&mut store, &signed(3, 500, 0)).unwrap();
    assert_eq!(open(store.into_flash()).version(), 3);
}

#[test]
fn no_byte_of_the_flash_can_take_the_board_down() {
    let mut store = open(Flash::new(8 * 1024));
    let (first, second) = (signed(1, 600, 0), signed(2, 700, 0));
    update(&mut store, &first).unwrap();
    update(&mut store, &second).unwrap();
    let flash = store.into_flash();
    for at in (0..8 * 1024).filter(|at| at % 4096 < 1300 || at % 64 == 0) {
        for bits in [0x01, 0x80, 0xff] {
            let mut flash = flash.clone();
            flash.bytes_mut()[at] ^= bits;
            let mut store = open(flash);
            let expected = match store.version() {
                2 => &second.image,
                1 => &first.image,
                other => panic!("version {other} after a change at {at}"),
            };
            assert_eq!(&image(&mut store).unwrap(), expected);
        }
    }
    // All of it.
    for byte in [0x00, 0x55, 0xff] {
        let mut flash = flash.clone();
        flash.bytes_mut().fill(byte);
        let mut store = open(flash);
        assert_eq!(store.version(), 0);
        update(&mut store, &first).unwrap();
        assert_eq!(open(store.into_flash()).version(), 1);
    }
}

#[test]
fn flashes_of_other_sizes() {
    fn go<const W: usize, const E: usize>(capacity: usize) {
        let mut store = open(SimFlash::<W, E>::new(capacity));
        let length = (store.state().limit as usize).min(3000);
        for version in 1..4 {
            let model = signed(version, length, 0);
            update(&mut store, &model).unwrap();
            store = open(store.into_flash());
            assert_eq!(image(&mut store).unwrap(), model.image);
        }
        assert_eq!(store.slots.flash.misused(), None);
    }
    go::<1, 256>(8 * 1024);
    go::<2, 2048>(12 * 1024);
    go::<8, 4096>(16 * 1024);
    go::<16, 1024>(8 * 1024);
    go::<32, 8192>(40 * 1024);
    let refused = |result: Result<_, StoreError>| result.err() == Some(StoreError::Geometry);
    let key = Some(key().public());
    assert!(refused(
        Store::open(SimFlash::<4, 4096>::new(8192), key).map(drop)
    ));
    assert!(refused(
        Store::open(SimFlash::<64, 4096>::new(65536), key).map(drop)
    ));
    assert!(refused(
        Store::open(SimFlash::<4, 16>::new(65536), key).map(drop)
    ));
    assert!(refused(
        Store::open(SimFlash::<4, 512>::new(0), key).map(drop)
    ));
}

#[test]
fn a_header_full_of_marks_takes_no_more() {
    let mut store = open(Flash::new(8 * 1024));
    update(&mut store, &signed(1, 600, 0)).unwrap();
    update(&mut store, &signed(2, 600, 0)).unwrap();
    let mut changes = 0;
    let error = loop {
        let earlier = store.earlier().unwrap();
        match store.go_back(earlier) {
            Ok(()) => changes += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error, StoreError::Full);
    assert!(changes >= 14, "{changes}");
    // What ran last still does, and the next update makes room.
    let version = store.version();
    store = open(store.into_flash());
    assert_eq!(store.version(), version);
    update(&mut store, &signed(3, 600, 0)).unwrap();
    assert_eq!(store.version(), 3);
}
