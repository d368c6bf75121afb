//! Any requests, damage and cuts of power on a store of signed models: no panic, no misuse of the flash, and what
//! runs afterwards is a model that was signed and made to run, whole, or the factory model.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use lightwafer_device::store::sim::SimFlash;
use lightwafer_device::store::{BLOCK_LEN, Block, Store, split};
use lightwafer_fuzz::models::{Models, damaged, sealed};

type Flash = SimFlash<4, 256>;

static MODELS: LazyLock<Models> = LazyLock::new(|| Models::new(97, [0; 6]));

fn open(mut flash: Flash) -> Store<Flash> {
    flash.power_on();
    let mut store = Store::open(flash, Some(MODELS.key)).expect("its sizes suit");
    store.boot(|_, _| true);
    store
}

fuzz_target!(|bytes: &[u8]| {
    // The bytes as a file and as a block, also with a right CRC-32.
    let _ = split(bytes);
    if let Some(block) = bytes.first_chunk::<BLOCK_LEN>()
        && let Ok(block) = Block::new_checked(&sealed(*block))
    {
        assert!(block.verify(&MODELS.key).is_err(), "nobody signed this");
    }
    let mut u = Unstructured::new(bytes);
    let mut store = open(Flash::new(4096));
    let mut spoiled = false;
    let images: BTreeMap<u32, &[u8]> = MODELS
        .signed
        .iter()
        .map(|(image, block)| (block.version(), &image[..]))
        .collect();
    for _ in 0..10 {
        if u.is_empty() || step(&mut u, &mut store, &mut spoiled).is_err() {
            break;
        }
        if let Some(range) = store.running() {
            let version = store.version();
            let mut flash = store.flash().clone();
            let there = &flash.bytes_mut()[range.start as usize..range.end as usize];
            assert!(
                spoiled || images.get(&version) == Some(&there),
                "version {version}"
            );
        }
        assert!(spoiled || store.flash().misused().is_none());
    }
    // Whatever was done to it: what boots is whole.
    let store = open(store.into_flash());
    if let Some(range) = store.running() {
        let mut flash = store.flash().clone();
        let there = &flash.bytes_mut()[range.start as usize..range.end as usize];
        assert_eq!(images.get(&store.version()), Some(&there));
    }
});

fn step(
    u: &mut Unstructured<'_>,
    store: &mut Store<Flash>,
    spoiled: &mut bool,
) -> arbitrary::Result<()> {
    let (image, block) = &MODELS.signed[u.int_in_range(0..=5)?];
    let version = block.version();
    match u.int_in_range(0..=8u8)? {
        0 => {
            let _ = store.begin(block.bytes());
        }
        1 => {
            let block = damaged(u, block)?;
            // Only the CRC-32's own bytes can change and be put right again.
            let begun = store.begin(&block);
            assert!(begun.is_err() || MODELS.signed.iter().any(|(_, b)| b.bytes() == &block));
        }
        2 => {
            let offset = u.int_in_range(0..=700u32)?;
            let len = u.int_in_range(0..=64usize)?;
            let _ = store.chunk(version, offset, u.bytes(len.min(u.len()))?);
        }
        3 | 4 => {
            // All of it, as a host sends it.
            let Ok(begun) = store.begin(block.bytes()) else {
                return Ok(());
            };
            let mut at = begun.received as usize;
            for _ in 0..100 {
                let end = image.len().min(at + 64);
                match store.chunk(version, at as u32, &image[at..end]) {
                    Ok(received) => at = received as usize,
                    Err(_) => break,
                }
            }
        }
        5 => {
            if store.candidate(version).is_ok() {
                let _ = store.activate(version);
            }
        }
        6 => {
            if let Ok(earlier) = store.earlier() {
                let _ = store.go_back(earlier);
            }
        }
        7 => {
            let mut flash = store.flash().clone();
            let cut = u.int_in_range(0..=3000)?;
            flash.cut_after(cut, u.arbitrary()?);
            let mut cut = Store::open(flash, Some(MODELS.key));
            if let Ok(cut) = &mut cut {
                cut.boot(|_, _| true);
                let mut more = 0;
                while !cut.flash().is_off() && more < 4 && !u.is_empty() {
                    more += 1;
                    step(u, cut, spoiled)?;
                }
            }
            if let Ok(cut) = cut {
                *store = open(cut.into_flash());
            }
        }
        _ => {
            let mut flash = store.flash().clone();
            let at = u.int_in_range(0..=4095usize)?;
            flash.bytes_mut()[at] ^= u.arbitrary::<u8>()?;
            *spoiled = true;
            *store = open(flash);
        }
    }
    Ok(())
}
