//! The ONNX models give the answers of the networks that they were made from. onnx checks them, onnxruntime runs them.
//!
//! Those checks need a Python with onnx, onnxruntime, numpy and safetensors, named by `LIGHTWAFER_PYTHON`
//! (`cargo xtask setup --pytorch`); the script on its side is `pytorch/onnx_answers.py`. The whole test
//! split, whose figures are in the model card:
//! `LIGHTWAFER_DATA=MixedWM38.npz cargo test --release -p trainer --test onnx -- --ignored --nocapture`.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use lightwafer_compiler::layer_specs;
use lightwafer_maps::npz::write_wafers;
use lightwafer_maps::synth::every_class;
use lightwafer_runtime::dies::{Class, IMAGE_SIZE, Mask};
use lightwafer_runtime::image::Model;
use lightwafer_runtime::{AlignedBox, FixedEngine, LOGIT_UNIT};
use prost::Message;
use tch::{Device, Kind, Tensor};
use trainer::batch::Source;
use trainer::checkpoint::{self, Checkpoint, Info};
use trainer::data::{Data, Part, Protocol};
use trainer::files::sha256;
use trainer::image_eval::Grid;
use trainer::metrics::argmax;
use trainer::onnx::file::{About, encode};
use trainer::onnx::{proto, qdq};
use trainer::zoo;

/// Wafers that are handed to Python at once.
const SHARE: usize = 128;

fn crate_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn published(name: &str) -> PathBuf {
    crate_folder().join("../models").join(name)
}

/// The Python with onnxruntime. If none is named, or it has no onnxruntime, a line says that the test is skipped.
fn python() -> Option<PathBuf> {
    let python = std::env::var_os("LIGHTWAFER_PYTHON").map(PathBuf::from);
    let imports = |python: &PathBuf| {
        let mut python = Command::new(python);
        let output = python.args(["-c", "import onnx, onnxruntime"]).output();
        output.is_ok_and(|output| output.status.success())
    };
    let python = python.filter(imports);
    if python.is_none() {
        // Not through the macros, whose words the test runner keeps to itself.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: LIGHTWAFER_PYTHON names no Python with onnx and onnxruntime; `cargo xtask test` \
             makes one"
        );
    }
    python
}

/// Synthetic wafers of every class.
fn synthetic(per_class: u32) -> Data {
    let wafers = every_class(per_class, 1, 52, 52);
    let labels = wafers.labels.clone().unwrap();
    Data::split(wafers, labels, Protocol::Distinct)
}

/// The answers of onnxruntime about `wafers` of `data`.
fn answers(python: &Path, model: &Path, data: &Data, wafers: &[u32], flags: &[&str]) -> Checkpoint {
    let dir = tempfile::tempdir().unwrap();
    let [dies, said] = ["dies", "answers"].map(|name| dir.path().join(name));
    let values: Vec<u8> = wafers
        .iter()
        .flat_map(|w| Grid::of(data, *w).dies)
        .collect();
    let (rows, cols) = (data.wafers.rows, data.wafers.cols);
    let tensor = Tensor::from_slice(&values).to_kind(Kind::Float);
    let tensor = tensor.view([-1, i64::from(rows), i64::from(cols)]);
    checkpoint::save(&dies, &[("dies".into(), tensor)], &Info::default()).unwrap();
    let mut command = Command::new(python);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.arg(crate_folder().join("tests/pytorch/onnx_answers.py"));
    let output = command
        .arg(model)
        .arg(&dies)
        .arg(&said)
        .args(flags)
        .output();
    let output = output.unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {text}", python.display());
    Checkpoint::read(&said).unwrap()
}

/// The largest difference between an output of the float model and the student's in libtorch.
fn float_apart(python: &Path, data: &Data, wafers: &[u32], flags: &[&str]) -> f64 {
    let student = zoo::open(&published("light/student.safetensors"), Device::Cpu)
        .unwrap()
        .0;
    let source = Source::new(data, Device::Cpu);
    let mut most = 0f64;
    for share in wafers.chunks(SHARE) {
        let theirs = answers(python, &published("light.onnx"), data, share, flags);
        for (at, wafer) in share.iter().enumerate() {
            let batch = source.batch(&[*wafer], &[0], IMAGE_SIZE as i64);
            let ours = tch::no_grad(|| student.forward(&batch.image, false, true));
            for (name, ours) in [
                ("mask", ours.mask.unwrap()),
                ("logits", ours.logits),
                ("embedding", ours.embedding),
            ] {
                let theirs = theirs.tensor(name).unwrap().narrow(0, at as i64, 1);
                assert_eq!(theirs.size(), ours.size(), "{name}");
                most = most.max((ours - theirs).abs().max().double_value(&[]));
            }
        }
    }
    most
}

