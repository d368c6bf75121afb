//! The published model still gives the answers that it gave when it was published; boards are held to them in
//! `boards/parity.rs`.

use lightwafer_runtime::{AlignedBox, DieMap, FixedEngine, Mask, Model};
use lightwafer_tests::answers::{SIDE, recorded};

#[test]
fn the_published_models_answers_have_not_changed_by_a_bit() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/light-int8.lw");
    let image = AlignedBox::from(std::fs::read(file).unwrap());
    let model = Model::new_checked(&image).unwrap();
    let mut arena = AlignedBox::zeroed(model.header().arena_bytes as usize);
    let mut engine = FixedEngine::new(model, &mut arena).unwrap();
    let recorded = recorded().unwrap();
    assert_eq!(recorded.len(), 38);
    let mut mask = Mask::new();
    for wafer in &recorded {
        let mut packed = vec![0; DieMap::packed_len(SIDE, SIDE).unwrap()];
        let dies = wafer.dies().unwrap();
        let map = DieMap::pack(SIDE, SIDE, &dies, &mut packed).unwrap();
        let answer = engine.infer(&map, &mut mask);
        wafer.check(&map, &answer, &mask).unwrap();
    }
}
