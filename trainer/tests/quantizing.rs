//! A student of quantization-aware training gives the answers of the image that is exported from it.

mod common;

use std::cell::Cell;
use std::path::Path;

use lightwafer_runtime::AlignedBox;
use lightwafer_runtime::FixedEngine;
use lightwafer_runtime::LOGIT_UNIT;
use lightwafer_runtime::dies::{IMAGE_SIZE, Mask};
use lightwafer_runtime::image::Model;
use tch::{Device, Kind as Number};
use trainer::architecture::Architecture;
use trainer::batch::Source;
use trainer::checkpoint::{self, Checkpoint};
use trainer::data::Data;
use trainer::export::Prepared;
use trainer::export::qat::{self, QatStudent};
use trainer::image_eval::Grid;
use trainer::metrics;
use trainer::network::Network;
use trainer::run_folder::{best, last};
use trainer::settings::Settings;
use trainer::topology::{SIZE, Topology};
use trainer::train::{End, Run};
use trainer::zoo;

/// Wafers that are compared.
const WAFERS: usize = 12;
/// The largest difference allowed between logits in 32-bit floats and the engine's, which are a few units: a sum may
/// fall on the other side of a rounding, which moves a value by one step.
const LOGITS: f32 = 0.05;
/// Mask pixels that may differ for the same reason: 1 % of a mask that has hardly been trained.
const PIXELS: usize = WAFERS * IMAGE_SIZE * IMAGE_SIZE / 100;

fn float_student(out: &Path, data: &Data) {
    let settings = Settings {
        stages: vec![
            "64x4@1e-2".parse().unwrap(),
            "224x1/8@2e-3".parse().unwrap(),
        ],
        batch: 16,
        mask_every: 1,
        seed: 1,
        ..Settings::of(common::student())
    };
    let mut run = zoo::start(out, settings, |_| Ok(()), Device::Cpu).unwrap();
    run.train(data, &|| false).unwrap();
}

fn quantizing(out: &Path, float: &Path, data: &Data) -> Run {
    let settings = Settings {
        stages: vec!["224x0.5/8@1e-3".parse().unwrap()],
        mask_every: 2,
        ..Settings::of(Architecture::Qat(Topology::default()))
    };
    let source = Source::new(data, Device::Cpu);
    let init = |network: &dyn Network| {
        let (student, _) = zoo::open(&best(float), Device::Cpu)?;
        let tensors = checkpoint::tensors(student.vars()).into_iter().collect();
        let batches = [source.batch(&data.train[..16], &[0], SIZE).image];
        let prepared = Prepared::calibrated(&Topology::default(), &tensors, &batches)?;
        assert!(prepared.equalization.is_some());
        qat::start(network.vars(), prepared.folded, &prepared.ranges)
    };
    zoo::start(out, settings, init, Device::Cpu).unwrap()
}

fn load(path: &Path) -> QatStudent {
    let student = QatStudent::new(&Topology::default(), Device::Cpu);
    let file = Checkpoint::read(path).unwrap();
    file.load(student.vars(), &student.architecture()).unwrap();
    student
}

