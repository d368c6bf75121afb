//! Students of other widths and depths go the whole way: built, folded, quantized, run by the engine, written as ONNX.

mod common;

use std::collections::HashMap;

use lightwafer_compiler::layer_specs;
use lightwafer_compiler::schedule::{rewrite, schedules};
use lightwafer_runtime::dies::{Class, Mask};
use lightwafer_runtime::image::Model;
use lightwafer_runtime::{AlignedBox, FixedEngine, LOGIT_UNIT};
use prost::Message;
use tch::{Device, Kind, Tensor};
use trainer::batch::Source;
use trainer::checkpoint;
use trainer::data::Data;
use trainer::export::Prepared;
use trainer::export::fold::FoldedStudent;
use trainer::export::qat::QatStudent;
use trainer::image_eval::Grid;
use trainer::metrics::argmax;
use trainer::network::Network;
use trainer::onnx::file::{About, Interface, encode};
use trainer::onnx::{float, proto, qdq};
use trainer::student::Student;
use trainer::topology::{SIZE, Topology};

/// A fresh student whose normalizations have seen `images`, and its tensors.
fn student(topology: &Topology, images: &Tensor) -> (Student, HashMap<String, Tensor>) {
    tch::manual_seed(5);
    let student = Student::new(topology, Device::Cpu);
    tch::no_grad(|| {
        for _ in 0..10 {
            student.forward(images, true, true);
        }
    });
    let tensors = checkpoint::tensors(student.vars());
    (student, tensors.into_iter().collect())
}

fn apart(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    (a - b).abs().max().double_value(&[])
}

/// The engine's answers are those of the network that was quantized.
fn engine_agrees(topology: &Topology, prepared: Prepared, data: &Data, source: &Source) {
    let mut student = QatStudent::of(prepared.folded, &prepared.ranges).unwrap();
    let parts = student.parts();
    let counts: Vec<_> = parts.iter().map(|part| part.parameters).collect();
    assert_eq!(counts, topology.parameters());
    student.to_double();
    let parameters = u32::try_from(student.parameters()).unwrap();
    let exported = Grid::of(data, 0)
        .packed(|golden| Prepared::learned(&student).write(parameters, golden, "test", ""))
        .unwrap()
        .unwrap();
    let model = Model::new_checked(&exported.image).unwrap();
    assert_eq!(model.layers().len(), topology.layers().len());
    let mut arena = AlignedBox::zeroed(model.header().arena_bytes as usize);
    let mut engine = FixedEngine::new(model, &mut arena).unwrap();
    let mut mask = Mask::new();
    for &wafer in data.test.iter().take(4) {
        let batch = source.batch(&[wafer], &[0], SIZE);
        let image = batch.image.to_kind(Kind::Double);
        let logits = tch::no_grad(|| student.forward(&image, false, false).logits);
        let logits = Vec::<f32>::try_from(logits.to_kind(Kind::Float).view([-1])).unwrap();
        let answer = Grid::of(data, wafer).packed(|map| engine.infer(map, &mut mask));
        let answer = answer.unwrap();
        assert_eq!(usize::from(answer.class.index()), argmax(&logits));
        for (int, float) in answer.logits.iter().zip(&logits) {
            assert!(
                (*int as f32 * LOGIT_UNIT - float).abs() < 0.0125,
                "{topology}"
            );
        }
    }

    // The same image in the least memory.
    let model = Model::new_checked(&exported.image).unwrap();
    let all = schedules(&layer_specs(&model)).unwrap();
    let smallest = all.iter().min_by_key(|schedule| schedule.arena_bytes);
    let small = rewrite(&exported.image, smallest.unwrap()).unwrap();
    let small = Model::new_checked(&small).unwrap();
    assert_eq!(small.golden(), model.golden());

    let interface = qdq::interface(&exported.layers).unwrap();
    assert_eq!(interface, Interface::of(topology));
    let graph = qdq::graph(&exported.layers, Some(&exported.scales)).unwrap();
    onnx_has_the_shapes(graph, interface, topology);
}

