//! The engine against the fixed-point one on the published student, and on damaged files.

use std::path::PathBuf;

use super::{TractEngine, TractError};
use lightwafer_maps::synth::synthesize;
use lightwafer_runtime::Engine;
use lightwafer_runtime::dies::{Class, DieMap, MAX_PACKED_LEN, Mask};
use lightwafer_runtime::image::{Model, Rounding};
use lightwafer_runtime::{AlignedBox, FixedEngine};

fn published(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../models");
    std::fs::read(folder.join(name)).unwrap()
}

#[test]
fn answers_as_the_fixed_point_engine_does() {
    let image = AlignedBox::from(published("light-int8.lw"));
    let model = Model::new_checked(&image).unwrap();
    let mut arena = AlignedBox::zeroed(model.facts().arena_bytes as usize);
    let mut fixed = FixedEngine::new(model, &mut arena).unwrap();
    let mut float = TractEngine::new_checked(&published("light.onnx")).unwrap();
    let facts = float.facts();
    assert_eq!(facts.rounding, Rounding::Float);
    assert_eq!(facts.parameters, fixed.facts().parameters);
    std::println!("{facts:?}");
    let (mut near, mut far) = (Mask::new(), Mask::new());
    let (mut same, mut all) = (0, 0);
    for class in Class::all().step_by(2) {
        let dies = synthesize(class, 5, 52, 52);
        let mut packed = [0; MAX_PACKED_LEN];
        let map = DieMap::pack(52, 52, &dies, &mut packed).unwrap();
        let ours = fixed.classify(&map, &mut near).unwrap();
        let theirs = float.classify(&map, &mut far).unwrap();
        all += 1;
        same += u32::from(ours.class == theirs.class);
        let differing = (near.0.iter().zip(&far.0)).map(|(a, b)| (a ^ b).count_ones());
        assert!(differing.sum::<u32>() <= 8, "{}", class.label());
    }
    std::println!("{same} of {all} classes are the same");
    assert!(same + 1 >= all, "{same} of {all}");
}

#[test]
fn damaged_files_have_named_errors() {
    let file = published("light.onnx");
    assert_eq!(
        TractEngine::new_checked(&[]).unwrap_err(),
        TractError::Missing("name")
    );
    for at in [100, 5_000, file.len() / 2, file.len() - 1] {
        assert!(TractEngine::new_checked(&file[..at]).is_err());
    }
    // Texts of the same length in the place of what has to be there.
    for (from, to, error) in [
        ("C+EL", "C+XX", TractError::Differs("classes")),
        (
            "palette\u{12}",
            "pelette\u{12}",
            TractError::Missing("palette"),
        ),
        ("[255,0,255]", "[255,9,255]", TractError::Differs("palette")),
    ] {
        let mut other = file.clone();
        let (from, to) = (from.as_bytes(), to.as_bytes());
        let mut found = false;
        for at in 0..other.len() - from.len() {
            if other[at..].starts_with(from) {
                other[at..at + to.len()].copy_from_slice(to);
                found = true;
            }
        }
        assert!(found);
        assert_eq!(TractEngine::new_checked(&other).unwrap_err(), error);
    }
}
