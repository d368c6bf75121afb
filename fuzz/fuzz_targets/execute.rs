//! Random valid networks on random wafers: the engine gives what whole-tensor arithmetic gives, bit for bit.
#![no_main]

use arbitrary::Unstructured;
use libfuzzer_sys::{Corpus, fuzz_target};
use lightwafer_compiler::writer::write;
use lightwafer_fuzz::{network, reference, wafer};
use lightwafer_runtime::dies::Mask;
use lightwafer_runtime::image::Model;
use lightwafer_runtime::{AlignedBox, FixedEngine};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let mut u = Unstructured::new(bytes);
    let (Ok(mut spec), Ok(wafer)) = (network::arbitrary(&mut u), wafer::arbitrary(&mut u)) else {
        return Corpus::Reject;
    };
    // Shorter inputs stay whole.
    if !u.is_empty() && network::cut(&mut u, &mut spec).is_err() {
        return Corpus::Reject;
    }
    let Ok(image) = write(&spec, &wafer.map()) else {
        return Corpus::Reject;
    };
    let model = Model::new_checked(&image).expect("the writer checks what it writes");
    let mut arena = AlignedBox::zeroed(model.header().arena_bytes as usize);
    arena.fill(0x55);
    let mut engine = FixedEngine::new(model, &mut arena).expect("an arena of the size it asks for");
    let mut mask = Mask::new();
    let answer = engine.infer(&wafer.map(), &mut mask);
    let (logits, expected) = reference::infer(&spec, &wafer.map());
    assert_eq!(answer.logits, logits, "logits");
    assert!(mask == expected, "mask");
    Corpus::Keep
});
