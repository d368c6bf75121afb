//! Any bytes as a model image: a named error, or a model that runs without a panic.
//!
//! The first byte chooses: the bytes as they are, or with magic, version, lengths and CRC-32 put right, so
//! that a mutation of header, layers or data gets as far as the checks behind them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lightwafer_runtime::crc32;
use lightwafer_runtime::dies::Mask;
use lightwafer_runtime::image::{FORMAT_VERSION, MAGIC, Model};
use lightwafer_runtime::{AlignedBox, FixedEngine};

/// Arenas beyond this are not tried: they only take time.
const MAX_ARENA: u32 = 4 << 20;

fuzz_target!(|bytes: &[u8]| {
    let Some((&mode, bytes)) = bytes.split_first() else {
        return;
    };
    let mut image = AlignedBox::from(bytes);
    if mode % 4 != 0 {
        mend(&mut image);
    }
    let Ok(model) = Model::new_checked(&image) else {
        return;
    };
    let needed = model.header().arena_bytes;
    let facts = model.facts();
    assert_eq!(facts.model_bytes as usize, image.len());
    if needed > MAX_ARENA {
        return;
    }
    let mut arena = AlignedBox::zeroed(needed as usize);
    arena.fill(0x55);
    let short = arena.len() - 1;
    assert!(FixedEngine::new(model.clone(), &mut arena[..short]).is_err());
    let mut engine =
        FixedEngine::new(model, &mut arena).expect("the arena is as large as the header says");
    let mut mask = Mask::new();
    // The golden answer is hardly ever right; that it ends is what counts.
    let first = engine.self_test(&mut mask);
    assert_eq!(engine.self_test(&mut mask), first);
});

/// Puts right what a mutation breaks first. The lengths of header and golden wafer are kept as far as
/// they fit; the data section gets the rest.
fn mend(image: &mut [u8]) {
    if image.len() < 28 {
        return;
    }
    let total = image.len();
    let room = total - 28;
    let header = usize::from(u16::from_le_bytes([image[10], image[11]])).min(room);
    let golden = u32::from_le_bytes([image[20], image[21], image[22], image[23]]) as usize;
    let golden = golden.min(room - header);
    let data = room - header - golden;
    image[..8].copy_from_slice(&MAGIC);
    image[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    image[10..12].copy_from_slice(&(header as u16).to_le_bytes());
    image[12..16].copy_from_slice(&(total as u32).to_le_bytes());
    image[16..20].copy_from_slice(&(data as u32).to_le_bytes());
    image[20..24].copy_from_slice(&(golden as u32).to_le_bytes());
    let crc = crc32(&image[..total - 4]);
    image[total - 4..].copy_from_slice(&crc.to_le_bytes());
}
