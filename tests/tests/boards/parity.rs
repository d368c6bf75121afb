//! Board and host agree, bit for bit, on wafers of every shape, and on 38 of them with recorded answers.

use std::{fs, thread};

use lightwafer_equipment::BoardOptions;
use lightwafer_equipment::emulator::Emulator;
use lightwafer_maps::synth::synthesize;
use lightwafer_runtime::AlignedBox;
use lightwafer_runtime::FixedEngine;
use lightwafer_runtime::dies::{CLASS_COUNT, Class, DieMap, Mask};
use lightwafer_runtime::image::Model;

use lightwafer_tests::answers::{Recorded, SIDE, recorded};

use super::{boards, options, root, skipped};

/// Grids that are square, odd, one die thin, finer than the image, and the largest.
const GRIDS: [(u16, u16); 12] = [
    (1, 1),
    (1, 256),
    (256, 1),
    (2, 3),
    (7, 5),
    (26, 40),
    (53, 58),
    (100, 37),
    (224, 224),
    (255, 253),
    (256, 256),
    (223, 225),
];

/// The test's wafers: rows, columns, dies, and the recorded answer where there is one.
fn wafers() -> Vec<(u16, u16, Vec<u8>, Option<Recorded>)> {
    let recorded = recorded().unwrap().into_iter();
    let recorded = recorded.map(|wafer| (SIDE, SIDE, wafer.dies().unwrap(), Some(wafer)));
    // Every third class, then round again: all kinds of patterns, no class twice.
    let classes = (0..3).flat_map(|first| Class::all().skip(first).step_by(3));
    let grids = GRIDS
        .into_iter()
        .zip(classes)
        .map(|((rows, cols), class)| (rows, cols, synthesize(class, 1, rows, cols), None));
    let mut wafers: Vec<_> = recorded.chain(grids).collect();
    // No die at all, and every die failing.
    wafers.push((52, 52, vec![0; 52 * 52], None));
    wafers.push((52, 52, vec![2; 52 * 52], None));
    wafers
}

fn board_equals_host(machine: &str) {
    let file = root().join("models/light-int8.lw");
    let image = AlignedBox::from(fs::read(&file).unwrap());
    let model = Model::new_checked(&image).unwrap();
    let mut arena = AlignedBox::zeroed(model.header().arena_bytes as usize);
    let mut engine = FixedEngine::new(model, &mut arena).unwrap();

    let (_emulator, mut board) =
        Emulator::boot(&options(machine), BoardOptions::default()).unwrap();
    assert_eq!(board.facts().board, machine);
    assert_eq!(
        board.facts().model,
        (&engine.model().facts()).into(),
        "the firmware holds another model than {}; run: cargo xtask firmware",
        file.display()
    );

    let wafers = wafers();
    assert!(wafers.len() >= 20);
    let mut instructions = Vec::new();
    let mut deepest = 0;
    for (at, (rows, cols, dies, recorded)) in wafers.iter().enumerate() {
        let what = format!("wafer {at} of {rows}×{cols} dies");
        let mut packed = vec![0; DieMap::packed_len(*rows, *cols).unwrap()];
        let map = DieMap::pack(*rows, *cols, dies, &mut packed).unwrap();
        let mut mask = Mask::new();
        let expected = engine.infer(&map, &mut mask);
        if let Some(recorded) = recorded {
            recorded.check(&map, &expected, &mask).unwrap();
        }
        let report = board
            .classify(&map)
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(report.class, expected.class, "{what}");
        assert_eq!(report.raw_scores, expected.scores, "{what}");
        assert_eq!(report.logits, expected.logits, "{what}");
        assert_eq!(report.embedding[..], expected.embedding[..], "{what}");
        assert!(report.mask == mask, "{what}: the masks differ");
        assert_eq!(report.scores.len(), CLASS_COUNT);
        instructions.push(report.instructions.expect("QEMU's -icount is on"));
        let statistics = board.statistics().unwrap();
        assert!(statistics.stack_max >= deepest);
        deepest = statistics.stack_max;
    }

    let (least, most) = (
        *instructions.iter().min().unwrap(),
        *instructions.iter().max().unwrap(),
    );
    eprintln!("{machine}: {least} to {most} instructions, {deepest} bytes of stack");
    // Work hardly depends on the wafer.
    assert!(least > 10_000_000 && most - least < least / 4);

    let statistics = board.statistics().unwrap();
    assert_eq!(statistics.wafers as usize, wafers.len());
    assert!(statistics.requests as usize > 5 * wafers.len());
    assert!((500..15 * 1024).contains(&statistics.stack_max));
    assert!(statistics.uptime_ms > 0);
    let faults = [
        statistics.truncated,
        statistics.oversized,
        statistics.corrupted,
        statistics.malformed,
        statistics.overruns,
        statistics.refused,
    ];
    assert_eq!(faults, [0; 6]);
}

#[test]
fn every_board_equals_the_host() {
    if skipped() {
        return;
    }
    // At once: each emulator keeps one core busy.
    thread::scope(|scope| {
        for machine in boards() {
            scope.spawn(move || board_equals_host(machine));
        }
    });
}
