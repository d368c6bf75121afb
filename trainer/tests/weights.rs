//! Weights of other programs are loaded by name or refused with the names; damaged files never panic.

use std::fs;
use std::path::{Path, PathBuf};

use tch::{Device, Kind, Tensor};
use trainer::architecture::Encoder;
use trainer::checkpoint::{self, Info};
use trainer::network::Network;
use trainer::teacher::Teacher;
use trainer::weights::{StateDict, load_encoder, pickle};

/// A file that PyTorch wrote (`tests/pytorch/fixtures.py`).
fn written(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pytorch");
    folder.join(name)
}

fn values(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.contiguous().view([-1])).unwrap()
}

fn refusal<T>(result: anyhow::Result<T>) -> String {
    match result {
        Ok(_) => panic!("not refused"),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn every_dtype_and_view_of_torch_save_is_read() {
    for name in ["views.pth", "views-protocol4.pth"] {
        let mut dict = StateDict::read(&written(name)).unwrap();
        let mut of = |name: &str| {
            let tensor = dict.tensor(&format!("state_dict.{name}")).unwrap();
            (tensor.size(), values(&tensor))
        };
        let count = |n: u8| (0..n).map(f32::from).collect::<Vec<_>>();
        let quarters: Vec<_> = count(6).iter().map(|v| v / 4.0).collect();
        assert_eq!(of("f32"), (vec![3, 4], count(12)));
        for name in ["f16", "bf16", "f64"] {
            assert_eq!(of(name), (vec![6], quarters.clone()), "{name}");
        }
        let (shape, transposed) = of("transposed");
        assert_eq!(
            (shape, &transposed[..4]),
            (vec![4, 3], &[0.0, 4.0, 8.0, 1.0][..])
        );
        let odd: Vec<_> = (0..12u8).map(|i| f32::from(2 * i + 1)).collect();
        assert_eq!(of("strided"), (vec![12], odd));
        assert_eq!(of("expanded"), (vec![3, 2], vec![7.0; 6]));
        assert_eq!(of("channels_last"), (vec![1, 2, 3, 4], count(24)));
        assert_eq!(of("parameter"), (vec![3], count(3)));
        assert_eq!(of("scalar"), (vec![], vec![2.5]));
        assert_eq!(of("empty"), (vec![0, 3], vec![]));
        for (name, expected) in [
            ("state_dict.counter", "integers"),
            ("state_dict.flags", "integers"),
            ("state_dict.broken", "not finite"),
            ("state_dict.none", "not there"),
        ] {
            let error = refusal(dict.tensor(name));
            assert!(error.contains(expected) && error.contains(name), "{error}");
        }
        assert_eq!(dict.shape("norm.running_var"), Some(&[2][..]));
        assert_eq!(dict.shape("optimizer.0.step"), Some(&[][..]));
        assert!(dict.shape("epoch").is_none());
    }
}

#[test]
fn files_of_another_kind_are_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("text.pth");
    fs::write(&text, "weights, honestly").unwrap();
    let empty = dir.path().join("empty.pth");
    fs::write(&empty, "").unwrap();
    for (path, expected) in [
        (written("legacy.pth"), "before PyTorch 1.6"),
        (written("legacy.pth"), "torch.save(torch.load("),
        (written("script.pt"), "TorchScript"),
        (written("module.pth"), "torch.nn.modules.linear.Linear"),
        (text.clone(), "neither"),
        (empty, "neither"),
        (dir.path().join("none"), "cannot read"),
    ] {
        let error = refusal(StateDict::read(&path));
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(error.contains(expected) && error.contains(name), "{error}");
    }
}

/// Reads everything in a file. It must return, with an error or not.
fn read_all(path: &Path) {
    if let Ok(mut dict) = StateDict::read(path) {
        let names: Vec<_> = dict.names().map(str::to_owned).collect();
        names.iter().for_each(|name| drop(dict.tensor(name)));
    }
}

#[test]
fn damaged_files_are_errors_and_never_panics() {
    let dir = tempfile::tempdir().unwrap();
    let (path, tensors) = (dir.path().join("file"), dir.path().join("a.safetensors"));
    let one = (
        "a.b".to_owned(),
        Tensor::ones([3, 2], (Kind::Float, Device::Cpu)),
    );
    checkpoint::save(&tensors, &[one], &Info::default()).unwrap();
    for file in [
        written("views.pth"),
        written("views-protocol4.pth"),
        tensors,
    ] {
        let whole = fs::read(&file).unwrap();
        for length in (0..whole.len()).step_by(whole.len() / 500 + 1) {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(StateDict::read(&path).is_err(), "cut to {length}");
        }
        let mut random = 1u64;
        for _ in 0..1500 {
            let mut bytes = whole.clone();
            for _ in 0..3 {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let (at, value) = ((random >> 33) as usize % bytes.len(), (random >> 24) as u8);
                bytes[at] = value;
            }
            fs::write(&path, &bytes).unwrap();
            read_all(&path);
        }
    }
}

/// The pickle of a file, past the archive's checksum.
fn pickle_of(name: &str) -> Vec<u8> {
    let mut archive = zip::ZipArchive::new(fs::File::open(written(name)).unwrap()).unwrap();
    let name = archive
        .file_names_raw()
        .find(|name| name.ends_with(b"/data.pkl"));
    let name = String::from_utf8(name.unwrap().to_vec()).unwrap();
    let mut bytes = Vec::new();
    std::io::copy(&mut archive.by_name(&name).unwrap(), &mut bytes).unwrap();
    bytes
}

#[test]
fn damaged_pickles_are_errors_and_never_panics() {
    for name in ["views.pth", "views-protocol4.pth"] {
        let whole = pickle_of(name);
        assert!(pickle::parse(&whole).unwrap().len() > 15);
        for length in 0..whole.len() {
            assert!(pickle::parse(&whole[..length]).is_err(), "cut to {length}");
        }
        for at in 0..whole.len() {
            for value in [
                0, 1, 0x7f, 0x80, 0xff, b'.', b'(', b')', b'}', b'R', b'u', b't',
            ] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                for (name, view) in pickle::parse(&bytes).unwrap_or_default() {
                    if view.shape.contains(&0) {
                        continue;
                    }
                    let reach = view.shape.iter().zip(&view.stride);
                    let last = view.offset + reach.map(|(d, s)| (d - 1) * s).sum::<i64>();
                    assert!((last as usize) < view.elements, "{name}: {view:?}");
                }
            }
        }
    }
}