/// The agreement of the int8 model with its image, run by the runtime.
#[derive(Debug, Default)]
struct Agreement {
    wafers: usize,
    same_classes: usize,
    pixels: u64,
    other_pixels: u64,
    /// Values of embeddings that differ by 0 steps, 1 step, and more.
    steps: [usize; 3],
    /// The largest difference of a logit.
    logits: f32,
}

fn int8_agreement(
    python: &Path,
    image: &[u8],
    onnx: &Path,
    data: &Data,
    wafers: &[u32],
    flags: &[&str],
) -> Agreement {
    let model = Model::new_checked(image).unwrap();
    let mut arena = AlignedBox::zeroed(model.header().arena_bytes as usize);
    let mut engine = FixedEngine::new(model, &mut arena).unwrap();
    let mut mask = Mask::new();
    let mut found = Agreement::default();
    for share in wafers.chunks(SHARE) {
        let theirs = answers(python, onnx, data, share, flags);
        let rows = |name: &str, at: usize| -> Vec<f32> {
            let row = theirs.tensor(name).unwrap().narrow(0, at as i64, 1);
            Vec::try_from(row.flatten(0, -1)).unwrap()
        };
        for (at, wafer) in share.iter().enumerate() {
            let ours = Grid::of(data, *wafer);
            let ours = ours.packed(|map| engine.infer(map, &mut mask)).unwrap();
            let logits = rows("logits", at);
            found.wafers += 1;
            found.same_classes += usize::from(usize::from(ours.class.index()) == argmax(&logits));
            for (ours, theirs) in ours.logits.iter().zip(logits) {
                let apart = (*ours as f32 * LOGIT_UNIT - theirs).abs();
                found.logits = found.logits.max(apart);
            }
            for (pixel, theirs) in rows("mask", at).into_iter().enumerate() {
                let ours = mask.get(pixel / IMAGE_SIZE, pixel % IMAGE_SIZE);
                found.pixels += 1;
                found.other_pixels += u64::from(ours != (theirs >= 0.0));
            }
            for (ours, theirs) in ours.embedding.iter().zip(rows("steps", at)) {
                let apart = (f32::from(*ours) - theirs).abs() as usize;
                found.steps[apart.min(2)] += 1;
            }
        }
    }
    found
}

fn constants(file: &proto::Model) -> HashMap<&str, &proto::Tensor> {
    let graph = file.graph.as_ref().unwrap();
    let named = graph.initializer.iter();
    named.map(|tensor| (tensor.name.as_str(), tensor)).collect()
}

fn fact<'m>(file: &'m proto::Model, key: &str) -> &'m str {
    let mut facts = file.metadata_props.iter();
    &facts.find(|fact| fact.key == key).unwrap().value
}

#[test]
fn the_published_files_belong_together() {
    let read = |name: &str| fs::read(published(name)).unwrap();
    let decode = |name: &str| proto::Model::decode(read(name).as_slice()).unwrap();
    let float = decode("light.onnx");
    let checkpoint = read("light/student.safetensors");
    assert_eq!(fact(&float, "source_sha256"), sha256(&checkpoint));
    assert_eq!(fact(&float, "parameters"), "54239");

    let image = AlignedBox::from(read("light-int8.lw"));
    let int8 = decode("light-int8.onnx");
    assert_eq!(fact(&int8, "source_sha256"), sha256(&image));
    let constants = constants(&int8);
    let model = Model::new_checked(&image).unwrap();
    for (at, layer) in layer_specs(&model).iter().enumerate() {
        if layer.bias.is_empty() {
            continue;
        }
        let weights: Vec<u8> = layer.weights.iter().map(|w| *w as u8).collect();
        let bias: Vec<u8> = layer.bias.iter().flat_map(|b| b.to_le_bytes()).collect();
        let raw = |name: &str| &constants[format!("layers.{at}.{name}").as_str()].raw_data;
        assert!(*raw("weight.int8") == weights, "weights of layer {at}");
        assert!(*raw("bias.int32") == bias, "biases of layer {at}");
    }
}

#[test]
fn layers_that_do_not_fit_together_are_named() {
    let image = AlignedBox::from(fs::read(published("light-int8.lw")).unwrap());
    let layers = layer_specs(&Model::new_checked(&image).unwrap());
    assert!(qdq::graph(&layers, None).is_ok());
    let error = |change: &dyn Fn(&mut Vec<_>), scales: Option<&[f64]>| {
        let mut layers = layers.clone();
        change(&mut layers);
        format!("{:#}", qdq::graph(&layers, scales).unwrap_err())
    };
    let unmade = error(&|layers| layers[2].inputs[0] = 40, None);
    assert_eq!(unmade, "layer 2: reads what no earlier layer makes");
    assert_eq!(error(&|_| (), Some(&[1.0])), "too few scales");
    let scales: Vec<_> = (1..=layers.len()).map(|step| step as f64).collect();
    assert!(error(&|_| (), Some(&scales)).ends_with("concatenates tensors of two scales"));
    assert!(error(&|_| (), Some(&[0.0])).ends_with("is no scale"));
}

