//! The int8 image of a trained student answers as the float student does.

mod common;

use std::collections::HashMap;

use lightwafer_runtime::AlignedBox;
use lightwafer_runtime::FixedEngine;
use lightwafer_runtime::LOGIT_UNIT;
use lightwafer_runtime::dies::{CLASS_COUNT, Mask};
use lightwafer_runtime::image::Model;
use tch::{Device, Tensor};
use trainer::batch::Source;
use trainer::checkpoint;
use trainer::data::{Data, Part};
use trainer::eval::{self, View};
use trainer::export::{Exported, export_int8};
use trainer::image_eval::{self, Grid};
use trainer::network::Network;
use trainer::settings::Settings;
use trainer::student::Student;
use trainer::topology::{SIZE, Topology};
use trainer::zoo;

fn export(student: &dyn Network, data: &Data) -> anyhow::Result<Exported> {
    let source = Source::new(data, Device::Cpu);
    let batches = [source.batch(&data.train[..16], &[0], SIZE).image];
    let tensors: HashMap<_, _> = checkpoint::tensors(student.vars()).into_iter().collect();
    let golden = Grid::of(data, 0);
    golden.packed(|map| {
        export_int8(
            &Topology::default(),
            &tensors,
            54_239,
            &batches,
            map,
            "test",
            "2026-01-01T00:00:00Z",
        )
    })?
}

#[test]
fn the_image_agrees_with_the_student_it_came_from() {
    let data = common::data(&[0, 4, 7], 60);
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings {
        stages: vec![
            "64x4@1e-2".parse().unwrap(),
            "224x1/8@2e-3".parse().unwrap(),
        ],
        batch: 16,
        rate: 1e-2,
        mask_every: 1,
        seed: 1,
        ..Settings::of(common::student())
    };
    let mut run = zoo::start(dir.path(), settings, |_| Ok(()), Device::Cpu).unwrap();
    run.train(&data, &|| false).unwrap();
    let student = run.network();
    let exported = export(student, &data).unwrap();
    assert_eq!(exported.tensors.len(), 28);

    let model = Model::new_checked(&exported.image).unwrap();
    assert_eq!(model.header().macs, 98_209_408);
    let mut arena = AlignedBox::zeroed(model.header().arena_bytes as usize);
    let mut engine = FixedEngine::new(model, &mut arena).unwrap();
    let mut mask = Mask::new();
    let source = Source::new(&data, Device::Cpu);
    let (mut error, mut power) = (0.0, 0.0);
    for &wafer in data.test.iter().take(6) {
        let batch = source.batch(&[wafer], &[0], SIZE);
        let output = tch::no_grad(|| student.forward(&batch.image, false, false));
        let float: Vec<f32> = Vec::try_from(output.logits.view([-1])).unwrap();
        let answer = Grid::of(&data, wafer)
            .packed(|map| engine.infer(map, &mut mask))
            .unwrap();
        let mean = float.iter().sum::<f32>() / CLASS_COUNT as f32;
        for (int, float) in answer.logits.iter().zip(&float) {
            error += (*int as f32 * LOGIT_UNIT - float).powi(2);
            power += (float - mean).powi(2);
        }
    }
    assert!(error < 0.02 * power, "logits: error {error}, power {power}");

    let wafers = data.part(Part::Test);
    let float = eval::evaluate(student, &source, &wafers, View::plain(SIZE), &|| false).unwrap();
    let int8 = image_eval::evaluate(&exported.image, &data, &wafers, false, 2, &|| false)
        .unwrap()
        .unwrap();
    assert_eq!(int8.wafers, wafers.len());
    assert!(
        (float.accuracy - int8.accuracy).abs() < 0.12,
        "{} {}",
        float.line(),
        int8.line()
    );
    let (float, int8) = (float.mask.unwrap(), int8.mask.unwrap());
    assert!((float.dice - int8.dice).abs() < 0.03, "{float:?} {int8:?}");
}

#[test]
fn a_network_that_is_no_student_is_refused_by_tensor() {
    let data = common::data(&[0], 30);
    let topology = Topology::default();
    let student = Student::new(&topology, Device::Cpu);
    let batches: [Tensor; 0] = [];
    let mut tensors: HashMap<_, _> = checkpoint::tensors(student.vars()).into_iter().collect();
    tensors.remove("encoder.2.bn2.running_var");
    let result = Grid::of(&data, 0)
        .packed(|map| export_int8(&topology, &tensors, 1, &batches, map, "test", ""))
        .unwrap();
    assert!(format!("{:#}", result.unwrap_err()).contains("encoder.2.bn2.running_var"));
}