#[test]
fn hostile_pickles_are_refused_by_name() {
    let parse = |bytes: &[u8]| refusal(pickle::parse(bytes));
    let error = parse(b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R.");
    assert!(
        error.contains("posix.system") && error.contains("not run"),
        "{error}"
    );
    let error = parse(b"\x80\x02c__builtin__\neval\n.");
    assert!(error.contains("__builtin__.eval"), "{error}");
    assert!(parse(b"\x80\x02}\x81.").contains("opcode 0x81"));
    assert!(parse(b"h\x07.").contains("memo 7"));
    assert!(parse(b"r\xff\xff\xff\xff.").contains("not there"));
    // Nested a million deep: named, not a stack overflow, neither here nor when it is dropped.
    let deep = [vec![b')'; 1], vec![0x85; 1 << 20], vec![b'.']].concat();
    assert!(parse(&deep).contains("nested deeper"));
    let itself = b"]q\x00h\x00a.";
    assert!(parse(itself).contains("nested deeper"));
    // Each level holds the one below ten times: ten million million values in 300 bytes.
    let mut bomb = b")q\x00".to_vec();
    for _ in 0..13 {
        bomb.extend([b"(".as_slice(), &b"h\x00".repeat(10), b"tq\x00"].concat());
    }
    bomb.push(b'.');
    assert!(parse(&bomb).contains("more than"));
    assert!(parse(&vec![b'N'; pickle::LIMIT + 1]).contains("at most"));
}

/// A ResNet18 teacher with weights of its own, and its tensors.
fn teacher(seed: i64) -> (Teacher, Vec<(String, Tensor)>) {
    tch::manual_seed(seed);
    let teacher = Teacher::new(Encoder::ResNet18, Device::Cpu);
    let tensors = checkpoint::tensors(teacher.vars());
    tch::no_grad(|| {
        for (name, tensor) in &tensors {
            if tensor.dim() == 1 {
                let drawn = Tensor::rand_like(tensor) + 0.5;
                tensor.shallow_clone().copy_(&drawn);
            }
            assert!(!name.is_empty());
        }
    });
    (teacher, tensors)
}

fn save(path: &Path, tensors: &[(String, Tensor)]) {
    checkpoint::save(path, tensors, &Info::default()).unwrap();
}

/// The encoder's tensors of `tensors` under `prefix`, with the others of a torchvision ResNet.
fn encoder_of(tensors: &[(String, Tensor)], prefix: &str) -> Vec<(String, Tensor)> {
    let ours = tensors.iter().filter_map(|(name, tensor)| {
        let name = name.strip_prefix("encoder.")?;
        Some((format!("{prefix}{name}"), tensor.shallow_clone()))
    });
    let zeros = |size: &[i64]| Tensor::zeros(size, (Kind::Float, Device::Cpu));
    let mut all: Vec<_> = ours.collect();
    all.push((format!("{prefix}fc.weight"), zeros(&[1000, 512])));
    all.push((format!("{prefix}fc.bias"), zeros(&[1000])));
    all.push((format!("{prefix}bn1.num_batches_tracked"), zeros(&[])));
    all
}

fn equal(teacher: &Teacher, tensors: &[(String, Tensor)], part: &str) -> bool {
    let variables = teacher.vars().variables();
    let mut ours = tensors.iter().filter(|(name, _)| name.starts_with(part));
    ours.all(|(name, tensor)| variables[name] == *tensor)
}

#[test]
fn the_encoder_is_found_behind_any_prefix() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("resnet18.safetensors");
    let (_, tensors) = teacher(1);
    for prefix in [
        "",
        "encoder.",
        "module.",
        "backbone.",
        "state_dict.model.encoder.",
    ] {
        save(&path, &encoder_of(&tensors, prefix));
        let (fresh, before) = teacher(2);
        let before: Vec<_> = before.iter().map(|(n, t)| (n.clone(), t.copy())).collect();
        assert!(!equal(&fresh, &tensors, "encoder."));
        let loaded = load_encoder(&fresh, &path).unwrap();
        assert!(equal(&fresh, &tensors, "encoder."), "{prefix}");
        assert!(equal(&fresh, &before, "decoder.") && equal(&fresh, &before, "class_head."));
        // torchvision's resnet18 has 11,689,512 parameters, 513,000 of them in fc.
        assert_eq!(
            (loaded.tensors["encoder."], loaded.parameters),
            (100, 11_176_512)
        );
        assert_eq!((loaded.prefix.as_str(), loaded.fresh.len()), (prefix, 3));
        let text = loaded.describe();
        for part in [
            "fc.* (2)",
            "num_batches_tracked (1)",
            "decoder.* starts fresh: not in the file",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}

#[test]
fn a_whole_model_fills_the_decoder_too_where_it_fits() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("smp.safetensors");
    let (_, mut tensors) = teacher(3);
    save(&path, &tensors);
    let (fresh, _) = teacher(4);
    let loaded = load_encoder(&fresh, &path).unwrap();
    assert!(equal(&fresh, &tensors, "") && loaded.fresh.is_empty() && loaded.unused.is_empty());

    // A mask of 19 classes, and no class head.
    tensors.retain(|(name, _)| !name.starts_with("class_head."));
    for (name, tensor) in &mut tensors {
        if name == "segmentation_head.0.weight" {
            *tensor = Tensor::zeros([19, 256, 1, 1], (Kind::Float, Device::Cpu));
        }
    }
    save(&path, &tensors);
    let (fresh, _) = teacher(5);
    let text = load_encoder(&fresh, &path).unwrap().describe();
    assert!(equal(&fresh, &tensors, "encoder.") && equal(&fresh, &tensors, "decoder."));
    for part in [
        "segmentation_head.* starts fresh: the file does not fit 1 of its 2 variables",
        "class_head.* starts fresh: not in the file",
        "not used of the file: segmentation_head.0.* (2)",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn an_encoder_that_would_be_filled_in_part_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("part.safetensors");
    let (_, tensors) = teacher(6);
    let whole = encoder_of(&tensors, "");
    let (fresh, before) = teacher(7);
    let before: Vec<_> = before.iter().map(|(n, t)| (n.clone(), t.copy())).collect();
    let refused = |tensors: &[(String, Tensor)]| {
        save(&path, tensors);
        let error = refusal(load_encoder(&fresh, &path));
        assert!(equal(&fresh, &before, ""), "overwritten: {error}");
        error
    };
    let without = |end: &str| -> Vec<_> {
        let kept = whole.iter().filter(|(name, _)| !name.contains(end));
        kept.map(|(n, t)| (n.clone(), t.shallow_clone())).collect()
    };
    let error = refused(&without("layer4.1.bn2.running_var"));
    assert!(
        error.contains("encoder.layer4.1.bn2.running_var: not in the file"),
        "{error}"
    );
    assert!(
        error.contains("1 of the encoder's 100 variables"),
        "{error}"
    );
    let error = refused(&without("layer3.1."));
    assert!(
        error.contains("encoder.layer3.1.*: not in the file (10 variables)"),
        "{error}"
    );
    assert!(refused(&without("conv1.weight")).contains("no ResNet"));

    let mut twice = encoder_of(&tensors, "model.");
    twice.extend(encoder_of(&tensors, "model_ema."));
    let error = refused(&twice);
    assert!(
        error.contains("2 ResNets") && error.contains("model_ema."),
        "{error}"
    );

    let mut other = without("layer2.0.conv1.weight");
    let ten = Tensor::zeros([128, 64, 1, 1], (Kind::Float, Device::Cpu));
    other.push(("layer2.0.conv1.weight".into(), ten));
    let error = refused(&other);
    assert!(
        error.contains("[128, 64, 1, 1] in the file, [128, 64, 3, 3] needed"),
        "{error}"
    );

    let mut poisoned = without("layer4.1.bn2.running_var");
    let nan = Tensor::full([512], f64::NAN, (Kind::Float, Device::Cpu));
    poisoned.push(("layer4.1.bn2.running_var".into(), nan));
    assert!(refused(&poisoned).contains("not finite"));
}

#[test]
fn another_resnet_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("resnet18.safetensors");
    let (_, tensors) = teacher(8);
    save(&path, &encoder_of(&tensors, ""));
    let other = Teacher::new(Encoder::ResNet34, Device::Cpu);
    let error = refusal(load_encoder(&other, &path));
    assert!(
        error.contains("holds a ResNet18: --encoder resnet18"),
        "{error}"
    );
}
