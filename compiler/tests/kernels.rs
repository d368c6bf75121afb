//! What the table of kernels says of networks that boards have no fast kernels for: each layer's reason by name.

use lightwafer_compiler::writer::{LayerSpec, ModelSpec, write};
use lightwafer_runtime::graph::{IMAGE, NONE, Op};
use lightwafer_runtime::{
    AlignedBox, DieMap, FixedEngine, KernelTable, Mask, Model, RowPaths, SlowReason,
};

const SIDE: u16 = 224;

fn layer(op: Op, inputs: [u8; 2], channels_in: usize, channels: u16) -> LayerSpec {
    let out = usize::from(channels);
    let weights = match op {
        Op::ImageConv3x3 | Op::Conv3x3 => 9 * channels_in * out,
        Op::Depthwise3x3 => 9 * out,
        _ => channels_in * out,
    };
    LayerSpec {
        op,
        inputs,
        height: SIDE,
        width: SIDE,
        channels,
        zero_point: -128,
        relu: false,
        shift: 0,
        tiles: 0,
        weights: (0..weights).map(|at| (at * 37 % 255) as i8).collect(),
        bias: vec![100; out],
        multipliers: vec![1 << 20; if op == Op::MaskHead { 0 } else { out }],
        mean_multiplier: 1 << 16,
    }
}

/// A first convolution, a depthwise one, a 1×1, and both heads; of so many channels.
fn network(channels: u16) -> ModelSpec {
    let c = usize::from(channels);
    ModelSpec {
        name: "small".into(),
        created: "2026-01-01T00:00:00Z".into(),
        parameters: 1,
        layers: vec![
            layer(Op::ImageConv3x3, [IMAGE, NONE], 3, channels),
            layer(Op::Depthwise3x3, [0, NONE], c, channels),
            layer(Op::Pointwise, [1, NONE], c, channels),
            layer(Op::ClassHead, [2, NONE], c, 38),
            layer(Op::MaskHead, [2, NONE], c, 1),
        ],
    }
}

/// The table of a network, whose image also proves itself here.
fn table(spec: &ModelSpec) -> KernelTable {
    let map = DieMap::new_checked(1, 1, &[2]).unwrap();
    let image = write(spec, &map).unwrap();
    let model = Model::new_checked(&image).unwrap();
    let table = KernelTable::of(&model);
    let mut arena = AlignedBox::zeroed(model.header().arena_bytes as usize);
    let mut engine = FixedEngine::new(model, &mut arena).unwrap();
    assert_eq!(engine.self_test(&mut Mask::new()), Ok(()));
    table
}

/// How slow a layer's rows are, if all are of one kind, and why.
fn slow(paths: &RowPaths) -> (&'static str, Option<SlowReason>) {
    (paths.slowest(), paths.reason)
}

#[test]
fn channels_that_are_no_multiple_of_eight_are_named() {
    use SlowReason::{Channels, MaskChannels, Operator};
    let table = table(&network(12));
    let [image, depthwise, point, class, mask] = &table.layers[..] else {
        panic!("{table}");
    };
    assert!(image.dsp.all_fast() && image.helium.all_fast(), "{table}");
    assert!(depthwise.dsp.all_fast() && depthwise.helium.all_fast());
    assert_eq!(slow(&point.dsp), ("general", Some(Channels(8))));
    assert_eq!(slow(&point.helium), ("general", Some(Channels(16))));
    assert_eq!(slow(&class.dsp), ("reference", Some(Operator)));
    assert_eq!(slow(&mask.dsp), ("reference", Some(MaskChannels)));
    let text = table.to_string();
    assert!(
        text.contains("layer 2, DSP: general: the channels of an input are not a multiple of 8"),
        "{text}"
    );
    assert!(text.contains("layer 4: reference: the mask head"), "{text}");
}

#[test]
fn quantization_that_kernels_are_not_made_for_is_named() {
    use SlowReason::{Relu, Shift};
    let mut spec = network(8);
    spec.layers[0].relu = true;
    spec.layers[0].zero_point = -3;
    spec.layers[1].shift = 1;
    spec.layers[2].shift = 1;
    let table = table(&spec);
    let reasons: Vec<_> = table.layers[..3].iter().map(|l| slow(&l.dsp)).collect();
    let expected = [
        ("reference", Some(Relu)),
        ("reference", Some(Shift)),
        ("general", Some(Shift)),
    ];
    assert_eq!(reasons, expected);
    let reasons: Vec<_> = table.layers[..3].iter().map(|l| slow(&l.helium)).collect();
    assert_eq!(reasons, expected);
    // And nothing else is slow.
    spec.layers[0].zero_point = -128;
    spec.layers[1].shift = 0;
    spec.layers[2].shift = 0;
    let table = self::table(&spec);
    let fast = |at: usize| table.layers[at].dsp.all_fast() && table.layers[at].helium.all_fast();
    assert!([0, 1, 2, 4].into_iter().all(fast), "{table}");
}