#[test]
fn a_fine_tuned_student_computes_what_its_image_does_and_resumes_to_the_same_bits() {
    tch::set_num_threads(1);
    let data = common::data(&[0, 4, 7], 40);
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    float_student(&path("float"), &data);

    let mut run = quantizing(&path("whole"), &path("float"), &data);
    let before: Vec<_> = checkpoint::tensors(run.network().vars())
        .into_iter()
        .map(|(name, tensor)| (name, tensor.detach().copy()))
        .collect();
    assert_eq!(run.train(&data, &|| false).unwrap(), End::Finished);
    // Weights and steps were trained, zero points stay.
    for (name, before) in before {
        let after = Checkpoint::read(&last(&path("whole")))
            .unwrap()
            .tensor(&name)
            .unwrap();
        assert_eq!(after == before, name.ends_with("zero_point"), "{name}");
    }

    // Stopped and gone on with, it ends at the same bits.
    let mut parts = quantizing(&path("parts"), &path("float"), &data);
    let asked = Cell::new(0);
    let stop = || {
        asked.set(asked.get() + 1);
        asked.get() > 2
    };
    assert_eq!(parts.train(&data, &stop).unwrap(), End::Stopped);
    let mut parts = zoo::resume(&path("parts"), Device::Cpu).unwrap();
    assert_eq!(parts.train(&data, &|| false).unwrap(), End::Finished);
    let ended = |name: &str| checkpoint::tensors(load(&last(&path(name))).vars());
    for ((name, a), (_, b)) in ended("whole").into_iter().zip(ended("parts")) {
        assert_eq!(a, b, "{name}");
    }

    // The image answers as the network that was trained. Where sums are exact, only a product that lies
    // half-way between two steps to 31 bits can fall to the other side: a few values, one step each.
    let whole = best(&path("whole"));
    let mut exact = load(&whole);
    exact.to_double();
    let off = compare(&exact, Number::Double, &data);
    assert!(
        off.logits < LOGITS / 4.0 && off.pixels < PIXELS / 10,
        "in 64 bits: {off:?}"
    );
    let student = load(&whole);
    let off = compare(&student, Number::Float, &data);
    println!("in 32 bits: {off:?}");
    assert!(off.logits < LOGITS && off.pixels < PIXELS, "{off:?}");

    // In floats, the checkpoint's layers are another network: rounding is part of what was trained.
    let source = Source::new(&data, Device::Cpu);
    let batch = source.batch(&data.test[..2], &[0], SIZE).image;
    let float = tch::no_grad(|| student.folded().forward(&batch, |_, _, _| ()).0);
    let int = tch::no_grad(|| student.forward(&batch, false, false).logits);
    assert!((float - int).abs().max().double_value(&[]) > f64::from(off.logits));
}

/// The differences between a network and its image.
#[derive(Debug)]
struct Off {
    logits: f32,
    pixels: usize,
}

fn compare(student: &QatStudent, kind: Number, data: &Data) -> Off {
    let source = Source::new(data, Device::Cpu);
    let exported = Grid::of(data, 0)
        .packed(|golden| Prepared::learned(student).write(54_239, golden, "test", ""))
        .unwrap()
        .unwrap();
    assert_eq!(exported.tensors.len(), 28);
    assert!(
        exported
            .tensors
            .iter()
            .all(|tensor| tensor.chosen.is_none())
    );
    let model = Model::new_checked(&exported.image).unwrap();
    let mut arena = AlignedBox::zeroed(model.header().arena_bytes as usize);
    let mut engine = FixedEngine::new(model, &mut arena).unwrap();
    let mut mask = Mask::new();
    let mut off = Off {
        logits: 0.0,
        pixels: 0,
    };
    for &wafer in data.test.iter().chain(&data.val).take(WAFERS) {
        let batch = source.batch(&[wafer], &[0], IMAGE_SIZE as i64);
        let output = tch::no_grad(|| student.forward(&batch.image.to_kind(kind), false, true));
        let logits = output.logits.to_kind(Number::Float).view([-1]);
        let float = Vec::<f32>::try_from(logits).unwrap();
        let marked = output.mask.unwrap().ge(-1e-9).view([-1]);
        let marked = Vec::<bool>::try_from(marked).unwrap();
        let answer = Grid::of(data, wafer)
            .packed(|map| engine.infer(map, &mut mask))
            .unwrap();
        let class = usize::from(answer.class.index());
        assert_eq!(class, metrics::argmax(&float), "wafer {wafer}");
        for (int, float) in answer.logits.iter().zip(&float) {
            off.logits = off.logits.max((*int as f32 * LOGIT_UNIT - float).abs());
        }
        for (at, marked) in marked.iter().enumerate() {
            off.pixels += usize::from(mask.get(at / IMAGE_SIZE, at % IMAGE_SIZE) != *marked);
        }
    }
    off
}
