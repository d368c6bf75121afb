//! Checkpoints of the trainer and of Python's PyTorch give the same answers in both.
//!
//! Needs a Python with torch, numpy and safetensors, named by `LIGHTWAFER_PYTHON`; `cargo xtask test`
//! makes one (`cargo xtask setup --pytorch`). The networks on its side are `pytorch/networks.py`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tch::{Device, Kind, Tensor};
use trainer::architecture::Encoder;
use trainer::checkpoint::{self, Checkpoint, Info};
use trainer::network::Network;
use trainer::student::Student;
use trainer::teacher::Teacher;
use trainer::topology::Topology;
use trainer::weights::{StateDict, load_encoder};
use trainer::zoo;

/// The largest difference allowed between outputs, whose 32-bit floats are summed in another order.
const TOLERANCE: f64 = 1e-4;

fn crate_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Python with PyTorch. If none is named, a line says that the test is skipped.
fn python() -> Option<PathBuf> {
    let python = std::env::var_os("LIGHTWAFER_PYTHON").map(PathBuf::from);
    if python.is_none() {
        // Not through the macros, whose words the test runner keeps to itself.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: LIGHTWAFER_PYTHON names no Python with PyTorch; `cargo xtask test` makes one"
        );
    }
    python
}

fn run(python: &Path, folder: &Path, networks: &[&str]) {
    let script = crate_folder().join("tests/pytorch/compare.py");
    let mut command = Command::new(python);
    // The environment may stand in for CUDA's libraries, and the processor is what is compared.
    command
        .env("CUDA_VISIBLE_DEVICES", "")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let output = command
        .arg(script)
        .arg(folder)
        .args(networks)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {text}", python.display());
}

fn save(path: &Path, tensors: &[(String, Tensor)]) {
    checkpoint::save(path, tensors, &Info::default()).unwrap();
}

/// Gives fresh weights scales, shifts and running statistics, as training would.
fn as_if_trained(network: &dyn Network, image: &Tensor) {
    tch::no_grad(|| {
        for (_, mut variable) in network.vars().variables() {
            if variable.dim() == 1 && variable.requires_grad() {
                variable += Tensor::rand_like(&variable) - 0.5;
            }
        }
        for _ in 0..5 {
            network.forward(&image.rand_like(), true, true);
        }
    });
}

/// Checks that the network's answers are those in the file, and that they vary.
fn says(network: &dyn Network, image: &Tensor, file: &Path) {
    let output = tch::no_grad(|| network.forward(image, false, true));
    let expected = Checkpoint::read(file).unwrap();
    for (name, ours) in [
        ("logits", &output.logits),
        ("mask", output.mask.as_ref().unwrap()),
        ("embedding", &output.embedding),
    ] {
        let theirs = expected.tensor(name).unwrap();
        assert_eq!(ours.size(), theirs.size(), "{name}");
        let apart = (ours - &theirs).abs().max().double_value(&[]);
        let spread = theirs.std(false).double_value(&[]);
        eprintln!(
            "{}: {name}: {apart:.1e} apart, spread {spread:.3}",
            file.display()
        );
        assert!(apart <= TOLERANCE, "{name} of {}: {apart}", file.display());
        assert!(spread > 1e-3, "{name} of {} says nothing", file.display());
    }
}

#[test]
fn networks_say_the_same_in_pytorch_and_here() {
    let Some(python) = python() else { return };
    tch::set_num_threads(1);
    tch::manual_seed(3);
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let image = Tensor::rand([2, 3, 64, 64], (Kind::Float, Device::Cpu));
    save(
        &file("image.safetensors"),
        &[("image".into(), image.shallow_clone())],
    );

    let published = crate_folder().join("../models/light/student.safetensors");
    let published = zoo::open(&published, Device::Cpu).unwrap().0;
    let ours: [(&str, Box<dyn Network>); 4] = [
        ("student_published", published),
        (
            "student_fresh",
            Box::new(Student::new(&Topology::default(), Device::Cpu)),
        ),
        (
            "resnet18",
            Box::new(Teacher::new(Encoder::ResNet18, Device::Cpu)),
        ),
        (
            "resnet101",
            Box::new(Teacher::new(Encoder::ResNet101, Device::Cpu)),
        ),
    ];
    for (name, network) in &ours {
        if *name != "student_published" {
            as_if_trained(&**network, &image);
        }
        let tensors = checkpoint::tensors(network.vars());
        save(&file(&format!("ours-{name}.safetensors")), &tensors);
    }
    run(&python, dir.path(), &["student", "resnet18"]);
    for (name, network) in &ours {
        says(
            &**network,
            &image,
            &file(&format!("answer-{name}.safetensors")),
        );
    }

    // The other way: what Python saved.
    for format in ["pth", "safetensors"] {
        let teacher = Teacher::new(Encoder::ResNet18, Device::Cpu);
        let loaded = load_encoder(&teacher, &file(&format!("theirs-resnet18.{format}"))).unwrap();
        assert!(loaded.fresh.is_empty(), "{}", loaded.describe());
        assert!(
            loaded
                .unused
                .iter()
                .all(|n| n.ends_with(".num_batches_tracked"))
        );
        says(&teacher, &image, &file("expected-resnet18.safetensors"));
    }
    let path = file("theirs-student.safetensors");
    let student = zoo::open(&path, Device::Cpu).unwrap().0;
    says(&*student, &image, &file("expected-student.safetensors"));
    let mut zipped = StateDict::read(&file("theirs-student.pth")).unwrap();
    for (name, variable) in student.vars().variables() {
        assert_eq!(zipped.tensor(&name).unwrap(), variable, "{name}");
    }
}