#[test]
fn a_layer_that_is_computed_twice_is_written_once() {
    let image = AlignedBox::from(fs::read(published("light-int8.lw")).unwrap());
    let layers = layer_specs(&Model::new_checked(&image).unwrap());
    let mut doubled: Vec<_> = layers[..3].to_vec();
    doubled.extend(layers.iter().cloned().map(|mut layer| {
        for input in &mut layer.inputs {
            *input += if *input < 48 { 3 } else { 0 };
        }
        layer
    }));
    let nodes = |layers: &[_]| qdq::graph(layers, None).unwrap().node.len();
    assert_eq!(nodes(&layers), nodes(&doubled));
}

#[test]
fn the_float_model_says_what_the_student_says() {
    let Some(python) = python() else { return };
    tch::set_num_threads(1);
    let data = synthetic(1);
    let wafers: Vec<u32> = (0..38).step_by(4).collect();
    for flags in [&[][..], &["--unoptimized"]] {
        let apart = float_apart(&python, &data, &wafers, flags);
        eprintln!("light.onnx {flags:?}: {apart:.1e} apart");
        assert!(apart <= 1e-4, "{flags:?}: {apart}");
    }
}

#[test]
fn the_int8_model_says_what_its_image_says() {
    let Some(python) = python() else { return };
    let data = synthetic(1);
    let image = AlignedBox::from(fs::read(published("light-int8.lw")).unwrap());
    // One in the checkpoint's units and one made from the image alone: the same integers.
    let dir = tempfile::tempdir().unwrap();
    let alone = dir.path().join("alone.onnx");
    let layers = layer_specs(&Model::new_checked(&image).unwrap());
    let about = About {
        name: "alone".into(),
        description: "of the image alone".into(),
        parameters: 54_239,
        classes: Class::all().map(|class| class.label().into()).collect(),
        source_sha256: sha256(&image),
    };
    fs::write(
        &alone,
        encode(
            qdq::graph(&layers, None).unwrap(),
            qdq::interface(&layers).unwrap(),
            &about,
        )
        .unwrap(),
    )
    .unwrap();
    let models = [
        (published("light-int8.onnx"), vec![]),
        (published("light-int8.onnx"), vec!["--unoptimized"]),
        (alone, vec![]),
    ];
    let wafers: Vec<u32> = (0..38).collect();
    for (model, flags) in models {
        let found = int8_agreement(&python, &image, &model, &data, &wafers, &flags);
        eprintln!("{} {flags:?}: {found:?}", model.display());
        assert_eq!(found.same_classes, wafers.len());
        assert!(found.other_pixels * 1_000_000 <= found.pixels, "{found:?}");
        // Few values are off, and by one step: ties and what follows from them.
        let [same, one, more] = found.steps;
        assert!(more == 0 && one * 20 <= same, "{found:?}");
    }
}

#[test]
fn the_program_in_the_documentation_runs() {
    let Some(python) = python() else { return };
    let page = fs::read_to_string(crate_folder().join("../docs/onnx.md")).unwrap();
    let (_, program) = page.split_once("```python\n").unwrap();
    let (program, _) = program.split_once("```").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let models = dir.path().join("models");
    fs::create_dir(&models).unwrap();
    fs::copy(published("light-int8.onnx"), models.join("light-int8.onnx")).unwrap();
    write_wafers(&dir.path().join("wafers.npz"), &every_class(1, 1, 52, 52)).unwrap();
    let mut command = Command::new(python);
    let output = command
        .current_dir(dir.path())
        .args(["-c", program])
        .output();
    let output = output.unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let text = String::from_utf8_lossy(&output.stdout);
    let classes: Vec<_> = text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(classes[..5], ["Normal", "C", "D", "EL", "ER"], "{text}");
}

#[test]
#[ignore = "takes minutes; needs LIGHTWAFER_DATA, a file in MixedWM38's layout"]
fn the_whole_test_split() {
    let python = python().expect("LIGHTWAFER_PYTHON");
    let data = std::env::var_os("LIGHTWAFER_DATA").expect("LIGHTWAFER_DATA");
    let data = Data::load(Path::new(&data), Protocol::Distinct).unwrap();
    let wafers = data.part(Part::Test);
    let image = AlignedBox::from(fs::read(published("light-int8.lw")).unwrap());
    let onnx = published("light-int8.onnx");
    let found = int8_agreement(&python, &image, &onnx, &data, &wafers, &[]);
    println!("light-int8.onnx and light-int8.lw: {found:?}");
    assert!(found.same_classes * 1000 >= found.wafers * 999);
    let apart = float_apart(&python, &data, &wafers, &[]);
    println!("light.onnx and the checkpoint: {apart:.1e} apart");
    assert!(apart <= 1e-4);
}