/// An ONNX file's input, outputs and weights are those of the topology.
fn onnx_has_the_shapes(graph: proto::Graph, interface: Interface, topology: &Topology) {
    let about = About {
        name: "test".into(),
        description: "a test".into(),
        parameters: 1,
        classes: Class::all().map(|class| class.label().into()).collect(),
        source_sha256: String::new(),
    };
    let bytes = encode(graph, interface, &about).unwrap();
    let graph = proto::Model::decode(bytes.as_slice())
        .unwrap()
        .graph
        .unwrap();
    let shape = |value: &proto::ValueInfo| {
        let tensor = value.r#type.as_ref().unwrap().tensor_type.as_ref().unwrap();
        let dims = tensor.shape.as_ref().unwrap().dim.iter();
        dims.filter_map(|dim| dim.dim_value).collect::<Vec<_>>()
    };
    let size = topology.size();
    assert_eq!(shape(&graph.input[0]), [3, size, size]);
    let outputs: Vec<_> = graph.output.iter().map(shape).collect();
    let expected = [
        vec![1, size, size],
        vec![topology.classes()],
        vec![topology.embedding()],
    ];
    assert_eq!(outputs, expected);
    let layers = topology.layers();
    let shapes: Vec<_> = layers
        .iter()
        .filter_map(|layer| layer.weight_shape())
        .collect();
    let names = ["weight", "weight.int8"];
    let weights = graph.initializer.iter().filter(|tensor| {
        names.iter().any(|name| tensor.name.ends_with(&format!(".{name}")))
            // Pools of means are convolutions with weights of their own.
            && tensor.dims[1..] != [1, 2, 2]
    });
    let found: Vec<_> = weights.map(|tensor| tensor.dims.clone()).collect();
    assert_eq!(found, shapes);
}

#[test]
fn students_of_another_width_or_depth_go_the_whole_way() {
    let _alone = common::alone();
    tch::set_num_threads(1);
    let data = common::data(&[0, 4, 7], 20);
    let source = Source::new(&data, Device::Cpu);
    let images = source.batch(&data.train[..4], &[0], SIZE).image;
    for text in [
        "12-16-20-24-48/24-20-16-12",
        "8-16-32/16-8",
        "8-8-12-12-16-16/16-12-12-8-8 pools=average-max-max-max-max",
    ] {
        let topology: Topology = text.parse().unwrap();
        let (student, tensors) = student(&topology, &images);
        let output = tch::no_grad(|| student.forward(&images, false, true));
        assert_eq!(output.embedding.size(), [4, topology.embedding()], "{text}");

        let folded = FoldedStudent::fold(&topology, &tensors).unwrap();
        let (logits, mask) = tch::no_grad(|| folded.forward(&images, |_, _, _| ()));
        assert!(apart(&logits, &output.logits) < 1e-3, "{text}");
        assert!(apart(&mask, &output.mask.unwrap()) < 1e-3, "{text}");

        let graph = float::graph(&folded).unwrap();
        onnx_has_the_shapes(graph, Interface::of(&topology), &topology);

        let batches = [images.shallow_clone()];
        let prepared = Prepared::calibrated(&topology, &tensors, &batches).unwrap();
        engine_agrees(&topology, prepared, &data, &source);
    }
}

#[test]
fn a_student_for_smaller_images_is_written_as_onnx_and_not_as_an_image() {
    let _alone = common::alone();
    let topology: Topology = "8-16-32/16-8 size=64".parse().unwrap();
    let images = Tensor::rand([2, 3, 64, 64], (Kind::Float, Device::Cpu));
    let (_, tensors) = student(&topology, &images);
    let folded = FoldedStudent::fold(&topology, &tensors).unwrap();
    let graph = float::graph(&folded).unwrap();
    onnx_has_the_shapes(graph, Interface::of(&topology), &topology);
    assert!(topology.for_boards().unwrap_err().contains("224×224"));
}
